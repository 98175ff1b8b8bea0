"""
What occurs in a batch of staged spans, counted before they are read: the statement that reads them is written for just that.

The vocabulary has hundreds of keys in a dozen dialects; the spans of one segment, made by a few instrumentations, hold a few
dozen. So each key is translated once a segment, here and in `ranking.py`, not once a span: a key, a kind of value or an event
that does not occur leaves no trace in the statement, and costs nothing for any span.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import reduce
from typing import Any

import polars as pl

from collector import any_value, evaluations
from collector.attributes import FIELDS, MEMBERS
from collector.documents import sources
from collector.sqltext import text, texts


@dataclass(frozen=True)
class Census:
    """
    What may occur; by default anything, which makes a longer statement with the same rows. None stands for every key or name.

    Args:
        keys: of span attributes.
        resource_keys: of resource attributes.
        tags: wire tags of values of span attributes (`any_value`).
        event_tags: wire tags of values of event and link attributes.
        event_names: of span events.
        has_odd_evaluations: an evaluation event is not one of those that `evaluations.plain` reads.
        has_nested: an attribute is more than a scalar or a list of one short string.
        has_repeats: a span has a key twice, or an empty one.
        has_links: a span has a link.
        has_errors: a span's status is an error.
    """

    keys: frozenset[str] | None = None
    resource_keys: frozenset[str] | None = None
    tags: frozenset[int] = any_value.TAGS
    event_tags: frozenset[int] = any_value.TAGS
    event_names: frozenset[str] | None = None
    has_odd_evaluations: bool = True
    has_nested: bool = True
    has_repeats: bool = True
    has_links: bool = True
    has_errors: bool = True

    def __or__(self, other: Census) -> Census:
        pairs = {field.name: (getattr(self, field.name), getattr(other, field.name)) for field in fields(self)}
        union: dict[str, Any] = {name: None if None in pair else pair[0] | pair[1] for name, pair in pairs.items()}
        return Census(**union)

    @property
    def n_known(self) -> int:
        """How many keys of the vocabulary occur."""
        return len(_KNOWN if self.keys is None else self.keys & _KNOWN)

    def has_key(self, key: str) -> bool:
        """Whether a span may have the attribute, or (`document{}.member`) the document with the member."""
        if self.keys is None:
            return True
        return not self.keys.isdisjoint(sources(key)) if MEMBERS in key else key in self.keys

    def has_field(self, *names: str) -> bool:
        """Whether anything may feed one of the fields."""
        return any(self.has_key(key) for name in names for key in FIELDS[name].keys)

    def has_resource_key(self, key: str) -> bool:
        return self.resource_keys is None or key in self.resource_keys

    def has_event(self, name: str) -> bool:
        return self.event_names is None or name in self.event_names

    def with_prefix(self, prefix: str) -> bool:
        return self.keys is None or any(key.startswith(prefix) for key in self.keys)

    def present(self, markers: Iterable[str]) -> str:
        """SQL: whether the span has any of the keys (a key that ends in `*` stands for every key with that prefix)."""
        exact, families = [], []
        for marker in markers:
            if not marker.endswith("*"):
                exact += [marker] if self.has_key(marker) else []
            elif self.with_prefix(marker[:-1]):
                families.append(marker[:-1])
        tests = [f"has(keys, {text(key)})" for key in exact]
        if len(tests) > 3:
            tests = [f"hasAny(keys, {texts(exact)})"]
        if families:
            tests.append(f"arrayExists(k -> {' OR '.join(f'startsWith(k, {text(prefix)})' for prefix in families)}, keys)")
        return f"({' OR '.join(tests)})" if tests else "false"


EVERYTHING = Census()
NOTHING = Census(*[frozenset()] * 5, *[False] * 5)  # type: ignore[arg-type]

SCOPE = "cityHash64(scope_name)"
"""What tells scopes apart: a number, for a name is a sender's text and has no place in a statement."""

_KNOWN = frozenset(key for field in FIELDS.values() for key in field.keys)


MAX_KEYS = 64
"""Keys of the vocabulary that one statement looks for in each span; spans of scopes that together have more are read apart."""


def question(staged: str) -> str:
    """The query whose rows `answers` reads; `staged` has the columns of `decode.staged_spans`."""
    tags = "groupUniqArrayArray(arrayMap(v -> toUInt8(ascii(v)), {}))"
    return f"""SELECT
    {SCOPE} AS scope,
    groupUniqArrayArray(s_attributes_key) AS keys,
    groupUniqArrayArray(mapKeys(resource_attributes)) AS resource_keys,
    {tags.format("s_attributes_value")} AS tags,
    {tags.format("arrayFlatten(arrayConcat(s_events_attributes_value, s_links_attributes_value))")} AS event_tags,
    groupUniqArrayArray(s_events_name) AS event_names,
    max(arrayExists((n, ks, vs) -> n = {text(evaluations.EVENT_NAME)} AND NOT {evaluations.plain.is_plain("ks", "vs")},
        s_events_name, s_events_attributes_key, s_events_attributes_value)) = 1 AS has_odd_evaluations,
    max(arrayExists(v -> {any_value.is_nested("v")}, s_attributes_value)) = 1 AS has_nested,
    max(arrayUniq(s_attributes_key) < length(s_attributes_key) OR has(s_attributes_key, '')) = 1 AS has_repeats,
    max(notEmpty(s_links_trace_id)) = 1 AS has_links,
    max(s_status_code = 2) = 1 AS has_errors
FROM {staged}
GROUP BY scope
ORDER BY scope"""


def answers(frame: pl.DataFrame) -> dict[int, Census]:
    """The census of each scope (`SCOPE`), in order."""
    return {row.pop("scope"): answer(row) for row in frame.iter_rows(named=True)}


def answer(row: Mapping[str, Any]) -> Census:
    """The census in one row; columns that are not there leave "anything"."""
    counted: dict[str, Any] = {name: frozenset(value) if isinstance(value, list) else bool(value) for name, value in row.items()}
    return Census(**counted)


def together(found: Iterable[Census]) -> Census:
    """What occurs in any of them."""
    return reduce(Census.__or__, found, NOTHING)


def parted(scopes: Mapping[int, Census]) -> list[tuple[list[int], Census]]:
    """
    Scopes whose spans one statement reads, and their census: as few groups as keep to `MAX_KEYS`, first come first served.

    What many instrumentations share is looked for once; what only one of them has costs the spans of the others nothing.
    """
    groups: list[tuple[list[int], Census]] = []
    for scope, census in scopes.items():
        for n, (members, joint) in enumerate(groups):
            if (joint | census).n_known <= MAX_KEYS:
                groups[n] = ([*members, scope], joint | census)
                break
        else:
            groups.append(([scope], census))
    return groups or [([], NOTHING)]
