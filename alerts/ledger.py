"""Sums per stream and day: all that is kept of the blocks, and when each stream first had enough evidence to page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alerts.method import evidence
from alerts.method.weights import StreamKey

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BLOCK = ("N", "W", "V0", "aS", "aT", "nS", "xS", "nT", "xT")
SCORE = ("yW", "yN", "yaS", "yaT")
PAIR = ("n11", "n10", "n01", "n00", "incomplete")
COUNT = ("uS", "fS", "eS", "uT", "fT", "eT", "mS", "sS", "qS", "mT", "sT", "qT", "unmatchedS", "unmatchedT")
"""
N, W, V0, aS, aT: terms of the stratified difference; n, x: units and failures in blocks with both arms (S candidate, T baseline).
yW, yN, yaS, yaT: the same terms of the difference of mean scores.
n01: pairs in which only the candidate failed, n10: only the baseline.
u, f, e: all settled units, failures, eligible units; m, s, q: number, sum and sum of squares of scores.
"""


@dataclass(frozen=True)
class Events:
    """What moves evidence, one row per stream and closed block or pair-minute, sorted by minute."""

    stream: Ints
    minute: Ints
    day: Ints
    is_pair: NDArray[np.bool_]
    log_l: Floats  # (events, J)
    n: Floats
    w: Floats
    v: Floats  # variance of n, as it is counted in the sums


# Standard errors by which the harm must exceed the floor: there are many looks, and the start that looks worst is the one chosen.
_CLEARLY = 2.5


@dataclass(frozen=True)
class PageRule:
    """When a stream has enough to page: ln of the evidence needed, of (streams, minutes), and the harm since s* (rate)."""

    log_threshold: Callable[[Ints, Ints], Floats]
    floor: float


def is_above(floor: float, n: Floats, w: Floats, v: Floats) -> NDArray[np.bool_]:
    """
    Whether harm exceeds a floor clearly, not by the luck of the look at which the evidence crossed.

    Args:
        floor: rate; 0 asks for no more than harm.
        n, w, v: sums of weighted differences, of weights, and the variance of the first; any shape.
    """
    d = np.divide(n, w, out=np.full(n.shape, -np.inf), where=w > 1e-9)
    margin = np.divide(_CLEARLY * np.sqrt(np.maximum(v, 0.0)), w, out=np.zeros(n.shape), where=w > 1e-9)
    result: NDArray[np.bool_] = d - (margin if floor > 0 else 0.0) >= floor
    return result


class Ledger:
    """
    Streams of one comparison over one grid of odds ratios.

    `sums` has shape (streams, days, fields). Sums are added one by one in a fixed order, so any cutting of the same rows
    into calls gives the same bytes.
    """

    def __init__(self, odds_ratios: tuple[float, ...], n_days: int) -> None:
        self.theta: Floats = np.log(np.asarray(odds_ratios))
        grid = len(odds_ratios)
        names = [f"u{j}" for j in range(grid)] + [f"p{j}" for j in range(grid)] + [*BLOCK, *SCORE, *PAIR, *COUNT]
        self.field = {name: position for position, name in enumerate(names)}
        self.unpaired = slice(0, grid)
        self.paired = slice(grid, 2 * grid)
        self.streams: list[StreamKey] = []
        self.index: dict[StreamKey, int] = {}
        # when each stream paged, -1 never: by all evidence, by pairs alone
        self.paged: Ints = np.full((0, 2), -1, dtype=np.int64)
        # the likeliest start day as it was known then
        self.page_start: Ints = np.full((0, 2), -1, dtype=np.int64)
        self.sums: Floats = np.zeros((0, n_days, len(names)))
        # ln of the mass older than the first day, unpaired and paired
        self.carry: Floats = np.full((0, 2, grid), -np.inf)

    def stream(self, key: StreamKey) -> int:
        """The stream's number; a new one is appended."""
        number = self.index.get(key)
        if number is None:
            number = self.index[key] = len(self.streams)
            self.streams.append(key)
        return number

    def make_room(self) -> None:
        """Arrays for the streams appended since."""
        missing = len(self.streams) - len(self.paged)
        if missing > 0:
            never = np.full((missing, 2), -1, dtype=np.int64)
            self.paged, self.page_start = np.concatenate([self.paged, never]), np.concatenate([self.page_start, never])
            self.sums = np.concatenate([self.sums, np.zeros((missing, *self.sums.shape[1:]))])
            self.carry = np.concatenate([self.carry, np.full((missing, *self.carry.shape[1:]), -np.inf)])

    def add(self, values: Mapping[str, Floats], rows: Ints, streams: Ints, days: Ints) -> None:
        """
        Add some rows of each field's values, one by one in their order.

        Args:
            values: by field, one per row. rows: those to add. streams, days: where each of `rows` goes.
        """
        if len(rows) == 0:
            return
        flat, cells = self._cells(streams, days)
        for name, column in values.items():
            np.add.at(flat, cells + self.field[name], column[rows])

    def _cells(self, streams: Ints, days: Ints) -> tuple[Floats, Ints]:
        """All sums as one row, and where in it each stream and day begins: several indices cost ten times as much."""
        _, n_days, n_fields = self.sums.shape
        return self.sums.reshape(-1, copy=False), (streams * n_days + days) * n_fields

    def get(self, name: str) -> Floats:
        """A field, shape (streams, days)."""
        field: Floats = self.sums[:, :, self.field[name]]
        return field

    def total(self, name: str) -> Floats:
        """A field over all days, shape (streams,)."""
        result: Floats = self.get(name).sum(axis=1)
        return result

    def n_pairs(self) -> Floats:
        """Complete pairs, shape (streams, days)."""
        result: Floats = self.get("n11") + self.get("n10") + self.get("n01") + self.get("n00")
        return result

    def differences(self, phi: Floats) -> tuple[Floats, Floats, Floats]:
        """N, W and the variance of N of blocks and pairs together, each (streams, days)."""
        worse, better = self.get("n01"), self.get("n10")
        variance = phi[:, None] * self.get("V0") + (worse + better) / 4
        return self.get("N") + (worse - better) / 2, self.get("W") + self.n_pairs() / 2, variance

    def difference_since(self, stream: int, day: int, phi: float = 1.0) -> tuple[float, float, float]:
        """N, W and the variance of N of one stream from a day on."""
        row = {name: float(self.sums[stream, day:, self.field[name]].sum()) for name in ("N", "W", "V0", *PAIR)}
        n_pairs = row["n11"] + row["n10"] + row["n01"] + row["n00"]
        variance = phi * row["V0"] + (row["n01"] + row["n10"]) / 4
        return row["N"] + (row["n01"] - row["n10"]) / 2, row["W"] + n_pairs / 2, variance

    def log_components(self, kind: slice, streams: Ints, n_days: int, log_mass: Floats, phi: Floats) -> Floats:
        """ln A_j of the unpaired or the paired process after `n_days` day starts; shape (streams, J)."""
        carry = self.carry[streams, int(kind == self.paired)]
        return evidence.log_components(self.sums[streams, :n_days, kind], log_mass[:n_days], phi[streams], carry)

    def forget_first_day(self, phi: Floats) -> None:
        """Fold the oldest day into `carry` and make room for a new one (drift)."""
        for number, kind in enumerate((self.unpaired, self.paired)):
            self.carry[:, number] = np.logaddexp(self.carry[:, number], 0.0) + self.sums[:, 0, kind] / phi[:, None]
        self.sums = np.concatenate([self.sums[:, 1:], np.zeros_like(self.sums[:, :1])], axis=1)
        self.page_start = np.maximum(self.page_start - 1, np.where(self.page_start < 0, -1, 0))

    def record(self, events: Events, log_mass: Floats, phi: Floats, rule: PageRule | None) -> None:
        """
        Add evidence day by day, and note the first minute at which each stream has enough to page.

        Args:
            events: their differences are in `sums` already. log_mass: of each start day. phi: per stream.
            rule: None for streams that never page.
        """
        for day in np.unique(events.day):
            today = np.flatnonzero(events.day == day)
            if rule is not None:
                unpaged = (self.paged[events.stream[today]] < 0).any(axis=1)
                order = today[unpaged]
                self._note_pages(events, order[np.argsort(events.stream[order], kind="stable")], int(day), log_mass, phi, rule)
            for fields, chosen in ((self.unpaired, ~events.is_pair), (self.paired, events.is_pair)):
                rows = today[chosen[today]]
                flat, cells = self._cells(events.stream[rows], events.day[rows])
                columns = np.arange(fields.start, fields.stop)
                np.add.at(flat, (cells[:, None] + columns).ravel(), events.log_l[rows].ravel())

    def _note_pages(self, events: Events, order: Ints, day: int, log_mass: Floats, phi: Floats, rule: PageRule) -> None:
        if len(order) == 0:
            return
        stream, first = np.unique(events.stream[order], return_index=True)
        path = _Path(stream, first, np.repeat(np.arange(len(stream)), np.diff(np.append(first, len(order)))))
        moved, log_e = [], []
        for kind, is_pair in ((self.unpaired, False), (self.paired, True)):
            chosen = events.is_pair[order] == is_pair
            moved.append(path.running(np.where(chosen[:, None], events.log_l[order], 0.0)))
            base = self.log_components(kind, stream, day + 1, log_mass, phi)
            log_e.append(evidence.log_e(base[path.local] + moved[-1] / phi[events.stream[order], None]))
        pairs = path.still_to_come(np.where(events.is_pair[order], 2 * events.w[order], 0.0))
        has_pairs = self.n_pairs()[stream, : day + 1].sum(axis=1)[path.local] - pairs > 0.5
        combined = np.where(has_pairs, np.logaddexp(*log_e) - np.log(2), log_e[0])
        threshold = rule.log_threshold(events.stream[order], events.minute[order])
        for mode, value in enumerate((combined, np.where(has_pairs, log_e[1], -np.inf))):
            at = np.flatnonzero((self.paged[events.stream[order], mode] < 0) & (value >= threshold))
            if len(at) == 0:
                continue
            start = self._likeliest_start(at, moved, mode, path, phi, day)
            enough = is_above(rule.floor, *self._harm_since(at, start, path, events, order, day, phi))
            at, start = at[enough], start[enough]
            chosen_streams, earliest = np.unique(events.stream[order[at]], return_index=True)
            self.paged[chosen_streams, mode] = events.minute[order[at[earliest]]]
            self.page_start[chosen_streams, mode] = start[earliest]

    def _likeliest_start(self, at: Ints, moved: list[Floats], mode: int, path: _Path, phi: Floats, day: int) -> Ints:
        """s* as known at each of the path's positions `at`; mode 1 looks at pairs alone."""
        rows = path.local[at]
        own = np.full((len(at), day + 1), -np.inf)
        for number, kind in list(enumerate((self.unpaired, self.paired)))[mode:]:
            since = evidence.suffix_sums(self.sums[path.stream, : day + 1, kind])[rows] + moved[number][at][:, None, :]
            own = np.logaddexp(own, evidence.logsumexp(since / phi[path.stream[rows], None, None], axis=2))
        result: Ints = np.argmax(own, axis=1)
        return result

    def _harm_since(self, at: Ints, start: Ints, path: _Path, events: Events, order: Ints, day: int, phi: Floats) -> list[Floats]:
        """N, W and the variance of N since `start` as known at each of the positions `at`."""
        rows, parts = path.local[at], []
        # The events' own differences are in the sums already: take off what came later.
        for by_day, values in zip(self.differences(phi), (events.n, events.w, events.v), strict=True):
            since = evidence.suffix_sums(by_day[path.stream, : day + 1])[rows, start]
            parts.append(since - path.still_to_come(values[order])[at])
        return parts


@dataclass(frozen=True)
class _Path:
    """Events of one day sorted by (stream, time): the streams, where each begins, and each event's stream among them."""

    stream: Ints
    first: Ints
    local: Ints

    def running(self, values: Floats) -> Floats:
        """Cumulative sums along rows, begun anew at each stream."""
        total = np.cumsum(values, axis=0)
        result: Floats = total - (total[self.first] - values[self.first])[self.local]
        return result

    def still_to_come(self, values: Floats) -> Floats:
        """What each stream adds after each event, to the end of the day's events."""
        running = self.running(values)
        last = np.append(self.first[1:], len(values)) - 1
        result: Floats = running[last][self.local] - running
        return result
