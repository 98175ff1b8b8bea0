"""One tick for all rollouts: settle what has matured, update the streams, judge, append what changed."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

import polars as pl

from alerts import checkpoint, verdict
from alerts.comparison import Comparison, from_json, settings_hash, to_json
from alerts.config import MethodConfig, RolloutConfig
from alerts.experiment import judge_experiment
from alerts.guarding import Lateness
from alerts.judge import Judged, judge
from alerts.opening import Maturing, find_arms, freeze_first_day, open_comparison, restarted
from alerts.scorecard import Scorecard, scorecard
from alerts.settler import Live, pooled, settle_until
from alerts.state import ComparisonState
from alerts.verdict import GateResult, GuardKind, Verdict
from analytics.config import MaturityRules
from storage.client import Store
from storage.comparisons import (
    Checkpoint,
    count_late_rows,
    read_checkpoint,
    read_lateness,
    read_open_comparisons,
    write_checkpoints,
    write_comparison,
)
from storage.settled import read_settled_days
from storage.verdicts import VERDICTS, write_verdicts

_EPOCH = datetime(1971, 1, 1, tzinfo=UTC)
# A model that changed is noticed, late verdicts are counted, and numbers of an unchanged verdict are refreshed this often.
_HOUR = timedelta(hours=1)
_CHECKPOINT_EVERY = timedelta(minutes=10)


@dataclass
class _Watched(Live):
    """An open comparison, and when what was last looked at or written."""

    settled_at: datetime = _EPOCH
    checked_at: datetime = _EPOCH
    saved_at: datetime = _EPOCH
    written_at: datetime = _EPOCH
    signature: tuple[object, ...] = ()
    lateness: list[Lateness] = field(default_factory=list)
    late_rows: int = 0


class Evaluator:
    """
    Holds the state of the open comparisons; everything it knows is in the store, so another instance continues it.

    Only the active alerter may call `tick`. `scorecard` and `gate` read the stored state and may run in any process.

    Args:
        maturity, clock: how long metrics wait for late verdicts, and what a verdict's delay is, as the jobs count them.
    """

    def __init__(
        self,
        store: Store,
        config: MethodConfig,
        maturity: MaturityRules | None = None,
        clock: Literal["wall", "event"] = "wall",
    ) -> None:
        self._store = store
        self._config = config
        self._maturing = Maturing(maturity or MaturityRules(), clock)
        self._watched: dict[str, _Watched] = {}
        self._is_loaded = False
        self._lock = threading.RLock()

    def tick(self, rollouts: Sequence[RolloutConfig], now: datetime) -> list[Verdict]:
        """The present verdict of each rollout with traffic in both arms; those that changed were appended to `verdicts`."""
        with self._lock:
            self._load()
            declared = {rollout.name: rollout for rollout in rollouts}
            for name in [name for name in self._watched if name not in declared]:
                self._close(name, now)
            for rollout in rollouts:
                self._open(rollout, now)
            self._advance(now)
            judged = [(entry, self._judge(entry, now)) for _, entry in sorted(self._watched.items())]
            self._append(judged, now)
            self._save(now)
            return [result.verdict for _, result in judged]

    def scorecard(self, rollout: RolloutConfig, now: datetime) -> Scorecard | None:
        """The scorecard as of the newest tick; None before a comparison is open."""
        with self._lock:
            entry = self._find(rollout.name)
            return None if entry is None else scorecard(self._store, entry.comparison, self._judge(entry, now), now)

    def gate(self, rollout: RolloutConfig, now: datetime, on: Literal["live", "experiment"] = "live") -> GateResult:
        """Pass, fail or undetermined; `experiment` judges paired golden-set runs."""
        if on == "experiment":
            return judge_experiment(self._store, rollout, self._config, now)
        with self._lock:
            entry = self._find(rollout.name)
            if entry is None:
                reason = "no comparison is open: both routes need traffic"
                return GateResult(rollout.name, verdict.Outcome.UNDETERMINED, (reason,), (), now, on)
            return self._judge(entry, now).gate

    def drifting(self, rollouts: Sequence[str]) -> list[Comparison]:
        """The open comparisons of established candidates, of those named."""
        with self._lock:
            self._load()
            found = [self._watched[name].comparison for name in rollouts if name in self._watched]
            return [comparison for comparison in found if comparison.rollout.mode == "drift"]

    def restart(self, rollout: str, now: datetime, *, is_accepted: bool = False) -> None:
        """
        Begin the comparison of an established candidate again from `now` on: a drift alarm was answered.

        Acknowledged, everything but the evidence stays. Accepted, two weeks from now on become the baseline; where a holdback
        is the baseline there is nothing to take anew, and the streams that alarmed stay quiet in this comparison.
        """
        with self._lock:
            self._load()
            entry = self._watched.get(rollout)
            if entry is None or (is_accepted and not entry.comparison.frozen_rates):
                return
            self._close(rollout, now)
            self._watch(restarted(entry.comparison, now, is_accepted=is_accepted), now)

    def _load(self) -> None:
        if not self._is_loaded:
            for row in read_open_comparisons(self._store)["detail"].to_list():
                entry = self._restore(from_json(row))
                self._watched[entry.comparison.rollout.name] = entry
            self._is_loaded = True

    def _find(self, rollout: str) -> _Watched | None:
        """The entry of this process if it ticks, else what the store has."""
        if self._is_loaded:
            return self._watched.get(rollout)
        rows = read_open_comparisons(self._store).filter(rollout=rollout)
        return None if rows.is_empty() else self._restore(from_json(rows["detail"][-1]))

    def _restore(self, comparison: Comparison) -> _Watched:
        """From the checkpoint, and what was settled after it."""
        saved = read_checkpoint(self._store, comparison.comparison_id)
        rules = comparison.rules()
        state = ComparisonState(rules) if saved is None else checkpoint.unpack(rules, saved.state)
        since = saved.settled_at if saved else _EPOCH
        checkpoint.replay(state, read_settled_days(self._store, comparison.comparison_id, since))
        return _Watched(comparison, state, settled_at=since)

    def _open(self, rollout: RolloutConfig, now: datetime) -> None:
        """Open a comparison for new traffic, new models or new settings."""
        entry = self._watched.get(rollout.name)
        if entry is not None and not _same_settings(entry.comparison, rollout, self._config):
            self._close(rollout.name, now)
            self._start(rollout, (*_arms(entry.comparison), _minute(now) + 1), now)
            return
        if entry is not None:
            changed = entry.comparison.with_split(rollout.split, _minute(now) + 1)
            if changed is not entry.comparison:
                entry.change(changed)
                self._write(entry)
            if now - entry.checked_at < _HOUR:
                return
            entry.checked_at = now
        found = find_arms(self._store, rollout, _EPOCH if entry is None else now - timedelta(days=2), now)
        if found is None or (entry is not None and found[:3] == _arms(entry.comparison)):
            return
        if entry is not None:
            self._close(rollout.name, now)
        self._start(rollout, found, now)

    def _start(self, rollout: RolloutConfig, arms: tuple[str, str, str, int], now: datetime) -> None:
        self._watch(open_comparison(self._store, rollout, self._config, arms, now, self._maturing), now)

    def _watch(self, comparison: Comparison, now: datetime) -> None:
        entry = _Watched(comparison, ComparisonState(comparison.rules()), checked_at=now)
        self._watched[comparison.rollout.name] = entry
        self._write(entry)

    def _close(self, name: str, now: datetime) -> None:
        self._write(self._watched.pop(name), closed_at=now)

    def _write(self, entry: _Watched, closed_at: datetime | None = None) -> None:
        write_comparison(self._store, _row(entry.comparison, closed_at))

    def _advance(self, now: datetime) -> None:
        minute = _minute(now)
        live: list[Live] = []
        for entry in self._watched.values():
            frozen = freeze_first_day(self._store, entry.comparison, minute)
            if frozen is not entry.comparison:
                entry.change(frozen)
                self._write(entry)
            if entry.comparison.day_zero <= minute:
                live.append(entry)
        settled_at = datetime.now(UTC)
        for learned in settle_until(self._store, live, minute, settled_at):
            assert isinstance(learned, _Watched)
            self._write(learned)
        for entry in self._watched.values():
            entry.settled_at = settled_at

    def _judge(self, entry: _Watched, now: datetime) -> Judged:
        comparison = entry.comparison
        if now - entry.written_at >= _HOUR or not entry.lateness:
            routes = [comparison.rollout.baseline, comparison.rollout.candidate]
            rows = read_lateness(self._store, comparison.rollout.service, routes, comparison.day_zero_at, now)
            entry.lateness = [Lateness(*row) for row in rows.rows()]
            entry.late_rows = count_late_rows(self._store, _row(comparison), max(comparison.day_zero_at, now - timedelta(days=7)))
        result = judge(comparison, entry.state, now, entry.lateness, entry.late_rows, bundle=entry.bundle)
        confounded = any(g.kind is GuardKind.PROMPT_CONFOUNDED and g.is_active for g in result.guards)
        if confounded and entry.bundle is None:
            settled = (pooled(day) for day in read_settled_days(self._store, comparison.comparison_id, _EPOCH))
            entry.bundle = checkpoint.replay(ComparisonState(comparison.rules()), settled, dict(entry.state.frontiers))
            result = judge(comparison, entry.state, now, entry.lateness, entry.late_rows, bundle=entry.bundle)
        return result

    def _append(self, judged: list[tuple[_Watched, Judged]], now: datetime) -> None:
        rows = []
        for entry, result in judged:
            signature = _signature(result.verdict)
            if signature == entry.signature and now - entry.written_at < _HOUR:
                continue
            entry.signature, entry.written_at = signature, now
            v = result.verdict
            row = (v.rollout, v.comparison_id, v.as_of, v.kind.value, v.gate.value, list(v.reasons), verdict.to_json(v))
            rows.append(row)
        write_verdicts(self._store, pl.DataFrame(rows, schema=VERDICTS, orient="row"))

    def _save(self, now: datetime) -> None:
        due = [entry for entry in self._watched.values() if abs(now - entry.saved_at) >= _CHECKPOINT_EVERY]
        saved = []
        for entry in due:
            entry.saved_at = now
            saved.append(Checkpoint(entry.comparison.comparison_id, entry.settled_at, *checkpoint.pack(entry.state)))
        write_checkpoints(self._store, saved)


def _row(c: Comparison, closed_at: datetime | None = None) -> pl.DataFrame:
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


def _signature(v: Verdict) -> tuple[object, ...]:
    """What makes a verdict another one; numbers alone do not."""
    guards = frozenset((g.kind, g.metric, g.evaluator) for g in v.guards if g.is_active)
    pages = frozenset((p.stream_id, p.kind) for p in v.pages)
    cost = None if v.cost is None else (v.cost.certified, v.cost.certified_cheaper, v.cost.tail_decides)
    return v.comparison_id, v.kind, v.gate, v.reference, guards, pages, cost


def _same_settings(comparison: Comparison, rollout: RolloutConfig, config: MethodConfig) -> bool:
    return settings_hash(rollout, config) == settings_hash(comparison.rollout, comparison.method)


def _arms(comparison: Comparison) -> tuple[str, str, str]:
    return comparison.environment, comparison.baseline_model, comparison.candidate_model


def _minute(now: datetime) -> int:
    return int(now.timestamp()) // 60
