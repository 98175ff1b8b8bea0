"""A comparison's state as bytes, and back; the same state is always the same bytes."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable

import numpy as np
import polars as pl

from alerts.ledger import Ledger
from alerts.method.weights import StreamKey
from alerts.rules import MINUTES_PER_DAY, Rules
from alerts.state import ComparisonState
from storage.settled import SETTLED


def to_bytes(state: ComparisonState) -> bytes:
    """
    A header in JSON, its length before it, then the arrays in little-endian order.

    What depends on the order in which keys were met is sorted, so the bytes depend on the settled rows alone.
    """
    arrays: list[np.ndarray] = []
    header = {
        "frontiers": sorted(state.frontiers.items()),
        "first_day": state.first_day,
        "open": [[list(key), list(state.open[key])] for key in sorted(state.open)],
        "recent_hour": state.recent_hour,
        "recent": [list(key) for key in sorted(state.recent) if state.recent[key].any()],
        "routed": [[epoch, *counts] for epoch, counts in sorted(state.routed.items())],
        "dollars": sorted(state.dollars),
        "streams": [[[s.metric, s.evaluator, s.cohort] for s in ledger.streams] for ledger in _ledgers(state)],
    }
    arrays += [state.recent[key] for key in sorted(state.recent) if state.recent[key].any()]
    arrays += [state.dollars[cohort] for cohort in sorted(state.dollars)]
    for ledger in _ledgers(state):
        arrays += [ledger.paged, ledger.page_start, ledger.sums, ledger.carry]
    text = json.dumps(header, separators=(",", ":")).encode()
    # Adding 0.0 turns -0.0 into 0.0, which compares equal but has other bytes.
    parts = [(a if a.dtype == np.int64 else a + 0.0).astype(a.dtype.newbyteorder("<")).tobytes() for a in arrays]
    return len(text).to_bytes(4, "little") + text + b"".join(parts)


def from_bytes(rules: Rules, data: bytes) -> ComparisonState:
    """The inverse of `to_bytes`, for the rules the state was made under."""
    state = ComparisonState(rules)
    length = int.from_bytes(data[:4], "little")
    header = json.loads(data[4 : 4 + length])
    reader = _Reader(data[4 + length :])
    state.frontiers = dict(header["frontiers"])
    state.first_day, state.recent_hour = header["first_day"], header["recent_hour"]
    state.open = {tuple(key): tuple(values) for key, values in header["open"]}
    state.routed = {epoch: (a, n) for epoch, a, n in header["routed"]}
    state.recent = {tuple(key): reader.take((24, 2)) for key in header["recent"]}
    state.dollars = {cohort: reader.take(state.dollars_shape()) for cohort in header["dollars"]}
    for ledger, streams in zip(_ledgers(state), header["streams"], strict=True):
        for key in streams:
            ledger.stream(StreamKey(*key))
        ledger.make_room()
        ledger.paged = reader.take(ledger.paged.shape, "<i8").astype(np.int64)
        ledger.page_start = reader.take(ledger.page_start.shape, "<i8").astype(np.int64)
        ledger.sums, ledger.carry = reader.take(ledger.sums.shape), reader.take(ledger.carry.shape)
    return state


def pack(state: ComparisonState) -> tuple[str, str]:
    """The state as text for a table, and the SHA-256 of its bytes."""
    data = to_bytes(state)
    return base64.b64encode(zlib.compress(data, 1)).decode(), hashlib.sha256(data).hexdigest()


def unpack(rules: Rules, text: str) -> ComparisonState:
    """The inverse of `pack`."""
    return from_bytes(rules, zlib.decompress(base64.b64decode(text)))


def rebuild(rules: Rules, settled: pl.DataFrame) -> ComparisonState:
    """The state after settled rows (`SETTLED`), taken in day by day in the order in which they were settled."""
    return replay(ComparisonState(rules), [settled])


def replay(state: ComparisonState, pieces: Iterable[pl.DataFrame], frontiers: dict[int, int] | None = None) -> ComparisonState:
    """
    Take in rows that were settled after `state`, in the order in which they were.

    Args:
        pieces: `SETTLED` rows, each piece of later minutes than the one before; held at once are a piece, and what waits for rows
            of later minutes that were settled earlier.
        frontiers: those known from elsewhere; else those the rows imply.
    """
    rules = state.rules
    waiting = SETTLED.to_frame().with_columns(*(pl.lit(0, pl.Int64).alias(name) for name in ("group", "at", "day")))
    for piece in pieces:
        if piece.is_empty():
            continue
        timed = pl.concat([waiting, _timed(piece, rules)])
        # Nothing is settled before its minute: what was settled on days before the last minute's is complete.
        last = int(timed["at"].max())  # type: ignore[arg-type]
        complete = pl.col("day") < (last + 1) // MINUTES_PER_DAY
        _take_in(state, timed.filter(complete))
        waiting = timed.filter(~complete)
    _take_in(state, waiting)
    if frontiers:
        state.advance(SETTLED.to_frame(), frontiers)
    return state


def _timed(settled: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """With the group in which each row settled, its minute as a number, and the day on which that was."""
    keys = settled.select("metric", "evaluator").unique().rows()
    waits = pl.DataFrame(
        [(m, e, rules.group_of((m, e)), rules.maturity_of((m, e))) for m, e in keys],
        schema={"metric": pl.String, "evaluator": pl.String, "group": pl.Int64, "maturity": pl.Int64},
        orient="row",
    )
    minute = pl.col("minute").dt.epoch("s") // 60
    known = pl.when(pl.col("group") < 0).then(pl.max_horizontal(minute, pl.lit(rules.referenced_from))).otherwise(minute)
    day = (known + pl.col("maturity")) // MINUTES_PER_DAY
    joined = settled.join(waits, on=["metric", "evaluator"], maintain_order="left")
    return joined.select(*SETTLED, "group", at=minute, day=day)


def _take_in(state: ComparisonState, timed: pl.DataFrame) -> None:
    for _, part in timed.sort("day", maintain_order=True).group_by("day", maintain_order=True):
        reached = part.group_by("group").agg((pl.col("at").max() + 1).alias("to")).rows()
        frontiers = {group: max(to, state.frontiers.get(group, to)) for group, to in reached}
        state.advance(part.drop("group", "at", "day"), frontiers)


def _ledgers(state: ComparisonState) -> Iterable[Ledger]:
    return (state.paging, state.guarding)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, shape: tuple[int, ...], dtype: str = "<f8") -> np.ndarray:
        size = int(np.prod(shape)) * 8
        part = np.frombuffer(self._data, dtype=dtype, count=size // 8, offset=self._at).reshape(shape).astype(dtype[1:])
        self._at += size
        return part.copy()
