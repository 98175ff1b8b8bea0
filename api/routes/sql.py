"""Read-only SQL."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import IO, Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.background import BackgroundTask

from api.answers import write_answer
from api.dependencies import Reader, ServicesDep
from api.negotiate import MEDIA_TYPES, TABLE_RESPONSES, Format, choose, listing
from api.problems import ProblemError
from api.services import Services
from storage.client import Store
from storage.errors import QueryLimitError
from storage.query_policy import PUBLIC_TABLES, QueryRefusedError
from storage.sandbox import QueryLimits, Sandbox, SandboxBusyError
from storage.sql import load

router = APIRouter(tags=["sql"])

_IN_MEMORY = 4 * 2**20
_CHUNK = 1 << 18

Scalar = str | int | float | bool | None


class Question(BaseModel):
    """A query and the values of its parameters."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "query": "SELECT cohort, count() AS n FROM trace_facts WHERE model_route = {route:String} GROUP BY cohort",
                    "parameters": {"route": "student"},
                }
            ]
        },
    )

    query: str = Field(min_length=1, max_length=200_000, description="one SELECT of ClickHouse SQL; parameters as {name:Type}")
    parameters: dict[str, Scalar | list[Scalar]] = Field({}, max_length=1000, description="values, bound by the engine")


@router.post(
    "/sql",
    summary="Query with SQL",
    responses={
        **TABLE_RESPONSES,
        400: {"description": "Refused, and why: no SELECT, an unknown table, a function that is not allowed, an error"},
        413: {"description": "Over a limit (rows, memory, seconds, bytes); never a cut result"},
    },
)
def sql(request: Request, services: ServicesDep, _key: Reader, question: Question) -> Response:
    """
    One SELECT over the public tables, read-only by the engine, within limits on rows, memory, time and bytes. Rows that were
    sent twice count once (`FINAL` is implied). JSON is `{"columns": [{"name", "type"}], "rows": [[...]]}`; ask for Arrow to get
    up to 10 million rows.
    """
    form = choose(request)
    config = services.config
    is_whole = form in (Format.JSON, Format.CSV)
    max_rows = config.sql_max_rows if is_whole else config.sql_max_rows_arrow
    limits = QueryLimits(
        config.sql_seconds, config.sql_memory_bytes, config.sql_max_read_rows, max_rows, config.sql_max_result_bytes
    )
    sandbox: Sandbox = request.app.state.sandbox
    spool = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - closed when the answer has been sent
    try:
        with sandbox.run(question.query, question.parameters, limits) as answer:
            write_answer(answer, form, spool, limits)
    except BaseException as error:
        spool.close()
        raise _problem(error, limits, is_whole, services) from error
    size = spool.tell()
    spool.seek(0)
    headers = {"Content-Length": str(size), "Vary": "Accept"}
    if form is not Format.JSON:
        headers["Content-Disposition"] = f'attachment; filename="answer.{form}"'
    return StreamingResponse(
        _chunks(spool), media_type=MEDIA_TYPES[form], headers=headers, background=BackgroundTask(spool.close)
    )


@router.get("/sql/tables", summary="Tables for SQL", responses=TABLE_RESPONSES)
def tables(request: Request, services: ServicesDep, _key: Reader) -> Response:
    """Every table and view `POST /api/v1/sql` may read, with its columns and their types."""
    return listing(request, list(public_columns(services.store)))


def public_columns(store: Store) -> Iterator[dict[str, Any]]:
    """One document per public table: `table`, `columns` of `name` and `type`."""
    frame = store.frame(load("public_columns"), {"database": store.database, "tables": sorted(PUBLIC_TABLES)})
    for (name,), rows in frame.group_by(["table"], maintain_order=True):
        yield {"table": name, "columns": rows.select("name", "type").to_dicts()}


def _problem(error: BaseException, limits: QueryLimits, is_whole: bool, services: Services) -> BaseException:
    match error:
        case QueryRefusedError():
            do = "one SELECT over the tables of GET /api/v1/sql/tables; values as {name:Type} with `parameters`"
            return ProblemError(400, "query-refused", "query refused", str(error), do)
        case QueryLimitError(limit="rows") if is_whole:
            most = services.config.sql_max_rows_arrow
            more = f"ask for Arrow (Accept: {MEDIA_TYPES[Format.ARROW]}) for up to {most} rows, or aggregate"
            return _over("rows", f"the answer is over {limits.result_rows} rows", more)
        case QueryLimitError(limit=limit):
            return _over(limit, str(error), "ask for less: a shorter range, fewer columns, an aggregate")
        case SandboxBusyError():
            return ProblemError(
                429, "too-many-queries", "too many queries", str(error), "try again", headers={"Retry-After": "1"}
            )
    return error


def _over(limit: str, detail: str, do: str) -> ProblemError:
    return ProblemError(413, "query-limit", "over a limit", detail, do, {"limit": limit})


def _chunks(spool: IO[bytes]) -> Iterator[bytes]:
    while chunk := spool.read(_CHUNK):
        yield chunk
