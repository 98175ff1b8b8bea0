"""Comparisons opened by the method, and checkpoints of their state."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from storage.client import Store
from storage.sql import load

_TIME = pl.Datetime("ns", "UTC")

COMPARISONS = pl.Schema(
    {
        "comparison_id": pl.String(),
        "rollout": pl.String(),
        "service_name": pl.String(),
        "environment": pl.String(),
        "baseline_route": pl.String(),
        "baseline_model": pl.String(),
        "candidate_route": pl.String(),
        "candidate_model": pl.String(),
        "opened_at": _TIME,
        "day_zero": pl.Datetime("ms", "UTC"),
        "closed_at": _TIME,
        "settings_hash": pl.String(),
        "detail": pl.String(),
    }
)
"""`detail`: settings and frozen references as JSON; `closed_at` null while it is open."""

ROUTE_MODELS = pl.Schema(
    {
        "service_name": pl.String,
        "environment": pl.String,
        "model_route": pl.String,
        "model": pl.String,
        "first_minute": pl.Int64,
        "n_traces": pl.Int64,
    }
)
"""Models seen on a route; minutes count from 1970."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of a comparison after everything settled by `settled_at`."""

    comparison_id: str
    settled_at: datetime
    state: str
    hash: str


def read_open_comparisons(store: Store) -> pl.DataFrame:
    """`COMPARISONS` that are open, by rollout."""
    frame = store.frame(load("open_comparisons"))
    day_zero = pl.from_epoch("day_zero", "s").dt.cast_time_unit("ms").dt.replace_time_zone("UTC")
    return frame.with_columns(day_zero).select(list(COMPARISONS)).cast(COMPARISONS)


def write_comparison(store: Store, row: pl.DataFrame) -> None:
    """Append a version of a comparison (`COMPARISONS`); the newest counts."""
    store.insert("comparisons", row.select(list(COMPARISONS)).cast(COMPARISONS))


def read_checkpoint(store: Store, comparison_id: str) -> Checkpoint | None:
    """The newest checkpoint of a comparison."""
    rows = store.frame(load("read_checkpoint"), {"comparison_id": comparison_id})
    return None if rows.is_empty() else Checkpoint(*rows.row(0))


def write_checkpoints(store: Store, checkpoints: list[Checkpoint]) -> None:
    """Replace the checkpoints of these comparisons."""
    rows = [(c.comparison_id, c.settled_at, c.state, c.hash) for c in checkpoints]
    schema = pl.Schema(
        {"comparison_id": pl.String(), "settled_at": pl.Datetime("ns", "UTC"), "state": pl.String(), "hash": pl.String()}
    )
    store.insert("streams", pl.DataFrame(rows, schema=schema, orient="row"))


def read_route_models(store: Store, services: list[str], since: datetime, until: datetime) -> pl.DataFrame:
    """`ROUTE_MODELS` with traffic in [since, until), experiments left out; `first_minute` is within that time."""
    frame = store.frame(load("route_models"), {"services": services, "since": since, "until": until})
    return frame.select(list(ROUTE_MODELS)).cast(ROUTE_MODELS)


def read_lateness(store: Store, service: str, routes: list[str], since: datetime, until: datetime) -> pl.DataFrame:
    """Verdicts per `metric`, `evaluator`: `n_verdicts` in all and `n_late`, over minutes in [since, until)."""
    return store.frame(load("lateness"), {"service": service, "routes": routes, "since": since, "until": until})


def count_late_rows(store: Store, comparison: pl.DataFrame, since: datetime) -> int:
    """Strata of settled minutes since a time whose rollup rows changed after they were settled; of one row of `COMPARISONS`."""
    row = comparison.row(0, named=True)
    parameters = {
        "comparison_id": row["comparison_id"],
        "service": row["service_name"],
        "environment": row["environment"],
        "baseline": row["baseline_route"],
        "baseline_model": row["baseline_model"],
        "candidate": row["candidate_route"],
        "candidate_model": row["candidate_model"],
        "since": since,
    }
    return int(store.frame(load("late_rows"), parameters)["n_rows"].item())
