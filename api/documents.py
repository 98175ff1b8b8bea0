"""From the program's values to JSON's: dataclasses, times, money, frames."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Any

import polars as pl

from api.times import rfc3339


def to_json(value: Any) -> Any:
    """
    `value` in JSON's types.

    Times become RFC 3339 in UTC, decimals and finite floats numbers, NaN and infinities null, enumerations their value,
    dataclasses objects, bytes their length's worth of text with what is no UTF-8 replaced.
    """
    kind = type(value)
    if kind is str or kind is int or value is None or kind is bool:
        return value
    if kind is float:
        return value if math.isfinite(value) else None
    match value:
        case None | bool() | int():
            return value
        case Enum():
            return value.value
        case str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            return float(value)
        case datetime():
            return rfc3339(value)
        case date():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case bytes():
            return value.decode("utf-8", "replace")
        case Mapping():
            return {str(key): to_json(item) for key, item in value.items()}
        case list() | tuple():
            return [to_json(item) for item in value]
        case frozenset() | set():
            return sorted(to_json(item) for item in value)
    if dataclasses.is_dataclass(value):
        return {name: to_json(getattr(value, name)) for name in _fields(kind)}  # type: ignore[arg-type] # a class is hashable
    return str(value)


@cache
def _fields(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


def to_items(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """A frame's rows as JSON objects; its times keep their nanoseconds."""
    return [to_json(row) for row in _times_as_text(frame).iter_rows(named=True)]


def to_rows(frame: pl.DataFrame) -> list[list[Any]]:
    """A frame's rows as JSON arrays, in the order of its columns."""
    return [to_json(row) for row in _times_as_text(frame).iter_rows()]


def _times_as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """Python's datetime would cut nanoseconds."""
    times = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Datetime) and kind.time_unit == "ns"]
    return frame.with_columns(pl.col(name).dt.convert_time_zone("UTC").dt.strftime("%Y-%m-%dT%H:%M:%S%.9fZ") for name in times)
