"""Metric series."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from analytics.metrics.catalogue import METRICS
from analytics.series import DIMENSIONS, SeriesRequestError, read_series
from api.dependencies import Reader, ServicesDep
from api.negotiate import TABLE_RESPONSES, Format, FormatQuery, listing, table
from api.problems import ProblemError, not_found
from api.shared import SharedRoute, shared
from api.times import parse_step, parse_window, rfc3339

router = APIRouter(route_class=SharedRoute, tags=["metrics"])


class SeriesQuery(BaseModel):
    """What is asked of a metric. A filter given several times keeps any of its values."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    start: str = Field("-24h", alias="from", max_length=64, description="RFC 3339 or relative (-24h); in the range")
    end: str = Field("now", alias="to", max_length=64, description="RFC 3339 or relative; not in the range")
    step: str | None = Field(
        None, max_length=32, description="whole minutes (1m, 15m, 1h, 1d); absent: one number for the whole range"
    )
    group_by: str = Field("", max_length=200, description=f"comma-separated, of {', '.join(DIMENSIONS)}")
    service: list[str] = Field([], max_length=100, description="services to keep")
    environment: list[str] = Field([], max_length=100, description="environments to keep; absent: all but experiment")
    route: list[str] = Field([], max_length=100, description="model routes to keep")
    model: list[str] = Field([], max_length=100, description="models to keep")
    cohort: list[str] = Field([], max_length=100, description="cohorts to keep")
    prompt_version: list[str] = Field([], max_length=100, description="prompt versions to keep")
    evaluator: list[str] = Field([], max_length=100, description="evaluators to keep")
    evaluator_version: list[str] = Field([], max_length=100, description="evaluator versions to keep")
    sampling_rule: list[str] = Field([], max_length=100, description="sampling rules to keep")
    format: Format | None = Field(None, description="instead of an Accept header, for links")

    def filters(self) -> dict[str, list[str]]:
        return {name: values for name in DIMENSIONS if (values := getattr(self, name))}

    def groups(self) -> list[str]:
        return list(dict.fromkeys(name.strip() for name in self.group_by.split(",") if name.strip()))


@router.get("/metrics", summary="Metrics there are", responses=TABLE_RESPONSES)
def metrics(request: Request, _key: Reader, _form: FormatQuery = None) -> Response:
    """Name, unit of the headline column, all columns, and what each means."""
    items = [
        {"name": m.name, "description": m.description, "unit": m.unit, "headline": m.headline, "columns": list(m.columns)}
        for m in sorted(METRICS.values(), key=lambda metric: metric.name)
    ]
    return listing(request, items)


@router.get("/metrics/{metric}", summary="A metric over time", responses=TABLE_RESPONSES)
@shared
def series(
    request: Request,
    metric: Annotated[str, Path(max_length=100, description="a name of GET /api/v1/metrics", examples=["eval_fail_rate"])],
    services: ServicesDep,
    _key: Reader,
    query: Annotated[SeriesQuery, Query()],
) -> Response:
    """
    One row per bucket and group, sorted; buckets without data have none. `bucket` is its start in UTC. Rates come with their
    numerator, denominator and coverage, and are null, never 0, where nothing is known. The range is widened to whole buckets.
    """
    if metric not in METRICS:
        raise not_found("metric", metric, sorted(METRICS))
    now = services.clock.now()
    window = parse_window(query.start, query.end, now)
    step = parse_step(query.step) if query.step is not None else None
    try:
        found = read_series(services.store, metric, window.start, window.end, step, query.groups(), query.filters())
    except SeriesRequestError as error:
        raise ProblemError(400, "bad-series", "no such series", str(error), "see GET /api/v1/metrics and docs/api.md") from error
    extra: dict[str, Any] = {
        "metric": metric,
        "unit": found.metric.unit,
        "headline": found.metric.headline,
        "from": rfc3339(found.since),
        "to": rfc3339(found.until),
        "step_seconds": found.step_seconds,
    }
    return table(request, found.frame, extra=extra)
