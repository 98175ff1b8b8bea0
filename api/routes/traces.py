"""Finding traces, and one trace whole."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal

import polars as pl
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api.cursor import decode_cursor, encode_cursor
from api.dependencies import Reader, ServicesDep
from api.documents import to_items
from api.judged import read_judged_trace
from api.negotiate import TABLE_RESPONSES, Format, FormatQuery, table, whole_or_rows, with_example
from api.problems import ProblemError, bad_value, not_found
from api.services import Services
from api.shared import SharedRoute, shared
from api.times import Window, parse_window
from storage.facts import TRACE_FACTS
from storage.metrics import VERDICT_METRICS
from storage.traces import TraceFilter, TracePosition, position_of, search_traces

router = APIRouter(route_class=SharedRoute, tags=["traces"])

_MAX_SPANS = 20_000
_NS_PER_MS = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TracePart(StrEnum):
    """The tables of a trace."""

    FACTS = "facts"
    SPANS = "spans"
    ATTEMPTS = "attempts"
    EVALUATIONS = "evaluations"
    OUTCOMES = "outcomes"


_ATTEMPT = (
    *("logical_call_id", "attempt_index", "attempt_kind", "attempt_evidence", "span_id", "name", "model_route", "fallback_from"),
    *("request_model", "response_model", "provider", "status", "error_type", "http_status", "start_time", "duration_ns"),
    *("ttft_ns", "input_tokens", "output_tokens", "cost_usd", "cost_source"),
)


class TraceQuery(BaseModel):
    """What is asked of traces; a field given several times keeps any of its values."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    start: str = Field("-24h", alias="from", max_length=64, description="RFC 3339 or relative (-24h); in the range")
    end: str = Field("now", alias="to", max_length=64, description="RFC 3339 or relative; not in the range")
    service: list[str] = Field([], max_length=100, description="services")
    environment: list[str] = Field([], max_length=100, description="environments, experiment too")
    route: list[str] = Field([], max_length=100, description="routes first chosen")
    model: list[str] = Field([], max_length=100, description="models of that route")
    cohort: list[str] = Field([], max_length=100, description="cohorts")
    prompt_version: list[str] = Field([], max_length=100, description="prompt versions")
    session: str = Field("", max_length=500, description="session id")
    user: str = Field("", max_length=500, description="user id")
    retried: bool = Field(False, description="only traces with a retried call")
    fell_back: bool = Field(False, description="only traces with a fallback")
    timed_out: bool = Field(False, description="only traces with a timed-out attempt")
    errored: bool = Field(False, description="only traces whose answer was an error")
    unpriced: bool = Field(False, description="only traces with a call nobody could price")
    min_cost_usd: float = Field(0.0, ge=0, le=1e9, allow_inf_nan=False, description="cost at least, USD")
    min_duration_ms: float = Field(0.0, ge=0, le=1e12, allow_inf_nan=False, description="duration at least, milliseconds")
    failed: Literal["", *VERDICT_METRICS] = Field("", description="metric that failed")  # type: ignore[valid-type]
    evaluator: str = Field("", max_length=200, description="with `failed`: by this evaluator")
    limit: int = Field(100, ge=1, description="at most this many (api.max_page_items is the most)")
    cursor: str | None = Field(None, description="`next` of the page before")
    format: Format | None = Field(None, description="instead of an Accept header, for links")

    def wanted(self) -> TraceFilter:
        return TraceFilter(
            services=self.service,
            environments=self.environment,
            routes=self.route,
            models=self.model,
            cohorts=self.cohort,
            prompt_versions=self.prompt_version,
            session_id=self.session,
            user_id=self.user,
            retried=self.retried,
            fell_back=self.fell_back,
            timed_out=self.timed_out,
            errored=self.errored,
            unpriced=self.unpriced,
            min_cost_usd=self.min_cost_usd,
            min_duration_ns=int(self.min_duration_ms * _NS_PER_MS),
            failed_metric=self.failed or ("eval_fail" if self.evaluator else ""),
            failed_evaluator=self.evaluator,
        )


@router.get("/traces", summary="Search traces", responses=TABLE_RESPONSES)
@shared
def traces(request: Request, services: ServicesDep, _key: Reader, query: Annotated[TraceQuery, Query()]) -> Response:
    """Facts of traces that match, newest first. A trace appears with the next job after its spans arrived."""
    found, following = search(services, query, services.clock.now())
    return table(request, found, next_cursor=following)


@router.get(
    "/traces/{trace_id}",
    summary="One trace",
    responses=with_example(
        {"trace_id": "0af7651916cd43dd8448eb211c80319c", "facts": [], "spans": [], "evaluations": [], "outcomes": []}
    ),
)
@shared
def trace(
    request: Request,
    trace_id: Annotated[
        str, Path(max_length=64, description="trace id, hexadecimal", examples=["0af7651916cd43dd8448eb211c80319c"])
    ],
    services: ServicesDep,
    _key: Reader,
    _form: FormatQuery = None,
) -> Response:
    """
    Facts (one per mirror role), spans by start, evaluations (`failed`: as the metrics count them) and outcomes of one trace;
    CSV, Arrow, Parquet: the spans.
    """
    found = read_judged_trace(services, trace_id, _MAX_SPANS)
    if found is None:
        raise _no_trace(services, trace_id)
    whole = {
        "trace_id": found.trace_id,
        "facts": to_items(found.facts),
        "spans": to_items(found.spans),
        "evaluations": to_items(found.evaluations),
        "outcomes": to_items(found.outcomes),
    }
    return whole_or_rows(request, whole, lambda: table(request, found.spans))


@router.get("/traces/{trace_id}/{part}", summary="One table of a trace", responses=TABLE_RESPONSES)
@shared
def trace_part(
    request: Request,
    trace_id: Annotated[str, Path(max_length=64, description="trace id, hexadecimal")],
    part: Annotated[TracePart, Path(description="which table")],
    services: ServicesDep,
    _key: Reader,
    _form: FormatQuery = None,
) -> Response:
    """
    One list of the trace in every format. `attempts` are the model calls of logical calls that were tried more than once, in the
    order they were tried: what was retried or answered by another route, and on which evidence.
    """
    found = read_judged_trace(services, trace_id, _MAX_SPANS, with_outcomes=part is TracePart.OUTCOMES)
    if found is None:
        raise _no_trace(services, trace_id)
    rows = attempts_of(found.spans) if part is TracePart.ATTEMPTS else getattr(found, part.value)
    return table(request, rows)


def attempts_of(spans: pl.DataFrame) -> pl.DataFrame:
    """The attempts of `spans` that belong to logical calls of more than one, by the call's first attempt and their order."""
    calls = spans.filter(pl.col("is_model_call"), pl.col("logical_call_id") != "").select(_ATTEMPT)
    several = calls.filter(pl.len().over("logical_call_id") > 1)
    began = pl.col("start_time").min().over("logical_call_id")
    return several.sort(began, "logical_call_id", pl.col("attempt_index").fill_null(0), "start_time", "span_id")


def _no_trace(services: Services, trace_id: str) -> ProblemError:
    do = "search by time, user or session: GET /api/v1/traces; spans sent a moment ago may not be written yet"
    return not_found("trace", trace_id, (row["trace_id"] for row in _newest(services)), do)


def search(
    services: Services, query: TraceQuery, now: datetime, columns: Sequence[str] = tuple(TRACE_FACTS)
) -> tuple[Any, str | None]:
    """A page of traces as a frame with these columns, and the cursor of the next one."""
    limit = min(query.limit, services.config.max_page_items)
    question = query.model_dump(exclude={"cursor", "limit", "format"})
    after: TracePosition | None = None
    window = parse_window(query.start, query.end, now)
    if query.cursor is not None:
        # relative times are frozen in the cursor: the pages of one search are about one range
        *position, start, end = decode_cursor(query.cursor, question, (int, str, str, int, int))
        after = TracePosition(*position)
        try:
            window = _window_of(start, end)
        except OverflowError as error:
            raise bad_value("cursor", query.cursor, "a cursor this list returned as `next`") from error
    found = search_traces(services.store, query.wanted(), window.start, window.end, after, limit + 1, columns)
    if len(found) <= limit:
        return found, None
    page = found.head(limit)
    last = position_of(page)
    frozen = (_microseconds(window.start), _microseconds(window.end))
    return page, encode_cursor((last.started_at_ns, last.trace_id, last.mirror_role, *frozen), question)


def _newest(services: Services) -> list[dict[str, Any]]:
    query = TraceQuery.model_validate({"from": "-7d", "limit": 3})
    found, _ = search(services, query, services.clock.now())
    return to_items(found)


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _window_of(start: int, end: int) -> Window:
    return Window(_EPOCH + timedelta(microseconds=start), _EPOCH + timedelta(microseconds=end))
