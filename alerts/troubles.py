"""Keeps rollouts apart: what goes wrong with one is noted and told, and the others go on."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog
from polars.exceptions import PanicException

from storage.client import Store
from storage.errors import RetryableError
from storage.troubles import Trouble, TroubleKind, read_troubles, write_troubles

log = structlog.get_logger(__name__)

# A panic in Polars' own code is no `Exception`.
ANY_ERROR = (Exception, PanicException)


@dataclass(frozen=True)
class Malformed:
    """Rollup rows that were left out: how many, and one of them in words."""

    n_rows: int
    example: str


class Troubles:
    """What is wrong with which rollout, as of the present tick; `save` tells the other processes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stored: dict[tuple[str, str, str, str], Trouble] | None = None
        self._is_ticking = False
        self._stopped: dict[str, str] = {}
        self._left_out: dict[tuple[str, str, str], Malformed] = {}

    def begin(self) -> None:
        """A new tick: who was stopped may go on now."""
        if not self._is_ticking:
            # another process may have ticked until now
            self._stored = None
        self._is_ticking, self._stopped = True, {}

    def stand_by(self) -> None:
        """Somebody else ticks from now on, and tells."""
        self._stored, self._is_ticking, self._stopped, self._left_out = None, False, {}, {}

    @contextmanager
    def apart(self, rollout: str, doing: str) -> Iterator[None]:
        """Note what goes wrong inside as this rollout's. That the store does not answer is nobody's own."""
        try:
            yield
        except (RetryableError, MemoryError):
            raise
        except ANY_ERROR as error:
            self.stop(rollout, f"{doing}: {type(error).__name__}: {error}")

    def stop(self, rollout: str, detail: str) -> None:
        """This rollout cannot be judged further in this tick."""
        self._stopped.setdefault(rollout, detail)
        before = (self._stored or {}).get((rollout, TroubleKind.STOPPED, "", ""))
        if before is None or before.detail != detail:
            log.error("rollout_stopped", rollout=rollout, detail=detail, exc_info=sys.exc_info()[0] is not None)

    def stopped(self, rollout: str) -> str:
        """Why a rollout cannot be judged further; '' if it can."""
        if self._is_ticking:
            return self._stopped.get(rollout, "")
        stored = self._known().get((rollout, TroubleKind.STOPPED, "", ""))
        return stored.detail if stored else ""

    def leave_out(self, rollout: str, comparison_id: str, found: Mapping[str, Malformed]) -> None:
        """Rows, by metric, that were left out of a comparison."""
        for metric, malformed in found.items():
            key = (rollout, comparison_id, metric)
            before = self._left_out.get(key)
            self._left_out[key] = malformed if before is None else replace(malformed, n_rows=before.n_rows + malformed.n_rows)
            log.warning("malformed_rows", rollout=rollout, metric=metric, n_rows=malformed.n_rows, example=malformed.example)

    def n_malformed(self, rollout: str, comparison_id: str) -> int:
        """Rows left out of a comparison, ever."""
        stored = [
            trouble.n_rows
            for trouble in self._known().values()
            if (trouble.rollout, trouble.comparison_id) == (rollout, comparison_id)
        ]
        fresh = [found.n_rows for key, found in self._left_out.items() if key[:2] == (rollout, comparison_id)]
        return sum(stored) + sum(fresh)

    def save(self) -> None:
        """Write what began, changed or is over."""
        known, now = self._known(), datetime.now(UTC)
        changed = []
        for rollout, detail in self._stopped.items():
            before = known.get((rollout, TroubleKind.STOPPED, "", ""))
            if before is None or before.detail != detail:
                since = before.since if before else now
                changed.append(Trouble(rollout, TroubleKind.STOPPED, "", "", 0, detail, False, since))
        over = [t for t in known.values() if t.kind is TroubleKind.STOPPED and t.rollout not in self._stopped]
        changed += [replace(trouble, is_over=True) for trouble in over]
        for (rollout, comparison_id, metric), found in self._left_out.items():
            before = known.get((rollout, TroubleKind.MALFORMED_ROWS, comparison_id, metric))
            n, since = (before.n_rows, before.since) if before else (0, now)
            kind = TroubleKind.MALFORMED_ROWS
            changed.append(Trouble(rollout, kind, comparison_id, metric, n + found.n_rows, found.example, False, since))
        if changed:
            write_troubles(self._store, changed)
            known |= {_key(trouble): trouble for trouble in changed}
            self._stored = {key: trouble for key, trouble in known.items() if not trouble.is_over}
        self._left_out = {}

    def _known(self) -> dict[tuple[str, str, str, str], Trouble]:
        # a process that only reads is told by the one that ticks
        if self._stored is None or not self._is_ticking:
            self._stored = {_key(trouble): trouble for trouble in read_troubles(self._store)}
        return self._stored


def _key(trouble: Trouble) -> tuple[str, str, str, str]:
    return trouble.rollout, trouble.kind, trouble.comparison_id, trouble.metric
