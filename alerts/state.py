"""The state of one comparison: small, independent of traffic, and the same bytes however its rows were cut into ticks."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import polars as pl

from alerts.ledger import Events, Ledger, PageRule
from alerts.method import blocks, differences, drift
from alerts.method.weights import StreamKey, reserve_weights
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
RING_HOURS = 24


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
        self._weights: tuple[Rules, Floats, Floats] | None = None
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

    def has_candidate_traffic_since(self, minute: int) -> bool:
        """Whether the candidate served anything in the last 24 settled hours that was not before this minute's hour."""
        hours = np.arange(max(self.recent_hour - RING_HOURS + 1, minute // 60), self.recent_hour + 1) % RING_HOURS
        return any(counts[hours, 0].any() for key, counts in self.recent.items() if key[0] == "error")

    def frontier_of(self, metric: tuple[str, str]) -> int:
        """The minute before which a metric is settled; -1 before the first."""
        return self.frontiers.get(self.rules.group_of(metric), -1)

    def dollars_shape(self) -> tuple[int, int, int]:
        return (2, self.rules.n_days, len(DOLLARS))

    def ledger_of(self, metric: str) -> Ledger:
        return self.guarding if metric in GUARD_METRICS else self.paging

    def log_threshold(self, streams: Ints, minutes: Ints) -> Floats:
        """ln of the evidence at which each of the streams pages, at each of the minutes."""
        rules = self.rules
        early, late = self._early_and_late_weights()
        is_late = np.full(len(minutes), False) if rules.dealt_from is None else minutes >= rules.dealt_from
        weights = np.where(is_late, late[streams], early[streams])
        bar = np.log(rules.drift_days) if rules.is_drift else -np.log(rules.alpha)
        # A first look before the weights are dealt from history has no weight at all: no evidence is enough.
        with np.errstate(divide="ignore"):
            result: Floats = bar - np.log(weights)
        return result

    def _early_and_late_weights(self) -> tuple[Floats, Floats]:
        """Weight of every stream before alpha is divided, and from then on."""
        rules, n_streams = self.rules, len(self.paging.streams)
        known = self._weights
        if known is not None and known[0] is rules and len(known[1]) == n_streams:
            return known[1], known[2]
        # Without history alpha is divided at the end of day 0; until then, and for latecomers, there is a reserve.
        has_first_day = rules.dealt_from is None or rules.dealt_from > rules.day_zero
        reserve = rules.shares.reserve / (2 if has_first_day else 1)
        dealt = np.array([rules.dealt.get(key, 0.0) for key in self.paging.streams])
        early = reserve_weights(np.arange(n_streams), reserve) if has_first_day else np.zeros(n_streams)
        late = np.maximum(early, np.where(dealt > 0, dealt, reserve_weights(np.cumsum(dealt == 0) - 1, reserve)))
        self._weights = rules, early, late
        return early, late

    def _make_room(self, frontiers: dict[int, int]) -> None:
        """Drift goes on for ever: days that leave the window are folded into one number per odds ratio."""
        if not self.rules.is_drift or not frontiers:
            return
        newest = (max(frontiers.values()) - self.rules.day_zero) // MINUTES_PER_DAY
        while newest - self.first_day >= self.rules.n_days:
            for ledger in (self.paging, self.guarding):
                ledger.forget_first_day(self.rules.phi_of_all(ledger.streams))
            for sums in self.dollars.values():
                sums[:, :-1], sums[:, -1] = sums[:, 1:].copy(), 0.0
            self.first_day += 1

    def _discover(self, table: Table) -> None:
        """Number new streams in the order in which they matured; all over before high value before the others."""
        known = [ledger.index for ledger in (self.paging, self.guarding)]
        if all(key[0] == "cost" or any(key in index for index in known) for key in table.keys):
            return
        earliest = np.full(len(table.keys), np.iinfo(np.int64).max)
        np.minimum.at(earliest, table.key, table.minute)
        first: dict[StreamKey, int] = {}
        for (metric, evaluator, cohort), minute in zip(table.keys, earliest.tolist(), strict=True):
            if metric == "cost":
                continue
            at = self.rules.settles_at((metric, evaluator), minute)
            for key in (StreamKey(metric, evaluator, GLOBAL), StreamKey(metric, evaluator, cohort)):
                first[key] = min(at, first.get(key, at))
        high = self.rules.high_value
        for key in sorted(first, key=lambda k: (first[k], k.cohort != GLOBAL, k.cohort not in high, k)):
            self.ledger_of(key.metric).stream(key)
        self.paging.make_room()
        self.guarding.make_room()

    def _streams(self, ledger: Ledger, keys: list[tuple[str, str, str]]) -> tuple[Ints, Ints]:
        """Numbers of the keys' streams, cohort and GLOBAL; -1 where the ledger has none."""
        index = ledger.index
        # plain tuples find stream keys
        own = [index.get(key, -1) for key in keys]  # type: ignore[call-overload]
        over_all = [index.get((metric, evaluator, GLOBAL), -1) for metric, evaluator, _ in keys]  # type: ignore[call-overload]
        return np.array(own, dtype=np.int64), np.array(over_all, dtype=np.int64)

    def _of_rows(self, ledger: Ledger, table: Table) -> list[Ints]:
        """The same for every row of a table."""
        return [numbers[table.key] for numbers in self._streams(ledger, table.keys)]

    def _count(self, table: Table) -> None:
        """All settled units, whether or not they meet the other arm, and pairs."""
        # most columns are empty most of the time: no scores, no pairs
        counted = {name: table.column(column) for name, column in _COUNTED.items() if table.column(column).any()}
        for ledger in (self.paging, self.guarding):
            for streams in self._of_rows(ledger, table):
                rows = np.flatnonzero(streams >= 0)
                ledger.add(counted, rows, streams[rows], table.day[rows])
        routed = table.of_metrics("error")
        for epoch in np.unique(table.epoch[routed]).tolist():
            rows = np.flatnonzero(routed & (table.epoch == epoch))
            here_s, here_t = (int(table.column(f"n_{arm}")[rows].sum()) for arm in ARMS)
            a, n = self.routed.get(epoch, (0, 0))
            self.routed[epoch] = (a + here_s, n + here_s + here_t)

    def _close_blocks(self, table: Table) -> ClosedBlocks:
        """Add the rows to the open blocks; keep what stays open, return what closed, sorted by (minute, stratum)."""
        oldest = self.rules.closing.max_minutes
        frontiers = {metric: self.frontier_of(metric) for metric in {key[:2] for key in [*self.open, *table.strata]}}
        aged = [key for key, block in self.open.items() if block[0] + oldest <= frontiers[key[:2]]]
        rows = table.unit_rows
        met = np.unique(table.stratum[rows])
        keys = sorted({table.strata[n] for n in met.tolist()}.union(aged))
        number = {key: position for position, key in enumerate(keys)}
        carried = [(number[key], *self.open.pop(key)) for key in keys if key in self.open]
        renumbered = np.array([number.get(key, -1) for key in table.strata], dtype=np.int64)
        fresh_stratum = renumbered[table.stratum[rows]] if len(rows) else np.zeros(0, dtype=np.int64)
        fresh = np.stack([table.minute[rows].astype(np.float64), *(table.column(name)[rows] for name in BLOCK_COLUMNS)], axis=1)
        old = np.array(carried, dtype=np.float64).reshape(len(carried), 2 + len(BLOCK_COLUMNS))
        stratum = np.concatenate([old[:, 0].astype(np.int64), fresh_stratum])
        values = np.concatenate([old[:, 1:], fresh])
        order = np.lexsort((values[:, 0], stratum))
        stratum, values = stratum[order], values[order]
        if len(stratum) == 0:
            return ClosedBlocks([], np.zeros(0, dtype=np.int64), np.zeros((0, len(BLOCK_COLUMNS))))
        frontier = np.array([frontiers[key[:2]] for key in keys], dtype=np.int64)[stratum]
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
        distinct = sorted({(key[0], key[1], key[4]) for key in closed.strata})
        position = {key: n for n, key in enumerate(distinct)}
        which = np.array([position[key[0], key[1], key[4]] for key in closed.strata], dtype=np.int64)
        own, over_all = (numbers[which] for numbers in self._streams(ledger, distinct))
        day = self.rules.day_of(closed.minute) - self.first_day
        n_s, x_s, n_t, x_t = (closed.sums[:, i].astype(np.int64) for i in range(4))
        matched = (n_s > 0) & (n_t > 0)
        used = np.flatnonzero((own >= 0) | (over_all >= 0))
        phi = self.rules.phi_of_all(ledger.streams)
        terms = differences.block_terms(n_s, x_s, n_t, x_t) | differences.score_terms(closed.sums[:, 4:])
        used_terms = {name: values for name, values in terms.items() if values.any()}
        log_l = np.zeros((len(n_s), len(ledger.theta)))
        rows = used[matched[used]]
        log_l[rows] = blocks.log_evidence(n_s[rows], x_s[rows], n_t[rows], x_t[rows], ledger.theta)
        events = []
        for streams in (own, over_all):
            alone = np.flatnonzero((streams >= 0) & ~matched)
            unmatched = {"unmatchedS": n_s.astype(np.float64), "unmatchedT": n_t.astype(np.float64)}
            ledger.add(unmatched, alone, streams[alone], day[alone])
            rows = np.flatnonzero((streams >= 0) & matched)
            ledger.add(used_terms, rows, streams[rows], day[rows])
            events.append(
                Events(
                    streams[rows],
                    closed.minute[rows],
                    day[rows],
                    np.zeros(len(rows), dtype=bool),
                    log_l[rows],
                    terms["N"][rows],
                    terms["W"][rows],
                    phi[streams[rows]] * terms["V0"][rows],
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
        for streams in self._of_rows(ledger, table):
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
                    (worse + better)[chosen] / 4,
                )
            )
        return events

    def _of_frozen(self, ledger: Ledger, table: Table) -> list[Events]:
        """Drift without a holdback: every minute of the candidate against the frozen rate of its cohort."""
        rates = self.rules.frozen_rates
        if not rates or ledger is not self.paging:
            return []
        by_key = np.array([rates.get(StreamKey(*key), (np.nan, np.nan)) for key in table.keys]).reshape(-1, 2)
        rows = table.unit_rows[~np.isnan(by_key[table.key[table.unit_rows], 0])]
        rows = rows[table.minute[rows] >= self.rules.frozen_from]
        if len(rows) == 0:
            return []
        high, mean = by_key[table.key[rows]].T
        n, x = table.column("n_candidate")[rows], table.column("fail_candidate")[rows]
        log_l = drift.frozen_evidence(n, x, high, ledger.theta)
        variance = n * mean * (1 - mean)
        phi = self.rules.phi_of_all(ledger.streams)
        events = []
        for streams in self._of_rows(ledger, table):
            chosen = streams[rows]
            sums = {"N": x - n * mean, "W": n, "V0": variance}
            ledger.add(sums, np.arange(len(rows)), chosen, table.day[rows])
            never = np.zeros(len(rows), dtype=bool)
            spread = phi[chosen] * variance
            events.append(Events(chosen, table.minute[rows], table.day[rows], never, log_l, x - n * mean, n, spread))
        return events

    def _record(self, ledger: Ledger, parts: list[Events]) -> None:
        if not parts:
            return
        joined = Events(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Events)))
        order = np.argsort(joined.minute, kind="stable")
        ordered = Events(*(getattr(joined, f.name)[order] for f in fields(Events)))
        phi = self.rules.phi_of_all(ledger.streams)
        pages = None if ledger is self.guarding else PageRule(self.log_threshold, self.rules.effect_floor)
        ledger.record(ordered, self.rules.log_mass(), phi, pages)

    def _spend(self, table: Table) -> None:
        rows = np.flatnonzero(table.of_metrics("cost"))
        values = [np.stack([table.column(f"{name}_{arm}")[rows] for name in DOLLARS], axis=1) for arm in ARMS]
        for number in np.unique(table.key[rows]).tolist():
            sums = self.dollars.setdefault(table.keys[number][2], np.zeros(self.dollars_shape()))
            mine = table.key[rows] == number
            for position, arm in enumerate(values):
                np.add.at(sums[position], table.day[rows[mine]], arm[mine])

    def _remember(self, table: Table) -> None:
        """Traffic of the last 24 hours per stratum; hours in between that saw nothing are emptied."""
        rows = table.unit_rows[table.of_metrics("eval_fail", "error")[table.unit_rows]]
        newest = max((frontier - 1) // 60 for frontier in self.frontiers.values()) if self.frontiers else -1
        if newest > self.recent_hour:
            passed = np.arange(max(self.recent_hour + 1, newest - RING_HOURS + 1), newest + 1) % RING_HOURS
            for counts in self.recent.values():
                counts[passed] = 0
            self.recent = {key: counts for key, counts in self.recent.items() if counts.any()}
            self.recent_hour = newest
        rows = rows[table.minute[rows] // 60 > newest - RING_HOURS]
        units = np.stack([table.column(f"n_{arm}")[rows] for arm in ARMS], axis=1)
        met, local = np.unique(table.stratum[rows], return_inverse=True)
        counts = np.zeros((len(met), RING_HOURS, 2))
        np.add.at(counts, (local, table.minute[rows] // 60 % RING_HOURS), units)
        for number, added in zip(met.tolist(), counts, strict=True):
            known = self.recent.get(table.strata[number])
            self.recent[table.strata[number]] = added.copy() if known is None else known + added
