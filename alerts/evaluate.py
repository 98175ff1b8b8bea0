"""One tick for all rollouts: settle what has matured, update the streams, judge, append what changed."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal, cast

import polars as pl
import structlog

from alerts import checkpoint, verdict
from alerts.comparison import Comparison, from_json
from alerts.config import MethodConfig, RolloutConfig
from alerts.experiment import judge_experiment
from alerts.gate import in_trouble, undetermined
from alerts.guarding import Lateness
from alerts.judge import Judged, judge
from alerts.opening import Maturing, find_arms, freeze_first_day, open_comparison, restarted
from alerts.scorecard import Scorecard, scorecard
from alerts.settler import Live, pooled, settle_until
from alerts.state import ComparisonState
from alerts.troubles import ANY_ERROR, Troubles
from alerts.verdict import GateResult, GuardKind, Outcome, Verdict
from alerts.watched import LONG_AGO, Watched, arms_of, is_due, row_of, same_settings, signature_of
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
from storage.errors import RetryableError
from storage.settled import read_settled_days
from storage.verdicts import (
    VERDICTS,
    read_judged,
    read_latest_verdict,
    read_latest_verdicts,
    write_judged,
    write_verdicts,
)

log = structlog.get_logger(__name__)

# A model that changed is noticed, late verdicts are counted, and numbers of an unchanged verdict are refreshed this often.
_HOUR = timedelta(hours=1)
# Rows that changed after they were settled are only counted, and counting reads a week.
_QUARTER_DAY = timedelta(hours=6)
_WEEK = timedelta(days=7)
_CHECKPOINT_EVERY = timedelta(minutes=10)
_SETTLED_AT_ONCE = 34


@dataclass(frozen=True)
class Report:
    """One look at a rollout: all of the same state and moment."""

    verdict: Verdict
    scorecard: Scorecard
    gate: GateResult


class Evaluator:
    """
    Holds the state of the open comparisons; everything it knows is in the store, so another instance continues it.

    Only the active alerter may call `tick`. Everything else may be asked in any process and answers as of the last tick, whoever
    made it: the state it left is the same in the store and in memory.

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
        self._watched: dict[str, Watched] = {}
        self._unreadable: set[str] = set()
        # what was appended last to `verdicts` of each rollout, and when
        self._told: dict[str, tuple[tuple[object, ...], datetime]] = {}
        self._troubles = Troubles(store)
        # of each rollout the comparison, and what `_judge` counts now and then: who does not tick restores an entry for each look
        self._counted: dict[str, tuple[str, datetime, list[Lateness], datetime, int]] = {}
        self._is_loaded = False
        # the verdicts of the last tick, and its moment; who does not tick makes them of the stored state, once per tick
        self._present: tuple[datetime | None, dict[str, Verdict]] = (None, {})
        self._lock = threading.RLock()

    def tick(self, rollouts: Sequence[RolloutConfig], now: datetime, stopped: Mapping[str, str] | None = None) -> list[Verdict]:
        """
        The present verdict of each rollout with traffic in both arms; those that changed were appended to `verdicts`, and the
        moment up to which all were judged is recorded.

        What goes wrong with one rollout is its own: it keeps its last verdict, which says so, and the others go on. So do
        those `stopped`, by name and reason, whose declaration nobody can read.
        """
        began = datetime.now(UTC)
        with self._lock:
            if self._is_loaded and (read_judged(self._store) or LONG_AGO) > (self._present[0] or LONG_AGO):
                # somebody else has ticked since: going on from here would settle twice
                self.stand_by()
            self._load()
            self._troubles.begin()
            for name, reason in (stopped or {}).items():
                self._troubles.stop(name, reason)
            declared = {rollout.name for rollout in rollouts} | set(stopped or {})
            for name in [name for name in self._watched if name not in declared]:
                self._close(name, now)
            for rollout in rollouts:
                with self._troubles.apart(rollout.name, "opening the comparison"):
                    self._open(rollout, now)
            self._advance(now)
            judged = [self._verdict(name, now) for name in sorted(declared)]
            verdicts = [found for found in judged if found is not None]
            self._append(verdicts, now)
            self._save(now)
            self._troubles.save()
            write_judged(self._store, now, began, len(verdicts))
            self._present = now, {found.rollout: found for found in verdicts}
            return verdicts

    def stand_by(self) -> None:
        """Somebody else ticks from now on: what is held here gets old, what is in the store does not."""
        with self._lock:
            self._is_loaded = False
            self._present = None, {}
            for held in (self._watched, self._unreadable, self._told, self._counted):
                held.clear()
            self._troubles.stand_by()

    def report(self, rollout: RolloutConfig) -> Report | None:
        """Verdict, scorecard and gate of the last tick, at the price of one; None before a comparison is open."""
        with self._lock:
            entry = self._find(rollout.name)
            if entry is None:
                return None
            as_of = self._as_of(entry)
            judged = self._judge(entry, as_of)
            # of a state that an error left half changed, the tick has said the last sound verdict
            told = self._present[1].get(rollout.name, judged.verdict) if entry.is_doubtful else judged.verdict
            return Report(told, scorecard(self._store, entry.comparison, judged, as_of), judged.gate)

    def verdict(self, rollout: str) -> Verdict | None:
        """The verdict of the last tick; the last one stored where nothing is compared any more; None before the first."""
        found = self._judged_last([rollout]).get(rollout)
        if found is not None:
            return found
        stored = read_latest_verdict(self._store, rollout)
        return None if stored is None else verdict.from_json(stored)

    def verdicts(self, rollouts: Sequence[str]) -> dict[str, Verdict]:
        """
        Of many at once; a rollout without one is absent.

        Who does not tick has those stored: right in all but numbers, which are of their `as_of`, at most an hour before the
        last tick. Making them anew takes a tenth of a second each.
        """
        found = self._judged_last(rollouts) if self._is_loaded else {}
        if len(found) == len(rollouts):
            return found
        stored = read_latest_verdicts(self._store)
        others = {name for name in rollouts if name in stored} - set(found)
        return found | {name: verdict.from_json(stored[name]) for name in others}

    def gate(self, rollout: RolloutConfig, now: datetime, on: Literal["live", "experiment"] = "live") -> GateResult:
        """
        Pass, fail or undetermined.

        Args:
            on: `live` traffic as of the last tick, or paired golden-set runs (`experiment`) as of `now`.
        """
        if on == "experiment":
            return judge_experiment(self._store, rollout, self._config, now)
        with self._lock:
            try:
                entry = self._find(rollout.name)
                if entry is not None:
                    return self._judge(entry, self._as_of(entry)).gate
                reason = "no comparison is open: both routes need traffic"
            except (RetryableError, MemoryError):
                raise
            except ANY_ERROR as error:
                reason = in_trouble(f"{type(error).__name__}: {error}").reason
            return undetermined(rollout.name, reason, now, on)

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
            for name, detail in read_open_comparisons(self._store).select("rollout", "detail").rows():
                with self._troubles.apart(name, "reading the comparison"):
                    self._watched[name] = self._restore(from_json(detail))
                if name not in self._watched:
                    self._unreadable.add(name)
            self._is_loaded = True
            self._counted.clear()

    def _find(self, rollout: str) -> Watched | None:
        """The entry of this process if it ticks, else what the store has."""
        if self._is_loaded:
            return self._watched.get(rollout)
        rows = read_open_comparisons(self._store).filter(rollout=rollout)
        if rows.is_empty():
            self._counted.pop(rollout, None)
            return None
        entry = self._restore(from_json(rows["detail"][-1]))
        counted = self._counted.get(rollout)
        if counted is not None and counted[0] == entry.comparison.comparison_id:
            _, entry.counted_at, entry.lateness, entry.late_counted_at, entry.late_rows = counted
        return entry

    def _as_of(self, entry: Watched) -> datetime:
        """The moment of the last tick that is known of. Never the reader's own: what nobody judges would look judged."""
        ticked = self._present[0] if self._is_loaded else None
        return ticked or read_judged(self._store) or entry.comparison.opened_at

    def _judged_last(self, rollouts: Sequence[str]) -> dict[str, Verdict]:
        """The verdicts of the last tick, of those with an open comparison that can be judged."""
        if not self._is_loaded:
            as_of = read_judged(self._store)
            with self._lock:
                if self._present[0] != as_of:
                    self._present = as_of, {}
                for name in set(rollouts) - set(self._present[1]):
                    self._judge_stored(name, as_of)
        # who ticks need not wait for a tick that runs: the one before is whole
        known = self._present[1]
        return {name: known[name] for name in rollouts if name in known}

    def _judge_stored(self, rollout: str, as_of: datetime | None) -> None:
        try:
            entry = self._find(rollout)
            if entry is not None:
                self._present[1][rollout] = self._judge(entry, as_of or entry.comparison.opened_at).verdict
        except (RetryableError, MemoryError):
            raise
        except ANY_ERROR:
            # who ticks has stored what it could still say
            log.warning("verdict_not_remade", rollout=rollout, exc_info=True)

    def _restore(self, comparison: Comparison) -> Watched:
        """From the checkpoint, and what was settled after it."""
        saved = read_checkpoint(self._store, comparison.comparison_id)
        rules = comparison.rules()
        state = ComparisonState(rules) if saved is None else checkpoint.unpack(rules, saved.state)
        since = saved.settled_at if saved else LONG_AGO
        checkpoint.replay(state, read_settled_days(self._store, comparison.comparison_id, since))
        return Watched(comparison, state, settled_at=since)

    def _open(self, rollout: RolloutConfig, now: datetime) -> None:
        """Open a comparison for new traffic, new models or new settings."""
        if rollout.name in self._unreadable:
            self._reread(rollout.name)
        entry = self._watched.get(rollout.name)
        if entry is not None and not same_settings(entry.comparison, rollout, self._config):
            self._close(rollout.name, now)
            self._start(rollout, (*arms_of(entry.comparison), _minute(now) + 1), now)
            return
        if entry is not None:
            changed = entry.comparison.with_split(rollout.split, _minute(now) + 1)
            if changed is not entry.comparison:
                entry.change(changed)
                self._write(entry)
            if now - entry.checked_at < _HOUR:
                return
            entry.checked_at = now
        found = find_arms(self._store, rollout, LONG_AGO if entry is None else now - timedelta(days=2), now)
        if found is None or (entry is not None and found[:3] == arms_of(entry.comparison)):
            return
        if entry is not None:
            self._close(rollout.name, now)
        self._start(rollout, found, now)

    def _reread(self, name: str) -> None:
        """What could not be read when this process began, again: another comparison in its place would lose its evidence."""
        rows = read_open_comparisons(self._store).filter(rollout=name)
        if not rows.is_empty():
            self._watched[name] = self._restore(from_json(rows["detail"][-1]))
        self._unreadable.discard(name)

    def _start(self, rollout: RolloutConfig, arms: tuple[str, str, str, int], now: datetime) -> None:
        self._watch(open_comparison(self._store, rollout, self._config, arms, now, self._maturing), now)

    def _watch(self, comparison: Comparison, now: datetime) -> None:
        entry = Watched(comparison, ComparisonState(comparison.rules()), checked_at=now)
        self._watched[comparison.rollout.name] = entry
        self._write(entry)

    def _close(self, name: str, now: datetime) -> None:
        self._write(self._watched.pop(name), closed_at=now)

    def _write(self, entry: Watched, closed_at: datetime | None = None) -> None:
        write_comparison(self._store, row_of(entry.comparison, closed_at))

    def _advance(self, now: datetime) -> None:
        minute = _minute(now)
        live: list[Watched] = []
        for name, entry in list(self._watched.items()):
            with self._troubles.apart(name, "restoring the state"):
                entry = self._without_doubt(entry)
            with self._troubles.apart(name, "freezing the reference"):
                frozen = freeze_first_day(self._store, entry.comparison, minute)
                if frozen is not entry.comparison:
                    entry.change(frozen)
                    self._write(entry)
            if entry.comparison.day_zero <= minute and not self._troubles.stopped(name):
                live.append(entry)
        settled_at = datetime.now(UTC)
        # Those of one service read the same rows; a few at a time, or the rows of all are held at once.
        together = sorted((entry for entry in live if not entry.is_apart), key=lambda entry: entry.comparison.rollout.service)
        singly = [entry for entry in live if entry.is_apart]
        for first in range(0, len(together), _SETTLED_AT_ONCE):
            some = together[first : first + _SETTLED_AT_ONCE]
            try:
                self._settle(some, minute, settled_at)
            except (RetryableError, MemoryError):
                raise
            except ANY_ERROR:
                # Whose error it is shows one by one; nobody has lost anything, each goes on from its own frontier.
                singly += some
        for entry in singly:
            entry.is_apart = True
            with self._troubles.apart(entry.name, "settling"):
                entry = self._without_doubt(entry)
                self._settle([entry], minute, settled_at)
                entry.is_apart = False
        for entry in self._watched.values():
            if not entry.is_doubtful:
                entry.settled_at = settled_at

    def _settle(self, live: list[Watched], minute: int, settled_at: datetime) -> None:
        learned: dict[str, Live] = {}
        try:
            settle_until(self._store, cast(list[Live], live), minute, settled_at, learned)
        finally:
            for each in learned.values():
                self._write(cast(Watched, each))
            for entry in live:
                self._troubles.leave_out(entry.name, entry.comparison.comparison_id, entry.left_out)
                entry.left_out = {}

    def _without_doubt(self, entry: Watched) -> Watched:
        """The entry, its state taken from the store again if an error came while it was changed."""
        if not entry.is_doubtful:
            return entry
        again = self._restore(entry.comparison)
        self._watched[entry.name] = replace(entry, state=again.state, bundle=None, settled_at=again.settled_at, is_doubtful=False)
        return self._watched[entry.name]

    def _verdict(self, rollout: str, now: datetime) -> Verdict | None:
        """Of this tick; the last one of a rollout that cannot be judged; None before the first."""
        entry = self._watched.get(rollout)
        with self._troubles.apart(rollout, "judging"):
            if entry is not None and not entry.is_doubtful:
                return self._judge(entry, now).verdict
        trouble = self._troubles.stopped(rollout)
        with self._troubles.apart(rollout, "reading the last verdict"):
            stored = read_latest_verdict(self._store, rollout) if trouble else None
            if stored is not None:
                return _halted(verdict.from_json(stored), trouble, now)
        return None

    def _judge(self, entry: Watched, now: datetime) -> Judged:
        comparison = entry.comparison
        if is_due(entry.counted_at, now, _HOUR, comparison.comparison_id):
            entry.counted_at = now
            routes = [comparison.rollout.baseline, comparison.rollout.candidate]
            rows = read_lateness(self._store, comparison.rollout.service, routes, comparison.day_zero_at, now)
            entry.lateness = [Lateness(*row) for row in rows.rows()]
        if is_due(entry.late_counted_at, now, _QUARTER_DAY, comparison.comparison_id):
            entry.late_counted_at = now
            since = max(comparison.day_zero_at, now - _WEEK)
            entry.late_rows = count_late_rows(self._store, row_of(comparison), since)
        if not self._is_loaded:
            counts = (entry.counted_at, entry.lateness, entry.late_counted_at, entry.late_rows)
            self._counted[entry.name] = (comparison.comparison_id, *counts)
        result = self._judge_counted(entry, now)
        confounded = any(g.kind is GuardKind.PROMPT_CONFOUNDED and g.is_active for g in result.guards)
        if confounded and entry.bundle is None:
            settled = (pooled(day) for day in read_settled_days(self._store, comparison.comparison_id, LONG_AGO))
            entry.bundle = checkpoint.replay(ComparisonState(comparison.rules()), settled, dict(entry.state.frontiers))
            result = self._judge_counted(entry, now)
        return result

    def _judge_counted(self, entry: Watched, now: datetime) -> Judged:
        return judge(
            entry.comparison,
            entry.state,
            now,
            entry.lateness,
            entry.late_rows,
            entry.bundle,
            self._troubles.n_malformed(entry.name, entry.comparison.comparison_id),
            self._troubles.stopped(entry.name),
        )

    def _append(self, verdicts: list[Verdict], now: datetime) -> None:
        rows = []
        for v in verdicts:
            signature = signature_of(v)
            told, written_at = self._told.get(v.rollout, ((), LONG_AGO))
            if signature == told and not is_due(written_at, now, _HOUR, v.comparison_id):
                continue
            self._told[v.rollout] = signature, now
            row = (v.rollout, v.comparison_id, v.as_of, v.kind.value, v.gate.value, list(v.reasons), verdict.to_json(v))
            rows.append(row)
        write_verdicts(self._store, pl.DataFrame(rows, schema=VERDICTS, orient="row"))

    def _save(self, now: datetime) -> None:
        saved = []
        for entry in self._watched.values():
            name = entry.comparison.comparison_id
            if not entry.is_doubtful and is_due(entry.saved_at, now, _CHECKPOINT_EVERY, name):
                entry.saved_at = now
                saved.append(Checkpoint(name, entry.settled_at, *checkpoint.pack(entry.state)))
        write_checkpoints(self._store, saved)


def _halted(last: Verdict, trouble: str, now: datetime) -> Verdict:
    """The last verdict of a rollout that cannot be judged now: it says so, and lets nothing pass."""
    gate = Outcome.UNDETERMINED if last.gate is Outcome.PASS else last.gate
    return replace(last, as_of=now, gate=gate, gate_reasons=(in_trouble(trouble).reason, *last.gate_reasons), trouble=trouble)


def _minute(now: datetime) -> int:
    return int(now.timestamp()) // 60
