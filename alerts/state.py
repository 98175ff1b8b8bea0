"""The state of one comparison: small, independent of traffic, and the same bytes however its rows were cut into ticks."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import polars as pl

from alerts.ledger import Events, Ledger, PageRule
from alerts.method import blocks, differences, drift
from alerts.method.weights import StreamKey, reserve_weight
from alerts.rules import GUARD_METRICS, MINUTES_PER_DAY, Floats, Ints, Rules, Stratum
from alerts.tables import ARMS, BLOCK_COLUMNS, ClosedBlocks, Table
from alerts.verdict import GLOBAL

# field of the ledger: column of the settled rows
_COUNTED = dict(
    zip(
        ("uS", "fS", "eS", "mS", "sS", "qS", "uT", "fT", "eT", "mT", "sT", "qT", "n11", "n10", "n01", "n00", "incomplete"),
        (
            *(f"{name}_{arm}" for arm in ARMS for name in ("n", "fail", "eligible", "n_value", "sum", "squares")),
            *("n11", "n10", "n01", "n00", "n_incomplete"),
        ),
        strict=True,
    )
)
DOLLARS = ("n_value", "sum", "squares", "capped_sum", "capped_squares")
_RING_HOURS = 24


class ComparisonState:
    """Open blocks, ledgers, dollars, and the last day's traffic per stratum."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        # per group of metrics that settle together, the minute before which everything is settled
        self.frontiers: dict[int, int] = {}
        # stratum -> minute the block began, then n_s, x_s, n_t, x_t, and number, sum, squares of scores per arm
        self.open: dict[Stratum, tuple[float, ...]] = {}
        self.first_day = 0
        self.paging = Ledger(rules.odds_ratios, rules.n_days)
        # guards look in both directions
        both = tuple(1 / ratio for ratio in reversed(rules.odds_ratios)) + rules.odds_ratios
        self.guarding = Ledger(both, rules.n_days)
        # dollars per cohort: (candidate and baseline, days, number / sum / squares / capped sum / capped squares)
        self.dollars: dict[str, Floats] = {}
        # units per stratum and hour of the day, over the last 24 hours: (24, candidate and baseline)
        self.recent: dict[Stratum, Floats] = {}
        self.recent_hour = -1
        # units per epoch of the declared split: candidate's, all
        self.routed: dict[int, tuple[int, int]] = {}

    def advance(self, rows: pl.DataFrame, frontiers: dict[int, int]) -> None:
        """
        Take in newly settled minutes.

        Args:
            rows: `SETTLED` rows of this comparison, each minute of a metric whole and once, none before its old frontier.
            frontiers: per group (`Rules.group_of`) the minute (since 1970) before which everything is settled now.
        """
        self.frontiers |= frontiers
        self._make_room(frontiers)
        table = Table(rows, self.rules, self.first_day)
        self._discover(table)
        self._count(table)
        closed = self._close_blocks(table)
        for ledger in (self.paging, self.guarding):
            self._record(
                ledger, [*self._of_blocks(ledger, closed), *self._of_pairs(ledger, table), *self._of_frozen(ledger, table)]
            )
        self._spend(table)
        self._remember(table)

    def newest_minute(self) -> int:
        """The last settled minute of any metric; day 0 before the first."""
        return max((frontier - 1 for frontier in self.frontiers.values()), default=self.rules.day_zero)

    def frontier_of(self, metric: tuple[str, str]) -> int:
        """The minute before which a metric is settled; -1 before the first."""
        return self.frontiers.get(self.rules.group_of(metric), -1)

    def dollars_shape(self) -> tuple[int, int, int]:
        return (2, self.rules.n_days, len(DOLLARS))

    def ledger_of(self, metric: str) -> Ledger:
        return self.guarding if metric in GUARD_METRICS else self.paging

    def log_threshold(self, streams: Ints, minutes: Ints) -> Floats:
        """ln of the evidence at which each of the streams pages, at each of the minutes."""
        late_order = np.cumsum([key not in self.rules.dealt for key in self.paging.streams]) - 1
        weights = [self._weight(int(s), int(late_order[s]), int(m)) for s, m in zip(streams, minutes, strict=True)]
        bar = np.log(self.rules.drift_days) if self.rules.is_drift else -np.log(self.rules.alpha)
        result: Floats = bar - np.log(np.array(weights))
        return result

    def _weight(self, stream: int, late_order: int, minute: int) -> float:
        rules = self.rules
        is_first_day = rules.dealt_from is None or rules.dealt_from > rules.day_zero
        reserve = rules.shares.reserve / (2 if is_first_day else 1)
        early = reserve_weight(stream, reserve) if is_first_day else 0.0
        if rules.dealt_from is None or minute < rules.dealt_from:
            return early
        key = self.paging.streams[stream]
        return max(early, rules.dealt[key] if key in rules.dealt else reserve_weight(late_order, reserve))

    def _make_room(self, frontiers: dict[int, int]) -> None:
        """Drift goes on for ever: days that leave the window are folded into one number per odds ratio."""
        if not self.rules.is_drift or not frontiers:
            return
        newest = (max(frontiers.values()) - self.rules.day_zero) // MINUTES_PER_DAY
        while newest - self.first_day >= self.rules.n_days:
            for ledger in (self.paging, self.guarding):
                ledger.forget_first_day(np.array([self.rules.phi_of(key) for key in ledger.streams]))
            for sums in self.dollars.values():
                sums[:, :-1], sums[:, -1] = sums[:, 1:].copy(), 0.0
            self.first_day += 1

    def _discover(self, table: Table) -> None:
        """Number new streams in the order in which they matured; all over before high value before the others."""
        first: dict[StreamKey, int] = {}
        for metric, evaluator, cohort, minute in zip(
            table.metric, table.evaluator, table.cohort, table.minute.tolist(), strict=True
        ):
            if metric == "cost":
                continue
            at = self.rules.settles_at((metric, evaluator), minute)
            for key in (StreamKey(metric, evaluator, GLOBAL), StreamKey(metric, evaluator, cohort)):
                if at < first.get(key, at + 1):
                    first[key] = at
        high = self.rules.high_value
        for key in sorted(first, key=lambda k: (first[k], k.cohort != GLOBAL, k.cohort not in high, k)):
            self.ledger_of(key.metric).stream(key)
        self.paging.make_room()
        self.guarding.make_room()

    def _streams(self, ledger: Ledger, metric: list[str], evaluator: list[str], cohort: list[str]) -> tuple[Ints, Ints]:
        """Numbers of the rows' streams, cohort and GLOBAL; -1 where the ledger has none."""
        index = ledger.index
        own = [index.get(StreamKey(*key), -1) for key in zip(metric, evaluator, cohort, strict=True)]
        over_all = [index.get(StreamKey(m, e, GLOBAL), -1) for m, e in zip(metric, evaluator, strict=True)]
        return np.array(own, dtype=np.int64), np.array(over_all, dtype=np.int64)

    def _count(self, table: Table) -> None:
        """All settled units, whether or not they meet the other arm, and pairs."""
        for ledger in (self.paging, self.guarding):
            for streams in self._streams(ledger, table.metric, table.evaluator, table.cohort):
                rows = np.flatnonzero(streams >= 0)
                for name, column in _COUNTED.items():
                    ledger.add(name, streams[rows], table.day[rows], table.column(column)[rows])
        routed = np.flatnonzero(np.array([metric == "error" for metric in table.metric], dtype=bool))
        for row in routed.tolist():
            a, n = self.routed.get(int(table.epoch[row]), (0, 0))
            here_s, here_t = int(table.column("n_candidate")[row]), int(table.column("n_baseline")[row])
            self.routed[int(table.epoch[row])] = (a + here_s, n + here_s + here_t)

    def _close_blocks(self, table: Table) -> ClosedBlocks:
        """Add the rows to the open blocks; keep what stays open, return what closed, sorted by (minute, stratum)."""
        oldest = self.rules.closing.max_minutes
        aged = [key for key, block in self.open.items() if block[0] + oldest <= self.frontier_of(key[:2])]
        rows = table.unit_rows
        keys = sorted({table.stratum[row] for row in rows}.union(aged))
        number = {key: position for position, key in enumerate(keys)}
        carried = [(number[key], *self.open.pop(key)) for key in keys if key in self.open]
        fresh_stratum = np.array([number[table.stratum[row]] for row in rows], dtype=np.int64)
        fresh = np.stack([table.minute[rows].astype(np.float64), *(table.column(name)[rows] for name in BLOCK_COLUMNS)], axis=1)
        old = np.array(carried, dtype=np.float64).reshape(len(carried), 2 + len(BLOCK_COLUMNS))
        stratum = np.concatenate([old[:, 0].astype(np.int64), fresh_stratum])
        values = np.concatenate([old[:, 1:], fresh])
        order = np.lexsort((values[:, 0], stratum))
        stratum, values = stratum[order], values[order]
        if len(stratum) == 0:
            return ClosedBlocks([], np.zeros(0, dtype=np.int64), np.zeros((0, len(BLOCK_COLUMNS))))
        frontier = np.array([self.frontier_of(key[:2]) for key in keys], dtype=np.int64)[stratum]
        minute = values[:, 0].astype(np.int64)
        block, closed = blocks.block_ends(
            stratum, minute, values[:, 1].astype(np.int64), values[:, 3].astype(np.int64), frontier, self.rules.closing
        )
        first = np.flatnonzero(np.diff(block, prepend=-1))
        sums = np.zeros((len(first), len(BLOCK_COLUMNS)))
        np.add.at(sums, block, values[:, 1:])
        for position in np.flatnonzero(closed[first] < 0).tolist():
            row = first[position]
            self.open[keys[stratum[row]]] = (float(values[row, 0]), *sums[position].tolist())
        done = np.flatnonzero(closed[first] >= 0)
        done = done[np.lexsort((stratum[first[done]], closed[first[done]]))]
        strata = [keys[number] for number in stratum[first[done]]]
        return ClosedBlocks(strata, closed[first[done]], sums[done])

    def _of_blocks(self, ledger: Ledger, closed: ClosedBlocks) -> list[Events]:
        if len(closed.strata) == 0 or not ledger.streams:
            return []
        own, over_all = self._streams(
            ledger, [k[0] for k in closed.strata], [k[1] for k in closed.strata], [k[4] for k in closed.strata]
        )
        day = self.rules.day_of(closed.minute) - self.first_day
        n_s, x_s, n_t, x_t = (closed.sums[:, i].astype(np.int64) for i in range(4))
        matched = (n_s > 0) & (n_t > 0)
        used = np.flatnonzero((own >= 0) | (over_all >= 0))
        terms = differences.block_terms(n_s, x_s, n_t, x_t) | differences.score_terms(closed.sums[:, 4:])
        log_l = np.zeros((len(n_s), len(ledger.theta)))
        rows = used[matched[used]]
        log_l[rows] = blocks.log_evidence(n_s[rows], x_s[rows], n_t[rows], x_t[rows], ledger.theta)
        events = []
        for streams in (own, over_all):
            alone = np.flatnonzero((streams >= 0) & ~matched)
            ledger.add("unmatchedS", streams[alone], day[alone], n_s[alone])
            ledger.add("unmatchedT", streams[alone], day[alone], n_t[alone])
            rows = np.flatnonzero((streams >= 0) & matched)
            for name, values in terms.items():
                ledger.add(name, streams[rows], day[rows], values[rows])
            events.append(
                Events(
                    streams[rows],
                    closed.minute[rows],
                    day[rows],
                    np.zeros(len(rows), dtype=bool),
                    log_l[rows],
                    terms["N"][rows],
                    terms["W"][rows],
                )
            )
        return events

    def _of_pairs(self, ledger: Ledger, table: Table) -> list[Events]:
        n = np.sum([table.column(name) for name in ("n11", "n10", "n01", "n00")], axis=0)
        rows = np.flatnonzero(n > 0)
        if len(rows) == 0:
            return []
        worse, better = table.column("n01"), table.column("n10")
        log_l = blocks.pair_evidence(worse[rows].astype(np.int64), better[rows].astype(np.int64), ledger.theta)
        events = []
        for streams in self._streams(ledger, table.metric, table.evaluator, table.cohort):
            kept = streams[rows] >= 0
            chosen = rows[kept]
            events.append(
                Events(
                    streams[chosen],
                    table.minute[chosen],
                    table.day[chosen],
                    np.ones(len(chosen), dtype=bool),
                    log_l[kept],
                    (worse - better)[chosen] / 2,
                    n[chosen] / 2,
                )
            )
        return events

    def _of_frozen(self, ledger: Ledger, table: Table) -> list[Events]:
        """Drift without a holdback: every minute of the candidate against the frozen rate of its cohort."""
        rates = self.rules.frozen_rates
        if not rates or ledger is not self.paging:
            return []
        keys = [StreamKey(m, e, c) for m, e, c in zip(table.metric, table.evaluator, table.cohort, strict=True)]
        rows = np.array([row for row in table.unit_rows if keys[row] in rates], dtype=np.int64)
        if len(rows) == 0:
            return []
        high = np.array([rates[keys[row]][0] for row in rows])
        mean = np.array([rates[keys[row]][1] for row in rows])
        n, x = table.column("n_candidate")[rows], table.column("fail_candidate")[rows]
        log_l = drift.frozen_evidence(n, x, high, ledger.theta)
        events = []
        for streams in self._streams(ledger, table.metric, table.evaluator, table.cohort):
            chosen = streams[rows]
            ledger.add("N", chosen, table.day[rows], x - n * mean)
            ledger.add("W", chosen, table.day[rows], n)
            events.append(
                Events(chosen, table.minute[rows], table.day[rows], np.zeros(len(rows), dtype=bool), log_l, x - n * mean, n)
            )
        return events

    def _record(self, ledger: Ledger, parts: list[Events]) -> None:
        if not parts:
            return
        joined = Events(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Events)))
        order = np.argsort(joined.minute, kind="stable")
        ordered = Events(*(getattr(joined, f.name)[order] for f in fields(Events)))
        phi = np.array([self.rules.phi_of(key) for key in ledger.streams])
        pages = None if ledger is self.guarding else PageRule(self.log_threshold, self.rules.effect_floor)
        ledger.record(ordered, self.rules.log_mass(), phi, pages)

    def _spend(self, table: Table) -> None:
        rows = [row for row, metric in enumerate(table.metric) if metric == "cost"]
        for row in rows:
            cohort = table.cohort[row]
            if cohort not in self.dollars:
                self.dollars[cohort] = np.zeros(self.dollars_shape())
            for position, arm in enumerate(ARMS):
                self.dollars[cohort][position, table.day[row]] += [table.column(f"{name}_{arm}")[row] for name in DOLLARS]

    def _remember(self, table: Table) -> None:
        """Traffic of the last 24 hours per stratum; hours in between that saw nothing are emptied."""
        rows = [row for row in table.unit_rows if table.metric[row] in ("eval_fail", "error")]
        newest = max((frontier - 1) // 60 for frontier in self.frontiers.values()) if self.frontiers else -1
        if newest > self.recent_hour:
            passed = np.arange(max(self.recent_hour + 1, newest - _RING_HOURS + 1), newest + 1) % _RING_HOURS
            for counts in self.recent.values():
                counts[passed] = 0
            self.recent = {key: counts for key, counts in self.recent.items() if counts.any()}
            self.recent_hour = newest
        n_s, n_t = table.column("n_candidate"), table.column("n_baseline")
        for row in rows:
            hour = int(table.minute[row]) // 60
            if hour > newest - _RING_HOURS:
                counts = self.recent.setdefault(table.stratum[row], np.zeros((_RING_HOURS, 2)))
                counts[hour % _RING_HOURS] += (n_s[row], n_t[row])
