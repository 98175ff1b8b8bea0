"""An open comparison as the evaluator holds it, and what makes one of its verdicts another one."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zlib import crc32

import polars as pl

from alerts.comparison import Comparison, settings_hash, to_json
from alerts.config import MethodConfig, RolloutConfig
from alerts.guarding import Lateness
from alerts.settler import Live
from alerts.verdict import Verdict

LONG_AGO = datetime(1971, 1, 1, tzinfo=UTC)


@dataclass(eq=False)
class Watched(Live):
    """An open comparison, and when what was last looked at or written."""

    settled_at: datetime = LONG_AGO
    checked_at: datetime = LONG_AGO
    # when late verdicts, and late rows, were last counted
    counted_at: datetime = LONG_AGO
    late_counted_at: datetime = LONG_AGO
    saved_at: datetime = LONG_AGO
    lateness: list[Lateness] = field(default_factory=list)
    late_rows: int = 0
    # settling it failed last time: it is settled by itself until it works
    is_apart: bool = False

    @property
    def name(self) -> str:
        return self.comparison.rollout.name


def row_of(c: Comparison, closed_at: datetime | None = None) -> pl.DataFrame:
    """A comparison as `COMPARISONS`."""
    row = {
        "comparison_id": c.comparison_id,
        "rollout": c.rollout.name,
        "service_name": c.rollout.service,
        "environment": c.environment,
        "baseline_route": c.rollout.baseline,
        "baseline_model": c.baseline_model,
        "candidate_route": c.rollout.candidate,
        "candidate_model": c.candidate_model,
        "opened_at": c.opened_at,
        "day_zero": c.day_zero_at,
        "closed_at": closed_at,
        "settings_hash": settings_hash(c.rollout, c.method),
        "detail": to_json(c),
    }
    return pl.DataFrame([row])


def signature_of(v: Verdict) -> tuple[object, ...]:
    """What makes a verdict another one; numbers alone do not."""
    guards = frozenset((g.kind, g.metric, g.evaluator) for g in v.guards if g.is_active)
    pages = frozenset((p.stream_id, p.kind) for p in v.pages)
    cost = None if v.cost is None else (v.cost.certified, v.cost.certified_cheaper, v.cost.tail_decides)
    return v.comparison_id, v.kind, v.gate, v.reference, guards, pages, cost, v.trouble, v.malformed_rows > 0


def same_settings(comparison: Comparison, rollout: RolloutConfig, config: MethodConfig) -> bool:
    return settings_hash(rollout, config) == settings_hash(comparison.rollout, comparison.method)


def arms_of(comparison: Comparison) -> tuple[str, str, str]:
    return comparison.environment, comparison.baseline_model, comparison.candidate_model


def is_due(last: datetime, now: datetime, every: timedelta, name: str) -> bool:
    """Whether it is time again; for each name at a minute of its own, so that what many do comes spread over the ticks."""
    offset = timedelta(minutes=crc32(name.encode()) % max(1, every // timedelta(minutes=1)))
    return (now - LONG_AGO + offset) // every != (last - LONG_AGO + offset) // every
