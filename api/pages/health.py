"""`/health`: whether the data can be trusted: a ledger that adds up, and everything that is missing, strange or late."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from api import format as formats
from api.dependencies import Reader, ServicesDep
from api.pages.rendering import link, render, segment
from api.pages.words import Badge, flag_text, metric_name
from api.quality import Report, read_report
from api.routes.health import not_ready
from api.services import Services
from api.shared import SharedRoute, shared
from api.times import Window, parse_window
from storage.deliveries import read_delivery_counts
from storage.job_runs import JobRun, JobState, read_job_runs
from storage.ledger_report import read_ledger_balance, read_ledger_rows
from storage.quarantine import read_quarantine
from storage.troubles import TroubleKind

router = APIRouter(route_class=SharedRoute, include_in_schema=False)

RANGES = {"-1h": "hour", "-24h": "24 hours", "-7d": "7 days", "-30d": "30 days"}
_MAX_ROWS, _ALL = 20, 200
_GOOD, _WARN = 0.98, 0.9
# the longest first
_SHOWN = (
    *(Report.UNMAPPED_ATTRIBUTES, Report.QUALITY_FLAGS, Report.COVERAGE, Report.UNPRICED_MODELS, Report.LATENESS),
    *(Report.POISONOUS_TRACES, Report.ROLLOUT_TROUBLES),
)
# statements beside those of the request itself
_AT_ONCE = 2


@dataclass(frozen=True)
class LedgerLine:
    """One signal's account, in items; `adds_up`: received = accepted + rejected, and nothing accepted is unaccounted for."""

    signal: str
    received: str
    rejected: str
    accepted: str
    written: str
    pending: str
    quarantined: str
    masked_out: str
    superseded: str
    lost_requests: str
    badge: Badge


@dataclass(frozen=True)
class ReasonLine:
    """Why items were not accepted or not written."""

    signal: str
    entry: str
    reason: str
    n_items: str


@dataclass(frozen=True)
class CoverageLine:
    """A share of a route's traces; `share` is 0 to 1."""

    service: str
    route: str
    n_traces: str
    share: float
    tone: str
    priced: str
    without_cohort: str


@dataclass(frozen=True)
class Row:
    """A line of a plain table: a name, where it leads, and further cells."""

    name: str
    href: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class JobLine:
    """The newest run of one kind of job."""

    kind: str
    badge: Badge
    started_at: datetime
    lag: str
    took: str
    rows: str
    detail: str


@dataclass(frozen=True)
class HealthView:
    """Everything on the page; empty tables say that all is well."""

    ranges: Mapping[str, str]
    start: str
    troubles: tuple[tuple[str, str], ...]
    ledger: tuple[LedgerLine, ...]
    reasons: tuple[ReasonLine, ...]
    coverage: tuple[CoverageLine, ...]
    unpriced: tuple[Row, ...]
    unmapped: tuple[Row, ...]
    flags: tuple[Row, ...]
    lateness: tuple[Row, ...]
    deliveries: tuple[Row, ...]
    quarantine: tuple[Row, ...]
    poisonous: tuple[Row, ...]
    rollouts: tuple[Row, ...]
    jobs: tuple[JobLine, ...]
    ledger_api: str
    # addresses of `GET /api/v1/quality/{report}`
    reports: Mapping[str, str]


@router.get("/health")
@shared
def health_page(request: Request, services: ServicesDep, _key: Reader) -> HTMLResponse:
    """Data health over the last day, or `from`."""
    start = request.query_params.get("from") or "-24h"
    store = services.store
    arrived = parse_window(start, "now", services.wall_clock.now())
    happened = parse_window(start, "now", services.clock.now())

    with ThreadPoolExecutor(_AT_ONCE) as beside:
        found = {report: beside.submit(read_report, store, report, happened) for report in _SHOWN}
        view = _view(services, start, arrived, found)
    return render(request, "health.html", view, active="/health", live=True)


def _view(services: Services, start: str, arrived: Window, found: Mapping[Report, Future[pl.DataFrame]]) -> HealthView:
    """The page, from what is being read beside and what is read here: fourteen statements that hardly wait for each other."""
    store = services.store

    def rows(report: Report, most: int) -> Iterable[Mapping[str, Any]]:
        return found[report].result().head(most).iter_rows(named=True)

    return HealthView(
        ranges=RANGES,
        start=start,
        troubles=tuple(not_ready(services).items()),
        ledger=tuple(_ledger_line(row) for row in read_ledger_balance(store, arrived.start, arrived.end).iter_rows(named=True)),
        reasons=_reasons(read_ledger_rows(store, arrived.start, arrived.end, None).iter_rows(named=True)),
        coverage=tuple(_coverage_line(row) for row in rows(Report.COVERAGE, _ALL)),
        unpriced=_unpriced(rows(Report.UNPRICED_MODELS, _ALL), start),
        unmapped=_unmapped(rows(Report.UNMAPPED_ATTRIBUTES, _MAX_ROWS)),
        flags=_flags(rows(Report.QUALITY_FLAGS, _MAX_ROWS)),
        lateness=tuple(_lateness(row) for row in rows(Report.LATENESS, _ALL)),
        deliveries=_deliveries(read_delivery_counts(store).iter_rows(named=True)),
        quarantine=_quarantine(read_quarantine(store, "held", _MAX_ROWS).iter_rows(named=True)),
        poisonous=_poisonous(rows(Report.POISONOUS_TRACES, _MAX_ROWS)),
        rollouts=_rollouts(rows(Report.ROLLOUT_TROUBLES, _MAX_ROWS)),
        jobs=newest_jobs(read_job_runs(store)),
        ledger_api=link("/api/v1/ledger", {"from": start}),
        reports={report.value: link(f"/api/v1/quality/{report.value}", {"from": start}) for report in Report},
    )


def _ledger_line(row: Mapping[str, Any]) -> LedgerLine:
    adds_up = row["received"] == row["accepted"] + row["rejected"] and row["pending"] >= 0
    lost = row["undecodable_requests"] + row["pushed_back_requests"] + row["refused_requests"]
    return LedgerLine(
        signal=row["signal"],
        **{
            name: formats.count(row[name])
            for name in ("received", "rejected", "accepted", "written", "pending", "quarantined", "masked_out", "superseded")
        },
        lost_requests=formats.count(lost),
        badge=Badge("Adds up", "good", "check") if adds_up else Badge("Does not add up", "bad", "alert"),
    )


def _reasons(rows: Iterable[Mapping[str, Any]]) -> tuple[ReasonLine, ...]:
    """Why items or requests were lost, most first."""
    lost = [row for row in rows if row["reason"] and row["entry"] not in ("received", "accepted", "written")]
    by_reason: dict[tuple[str, str, str], int] = {}
    for row in lost:
        key = (row["signal"], row["entry"].replace("_", " "), row["reason"])
        by_reason[key] = by_reason.get(key, 0) + row["n_items"]
    most = sorted(by_reason.items(), key=lambda item: (-item[1], item[0]))[:_MAX_ROWS]
    return tuple(ReasonLine(*key, formats.count(n)) for key, n in most)


def _coverage_line(row: Mapping[str, Any]) -> CoverageLine:
    n = row["n_traces"]
    share = row["n_priced"] / n if n else 0.0
    return CoverageLine(
        service=row["service_name"],
        route=row["model_route"] or "(no route)",
        n_traces=formats.count(n),
        share=share,
        tone="good" if share >= _GOOD else "warn" if share >= _WARN else "bad",
        priced=formats.percent(share),
        without_cohort=formats.percent(row["n_without_cohort"] / n if n else None),
    )


def _unpriced(rows: Iterable[Mapping[str, Any]], start: str) -> tuple[Row, ...]:
    return tuple(
        Row(
            row["model"] or "(no model)",
            link("/traces", {"model": row["model"], "unpriced": "true", "from": start}),
            (row["provider"], ("about " if row["one_in_traces"] > 1 else "") + formats.plural(row["n_calls"], "call")),
        )
        for row in rows
    )


def _unmapped(rows: Iterable[Mapping[str, Any]]) -> tuple[Row, ...]:
    return tuple(
        Row(row["key"], "", (formats.plural(row["n_spans"], "span"), row["example"], row["example_scope"])) for row in rows
    )


def _flags(rows: Iterable[Mapping[str, Any]]) -> tuple[Row, ...]:
    return tuple(
        Row(flag_text(row["flag"]), f"/traces/{row['example_trace_id']}", (row["flag"], formats.plural(row["n_traces"], "trace")))
        for row in rows
    )


def _lateness(row: Mapping[str, Any]) -> Row:
    n, late = row["n_verdicts"], row["n_late_verdicts"]
    share = formats.percent(late / (n + late)) if n + late else formats.UNKNOWN
    return Row(
        metric_name(row["metric"], row["evaluator"]),
        "",
        (row["service_name"], share, f"{formats.count(late)} of {formats.count(n + late)}"),
    )


def _deliveries(rows: Iterable[Mapping[str, Any]]) -> tuple[Row, ...]:
    return tuple(Row(row["channel"], "", (row["state"], formats.count(row["n_deliveries"]))) for row in rows)


def _quarantine(rows: Iterable[Mapping[str, Any]]) -> tuple[Row, ...]:
    return tuple(
        Row(row["quarantine_id"], "", (row["signal"], formats.plural(row["n_items"], "item"), row["reason"])) for row in rows
    )


def _poisonous(rows: Iterable[Mapping[str, Any]]) -> tuple[Row, ...]:
    return tuple(Row(row["trace_id"], f"/traces/{row['trace_id']}", (row["state"], row["reason"])) for row in rows)


def _rollouts(rows: Iterable[Mapping[str, Any]]) -> tuple[Row, ...]:
    """What keeps rollouts from being judged, or rows of theirs from counting."""
    return tuple(
        Row(
            row["rollout"],
            f"/rollouts/{segment(row['rollout'])}",
            (
                "Not judged" if row["kind"] == TroubleKind.STOPPED else f"{formats.plural(row['n_rows'], 'row')} left out",
                row["detail"],
            ),
        )
        for row in rows
    )


def newest_jobs(runs: Iterable[JobRun]) -> tuple[JobLine, ...]:
    """The newest run of each kind; `runs` newest first."""
    newest: dict[str, JobRun] = {}
    for run in runs:
        newest.setdefault(run.kind, run)
    badges = {
        JobState.RUNNING: Badge("Running", "note", "wait"),
        JobState.DONE: Badge("Done", "good", "check"),
        JobState.FAILED: Badge("Failed", "bad", "cross"),
        JobState.STOPPED: Badge("Stopped", "note", "wait"),
    }
    return tuple(
        JobLine(
            kind=kind,
            badge=badges[run.state],
            started_at=run.started_at,
            lag=formats.duration(run.watermark_lag_seconds * 1e9) if run.watermark_lag_seconds is not None else formats.UNKNOWN,
            took=formats.duration(run.seconds * 1e9),
            rows=f"{formats.count(run.rows_read)} → {formats.count(run.rows_written)}",
            detail=run.error or run.detail,
        )
        for kind, run in sorted(newest.items())
    )
