"""From what is judged to what the life cycle understands: signals of verdicts, and why an incident's comparison is over. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from alerts.config import RolloutConfig
from alerts.lifecycle import Incident, Signal
from alerts.page import incident_kind
from alerts.rollouts import Rollout
from alerts.verdict import Verdict
from storage.alerts import Subject, SubjectKind
from storage.rollouts import RouteTraffic

WITHDRAWN = "rolled back: no candidate traffic for 24 h"


def verdict_signal(verdict: Verdict, ended: str, *, replays_history: bool = False) -> Signal:
    """
    What a verdict says to the incidents of its comparison.

    Args:
        ended: why the comparison is over.
        replays_history: the evidence's clock is that of the events, so what was decided in the past was decided "now".
    """
    pages = [page for page in verdict.pages if page.is_live or replays_history]
    return Signal(
        Subject(SubjectKind.ROLLOUT, verdict.rollout),
        verdict.comparison_id,
        incident_kind(pages) if pages else verdict.kind,
        tuple(page.stream_id for page in pages),
        max((page.decided_at for page in pages), default=verdict.as_of),
        ended=ended,
    )


def quiet_signal(incident: Incident, ended: str, now: datetime) -> Signal:
    """Nothing new about an incident, or that it is over."""
    return Signal(incident.subject, incident.comparison_id, incident.kind, (), now, ended=ended)


def is_withdrawn(rollout: RolloutConfig, traffic: Sequence[RouteTraffic]) -> bool:
    """Whether recent `traffic` has the baseline but no candidate."""
    seen = {route.model_route for route in traffic if route.service_name == rollout.service}
    return rollout.baseline in seen and rollout.candidate not in seen


def over_because(
    incident: Incident, rollouts: Mapping[str, Rollout], verdicts: Mapping[str, Verdict], rules: Collection[str]
) -> str:
    """
    Why the comparison of an incident that no signal mentions is over; '' when it is not, or not known to be.

    A verdict that is missing for one tick closes nothing.
    """
    name = incident.subject.name
    if incident.subject.kind is SubjectKind.THRESHOLD:
        return "" if name in rules else f"threshold {name!r} is no longer configured"
    rollout = rollouts.get(name)
    if rollout is None:
        return f"rollout {name!r} is no longer declared"
    if rollout.ended:
        return rollout.ended
    verdict = verdicts.get(name)
    if verdict is not None and verdict.comparison_id != incident.comparison_id:
        if verdict.follows == incident.comparison_id:
            # The detector started again when somebody took the alarm; the incident is theirs until it alarms again.
            return "it alarmed again" if verdict.pages else ""
        return "comparison ended: a model, a threshold or a route of the rollout changed"
    return ""
