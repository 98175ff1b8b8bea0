"""Numbers for attribute keys: which field a key feeds, at which rank; and a bit for every key whose mere presence matters."""

from __future__ import annotations

from collections.abc import Iterable

from collector.attributes import COUNTS, FIELDS, METADATA_PREFIXES
from collector.dialects import DIALECTS
from collector.documents import DOCUMENTS

FIELD_IDS = {name: number for number, name in enumerate(FIELDS, start=1)}
COUNTS_END = (len(COUNTS) + 1) * 256


def codes() -> tuple[dict[str, int], dict[str, int]]:
    """
    Attribute key -> field id * 256 + rank, for its first and (where a key feeds two fields) its second role.

    Raises:
        ValueError: a key has a third role, or a field has more than 127 keys.
    """
    first: dict[str, int] = {}
    second: dict[str, int] = {}
    for name, field in FIELDS.items():
        if len(field.keys) > 127:
            raise ValueError(f"field {name!r} has {len(field.keys)} keys; a rank has 7 bits")
        for rank, key in enumerate(field.keys, start=1):
            roles = second if key in first else first
            if key in roles:
                raise ValueError(f"key {key!r} has a third role, {name!r}")
            roles[key] = FIELD_IDS[name] * 256 + rank
    return first, second


def marker_bits() -> dict[str, int]:
    """Every key (or `prefix*`) whose presence on a span matters, and its bit."""
    keys = [key for dialect in DIALECTS.values() for group in dialect.markers for key in group]
    keys += [*DOCUMENTS, *(prefix + "*" for prefix in METADATA_PREFIXES)]
    return {key: 1 << n for n, key in enumerate(dict.fromkeys(keys))}


BITS = marker_bits()


def mask(keys: Iterable[str]) -> int:
    return sum({BITS[key] for key in keys})


def has(keys: Iterable[str]) -> str:
    """Whether the span has any of the marker keys."""
    return f"bitAnd(markers, {mask(keys)}) != 0"
