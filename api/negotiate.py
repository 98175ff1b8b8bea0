"""One answer, four formats: JSON, CSV, Arrow stream, Parquet, chosen by `Accept` (or `?format=` in a link)."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import urlencode

import polars as pl
import pyarrow as pa
from fastapi import Query, Request
from fastapi.responses import Response, StreamingResponse

from api.documents import to_items, to_json
from api.problems import ProblemError

# rows written at a time
PIECE = 10_000


class Format(StrEnum):
    """A format an answer can have; the values are what `?format=` takes."""

    JSON = "json"
    CSV = "csv"
    ARROW = "arrow"
    PARQUET = "parquet"


FormatQuery = Annotated[
    Format | None, Query(alias="format", description="instead of an Accept header, for links: json, csv, arrow or parquet")
]
"""Declares `?format=`; `choose` reads it."""

MEDIA_TYPES = {
    Format.JSON: "application/json",
    Format.CSV: "text/csv; charset=utf-8",
    Format.ARROW: "application/vnd.apache.arrow.stream",
    Format.PARQUET: "application/vnd.apache.parquet",
}
_ACCEPTED = {
    "application/json": Format.JSON,
    "text/csv": Format.CSV,
    "application/vnd.apache.arrow.stream": Format.ARROW,
    "application/vnd.apache.parquet": Format.PARQUET,
    "application/x-parquet": Format.PARQUET,
    "application/*": Format.JSON,
    "text/*": Format.CSV,
    "*/*": Format.JSON,
}

TABLE_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            MEDIA_TYPES[form].partition(";")[0]: {"schema": {"type": "string", "format": "binary"}}
            for form in (Format.CSV, Format.ARROW, Format.PARQUET)
        }
    }
}
"""For the OpenAPI entry of a route that answers with `table`."""


def choose(request: Request) -> Format:
    """The format a caller wants. Raises a 406 problem when it is none of ours."""
    named = request.query_params.get("format")
    if named is not None:
        if named not in tuple(Format):
            raise _not_acceptable(f"format={named!r}")
        return Format(named)
    accept = request.headers.get("accept", "*/*")
    ranked = sorted(_ranges(accept), key=lambda part: -part[1])
    for media_range, quality in ranked:
        if quality > 0 and media_range in _ACCEPTED:
            return _ACCEPTED[media_range]
    raise _not_acceptable(f"Accept: {accept[:200]}")


def table(
    request: Request, frame: pl.DataFrame, *, next_cursor: str | None = None, extra: Mapping[str, Any] | None = None
) -> Response:
    """
    `frame` as the caller wants it.

    JSON is `{"items": [...], "next": cursor or null}` with `extra` beside; the other formats carry the cursor in a `Link` header.
    A long one is sent in pieces as they are written, so that its text never is in memory whole.
    """
    form = choose(request)
    headers = {"Vary": "Accept"}
    if next_cursor is not None:
        query = [(key, value) for key, value in request.query_params.multi_items() if key != "cursor"]
        headers["Link"] = f'<{request.url.path}?{urlencode([*query, ("cursor", next_cursor)])}>; rel="next"'
    rest = {"next": next_cursor, **to_json(extra or {})}
    if form is not Format.JSON:
        headers["Content-Disposition"] = f'attachment; filename="{_file_name(request, form)}"'
    pieces = json_pieces(frame, rest) if form is Format.JSON else _PIECES[form](frame)
    if len(frame) > PIECE:
        return StreamingResponse(pieces, media_type=MEDIA_TYPES[form], headers=headers)
    return Response(b"".join(pieces), media_type=MEDIA_TYPES[form], headers=headers)


def json_pieces(frame: pl.DataFrame, rest: Mapping[str, Any]) -> Iterator[bytes]:
    """`{"items": [...], **rest}`, a piece for every `PIECE` rows."""
    separator = b'{"items": ['
    for part in frame.iter_slices(PIECE):
        yield separator + json.dumps(to_items(part), ensure_ascii=False)[1:-1].encode()
        separator = b", "
    start = b"" if len(frame) else separator
    yield start + b"], " + json.dumps(rest, ensure_ascii=False)[1:].encode()


def listing(request: Request, items: Sequence[Mapping[str, Any]], *, next_cursor: str | None = None) -> Response:
    """Documents of one shape as `table` does it; nested values become JSON text outside JSON."""
    if choose(request) is Format.JSON:
        body = json.dumps({"items": to_json(list(items)), "next": next_cursor}, ensure_ascii=False)
        return Response(body, media_type=MEDIA_TYPES[Format.JSON], headers={"Vary": "Accept"})
    rows = [{key: _flat(value) for key, value in to_json(item).items()} for item in items]
    return table(request, pl.DataFrame(rows, infer_schema_length=None), next_cursor=next_cursor)


def whole_or_rows(request: Request, document: Mapping[str, Any], rows: Callable[[], Response]) -> Response:
    """A document with one table in it: the whole of it as JSON, or only the table in the other formats."""
    if choose(request) is not Format.JSON:
        return rows()
    body = json.dumps(to_json(document), ensure_ascii=False)
    return Response(body, media_type=MEDIA_TYPES[Format.JSON], headers={"Vary": "Accept"})


def with_example(example: Mapping[str, Any]) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI entry of a route that answers with `whole_or_rows`."""
    content = {**TABLE_RESPONSES[200]["content"], MEDIA_TYPES[Format.JSON]: {"example": dict(example)}}
    return {200: {"content": content}}


def flat_columns(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose objects became columns: `{"baseline": {"rate": 0.1}}` is `{"baseline.rate": 0.1}`; null stays one null."""
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{inner}": found for inner, found in flat_columns(value).items()}
        else:
            flat[name] = value
    return flat


def csv_ready(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with nested columns as JSON text, and bytes as JSON has them: CSV has no other way to hold them."""
    nested = [name for name, kind in frame.schema.items() if kind.is_nested() or kind == pl.Binary]
    texts = [pl.Series(name, [_flat(to_json(value)) for value in frame[name].to_list()], dtype=pl.String) for name in nested]
    return frame.with_columns(texts)


def _ranges(accept: str) -> list[tuple[str, float]]:
    found = []
    for part in accept.split(","):
        media_range, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weights = [parameter[2:] for parameter in parameters if parameter.startswith("q=")]
        found.append((media_range, _quality(weights[0]) if weights else 1.0))
    return found


def _quality(text: str) -> float:
    try:
        return min(1.0, max(0.0, float(text)))
    except ValueError:
        return 0.0


def _not_acceptable(asked: str) -> ProblemError:
    offered = ", ".join(kind.partition(";")[0] for kind in MEDIA_TYPES.values())
    return ProblemError(
        406, "not-acceptable", "no such format", f"{asked} is none of {offered}", f"send Accept with one of {offered}"
    )


def _flat(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def _csv(frame: pl.DataFrame) -> Iterator[bytes]:
    yield csv_ready(frame.head(0)).write_csv().encode()
    for part in frame.iter_slices(PIECE):
        text = csv_ready(part).write_csv(include_header=False, datetime_format="%Y-%m-%dT%H:%M:%S%.9fZ")
        yield text.encode()


def _arrow(frame: pl.DataFrame) -> Iterator[bytes]:
    buffer = io.BytesIO()
    with pa.ipc.new_stream(buffer, frame.head(0).to_arrow(compat_level=pl.CompatLevel.oldest()).schema) as stream:
        for part in frame.iter_slices(PIECE):
            stream.write_table(part.to_arrow(compat_level=pl.CompatLevel.oldest()))
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def _parquet(frame: pl.DataFrame) -> Iterator[bytes]:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    yield buffer.getvalue()


_PIECES: Mapping[Format, Callable[[pl.DataFrame], Iterator[bytes]]] = {
    Format.CSV: _csv,
    Format.ARROW: _arrow,
    Format.PARQUET: _parquet,
}


def _file_name(request: Request, form: Format) -> str:
    stem = "".join(c if c.isalnum() or c in "-_" else "-" for c in request.url.path.rsplit("/", 1)[-1]) or "answer"
    return f"{stem[:80]}.{form}"
