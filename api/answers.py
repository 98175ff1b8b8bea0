"""A query's answer written to a file as it comes, so that memory does not grow with it and an error can still be an error."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import IO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from api.documents import to_rows
from api.negotiate import Format, csv_ready
from storage.errors import QueryLimitError
from storage.sandbox import Answer, QueryLimits


def write_answer(answer: Answer, form: Format, target: IO[bytes], limits: QueryLimits) -> None:
    """
    Write all rows of `answer` to `target`.

    Raises:
        QueryLimitError: more rows or bytes than the limits allow; what was written is of no use.
    """
    batches = _counted(answer.batches, limits)
    match form:
        case Format.JSON:
            _write_json(answer, batches, target)
        case Format.CSV:
            _write_csv(answer, batches, target)
        case Format.ARROW:
            with pa.ipc.new_stream(target, answer.schema) as stream:
                for batch in batches:
                    stream.write_batch(batch)
        case Format.PARQUET:
            with pq.ParquetWriter(target, answer.schema) as parquet:
                for batch in batches:
                    parquet.write_batch(batch)


def _counted(batches: Iterator[pa.RecordBatch], limits: QueryLimits) -> Iterator[pa.RecordBatch]:
    n_rows = n_bytes = 0
    for batch in batches:
        n_rows += batch.num_rows
        n_bytes += batch.nbytes
        if n_rows > limits.result_rows:
            raise QueryLimitError("rows", f"the answer is over {limits.result_rows} rows")
        if n_bytes > limits.result_bytes:
            raise QueryLimitError("bytes", f"the answer is over {limits.result_bytes} bytes")
        yield batch


def _write_json(answer: Answer, batches: Iterator[pa.RecordBatch], target: IO[bytes]) -> None:
    columns = json.dumps([asdict(column) for column in answer.columns], ensure_ascii=False)
    target.write(f'{{"columns": {columns}, "rows": ['.encode())
    separator = ""
    for batch in batches:
        for row in to_rows(_frame(batch)):
            target.write((separator + json.dumps(row, ensure_ascii=False)).encode("utf-8", "surrogatepass"))
            separator = ", "
    target.write(b"]}")


def _write_csv(answer: Answer, batches: Iterator[pa.RecordBatch], target: IO[bytes]) -> None:
    header = io.StringIO()
    csv.writer(header, lineterminator="\n").writerow(column.name for column in answer.columns)
    target.write(header.getvalue().encode("utf-8", "surrogatepass"))
    for batch in batches:
        frame = csv_ready(_frame(batch))
        target.write(frame.write_csv(include_header=False, datetime_format="%Y-%m-%dT%H:%M:%S%.9fZ").encode())


def _frame(batch: pa.RecordBatch) -> pl.DataFrame:
    """The rows under their columns' positions: SQL may name two columns alike, a frame may not."""
    frame = pl.from_arrow(batch.rename_columns([str(position) for position in range(batch.num_columns)]))
    assert isinstance(frame, pl.DataFrame)
    return frame
