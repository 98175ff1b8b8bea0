"""What a page shows is what the API gives: every link a page offers leads somewhere, every table has its call and its file."""

from __future__ import annotations

import html
import io
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, unquote, urlsplit

import polars as pl
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from storage.client import Store
from storage.clock import FixedClock
from storage.troubles import Trouble, TroubleKind, write_troubles
from tests.support import rollout_story as story
from tests.support.page_rows import (
    ANSWER,
    FALLBACK_TRACE,
    GOOD_ANSWER,
    HOSTILE_TRACE,
    STUDENT_TRACE,
    TEACHER_TRACE,
    write_failure,
    write_rows,
)
from tests.support.page_services import ALERT_ID, NOW, story_services

pytestmark = pytest.mark.integration

PAGES = (
    "/",
    f"/rollouts/{story.ROLLOUT}",
    f"/rollouts/{story.ROLLOUT}/pairs?cohort={story.LOSING}",
    "/traces",
    f"/traces/{FALLBACK_TRACE}",
    f"/traces/{HOSTILE_TRACE}",
    "/alerts",
    f"/alerts/{ALERT_ID}",
    "/health",
    "/prices",
    "/settings",
)
_PAGE_ACCEPT = {"accept": "text/html,*/*;q=0.8"}


@pytest.fixture
def client(store: Store) -> TestClient:
    app = create_app(story_services(store, write_rows(store)))
    return TestClient(app, base_url="http://localhost", client=("127.0.0.1", 50000))


def links(text: str) -> list[str]:
    return [html.unescape(href) for href in re.findall(r'<a[^>]*\shref="([^"]*)"', text)]


def shape(link: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """What a route makes of a link: long ids are all alike, and so are the values of open parameters."""
    parts = urlsplit(link)
    path = re.sub(r"[0-9a-f]{16,}", "{id}", parts.path)
    closed = {"format", "state", "metric", "failed", "plane", "from", "retried", "fell_back", "timed_out", "errored"}
    return path, tuple(sorted((name, value if name in closed else "") for name, value in parse_qsl(parts.query)))


def test_every_link_leads_somewhere_and_calls_answer_in_json_and_files_in_csv(client: TestClient) -> None:
    """Every link of every page is followed, but for those that differ from another one in an id or a free value only."""
    found = {link for page in PAGES for link in links(client.get(page, headers=_PAGE_ACCEPT).text) if not link.startswith("#")}
    assert len(found) > 50
    by_shape = {shape(link): link for link in sorted(found)}
    assert len(by_shape) > 40
    files = {link for link in by_shape.values() if "format=csv" in link}
    assert len(files) >= 6
    wrong = {}
    for link in by_shape.values():
        answer = client.get(link, headers=_PAGE_ACCEPT)
        kind = answer.headers["content-type"].split(";")[0]
        wanted = "text/csv" if link in files else "application/json" if link.startswith("/api/") else "text/html"
        if (answer.status_code, kind) != (200, wanted):
            wrong[link] = (answer.status_code, kind)
    assert wrong == {}


def test_the_scorecards_file_has_the_numbers_of_the_page(client: TestClient) -> None:
    page = client.get(f"/rollouts/{story.ROLLOUT}", headers=_PAGE_ACCEPT).text
    link = next(link for link in links(page) if "/scorecard?format=csv" in link)
    rows = pl.read_csv(io.BytesIO(client.get(link).content), infer_schema_length=None)
    (losing,) = rows.filter(
        (pl.col("cohort") == story.LOSING) & (pl.col("evaluator") == "TaskCompletion") & (pl.col("metric") == "eval_fail")
    ).iter_rows(named=True)
    # 2 % of 20,600 traces, of which 19.8 % failed: 412 and 82
    assert (losing["candidate.n_units"], losing["candidate.n_fail"]) == (412, 82)
    assert "82 of 412" in page
    assert losing["proven_difference"] == 0.026
    assert "at least +2.6\u00a0pp" in page


def test_every_table_of_a_rollout_and_of_data_health_has_its_file(client: TestClient) -> None:
    files = {}
    for path in (f"/rollouts/{story.ROLLOUT}", "/health"):
        for link in links(client.get(path, headers=_PAGE_ACCEPT).text):
            if "format=csv" in link:
                files[urlsplit(link).path.rsplit("/", 1)[-1]] = client.get(link).text
    parts = {"scorecard", "cost", "mix", "guards", "latency", "scores", "unknown", "series"}
    reports = {
        "coverage",
        "unpriced_models",
        "lateness",
        "unmapped_attributes",
        "quality_flags",
        "poisonous_traces",
        "rollout_troubles",
    }
    assert parts | reports | {"ledger", "jobs", "deliveries", "quarantine"} == set(files)
    card = story.scorecard()
    mix = pl.read_csv(io.StringIO(files["mix"]))
    assert mix.rows() == [(row.cohort, row.reference, row.baseline, row.candidate) for row in card.mix]
    # all cohorts first, as on the page
    assert card.cost is not None
    assert pl.read_csv(io.StringIO(files["cost"]))["cohort"].to_list() == [
        card.cost.overall.cohort,
        *(row.cohort for row in card.cost.cohorts),
    ]
    latency = pl.read_csv(io.StringIO(files["latency"]))
    assert latency["candidate.p99.value_ms"].to_list() == [row.candidate[-1].value_ms for row in card.latency]


def test_a_rollout_with_trouble_is_linked_whatever_its_name_is(client: TestClient, store: Store) -> None:
    trouble = Trouble("cheaper? 50% / #2", TroubleKind.STOPPED, "", "", 0, "no store", is_over=False, since=NOW)
    write_troubles(store, [trouble])
    assert "/rollouts/cheaper%3F%2050%25%20%2F%20%232" in links(client.get("/health", headers=_PAGE_ACCEPT).text)


def test_a_page_is_read_again_at_an_address_of_its_own(client: TestClient) -> None:
    """What somebody put into it stays one value."""
    query = {"cohort": story.LOSING, "shown": "a&cohort=b#c"}
    page = client.get(f"/rollouts/{story.ROLLOUT}/pairs", params=query, headers=_PAGE_ACCEPT).text
    (address,) = re.findall(r'hx-get="([^"]*)"', page)
    asked = dict(parse_qsl(urlsplit(html.unescape(address)).query))
    assert (asked["cohort"], asked["shown"]) == (story.LOSING, "a&cohort=b#c")


def test_a_trace_is_live_while_it_grows(store: Store) -> None:
    """Its rows were written now, by the engine's clock."""
    services = story_services(store, write_rows(store))

    def page(after: timedelta) -> str:
        app = create_app(replace(services, wall_clock=FixedClock(datetime.now(UTC) + after)))
        return (
            TestClient(app, base_url="http://localhost", client=("127.0.0.1", 50000))
            .get(f"/traces/{STUDENT_TRACE}", headers=_PAGE_ACCEPT)
            .text
        )

    growing, grown = page(timedelta(0)), page(timedelta(hours=1))
    assert f'hx-get="/traces/{STUDENT_TRACE}?span={STUDENT_TRACE[:15]}3"' in growing
    assert "hx-get" not in grown


def test_the_traces_file_holds_its_spans(client: TestClient) -> None:
    page = client.get(f"/traces/{STUDENT_TRACE}", headers=_PAGE_ACCEPT).text
    (link,) = (link for link in links(page) if unquote(link) == f"/api/v1/traces/{STUDENT_TRACE}?format=csv")
    assert pl.read_csv(io.BytesIO(client.get(link).content))["name"].to_list() == ["answer", "search terms", "chat student-8b-v1"]


def test_every_table_of_a_trace_has_its_call_and_its_file(client: TestClient) -> None:
    """The student timed out twice before the teacher answered; its other trace was judged once."""

    def table(trace_id: str, part: str) -> pl.DataFrame:
        page = client.get(f"/traces/{trace_id}", headers=_PAGE_ACCEPT).text
        (call, file) = (link for link in dict.fromkeys(links(page)) if f"{trace_id}/{part}" in link)
        frame = pl.read_csv(io.BytesIO(client.get(file).content))
        assert client.get(call).json()["next"] is None
        assert len(client.get(call).json()["items"]) == len(frame)
        return frame

    tried = table(FALLBACK_TRACE, "attempts").select("span_id", "model_route", "attempt_kind", "status")
    assert tried.rows() == [
        ("fa11bac000000010", "student", "first", "timeout"),
        ("fa11bac000000011", "student", "retry", "timeout"),
        ("fa11bac000000012", "teacher", "fallback", "ok"),
    ]
    assert table(STUDENT_TRACE, "evaluations").select("name", "failed").rows() == [("TaskCompletion", True)]
    assert client.get(f"/api/v1/traces/{STUDENT_TRACE}/attempts").json()["items"] == []
    outcomes = client.get(f"/api/v1/traces/{STUDENT_TRACE}/outcomes").json()["items"]
    assert [(row["metric"], row["failed"]) for row in outcomes] == [("eval_fail", True)]
    assert client.get("/api/v1/traces/0123/attempts").status_code == 404
    assert client.get(f"/api/v1/traces/{STUDENT_TRACE}/nothing").status_code == 422


def test_a_fresh_install_says_how_to_send_the_first_span(client: TestClient) -> None:
    desk = client.app.state.services.alerts  # type: ignore[attr-defined]
    desk.rollouts = list
    text = client.get("/", headers=_PAGE_ACCEPT).text
    assert "OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318" in text
    assert "rollout.route" in text


def test_the_first_span_goes_where_spans_are_taken_in_by_the_name_the_reader_used(store: Store) -> None:
    services = replace(story_services(store), otlp_http="https://0.0.0.0:14318")
    services.alerts.rollouts = list  # type: ignore[method-assign]
    app = create_app(services)
    for base_url, told in (("http://localhost:8080", "https://localhost:14318"), ("http://[::1]:8080", "https://[::1]:14318")):
        text = TestClient(app, base_url=base_url, client=("127.0.0.1", 50000)).get("/", headers=_PAGE_ACCEPT).text
        assert f"OTEL_EXPORTER_OTLP_ENDPOINT={told}\n" in text
        assert f"{told}/v1/traces" in text


def test_a_problem_leaves_names_as_they_are_and_leads_back(client: TestClient) -> None:
    text = client.get("/traces", params={"from": "Blah"}, headers=_PAGE_ACCEPT).text
    assert "from=&#39;Blah&#39; is not an RFC 3339 time" in text
    assert "Send from as an RFC 3339 time with a zone (2026-03-01T10:00:00Z)" in text
    assert '<a class="button" href="/traces">Traces</a>' in text
    assert '<a class="button" href="/">Rollouts</a>' in client.get("/rollouts/nobody", headers=_PAGE_ACCEPT).text


def test_a_few_pairs_are_shown_and_the_others_are_a_link_away(client: TestClient, store: Store) -> None:
    for number in range(7):
        write_failure(store, f"{0xFA11ED00 + number:032x}", story.LOSING)
    page = client.get(f"/rollouts/{story.ROLLOUT}/pairs", params={"cohort": story.LOSING}, headers=_PAGE_ACCEPT).text
    assert page.count('id="pair-') == 5
    (more,) = (link for link in links(page) if "most=" in link)
    whole = client.get(more, headers=_PAGE_ACCEPT).text
    # with the one there was before
    assert whole.count('id="pair-') == 8
    assert "most=" not in "".join(links(whole))


def test_failing_pairs_come_with_verdicts_and_words_and_as_a_file(client: TestClient) -> None:
    path = f"/api/v1/rollouts/{story.ROLLOUT}/pairs"
    (pair,) = client.get(path, params={"cohort": story.LOSING}).json()["items"]
    candidate, baseline = pair["candidate"], pair["baseline"]
    assert (candidate["trace_id"], baseline["trace_id"]) == (STUDENT_TRACE, TEACHER_TRACE)
    assert [(e["name"], e["failed"]) for e in candidate["evaluations"]] == [("TaskCompletion", True)]
    assert [(e["name"], e["failed"]) for e in baseline["evaluations"]] == [("TaskCompletion", False)]
    assert candidate["completion"][-1]["text"] == ANSWER
    assert baseline["completion"][-1]["text"] == GOOD_ANSWER
    rows = pl.read_csv(io.BytesIO(client.get(path, params={"cohort": story.LOSING, "format": "csv"}).content))
    assert rows["candidate.cost_usd"].to_list() == [0.0056]
    assert ANSWER in rows["candidate.completion"][0]
    assert client.get("/api/v1/rollouts/nobody/pairs").status_code == 404
    assert client.get(path, params={"cohort": "no such cohort"}).json() == {"items": [], "next": None}
