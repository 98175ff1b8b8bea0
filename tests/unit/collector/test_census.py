"""Which spans one statement reads, and what it looks for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from collector.attributes import FIELDS
from collector.census import EVERYTHING, MAX_KEYS, NOTHING, Census, parted, together

KEYS = sorted({key for field in FIELDS.values() for key in field.keys if "{}" not in key})


def counted(keys: list[str], **more: Any) -> Census:
    return replace(NOTHING, keys=frozenset(keys), **more)


def test_union() -> None:
    both = counted(["a"], has_links=True) | counted(["b"])
    assert (both.keys, both.has_links, both.has_errors) == (frozenset("ab"), True, False)
    assert (both | EVERYTHING).keys is None
    assert together([]) == NOTHING


def test_few_keys_are_read_together() -> None:
    scopes = {1: counted(KEYS[:30]), 2: counted(KEYS[10:40]), 3: counted(["not", "known"] * 100)}
    assert parted(scopes) == [([1, 2, 3], together(scopes.values()))]


def test_scopes_that_share_little_are_read_apart() -> None:
    scopes = {1: counted(KEYS[:50]), 2: counted(KEYS[50:100]), 3: counted(KEYS[:MAX_KEYS]), 4: counted(KEYS[60:100])}
    assert [members for members, _ in parted(scopes)] == [[1, 3], [2, 4]]
    assert all(joint.n_known <= MAX_KEYS for _, joint in parted(scopes))


def test_a_scope_with_more_stands_alone() -> None:
    scopes = {1: counted(KEYS[:5]), 2: counted(KEYS)}
    assert [members for members, _ in parted(scopes)] == [[1], [2]]


def test_no_spans_make_one_empty_group() -> None:
    assert parted({}) == [([], NOTHING)]


def test_keys_of_documents_count_as_the_document() -> None:
    census = counted(["langfuse.observation.usage_details", "metadata"])
    assert census.has_key("usage{}.input")
    assert census.has_key("metadata{}.route")
    assert not census.has_key("langfuse.trace.metadata{}.route")
    assert not census.has_key("cost{}.total")
    assert not census.has_key("usage{}")
