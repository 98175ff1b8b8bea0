"""Declarations of rollouts (`rollouts`), and the routes that traffic shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import polars as pl

from storage.client import Store
from storage.metrics import Grain
from storage.sql import load

_TIME = pl.Datetime("ns", "UTC")


class RolloutState(StrEnum):
    """Whether a rollout is still judged."""

    DECLARED = "declared"
    DISCOVERED = "discovered"
    # over: judged no more, its incidents close
    ENDED = "ended"
    ROLLED_BACK = "rolled_back"
    # as if it had never been declared
    DELETED = "deleted"


@dataclass(frozen=True)
class RolloutRow:
    """One declaration; of one name, the newest that is in force counts. `declaration` is JSON."""

    name: str
    service_name: str
    environment: str
    baseline: str
    candidate: str
    declaration: str
    state: RolloutState
    actor: str
    reason: str
    effective_from: datetime
    recorded_at: datetime


@dataclass(frozen=True)
class RouteTraffic:
    """One route of one service: how much traffic it has had, and what a trace of it costs on average (None: unknown)."""

    service_name: str
    model_route: str
    n_traces: int
    mean_cost_usd: float | None
    last_seen: datetime


_SCHEMA = pl.Schema(
    {
        "name": pl.String(),
        "service_name": pl.String(),
        "environment": pl.String(),
        "baseline": pl.String(),
        "candidate": pl.String(),
        "declaration": pl.String(),
        "state": pl.String(),
        "actor": pl.String(),
        "reason": pl.String(),
        "effective_from": _TIME,
        "recorded_at": _TIME,
    }
)


def write_rollout(store: Store, row: RolloutRow) -> None:
    """Append a declaration."""
    store.insert("rollouts", pl.DataFrame([{name: getattr(row, name) for name in _SCHEMA}], schema=_SCHEMA))


def read_rollouts(store: Store, now: datetime) -> list[RolloutRow]:
    """The declaration of each name in force at `now`, deleted ones left out, by name."""
    rows = _rows(store.frame(load("rollouts"), {"now": now}))
    return [row for row in rows if row.state is not RolloutState.DELETED]


def read_rollout_history(store: Store, name: str) -> list[RolloutRow]:
    """Every declaration of one name, oldest first."""
    return _rows(store.frame(load("rollout_history"), {"name": name}))


def read_route_traffic(
    store: Store, grain: Grain, since: datetime, until: datetime, services: Sequence[str] = ()
) -> list[RouteTraffic]:
    """Routes with traffic in buckets of [since, until), experiments left out, by service and route; no `services`: all."""
    sql = load("route_traffic").replace("{table}", grain.value)
    frame = store.frame(sql, {"since": since, "until": until, "services": list(services)})
    return [RouteTraffic(**row) for row in frame.iter_rows(named=True)]


def _rows(frame: pl.DataFrame) -> list[RolloutRow]:
    return [RolloutRow(**{**row, "state": RolloutState(row["state"])}) for row in frame.iter_rows(named=True)]
