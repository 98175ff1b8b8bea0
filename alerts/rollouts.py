"""The registry of rollouts: declared in the settings or over the API, else discovered: any two routes of one service."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import ValidationError

from alerts.config import RolloutConfig
from storage.client import Store
from storage.clock import Clock
from storage.errors import PermanentError
from storage.metrics import Grain
from storage.rollouts import RolloutRow, RolloutState, RouteTraffic, read_rollouts, read_route_traffic, write_rollout

# Routes without traffic for this long are not offered; with fewer traces, which one is dearer is not known yet.
DISCOVERY_WINDOW = timedelta(days=14)
DISCOVERY_MIN_TRACES = 50


class UnknownRolloutError(LookupError, PermanentError):
    """No rollout of that name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name = name
        self.known = sorted(known)
        super().__init__(f"no rollout {name!r}; rollouts: {', '.join(self.known) or 'none'}")

    def __str__(self) -> str:
        return str(self.args[0])


class InvalidRolloutError(ValueError, PermanentError):
    """A declaration that cannot be; `problems` maps the field's path to what is wrong with it."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        self.problems = dict(problems)
        super().__init__("; ".join(f"{field}: {problem}" for field, problem in self.problems.items()))


class ReadOnlyRolloutError(ValueError, PermanentError):
    """A rollout of the settings file cannot be deleted over the API; it can be redeclared or ended."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"rollout {name!r} is declared in the settings file; remove it there, or end it")


@dataclass(frozen=True)
class Rollout:
    """A rollout and where it comes from."""

    config: RolloutConfig
    source: Literal["settings", "api", "discovered"]
    state: RolloutState
    actor: str
    reason: str
    # None: from the settings file
    effective_from: datetime | None
    # why the stored declaration cannot be read, such as one of a later version; `config` has then only what is compared
    unreadable: str = ""

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def is_active(self) -> bool:
        return self.state in (RolloutState.DECLARED, RolloutState.DISCOVERED)

    @property
    def ended(self) -> str:
        """Why its incidents close; '' while it is active."""
        if self.is_active:
            return ""
        told = "rolled back" if self.state is RolloutState.ROLLED_BACK else "rollout ended"
        return f"{told} by {self.actor}" + (f": {self.reason}" if self.reason else "")


class RolloutRegistry:
    """
    Every rollout there is.

    Args:
        store: declarations made over the API, and traffic.
        declared: the settings file's; an entry of the same name made over the API wins from its `effective_from` on.
        clock: the evidence's clock, by which traffic is recent.
        wall: the wall clock, by which declarations take effect.
    """

    def __init__(self, store: Store, declared: Sequence[RolloutConfig], clock: Clock, wall: Clock) -> None:
        if repeated := sorted({r.name for r in declared if [x.name for x in declared].count(r.name) > 1}):
            raise InvalidRolloutError({"rollout.name": f"used twice: {', '.join(repeated)}"})
        self._store = store
        self._declared = tuple(declared)
        self._clock = clock
        self._wall = wall

    def all(self) -> list[Rollout]:
        """Ended ones too, by name."""
        known = {r.name: Rollout(r, "settings", RolloutState.DECLARED, "settings", "", None) for r in self._declared}
        known |= {row.name: _rollout(row) for row in read_rollouts(self._store, self._wall.now())}
        return [known[name] for name in sorted(known)]

    def get(self, name: str) -> Rollout:
        """One rollout. Raises `UnknownRolloutError`, which names those that exist."""
        rollouts = self.all()
        for rollout in rollouts:
            if rollout.name == name:
                return rollout
        raise UnknownRolloutError(name, (rollout.name for rollout in rollouts))

    def declare(self, fields: Mapping[str, Any], actor: str, reason: str = "", effective_from: datetime | None = None) -> Rollout:
        """
        Declare a rollout, or change one; other thresholds make it another comparison.

        Args:
            fields: those of `RolloutConfig`.
            actor: who says so.
            reason: why.
            effective_from: from when on; None is now.

        Raises:
            InvalidRolloutError: a field is missing, unknown or wrong.
        """
        config = parse_rollout(fields)
        now = self._wall.now()
        self._write(config, RolloutState.DECLARED, actor, reason, effective_from or now, now)
        return Rollout(config, "api", RolloutState.DECLARED, actor, reason, effective_from or now)

    def end(self, name: str, actor: str, reason: str = "", *, rolled_back: bool = False) -> Rollout:
        """Stop judging a rollout; its incidents close at the next tick. Raises `UnknownRolloutError`."""
        config = self.get(name).config
        state = RolloutState.ROLLED_BACK if rolled_back else RolloutState.ENDED
        now = self._wall.now()
        self._write(config, state, actor, reason, now, now)
        return self.get(name)

    def delete(self, name: str, actor: str, reason: str = "") -> None:
        """Forget a declaration made over the API. Raises `UnknownRolloutError`, `ReadOnlyRolloutError`."""
        rollout = self.get(name)
        if rollout.source == "settings":
            raise ReadOnlyRolloutError(name)
        now = self._wall.now()
        self._write(rollout.config, RolloutState.DELETED, actor, reason, now, now)

    def discover(self) -> list[Rollout]:
        """Declare, as discovered, the pairs of routes that traffic shows and no rollout compares yet. Returns the new ones."""
        now = self._clock.now()
        traffic = read_route_traffic(self._store, Grain.DAY, now - DISCOVERY_WINDOW, now + timedelta(hours=1))
        wall = self._wall.now()
        known = self.all()
        found = candidates(traffic, [rollout.config for rollout in known], {rollout.name for rollout in known})
        for config in found:
            self._write(config, RolloutState.DISCOVERED, "discovery", "", wall, wall)
        return [Rollout(config, "discovered", RolloutState.DISCOVERED, "discovery", "", wall) for config in found]

    def _write(
        self, config: RolloutConfig, state: RolloutState, actor: str, reason: str, effective_from: datetime, now: datetime
    ) -> None:
        row = RolloutRow(
            config.name,
            config.service,
            config.environment or "",
            config.baseline,
            config.candidate,
            config.model_dump_json(),
            state,
            actor,
            reason,
            effective_from,
            now,
        )
        write_rollout(self._store, row)


def parse_rollout(fields: Mapping[str, Any]) -> RolloutConfig:
    """A declaration from plain values. Raises `InvalidRolloutError`, which names every wrong field."""
    try:
        return RolloutConfig.model_validate(fields)
    except ValidationError as error:
        problems = {
            ".".join(str(part) for part in problem["loc"]) or "rollout": problem["msg"].removeprefix("Value error, ")
            for problem in error.errors()
        }
        raise InvalidRolloutError(problems) from error


def candidates(traffic: Sequence[RouteTraffic], compared: Sequence[RolloutConfig], taken: set[str]) -> list[RolloutConfig]:
    """
    Rollouts that traffic suggests: in each service, the dearest route (the busiest, where a cost is unknown) is the
    baseline of all others. Pairs that are compared already, either way round, and thin routes are left out.
    """
    pairs = {(r.service, frozenset((r.baseline, r.candidate))) for r in compared}
    services: dict[str, list[RouteTraffic]] = {}
    for route in traffic:
        if route.n_traces >= DISCOVERY_MIN_TRACES:
            services.setdefault(route.service_name, []).append(route)
    found = []
    for service, routes in sorted(services.items()):
        baseline = _baseline(routes)
        for route in routes:
            pair = frozenset((baseline.model_route, route.model_route))
            if route is baseline or (service, pair) in pairs:
                continue
            name = _free_name(f"{service}.{baseline.model_route}.{route.model_route}", taken)
            taken = taken | {name}
            found.append(
                RolloutConfig(
                    name=name, service=service, baseline=baseline.model_route, candidate=route.model_route, discovered=True
                )
            )
    return found


def _baseline(routes: Sequence[RouteTraffic]) -> RouteTraffic:
    if all(route.mean_cost_usd is not None for route in routes):
        return max(routes, key=lambda route: (route.mean_cost_usd or 0.0, route.n_traces, route.model_route))
    return max(routes, key=lambda route: (route.n_traces, route.model_route))


def _free_name(wanted: str, taken: set[str]) -> str:
    """A name that fits a path segment of a URL and that nobody has."""
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", wanted).strip("-.") or "rollout"
    names = [slug, *(f"{slug}-{n}" for n in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)


def _rollout(row: RolloutRow) -> Rollout:
    config, unreadable = _config(row)
    source: Literal["api", "discovered"] = "discovered" if config.discovered else "api"
    return Rollout(config, source, row.state, row.actor, row.reason, row.effective_from, unreadable)


def _config(row: RolloutRow) -> tuple[RolloutConfig, str]:
    try:
        return parse_rollout(json.loads(row.declaration)), ""
    except (InvalidRolloutError, ValueError) as error:
        known = RolloutConfig.model_construct(
            name=row.name,
            service=row.service_name,
            environment=row.environment or None,
            baseline=row.baseline,
            candidate=row.candidate,
        )
        return known, f"its declaration cannot be read ({error}); declare it anew, or run the version that wrote it"
