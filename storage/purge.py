"""Erasure requests: every row of a trace or of a user is deleted, and the proof says what was found and what is left."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from storage.client import Store
from storage.errors import PermanentError

# of ids in one deletion; a server takes 128 KiB in one value, escapes included
_MOST_BYTES = 100_000
_TRACE_ID = re.compile("[0-9a-fA-F]{32}")


class TraceIdError(ValueError, PermanentError):
    """What was named cannot be a trace."""

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(f"{text[:200]!r} is no trace id: 32 hexadecimal digits, as `spanwise traces` shows them")


class PurgeError(PermanentError):
    """Rows are still there after the deletion."""


@dataclass(frozen=True)
class Erased:
    """Proof for one table: rows that named a trace before, and after."""

    table: str
    n_before: int
    n_after: int


# Tables that name a trace, by the column that does. What only counts traces (rollups, streams, verdicts) names nobody. Those that
# name a user come last: a purge that was cut short still finds everything when it is run again.
_BY_TRACE = {
    "evaluation_targets": "trace_id",
    "evaluation_records": "target_trace_id",
    "touched_evaluations": "target_trace_id",
    "trace_outcomes": "trace_id",
    "trace_times": "trace_id",
    "touched_traces": "trace_id",
    "response_spans": "trace_id",
    "superseded_copies": "trace_id",
    "session_traces": "trace_id",
    "mirror_units": "trace_id",
    "poisonous_traces": "trace_id",
    "trace_facts": "trace_id",
    "span_facts": "trace_id",
    "span_records": "trace_id",
}
# Evaluations that name a session or a response instead of a trace, found through what they were resolved to.
_EVALUATIONS = {"evaluation_records": "evaluation_id", "touched_evaluations": "evaluation_id"}

_PAGES_NAMING = """
SELECT DISTINCT event_id, page FROM
(
    SELECT event_id, page, arrayJoin(JSONExtract(page, 'exemplars', 'Array(Tuple(trace_id String))')).1 AS trace_id
    FROM alert_events WHERE page != ''
) WHERE trace_id IN (SELECT arrayJoin({ids:Array(String)})) ORDER BY event_id
"""


def trace_id(text: str) -> str:
    """The id as it is stored. Raises `TraceIdError`."""
    if not _TRACE_ID.fullmatch(text):
        raise TraceIdError(text)
    return text.lower()


def known_traces(store: Store, trace_ids: list[str]) -> set[str]:
    """Those of the ids that some row names."""
    named = (
        f"SELECT `{column}` AS id FROM `{table}` WHERE `{column}` IN (SELECT arrayJoin({{ids:Array(String)}}))"
        for table, column in _BY_TRACE.items()
    )
    return set(store.frame(f"SELECT DISTINCT id FROM ({' UNION ALL '.join(named)})", {"ids": trace_ids})["id"])


def traces_of_user(store: Store, user_id: str) -> list[str]:
    """Ids of the traces any span of which names the user, or that inherited the name."""
    sql = """
    SELECT DISTINCT trace_id FROM
    (
        SELECT trace_id FROM span_records WHERE user_id = {user:String}
        UNION ALL SELECT trace_id FROM span_facts WHERE user_id = {user:String}
        UNION ALL SELECT trace_id FROM trace_facts WHERE user_id = {user:String}
    ) ORDER BY trace_id
    """
    ids: list[str] = store.frame(sql, {"user": user_id})["trace_id"].to_list()
    return ids


def purge_traces(store: Store, trace_ids: list[str]) -> list[Erased]:
    """
    Delete every row of the given traces, and links to them in pages of alerts, now, from disk.

    Call it with the spool flushed: what has not been written yet cannot be deleted.

    Raises:
        PurgeError: some row survived; running it again is safe.
    """
    found = "SELECT evaluation_id FROM evaluation_targets WHERE trace_id IN (SELECT arrayJoin({ids:Array(String)}))"
    evaluations = store.frame(found, {"ids": trace_ids})["evaluation_id"].to_list()
    proof = _by_table(
        [
            *(_erase(store, table, column, evaluations) for table, column in _EVALUATIONS.items()),
            _forget_exemplars(store, trace_ids),
            *(_erase(store, table, column, trace_ids) for table, column in _BY_TRACE.items()),
        ]
    )
    if left := [entry for entry in proof if entry.n_after]:
        raise PurgeError(f"{left[0].n_after} rows left in {left[0].table}; run the command again")
    return proof


def _by_table(found: list[Erased]) -> list[Erased]:
    """One line a table, in order; of one searched twice the second search found what the first had left."""
    lines: dict[str, Erased] = {}
    for entry in found:
        before = lines.get(entry.table, Erased(entry.table, 0, 0))
        lines[entry.table] = Erased(entry.table, before.n_before + entry.n_before, before.n_after + entry.n_after)
    return list(lines.values())


def _forget_exemplars(store: Store, trace_ids: list[str]) -> Erased:
    """Pages that people were told stay; their links to these traces go."""
    found = store.frame(_PAGES_NAMING, {"ids": trace_ids})
    gone = set(trace_ids)
    for event_id, page in found.iter_rows():
        content = json.loads(page)
        content["exemplars"] = [link for link in content["exemplars"] if link["trace_id"] not in gone]
        store.alter(
            "alert_events",
            "UPDATE page = {page:String} WHERE event_id = {event:String}",
            {"page": json.dumps(content), "event": event_id},
            {"mutations_sync": 2},
        )
    n_after = store.frame(_PAGES_NAMING, {"ids": trace_ids}).height if found.height else 0
    return Erased("alert_events", found.height, n_after)


def _erase(store: Store, table: str, column: str, ids: list[str]) -> Erased:
    counting = f"SELECT count() AS n FROM `{table}` WHERE `{column}` IN (SELECT arrayJoin({{ids:Array(String)}}))"
    n_before = store.frame(counting, {"ids": ids})["n"].item()
    if n_before:
        for some in _batches(ids):
            store.alter(table, f"DELETE WHERE `{column}` IN {{ids:Array(String)}}", {"ids": some}, {"mutations_sync": 2})
    return Erased(table, n_before, store.frame(counting, {"ids": ids})["n"].item())


def _batches(ids: list[str]) -> Iterator[list[str]]:
    """A deletion is kept with its ids, which therefore are no table beside it: as many as a server takes in one value."""
    some: list[str] = []
    size = 0
    for each in ids:
        size += len(each.encode()) + len("'',")
        if some and size > _MOST_BYTES:
            yield some
            some, size = [], len(each.encode()) + len("'',")
        some.append(each)
    if some:
        yield some
