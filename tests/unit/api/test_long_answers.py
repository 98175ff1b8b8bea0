"""A long table is sent in pieces, and holds the same rows."""

from __future__ import annotations

import asyncio
import io
import json
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import polars as pl
from fastapi import Request
from fastapi.responses import StreamingResponse
from polars.testing import assert_frame_equal

from api.negotiate import PIECE, json_pieces, table

START = pl.datetime(2026, 3, 1, time_unit="ns", time_zone="UTC")
ROWS = {"n": range(2 * PIECE + 1), "name": 'ä,"b"'}
FRAME = pl.DataFrame(ROWS).with_columns(at=START, tags=pl.concat_list(pl.lit("a")))


def request(form: str) -> Request:
    scope = {"type": "http", "method": "GET", "path": "/api/v1/rows", "query_string": f"format={form}".encode(), "headers": []}
    return Request(scope)


async def read(answer: StreamingResponse) -> list[Any]:
    return [piece async for piece in answer.body_iterator]


def body(form: str) -> bytes:
    answer = table(request(form), FRAME, next_cursor="c", extra={"unit": "s"})
    assert isinstance(answer, StreamingResponse)
    # in a thread of its own: the browser's driver keeps an event loop in the main one
    with ThreadPoolExecutor(1) as thread:
        pieces = thread.submit(asyncio.run, read(answer)).result()
    assert len(pieces) >= 3
    return b"".join(pieces)


def test_every_format_has_all_rows() -> None:
    document = json.loads(body("json"))
    assert (document["next"], document["unit"]) == ("c", "s")
    assert [row["n"] for row in document["items"]] == list(range(2 * PIECE + 1))
    assert document["items"][0] == {"n": 0, "name": 'ä,"b"', "at": "2026-03-01T00:00:00.000000000Z", "tags": ["a"]}
    assert_frame_equal(pl.read_ipc_stream(io.BytesIO(body("arrow"))), FRAME)
    csv = pl.read_csv(io.BytesIO(body("csv")))
    assert_frame_equal(csv.select("n", "name"), FRAME.select("n", "name"))


def test_an_empty_table_is_an_empty_list() -> None:
    assert json.loads(b"".join(json_pieces(FRAME.head(0), {"next": None}))) == {"items": [], "next": None}


def test_memory_does_not_grow_with_the_rows() -> None:
    """Python's own, which a list of dictionaries would fill with a gigabyte for a million rows."""
    rows = pl.DataFrame({"n": pl.int_range(300_000, eager=True)}).with_columns(name=pl.lit("x" * 20))
    tracemalloc.start()
    written = sum(len(piece) for piece in json_pieces(rows, {"next": None}))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert written > 300_000 * 40
    assert peak < 30_000_000
