"""What a frame must look like, and the check every public step starts with."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from storage.errors import FrameShapeError

ShapeType = Mapping[str, pl.DataType | type[pl.DataType]]


def require(frame: pl.DataFrame, schema: ShapeType, name: str) -> None:
    """
    Check that `frame` has every column of `schema` with its type; further columns are welcome.

    Args:
        frame: what a step was given.
        schema: column name to Polars type.
        name: what to call the frame in the error.

    Raises:
        FrameShapeError: a column is missing or has another type; all problems are listed at once.
    """
    found = frame.schema
    problems = [
        f"{column}: missing" if column not in found else f"{column}: {found[column]} instead of {dtype}"
        for column, dtype in schema.items()
        if found.get(column) != dtype
    ]
    if problems:
        raise FrameShapeError(name, problems)
