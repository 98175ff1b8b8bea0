"""
From decoded spans to normalised columns, as one SQL statement of nested steps, made from the tables of `attributes.py`.

The statement is written for the spans at hand: what their census (`census.py`) did not count, no expression mentions. Documents
inside attributes (JSON objects), lists, conflicts and other rarities are worked out only for the spans that have them: the
engine evaluates branches of `if` lazily.

The steps, each a SELECT over the one before (`sqltext.nested` chains them):

    decoded     keys, texts, types and the span's own fields: from staged spans (`decode.py`) or from stored rows
    picked      one text per field: the best of its keys (`ranking.py`)
    read        numbers, money, times, lists; what several fields decide together (`readings.py`)
    settled     tokens in their inclusive form, status, the finished columns (`columns.py`)

Source: docs/semantics.md, "From attributes to columns". The obvious twin that this must equal: tests/support/normalise_twin.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from collector import columns, documents, ranking, readings, sqltext
from collector.census import EVERYTHING, SCOPE, Census
from collector.decode import DECODED, STAGED, decoded, stored_spans
from storage.spans import SPAN_COLUMNS


def staged(table: str, census: Census = EVERYTHING, scopes: Sequence[int] = ()) -> str:
    """
    The SELECT of finished rows from staged spans, one column per column of `span_records` but `written_at`.

    Args:
        scopes: whose spans (`census.SCOPE`); none means all.
    """
    own = f" WHERE {SCOPE} IN ({', '.join(map(str, scopes))})" if scopes else ""
    return _statement(f"SELECT {', '.join(STAGED)} FROM {table}{own}", STAGED, decoded(census), census)


def stored(census: Census = EVERYTHING) -> str:
    """The same from rows of `span_records` that start in [{since}, {until})."""
    return _statement(stored_spans(), DECODED, {}, census)


def _statement(source: str, given: Sequence[str], derived: Mapping[str, str], census: Census) -> str:
    members = documents.members(census.has_key)
    if census.keys is None or not census.keys.isdisjoint(documents.DOCUMENTS):
        members = f"if({census.present(documents.DOCUMENTS)}, {members}, {documents.members(lambda _: False)})"
    derived = {**derived, "members": members} | ranking.derived(census) | readings.derived(census)
    final = columns.final(census)
    return sqltext.nested(source, given, derived, {f"c_{name}": final[name] for name in SPAN_COLUMNS})
