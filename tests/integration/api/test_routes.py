"""What each route answers, on the real engine."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from fastapi.testclient import TestClient
from polars.testing import assert_frame_equal

from api.background import BackgroundJobs
from api.services import Services
from collector.spool import Waiting
from storage.client import Store
from storage.clock import FixedClock
from storage.errors import StoreUnavailableError
from storage.job_runs import JobRun, JobState, write_job_run
from tests.support.api_client import NOW, ScoresKept, make_client, make_services
from tests.support.compose import ROOT
from tests.support.facts import START, trace_row, write_traces

pytestmark = pytest.mark.integration

# docs/api.md, "Times, ranges, steps"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z"


def get(client: TestClient, path: str, status: int = 200, **query: Any) -> Any:
    answer = client.get(path, params=query)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_health_is_open_and_says_what_is_wrong(services: Services, client: TestClient) -> None:
    assert client.get("/healthz").text == "ok"
    assert get(client, "/readyz") == {"ready": True, "reasons": {}, "roles": {}}
    services.collector.reason = "the spool is full"  # type: ignore[union-attr]
    assert get(client, "/readyz", 503) == {"ready": False, "reasons": {"collector": "the spool is full"}, "roles": {}}


def test_readiness_tells_active_from_standby(services: Services) -> None:
    standing = {"alerts": "standby", "collector": "active"}
    client = make_client(replace(services, standing=lambda: standing))
    assert get(client, "/readyz") == {"ready": True, "reasons": {}, "roles": standing}


def test_prometheus_page(client: TestClient, store: Store) -> None:
    store.command(
        "INSERT INTO ingest_ledger (minute, signal, key_id, entry, reason, n_items, source) "
        "VALUES (now(), 'traces', '', 'received', '', 7, 's')"
    )
    text = client.get("/metrics").text
    assert "spanwise_up 1.0" in text
    assert 'spanwise_ingest_items_total{entry="received",reason="",signal="traces"} 7.0' in text
    assert "spanwise_spool_bytes 0.0" in text
    assert "spanwise_spool_oldest_seconds 0.0" in text


def test_rules_about_the_process_ask_only_for_metrics_there_are(client: TestClient, store: Store) -> None:
    store.command(
        "INSERT INTO ingest_ledger (minute, signal, key_id, entry, reason, n_items, source) "
        "VALUES (now(), 'traces', '', 'pushed_back', '', 1, 's'), (now(), 'traces', '', 'quarantined', '', 1, 't')"
    )
    # rows of runs long ago expire
    now = datetime.now(UTC)
    write_job_run(store, JobRun("id", "rollup", now, now, JobState.FAILED, watermark_lag_seconds=7.0))
    lines = client.get("/metrics").text.splitlines()
    rules = (ROOT / "docs" / "prometheus-rules.yml").read_text(encoding="utf-8")
    asked = set(re.findall(r"spanwise_\w+", rules.split("spanwise-process")[1].split("spanwise-delivery")[0]))
    assert len(asked) == 8
    assert asked <= {line.split("{")[0].split(" ")[0] for line in lines}
    assert 'spanwise_ingest_items_total{entry="pushed_back",reason="",signal="traces"} 1.0' in lines
    assert 'spanwise_ingest_items_total{entry="quarantined",reason="",signal="traces"} 1.0' in lines
    assert 'spanwise_job_failed{kind="rollup"} 1.0' in lines
    assert 'spanwise_job_watermark_lag_seconds{kind="rollup"} 7.0' in lines


class NoStore:
    """A store that is away."""

    def limited(self, _: Any) -> NoStore:
        return self

    def frame(self, *_: Any, **__: Any) -> pl.DataFrame:
        raise StoreUnavailableError("gone")


def test_what_waits_in_the_spool_is_on_the_prometheus_page_though_the_store_is_away(services: Services) -> None:
    kept = ScoresKept(held=Waiting(3_000, 4_000, NOW - timedelta(minutes=2)))
    lines = make_client(replace(services, collector=kept, store=NoStore())).get("/metrics").text.splitlines()
    assert {"spanwise_up 0.0", "spanwise_spool_bytes 3000.0", "spanwise_spool_limit_bytes 4000.0"} <= set(lines)
    assert "spanwise_spool_oldest_seconds 120.0" in lines
    # a process without a collector has no spool
    assert "spanwise_spool" not in make_client(replace(services, collector=None)).get("/metrics").text


def test_search_by_every_format_gives_the_same(client: TestClient, store: Store) -> None:
    write_traces(store, [trace_row(number, started_at=START - timedelta(minutes=number)) for number in range(3)])
    items = get(client, "/api/v1/traces", route="teacher")["items"]
    assert [int(item["trace_id"], 16) for item in items] == [0, 1, 2]
    assert items[0]["started_at"] == "2026-03-01T12:00:00.000000000Z"
    assert items[0]["cost_usd"] == 0.01
    arrow = client.get("/api/v1/traces", params={"route": "teacher"}, headers={"Accept": "application/vnd.apache.arrow.stream"})
    frame = pl.read_ipc_stream(io.BytesIO(arrow.content))
    assert frame["trace_id"].to_list() == [item["trace_id"] for item in items]
    assert frame.schema["started_at"] == pl.Datetime("ns", "UTC")
    parquet = client.get("/api/v1/traces", params={"route": "teacher", "format": "parquet"})
    assert_frame_equal(pl.read_parquet(io.BytesIO(parquet.content)), frame, check_dtypes=False)
    csv = pl.read_csv(
        client.get("/api/v1/traces", params={"route": "teacher", "format": "csv"}).content,
        schema_overrides={"trace_id": pl.String},
    )
    assert csv["trace_id"].to_list() == frame["trace_id"].to_list()
    assert csv["models"].to_list() == ['["gpt-x"]'] * 3


def test_pages_of_a_search_go_on_where_they_stopped(client: TestClient, store: Store) -> None:
    write_traces(store, [trace_row(number, started_at=START - timedelta(seconds=number)) for number in range(25)])
    seen, cursor = [], None
    for _ in range(10):
        answer = get(client, "/api/v1/traces", limit=10, **({"cursor": cursor} if cursor else {}))
        seen += [int(item["trace_id"], 16) for item in answer["items"]]
        cursor = answer["next"]
        if cursor is None:
            break
    assert seen == list(range(25))


def test_a_cursor_belongs_to_its_question(client: TestClient, store: Store) -> None:
    write_traces(store, [trace_row(1), trace_row(2)])
    cursor = get(client, "/api/v1/traces", limit=1)["next"]
    problem = get(client, "/api/v1/traces", 400, limit=1, cursor=cursor, route="student")
    assert "same filters" in problem["detail"]
    assert get(client, "/api/v1/traces", 400, cursor="nonsense")["parameter"] == "cursor"


def test_the_next_page_is_linked_in_other_formats(client: TestClient, store: Store) -> None:
    write_traces(store, [trace_row(1), trace_row(2)])
    answer = client.get("/api/v1/traces", params={"limit": 1, "format": "csv"})
    following = client.get(answer.links["next"]["url"])
    assert following.text.splitlines()[1].startswith(f"{1:032x}")


def test_one_trace_whole_or_what_exists(client: TestClient, store: Store) -> None:
    write_traces(store, [trace_row(5)])
    assert get(client, f"/api/v1/traces/{5:032X}")["facts"][0]["cohort"] == "refunds"
    problem = get(client, "/api/v1/traces/ff", 404)
    assert problem["type"].endswith("/unknown-trace")
    assert problem["known"] == [f"{5:032x}"]


def test_unknown_names_are_404_problems(client: TestClient) -> None:
    for path in ("metrics/nope", "rollouts/nope/verdict", "gate/nope", "alerts/nope", "traces/nope", "jobs/nope", "nope"):
        answer = client.get(f"/api/v1/{path}")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
        assert {"type", "title", "status", "detail", "instance"} <= answer.json().keys()
    assert "eval_fail_rate" in client.get("/api/v1/metrics/nope").json()["detail"]


def test_the_list_of_rollouts_is_where_their_addresses_suggest(client: TestClient) -> None:
    moved = client.get("/rollouts", follow_redirects=False)
    assert (moved.status_code, moved.headers["location"]) == (303, "/")


def test_declared_rollouts_are_listed_and_wrong_ones_named(client: TestClient) -> None:
    wrong = client.put("/api/v1/rollouts/r1", json={"service": "s", "baseline": "a", "candidate": "a"})
    assert wrong.status_code == 422
    assert "itself" in wrong.json()["detail"]
    made = client.put("/api/v1/rollouts/r1", json={"service": "s", "baseline": "a", "candidate": "b"})
    assert made.status_code == 200, made.text
    assert [item["name"] for item in get(client, "/api/v1/rollouts")["items"]] == ["r1"]
    assert "known: r1" in get(client, "/api/v1/rollouts/r2", 404)["detail"]
    assert get(client, "/api/v1/rollouts/r1/verdict")["kind"] == "collecting"
    assert get(client, "/api/v1/rollouts/r1/verdicts")["items"] == []
    ended = client.post("/api/v1/rollouts/r1/end", json={"reason": "done", "rolled_back": True})
    assert ended.json()["state"] == "rolled_back"


def test_series_say_what_they_cover(client: TestClient) -> None:
    answer = get(client, "/api/v1/metrics/error_rate", step="1h", group_by="route,cohort", **{"from": "-90m"})
    assert (answer["from"], answer["to"], answer["step_seconds"]) == (
        "2026-03-01T11:00:00.000000000Z",
        "2026-03-01T13:00:00.000000000Z",
        3600,
    )
    assert answer["items"] == []
    assert "not whole" not in get(client, "/api/v1/metrics/error_rate", 400, group_by="colour")["detail"]
    assert get(client, "/api/v1/metrics/error_rate", 400, step="90s")["parameter"] == "step"
    assert get(client, "/api/v1/metrics/error_rate", 422, color="red")["fields"][0]["field"].endswith("color")
    assert "eval_fail_rate" in [item["name"] for item in get(client, "/api/v1/metrics")["items"]]


def test_scores_are_taken_one_by_one(client: TestClient, services: Services) -> None:
    answer = client.post(
        "/api/v1/scores", json={"scores": [{"name": "judge", "trace_id": "a" * 32, "passed": True}, {"passed": False}]}
    )
    assert answer.json() == {"n_received": 2, "n_accepted": 1, "rejected": [{"index": 1, "errors": ["name: missing"]}]}
    assert services.collector.taken == [({"name": "judge", "trace_id": "a" * 32, "passed": True}, "")]  # type: ignore[union-attr]
    assert client.post("/api/v1/scores", json={"scores": [{}]}).status_code == 422


def test_a_role_that_is_elsewhere_is_named(store: Store, services: Services, clock: Any) -> None:
    alone = make_client(make_services(store, clock, collector=None, jobs=None))
    assert alone.post("/api/v1/scores", json={"scores": [{"name": "x"}]}).json()["type"].endswith("/role-not-here")
    assert alone.post("/api/v1/jobs/reprice", json={}).status_code == 501


def test_prices_are_set_and_refused(client: TestClient) -> None:
    nothing = client.put("/api/v1/prices", json={"model": "m"}).json()
    assert (nothing["status"], nothing["detail"]) == (422, "a price needs a token rate, request_usd or gpu_hour_usd")
    wrong = client.put("/api/v1/prices", json={"model": "m", "gpu_hour_usd": "x", "cpu_hour_usd": 1}).json()
    assert [entry["field"] for entry in wrong["fields"]] == ["gpu_hour_usd", "cpu_hour_usd"]
    assert "pydantic" not in str(wrong)
    made = client.put("/api/v1/prices", json={"model": "llama", "gpu_hour_usd": 2.1, "concurrent_requests": 24})
    assert made.status_code == 200, made.text
    (kept,) = get(client, "/api/v1/prices")["items"]
    assert kept == made.json()
    assert kept["effective_from"] == "1970-01-01T00:00:00.000000000Z"
    assert re.fullmatch(TIME, kept["recorded_at"])


_JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("method", "path", "sent", "says"),
    [
        ("GET", "/traces?rout=x", {}, "rout: no such parameter; there are from, to, service, "),
        ("GET", "/metrics/error_rate?color=red", {}, "color: no such parameter; there are from, to, step, "),
        ("GET", "/traces?failed=eval", {}, "failed: 'eval' is none of 'eval_fail', 'thumbs_down', 'correction', "),
        ("GET", "/traces?limit=abc", {}, "limit: 'abc' should be a valid integer"),
        ("GET", "/alerts?state=firing&state=out", {}, "state: 'out' is none of 'pending', 'firing', "),
        ("POST", "/jobs/nonsense", {"json": {}}, "kind: 'nonsense' is none of 'assemble', "),
        ("POST", "/jobs/reprice", {}, "since is not given: this job works on the traces that started from then on"),
        ("POST", "/jobs/reprice", {"json": {"since": "-1h", "until": "-2h"}}, "since='-1h' is not earlier than until=-2h"),
        ("POST", "/jobs/purge", {"json": {}}, "traces or user is not given: what is to be erased"),
        ("POST", "/alerts/a/silence", {"json": {"reason": "x"}}, "for or until is not given"),
        ("POST", "/scores", {"json": {"score": []}}, "scores: is not given; score: no such field; there are scores"),
        ("POST", "/scores", {"content": b'{"scores": []}'}, "body: was not sent as JSON"),
        (
            "POST",
            "/sql",
            {"content": b'{"query": SELECT}', "headers": _JSON},
            "body: is not JSON: Expecting value at character 10",
        ),
        ("POST", "/sql", {"json": ["SELECT 1"]}, "body: is a JSON list, not an object"),
        ("POST", "/sql", {}, "body: is empty"),
        (
            "PUT",
            "/rollouts/x",
            {"json": {"service": "s", "bas": "a"}},
            "baseline: is not given; candidate: is not given; bas: no such",
        ),
    ],
)
def test_what_is_wrong_is_named_with_what_would_be_right(
    client: TestClient, method: str, path: str, sent: dict[str, Any], says: str
) -> None:
    answer = client.request(method, f"/api/v1{path}", **sent)
    assert answer.status_code in (400, 422)
    assert answer.json()["detail"].startswith(says)


def test_a_misspelt_filter_does_not_answer_nothing(client: TestClient) -> None:
    client.put("/api/v1/rollouts/r1", json={"service": "s", "baseline": "a", "candidate": "b"}).raise_for_status()
    assert get(client, "/api/v1/alerts", rollout="r1")["items"] == []
    assert "known: r1" in get(client, "/api/v1/alerts", 404, rollout="r2")["detail"]
    for metric in ("eval_fail", "error", "error_rate", "slow"):
        assert get(client, "/api/v1/rollouts/r1/pairs", metric=metric)["items"] == []
    refused = get(client, "/api/v1/rollouts/r1/pairs", 400, metric="eval")
    assert refused["detail"].startswith("metric='eval' is not one of eval_fail, thumbs_down, ")


def test_a_body_without_its_type_says_which_header_is_missing(client: TestClient) -> None:
    assert "Content-Type: application/json" in client.post("/api/v1/sql", content=b"{}").json()["do"]


def test_times_are_written_alike_everywhere(client: TestClient, store: Store) -> None:
    write_traces(store, [trace_row(1)])
    found = get(client, "/api/v1/traces")["items"][0]["started_at"]
    as_csv = pl.read_csv(client.get("/api/v1/traces", headers={"Accept": "text/csv"}).content, infer_schema=False)["started_at"][
        0
    ]
    asked = {"query": "SELECT started_at, toDateTime(started_at) AS seconds, toDateTime64(started_at, 3) AS ms FROM trace_facts"}
    ((*by_sql,),) = client.post("/api/v1/sql", json=asked).json()["rows"]
    assert {found, as_csv, *by_sql} == {"2026-03-01T12:00:00.000000000Z"}
    hour = get(client, "/api/v1/metrics/error_rate", step="1h")
    assert all(re.fullmatch(TIME, time) for time in (hour["from"], hour["to"], *(item["bucket"] for item in hour["items"])))


@pytest.mark.parametrize(("state", "error"), [(JobState.STOPPED, "the process was stopped"), (JobState.FAILED, "no")])
def test_a_job_that_did_not_end_says_how(store: Store, clock: FixedClock, state: JobState, error: str) -> None:
    class Ending:
        def run(self, kind: str, *_: Any) -> JobRun:
            return JobRun("id", kind, NOW, NOW, state, progress=0.5, error=error)

    jobs = BackgroundJobs(Ending())
    client = make_client(make_services(store, clock, jobs=jobs))
    path = client.post("/api/v1/jobs/reprice", json={"since": "-7d"}).headers["location"]
    jobs.stop()
    told = get(client, path)
    assert (told["state"], told["error"], told["progress"]) == (state, error, 0.5)


def test_jobs_run_in_the_background(client: TestClient, services: Services) -> None:
    answer = client.post("/api/v1/jobs/reprice", json={"since": "-7d"})
    assert answer.status_code == 202
    services.jobs.stop()  # type: ignore[union-attr]
    assert get(client, answer.headers["location"])["state"] == "done"
    assert client.post("/api/v1/jobs/nonsense", json={}).status_code == 422
    assert get(client, "/api/v1/jobs/nope", 404)["type"].endswith("/unknown-job-run")


def test_the_ledger_adds_up_per_signal(client: TestClient, store: Store) -> None:
    for entry, n_items in (
        ("received", 10),
        ("accepted", 9),
        ("rejected", 1),
        ("written", 6),
        ("quarantined", 1),
        ("masked_out", 1),
    ):
        store.command(
            "INSERT INTO ingest_ledger (minute, signal, key_id, entry, reason, n_items, source) "
            "VALUES (toDateTime('2026-03-01 12:30:00', 'UTC'), 'traces', 'k', {e:String}, '', {n:UInt64}, 's')",
            {"e": entry, "n": n_items},
        )
    answer = get(client, "/api/v1/ledger", step="1h")
    assert {item["entry"]: item["n_items"] for item in answer["items"]}["written"] == 6
    assert {item["bucket"] for item in answer["items"]} == {"2026-03-01T12:00:00.000000000Z"}
    # 9 accepted - 6 written - 1 quarantined - 1 masked out
    assert answer["balance"][0]["pending"] == 1


def test_held_requests_are_retried_or_dropped(client: TestClient) -> None:
    assert client.post("/api/v1/quarantine/q1/retry").status_code == 404
    assert client.post("/api/v1/quarantine/q1/drop").json() == {"quarantine_id": "q1", "action": "drop", "n_items": 3}
    assert client.post("/api/v1/quarantine/q1/eat").status_code == 422


def test_data_quality_names_what_nothing_reads(client: TestClient, store: Store) -> None:
    write_traces(store, [trace_row(1, quality_flags=["cost_lower_bound"]), trace_row(2, cost_usd=None)])
    store.command(
        "INSERT INTO span_records (trace_id, span_id, start_time, attributes, received_at) "
        "VALUES ('t', 's', {at:DateTime64(9)}, "
        "map('my.own.key', '1', 'gen_ai.request.model', 'm', 'llm.input_messages.0.role', 'u'), {at:DateTime64(9)})",
        {"at": START},
    )
    report = get(client, "/api/v1/quality")
    assert [entry["key"] for entry in report["unmapped_attributes"]] == ["my.own.key"]
    assert report["coverage"] == [
        {"service_name": "support-agent", "model_route": "teacher", "n_traces": 2, "n_priced": 1, "n_without_route": 0}
        | {"n_without_cohort": 0, "n_sampled": 0}
    ]
    assert report["quality_flags"][0]["flag"] == "cost_lower_bound"


def test_empty_lists_are_lists_in_every_format(client: TestClient) -> None:
    for path in (
        "alerts",
        "silences",
        "quarantine",
        "jobs",
        "facets",
        "keys",
        "deliveries",
        "prices",
        "rollouts",
        "ledger",
        "traces",
    ):
        for form in ("json", "csv", "arrow", "parquet"):
            answer = client.get(f"/api/v1/{path}", params={"format": form})
            assert answer.status_code == 200, answer.text
        assert get(client, f"/api/v1/{path}")["items"] == []


def test_formats_that_do_not_exist_are_refused(client: TestClient) -> None:
    assert client.get("/api/v1/metrics", headers={"Accept": "image/png"}).status_code == 406
    assert (
        client.get("/api/v1/metrics", headers={"Accept": "text/html, application/json;q=0.5"}).headers["content-type"]
        == "application/json"
    )


def test_an_answer_the_caller_has_is_not_sent_again(client: TestClient) -> None:
    first = client.get("/api/v1/metrics")
    again = client.get("/api/v1/metrics", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_large_requests_are_refused(client: TestClient) -> None:
    answer = client.post("/api/v1/scores", content=b"x" * (16 * 2**20 + 1), headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["type"].rsplit("/", 1)[-1]) == (413, "too-large")


def test_every_answer_carries_security_headers(client: TestClient) -> None:
    for path in ("/healthz", "/api/v1/metrics", "/api/v1/nothing", "/login", "/static/spanwise.css"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"], path
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "unsafe" not in headers["content-security-policy"]


def test_the_clock_of_relative_times_is_the_services(client: TestClient, store: Store, clock: Any) -> None:
    write_traces(store, [trace_row(1, started_at=NOW - timedelta(hours=30))])
    assert get(client, "/api/v1/traces")["items"] == []
    clock.set(NOW - timedelta(hours=10))
    assert len(get(client, "/api/v1/traces")["items"]) == 1


def test_long_texts_are_gzipped_for_who_takes_that_and_known_ones_are_not_sent_again(client: TestClient, store: Store) -> None:
    write_traces(store, [trace_row(number, started_at=START - timedelta(minutes=number)) for number in range(50)])
    plain = client.get("/api/v1/traces", headers={"Accept-Encoding": "identity"})
    packed = client.get("/api/v1/traces", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(plain.content) / 5
    assert packed.json() == plain.json()
    assert "Accept-Encoding" in packed.headers["vary"]
    for tag in (plain.headers["etag"], packed.headers["etag"]):
        again = client.get("/api/v1/traces", headers={"If-None-Match": tag, "Accept-Encoding": "gzip"})
        assert (again.status_code, again.content) == (304, b"")
    # what is compressed already is left alone
    parquet = client.get("/api/v1/traces", params={"format": "parquet"}, headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in parquet.headers
