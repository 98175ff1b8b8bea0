"""Old rows leave the disk, content leaves earlier, and an erasure request leaves nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from alerts.page import Content, from_json, to_json, trace_links
from storage.alerts import AlertEvent, AlertId, EventKind, Notice, Subject, SubjectKind, read_alert_events, write_events
from storage.client import Store
from storage.config import RetentionConfig
from storage.migrations import migrate
from storage.purge import Erased, known_traces, purge_traces, traces_of_user
from storage.retention import apply, enforce, strip_content
from tests.support.rows import insert_spans

pytestmark = pytest.mark.integration


@pytest.fixture
def aged(any_store: Store) -> Store:
    """Spans received 20, 21 and 22 days ago."""
    migrate(any_store)
    insert_spans(any_store, 300, 60, age_days=20)
    return any_store


def bytes_on_disk(store: Store, table: str) -> int:
    sql = "SELECT sum(bytes_on_disk) AS n FROM system.parts WHERE active AND database = {d:String} AND table = {t:String}"
    found: int = store.frame(sql, {"d": store.database, "t": table})["n"].item()
    return found


def test_expired_spans_free_their_disk(aged: Store) -> None:
    before = bytes_on_disk(aged, "span_records")
    assert "span_records" in apply(aged, RetentionConfig(spans_days=21))
    enforce(aged)
    kept = aged.frame("SELECT count() AS n FROM span_records")["n"].item()
    assert kept == 100
    assert 0 < bytes_on_disk(aged, "span_records") < before
    assert aged.frame("SELECT count() AS n FROM trace_times")["n"].item() < 180


def test_nothing_changes_when_the_setting_did_not(aged: Store) -> None:
    apply(aged, RetentionConfig())
    assert apply(aged, RetentionConfig()) == []
    assert "span_records" in apply(aged, RetentionConfig(spans_days=0))
    assert (
        "TTL"
        not in aged.frame(
            "SELECT engine_full AS e FROM system.tables WHERE name = 'span_records' AND database = {d:String}",
            {"d": aged.database},
        )["e"].item()
    )


# Grow with rollouts, people and their decisions, not with traffic.
KEPT_FOR_EVER = {
    *("schema_migrations", "maturities", "prices", "poisonous_traces", "api_keys", "alert_events", "silences", "deliveries"),
    *("rollouts", "settled_minutes", "comparisons", "streams", "verdicts"),
}


def test_every_table_that_grows_with_traffic_expires(make_store: Callable[[], Store]) -> None:
    fresh = make_store()
    migrate(fresh)
    apply(fresh, RetentionConfig(days_days=1000))
    for_ever = """
    SELECT name FROM system.tables
    WHERE database = {d:String} AND engine LIKE '%MergeTree' AND create_table_query NOT LIKE '%TTL%'
    """
    assert set(fresh.frame(for_ever, {"d": fresh.database})["name"]) == KEPT_FOR_EVER


def test_every_table_that_names_a_trace_is_purged(store: Store) -> None:
    naming = """
    SELECT DISTINCT table FROM system.columns
    WHERE database = {d:String} AND (name LIKE '%trace_id' OR name = 'user_id')
        AND table IN (SELECT name FROM system.tables WHERE database = {d:String} AND engine LIKE '%MergeTree')
    """
    tables = {entry.table for entry in purge_traces(store, ["none"])}
    # pages of alerts are JSON, with links to traces in it
    assert {"alert_events"} | set(store.frame(naming, {"d": store.database})["table"]) == tables


def test_pages_of_alerts_stay_without_links_to_purged_traces(any_store: Store) -> None:
    migrate(any_store)
    at = datetime(2026, 3, 1, tzinfo=UTC)
    judged = Content(
        SubjectKind.ROLLOUT, "refund", "divergence", "critical", "support", "", "teacher", "student", at, "it's \\ \"bad\"\n", (),
        exemplars=trace_links("http://[::1]:8080", ["gone", "kept"]),
    )  # fmt: skip
    about = (at, at, Subject(SubjectKind.ROLLOUT, "refund"), "comparison", "divergence")
    told = AlertEvent(AlertId("a"), "1", EventKind.NOTIFIED, *about, notice=Notice.FIRING, notice_number=1, page=to_json(judged))
    opened = replace(told, event_id="2", event=EventKind.OPENED, notice=Notice.NONE, page="")
    write_events(any_store, [told, opened])
    erased = [entry for entry in purge_traces(any_store, ["gone"]) if entry.table == "alert_events"]
    assert erased == [Erased("alert_events", 1, 0)]
    pages = {event.event_id: event.page for event in read_alert_events(any_store, AlertId("a"))}
    assert from_json(pages["1"]) == replace(judged, exemplars=judged.exemplars[1:])
    assert pages["2"] == ""


def test_content_goes_and_the_rest_of_the_span_stays(aged: Store) -> None:
    assert strip_content(aged, RetentionConfig(content_days=7)) == 3
    row = aged.frame("SELECT DISTINCT attributes, attribute_types, events.attributes AS e FROM span_records").rows()
    assert row == [({"gen_ai.request.model": "m"}, [1], [{"exception.type": "Timeout"}])]
    assert strip_content(aged, RetentionConfig(content_days=7)) == 0


def test_content_younger_than_its_time_stays(aged: Store) -> None:
    assert strip_content(aged, RetentionConfig(content_days=25)) == 0
    assert strip_content(aged, RetentionConfig(content_days=0)) == 0


def test_a_purged_user_leaves_no_row(aged: Store) -> None:
    ids = traces_of_user(aged, "user-3")
    assert len(ids) == 6
    aged.command("INSERT INTO evaluation_records (evaluation_id, target_session_id, name) VALUES ('e1', 's', 'judge')")
    aged.command(
        "INSERT INTO evaluation_targets (evaluation_id, trace_id, computed_at) VALUES ('e1', {t:String}, now64(9))", {"t": ids[0]}
    )
    aged.command(
        "INSERT INTO evaluation_records (evaluation_id, target_trace_id, name) VALUES ('e2', {t:String}, 'judge')", {"t": ids[1]}
    )
    assert known_traces(aged, [*ids, "0" * 32]) == set(ids)
    entries = purge_traces(aged, ids)
    proof = {entry.table: entry for entry in entries}
    assert len(proof) == len(entries)
    # one found by what it was resolved to, one by the trace it names
    assert proof["evaluation_records"].n_before == 2
    assert proof["span_records"].n_before == 30
    assert proof["evaluation_targets"].n_before == 1
    assert all(entry.n_after == 0 for entry in proof.values())
    assert aged.frame("SELECT count() AS n FROM span_records WHERE user_id = 'user-3'")["n"].item() == 0
    assert aged.frame("SELECT count() AS n FROM evaluation_records")["n"].item() == 0
    assert aged.frame("SELECT count() AS n FROM span_records")["n"].item() == 270
