"""Rollouts, verdicts and alerts as the documents the API and the pages give, over the functions that own them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast

from pydantic import ValidationError

from alerts import actions
from alerts.alerter import Alerter
from alerts.config import RolloutConfig
from alerts.gate import in_trouble, undetermined
from alerts.rollouts import InvalidRolloutError, Rollout, UnknownRolloutError
from alerts.scorecard import Scorecard
from alerts.verdict import GateResult, Verdict, VerdictKind
from api.documents import to_json
from api.kept import Kept
from api.problems import ProblemError, bad_value, not_found
from api.services import Document, RolloutReport
from api.validation import wrong_fields
from storage.alerts import AlertRow, AlertState, Subject, SubjectKind, read_alert, read_alerts, read_silences
from storage.client import Store
from storage.clock import Clock, WallClock
from storage.deliveries import read_deliveries

_MAX_ALERTS = 10_000


@dataclass(frozen=True)
class _Judged:
    """One look at a rollout."""

    verdict: Verdict
    scorecard: Scorecard
    gate: Document


class Desk:
    """
    What `api.services.AlertDesk` promises. Scorecards, gates and the list of rollouts are kept for `keep_seconds`, not longer:
    they are parts of answers that are kept.

    Reading works in every process: the state is in the store. What a person does is appended there too, and the alerter,
    wherever it runs, takes it from there at its next tick.
    """

    def __init__(
        self, store: Store, alerter: Alerter, clock: Clock, wall: Clock | None = None, *, keep_seconds: float = 0.0
    ) -> None:
        self._kept = Kept(keep_seconds)
        self._store = store
        self._alerter = alerter
        self._registry = alerter.registry
        self._evaluator = alerter.evaluator
        self._clock = clock
        self._wall = wall or WallClock()

    def rollouts(self) -> Sequence[Document]:
        return [_rollout(rollout) for rollout in self._all()]

    def overview(self) -> Sequence[tuple[Document, Document]]:
        rollouts = self._all()
        known = self._evaluator.verdicts([rollout.config.name for rollout in rollouts])
        return [(_rollout(rollout), self._told_of(rollout.name, known.get(rollout.name))) for rollout in rollouts]

    def rollout(self, name: str) -> Document:
        return _rollout(self._get(name))

    def report(self, name: str) -> RolloutReport:
        rollout = self._get(name)
        found = self._judged(rollout)
        if found is None:
            return RolloutReport(_rollout(rollout), self._told_of(name, self._evaluator.verdict(name)))
        return RolloutReport(_rollout(rollout), self._told_of(name, found.verdict), found.scorecard, found.gate)

    def declare_rollout(self, name: str, declaration: Document, actor: str) -> Document:
        fields = {**declaration, "name": name}
        reason = str(fields.pop("reason", ""))
        try:
            return self._changed(self._registry.declare(fields, actor, reason))
        except InvalidRolloutError as error:
            if isinstance(error.__cause__, ValidationError):
                raise wrong_fields(error.__cause__.errors(), lambda _where: list(RolloutConfig.model_fields)) from error
            wrong = [{"field": field, "problem": problem} for field, problem in error.problems.items()]
            raise ProblemError(
                422, "wrong-fields", "wrong fields", str(error), "correct the fields named", {"fields": wrong}
            ) from error

    def end_rollout(self, name: str, actor: str, reason: str, *, rolled_back: bool) -> Document:
        self._get(name)
        return self._changed(self._registry.end(name, actor, reason, rolled_back=rolled_back))

    def scorecard(self, name: str) -> Document:
        found = self._judged(self._get(name))
        if found is None:
            do = "it begins with the first candidate trace; see /api/v1/rollouts for what is compared"
            raise ProblemError(
                404, "no-comparison", "nothing to compare yet", f"rollout {name!r} has no traces in both arms yet", do
            )
        return dict(to_json(found.scorecard))

    def _judged(self, rollout: Rollout) -> _Judged | None:
        """What one look gives; None before there is a comparison."""

        def judged() -> _Judged | None:
            found = self._evaluator.report(rollout.config)
            if found is None:
                return None
            return _Judged(found.verdict, found.scorecard, _gate(rollout.name, found.gate))

        return self._kept.get(("judged", rollout.name), judged)

    def verdict(self, name: str) -> Document:
        self._get(name)
        # while a scorecard is given again, so is the verdict that came with it
        held = self._kept.held(("judged", name))
        return self._told_of(name, held.verdict if isinstance(held, _Judged) else self._evaluator.verdict(name))

    def _told_of(self, name: str, known: Verdict | None) -> Document:
        """A verdict as a document, or the one before any."""
        if known is not None:
            return dict(to_json(known))
        reason = "no comparison has begun: the candidate's or the baseline's first trace is awaited"
        return {
            "rollout": name, "kind": VerdictKind.COLLECTING.value, "reasons": [reason], "streams": [], "cost": None, "guards": [],
            "unknown": [], "pages": [], "gate": "undetermined", "gate_reasons": [reason], "as_of": to_json(self._clock.now()),
        }  # fmt: skip

    def gate(self, name: str, on: str = "") -> Document:
        if on not in ("", "live", "experiment"):
            raise bad_value("on", on, "live or experiment")
        judged = cast(Literal["live", "experiment"], on or "live")
        return self._kept.get(("gate", name, judged), lambda: self._gate(name, judged))

    def _gate(self, name: str, on: Literal["live", "experiment"]) -> Document:
        rollout, now = self._get(name), self._clock.now()
        # its limits are in what cannot be read
        if rollout.unreadable:
            return _gate(name, undetermined(name, in_trouble(rollout.unreadable).reason, now, on))
        return _gate(name, self._evaluator.gate(rollout.config, now, on))

    def alerts(self, states: Sequence[str], rollout: str = "") -> Sequence[Document]:
        unknown = sorted(set(states) - set(AlertState))
        if unknown:
            raise bad_value("state", unknown[0], f"one of {', '.join(AlertState)}")
        wanted = [AlertState(state) for state in states] or list(AlertState)
        subject = Subject(SubjectKind.ROLLOUT, rollout) if rollout else None
        return [_alert(row) for row in read_alerts(self._store, wanted, subject=subject, limit=_MAX_ALERTS)]

    def alert(self, alert_id: str) -> Document:
        return self._told(read_alert(self._store, alert_id))

    def acknowledge(self, alert_id: str, actor: str, note: str) -> Document:
        return self._told(actions.acknowledge(self._store, alert_id, actor, note, self._wall.now()))

    def silence(self, alert_id: str, actor: str, reason: str, until: datetime) -> Document:
        return self._told(actions.silence(self._store, alert_id, until, actor, reason, self._wall.now()))

    def accept(self, alert_id: str, actor: str, reason: str) -> Document:
        return self._told(actions.accept(self._store, alert_id, actor, reason, self._wall.now()))

    def silences(self) -> Sequence[Document]:
        found = read_silences(self._store, self._wall.now()).values()
        return [_flat_subject(dict(to_json(silence))) for silence in sorted(found, key=lambda silence: silence.recorded_at)]

    def exposition(self) -> str:
        return self._alerter.exposition()

    def _all(self) -> Sequence[Rollout]:
        return self._kept.get("rollouts", lambda: tuple(self._registry.all()))

    def _changed(self, rollout: Rollout) -> Document:
        self._kept.forget()
        return _rollout(rollout)

    def _get(self, name: str) -> Rollout:
        known = next((rollout for rollout in self._all() if rollout.config.name == name), None)
        if known is not None:
            return known
        try:
            return self._registry.get(name)
        except UnknownRolloutError as error:
            raise not_found("rollout", name, error.known, "declare it: PUT /api/v1/rollouts/{name}") from error

    def _told(self, row: AlertRow) -> Document:
        deliveries = [to_json(delivery) for delivery in read_deliveries(self._store, alert_id=row.alert_id)]
        return {**_alert(row), "deliveries": deliveries}


def _rollout(rollout: Rollout) -> Document:
    config = rollout.config.model_dump(mode="json")
    return {
        **config,
        "discovered": rollout.source == "discovered",
        "source": rollout.source,
        "state": rollout.state.value,
        "actor": rollout.actor,
        "reason": rollout.reason,
        "effective_from": to_json(rollout.effective_from),
        "unreadable": rollout.unreadable,
    }


def _gate(name: str, gate: GateResult) -> Document:
    document = dict(to_json(gate))
    return {"rollout": name, "gate": document.pop("outcome"), **document}


def _alert(row: AlertRow) -> Document:
    document = _flat_subject(dict(to_json(row)))
    return {**document, "page": json.loads(row.page) if row.page else None}


def _flat_subject(document: dict[str, Any]) -> Document:
    subject = document.pop("subject")
    return {**document, "subject_kind": subject["kind"], "subject": subject["name"]}
