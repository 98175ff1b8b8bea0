"""Reads a comparison's state: evidence, differences and ranges of every stream, as arrays first and as findings on demand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from alerts.ledger import BLOCK, COUNT, SCORE, is_above
from alerts.method import differences, evidence
from alerts.method.intervals import radius_of_one
from alerts.method.proven import as_difference, proven_index
from alerts.method.weights import StreamKey, group_of
from alerts.rules import MINUTES_PER_DAY, Floats, Ints
from alerts.state import ComparisonState
from alerts.verdict import GLOBAL, ArmCounts, Interval, StreamFinding, StreamState

MIN_UNITS, MIN_FAILURES, MIN_SCORES = 50, 10, 200
# of what a page says is proved
PROOF_LEVEL = 0.05


class Findings:
    """
    Everything that can be said about the streams of one comparison now.

    Args:
        omega: the frozen reference mix; empty before it is frozen.
        margins: gate margins of ordinary and of high-value streams (rate).
        level: of the intervals. pairs_only: a guard says that unpaired units are not comparable.
    """

    def __init__(
        self,
        state: ComparisonState,
        omega: dict[str, float],
        margins: tuple[float, float],
        level: float,
        *,
        pairs_only: bool = False,
    ) -> None:
        self.state, self.omega, self.level, self.margins = state, omega, level, margins
        ledger, rules = state.paging, state.rules
        self.streams = ledger.streams
        self.today = self._today()
        self._phi = rules.phi_of_all(self.streams)
        self._n_pairs = ledger.n_pairs().sum(axis=1)
        everyone = np.arange(len(self.streams))
        by_kind = [
            evidence.log_e(ledger.log_components(kind, everyone, self.today + 1, rules.log_mass(), self._phi))
            for kind in (ledger.unpaired, ledger.paired)
        ]
        both = np.where(self._n_pairs > 0, np.logaddexp(*by_kind) - np.log(2), by_kind[0])
        only_pairs = pairs_only & (self._n_pairs > 0)
        self.log_e: Floats = np.where(only_pairs, by_kind[1], both)
        self.log_threshold = state.log_threshold(everyone, np.full(len(everyone), state.newest_minute()))
        self.paged: Ints = np.where(only_pairs, ledger.paged[:, 1], ledger.paged[:, 0])
        self._page_start = np.where(only_pairs, ledger.page_start[:, 1], ledger.page_start[:, 0])
        totals = ledger.sums.sum(axis=1)
        self._sums = {name: totals[:, ledger.field[name]] for name in (*BLOCK, *SCORE, *COUNT)}
        self._n01, self._n10, self._n11 = (totals[:, ledger.field[name]] for name in ("n01", "n10", "n11"))
        self._totals = {name: self._sums[name].tolist() for name in ("uS", "fS", "uT", "fT")}
        self._weighted = (self._sums["N"] + (self._n01 - self._n10) / 2).tolist(), (self._sums["W"] + self._n_pairs / 2).tolist()
        self._units = [(self._sums[arm] + self._n_pairs).tolist() for arm in ("nS", "nT")]
        self._known: dict[StreamKey, StreamFinding] = {}
        self._standardised: dict[tuple[str, str], differences.Standardised] = {}
        self._by_metric: dict[tuple[str, str], dict[str, int]] = {}
        for key, number in ledger.index.items():
            self._by_metric.setdefault((key.metric, key.evaluator), {})[key.cohort] = number
        difference = differences.of_rates(self._sums, self._n01, self._n10, self._n_pairs, self._phi)
        self.d, self.v = difference.d, difference.v

    def _today(self) -> int:
        newest = self.state.newest_minute()
        return max(0, int(self.state.rules.day_of(np.array([newest]))[0]) - self.state.first_day)

    def margin(self, key: StreamKey) -> float:
        return self.margins[1] if key.cohort in self.state.rules.high_value else self.margins[0]

    def weight(self, number: int) -> float:
        """Share of alpha of a stream now."""
        rules = self.state.rules
        bar = np.log(rules.drift_days) if rules.is_drift else -np.log(rules.alpha)
        return float(np.exp(bar - self.log_threshold[number]))

    def standardised(self, metric: str, evaluator: str) -> differences.Standardised:
        """The metric's difference at the reference mix."""
        known = self._standardised.get((metric, evaluator))
        if known is None:
            numbers = {c: i for c, i in self._by_metric[metric, evaluator].items() if c != GLOBAL}
            known = self._standardised[metric, evaluator] = differences.standardised(
                self.omega,
                {c: float(self.d[i]) for c, i in numbers.items()},
                {c: float(self.v[i]) for c, i in numbers.items()},
                {c: (self._units[0][i], self._units[1][i]) for c, i in numbers.items()},
            )
        return known

    def bounds(self, key: StreamKey, level: float) -> tuple[float, float] | None:
        """Any-time bounds of a stream's difference at two-sided `level`, standardised for GLOBAL; None while collecting."""
        d, v, note = self.estimate(key)
        if d is None or v is None or note:
            return None
        width = radius_of_one(v, level, 0.8 * self.margin(key))
        return d - width, d + width

    def estimate(self, key: StreamKey) -> tuple[float | None, float | None, str]:
        """Difference, its variance, and why no range may be shown yet ('' if it may)."""
        number = self.state.paging.index[key]
        note = self._collecting(number)
        if key.cohort == GLOBAL and self.omega:
            result = self.standardised(key.metric, key.evaluator)
            return result.d, result.v, note or result.note
        d = float(self.d[number]) if np.isfinite(self.d[number]) else None
        return d, float(self.v[number]), note

    def _collecting(self, number: int) -> str:
        units = min(self._units[0][number], self._units[1][number])
        pair_failures = 2 * self._n11[number] + self._n01[number] + self._n10[number]
        failures = self._sums["xS"][number] + self._sums["xT"][number] + pair_failures
        if self.state.rules.frozen_rates:
            return ""
        if units < MIN_UNITS:
            return f"collecting: {int(units)} of {MIN_UNITS} comparable traces in the smaller arm"
        if failures < MIN_FAILURES:
            return f"collecting: {int(failures)} of {MIN_FAILURES} failures"
        return ""

    def start_day(self, number: int) -> int:
        """s*: the start day whose own evidence is largest now."""
        ledger, one = self.state.paging, slice(number, number + 1)
        own = np.full(self.today + 1, -np.inf)
        for kind in (ledger.unpaired, ledger.paired):
            since = evidence.suffix_sums(ledger.sums[one, : self.today + 1, kind]) / self._phi[number]
            own = np.logaddexp(own, evidence.log_e(since[0]))
        return int(np.argmax(own))

    def is_above_floor(self, number: int) -> bool:
        """Whether the harm since the likeliest start is large enough for a page."""
        sums = self.state.paging.difference_since(number, self.start_day(number), float(self._phi[number]))
        return bool(is_above(self.state.rules.effect_floor, *(np.array([value]) for value in sums))[0])

    def proven(self, number: int) -> int:
        """Index of the proved odds ratio (0 is psi_0 = 1), -1 if nothing is proved."""
        if self.log_e[number] < -np.log(PROOF_LEVEL):
            return -1
        ledger, one, phi = self.state.paging, slice(number, number + 1), self._phi[number : number + 1]
        mass = self.state.rules.log_mass()[: self.today + 1]
        against = [
            evidence.log_e_against(ledger.sums[one, : self.today + 1, kind], mass, phi)
            for kind in (ledger.unpaired, ledger.paired)
        ]
        both = np.logaddexp(*against) - np.log(2) if self._n_pairs[number] > 0 else against[0]
        return int(proven_index(both, PROOF_LEVEL)[0])

    def finding(self, key: StreamKey, state: StreamState | None = None, *, is_bundle: bool = False) -> StreamFinding:
        """All that is known about one stream."""
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._finding(key)
        if is_bundle:
            known = replace(known, stream_id=known.stream_id + "#prompts-pooled", is_bundle=True)
        return known if state is None else replace(known, state=state)

    def _finding(self, key: StreamKey) -> StreamFinding:
        number = self.state.paging.index[key]
        ledger, rules = self.state.paging, self.state.rules
        d, _, note = self.estimate(key)
        bounds = self.bounds(key, self.level)
        if key.cohort == GLOBAL and not self.omega:
            note = note or "at the mix of the matched traces: the reference mix is not frozen yet"
        has_paged = bool(self.paged[number] >= 0)
        # Without evidence of harm no day is likelier than another.
        start = self.start_day(number) if self.log_e[number] > 0 else 0
        if has_paged and self.log_e[number] < self.log_threshold[number]:
            # The harm has ended since: what the page was about.
            start = int(self._page_start[number])
        n_since, w_since = ledger.difference_since(number, start)[:2] if start else (part[number] for part in self._weighted)
        index = self.proven(number)
        proved = max(index, 0) if has_paged else index
        odds = (1.0, *rules.odds_ratios)[proved] if proved >= 0 else None
        proved_difference = None
        if odds is not None and not rules.frozen_rates:
            proved_difference = max(0.0, as_difference(odds, self._baseline_rate(number, start)))
        default = StreamState.PAGED if has_paged else StreamState.COLLECTING if bounds is None else StreamState.NO_HARM_SEEN
        at = int(self.paged[number])
        candidate, baseline = (self._arm(key, arm, 0) for arm in "ST")
        candidate_since, baseline_since = (self._arm(key, arm, start) for arm in "ST") if start else (candidate, baseline)
        return StreamFinding(
            stream_id=key.stream_id,
            metric=key.metric,
            evaluator=key.evaluator,
            cohort=key.cohort,
            group=group_of(key.metric),
            is_high_value=key.cohort in rules.high_value,
            is_bundle=False,
            state=default,
            baseline=baseline,
            candidate=candidate,
            difference=d,
            interval=None if bounds is None else Interval(*bounds, self.level),
            log_evidence=float(self.log_e[number]),
            log_threshold=float(self.log_threshold[number]),
            paged_minute=moment(at) if has_paged else None,
            decided_at=moment(at + 1 + rules.maturity_of((key.metric, key.evaluator))) if has_paged else None,
            since=moment(rules.day_zero + (start + self.state.first_day) * MINUTES_PER_DAY),
            difference_since=float(n_since / w_since) if w_since > 0 else None,
            baseline_since=baseline_since,
            candidate_since=candidate_since,
            proven_odds_ratio=odds,
            proven_difference=proved_difference,
            n_pairs=int(self._n_pairs[number]),
            n_discordant_worse=int(self._n01[number]),
            n_discordant_better=int(self._n10[number]),
            note=note,
        )

    def _baseline_rate(self, number: int, start: int) -> float:
        """The baseline's failure rate in blocks since a day."""
        x, n = (float(self.state.paging.get(name)[number, start:].sum()) for name in ("xT", "nT"))
        return (x + 0.5) / (n + 1)

    def _arm(self, key: StreamKey, arm: str, start: int) -> ArmCounts:
        """Counts of all settled units of an arm since a day; coverage where sampled traces are known."""
        ledger, number = self.state.paging, self.state.paging.index[key]
        by_name = (f"u{arm}", f"f{arm}")
        n, x = (int(ledger.get(name)[number, start:].sum() if start else self._totals[name][number]) for name in by_name)
        sampled, missing = n, 0
        base = self.state.guarding.index.get(StreamKey("eval_missing", key.evaluator, key.cohort))
        if key.metric == "eval_fail" and base is not None:
            guard = self.state.guarding
            sampled, missing = (int(guard.get(f"{name}{arm}")[base, start:].sum()) for name in "uf")
        coverage = (sampled - missing) / sampled if sampled else None
        # Judged though nobody sampled it counts as scored, so the base is never below the units.
        eligible = max(sampled, n + missing)
        worst = Interval(x / eligible, (x + missing) / eligible, 0.0) if missing and eligible else None
        return ArmCounts(n, x, x / n if n else None, eligible, coverage, worst)


def moment(minute: int) -> datetime:
    """A minute since 1970 as a time."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)
