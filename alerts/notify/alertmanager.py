"""
Prometheus Alertmanager, API v2: one alert per stream, labelled so that `group_by: [rollout, incident]` makes one page of them.

An Alertmanager forgets alerts that nobody repeats, and on a restart it forgets them all. So open ones are posted again and again
(`refresh`), each time with an end further ahead; it recognises them by their labels, which never change within an incident.

An alert starts when it is first posted, not when its evidence began (the text says that): Alertmanager waits `group_wait` for the
rest of a group only from an alert's start, and a start in the past would send the first stream of an incident off alone. It keeps
the earliest start of an alert that it knows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import httpx

from alerts.notify.channel import ChannelRefusedError, ChannelUnavailableError, post
from alerts.page import Message, StreamLine
from alerts.templates import Templates
from storage.alerts import AlertId, Notice, Silence, SubjectKind
from storage.clock import Clock

_CREATED_BY = "spanwise"


class AlertmanagerChannel:
    """One Alertmanager, by its base URL."""

    def __init__(self, url: str, hold: timedelta, templates: Templates, clock: Clock, timeout_seconds: float) -> None:
        self._url = f"{url}/api/v2"
        self._hold = hold
        self._templates = templates
        self._clock = clock
        self._client = httpx.Client(timeout=timeout_seconds)
        self.name = f"alertmanager {httpx.URL(url).netloc.decode()}"

    def send(self, message: Message) -> None:
        self.refresh([message])

    def refresh(self, messages: Iterable[Message]) -> None:
        """Post the newest message of every open incident."""
        now = self._clock.now()
        alerts = [alert for message in messages for alert in self._alerts(message, now)]
        if alerts:
            post(self._client, f"{self._url}/alerts", json.dumps(alerts).encode(), {"User-Agent": "spanwise"})

    def mirror_silences(self, silenced: Mapping[AlertId, Silence]) -> None:
        """
        Make the silences that we made there those of `silenced`, and touch nobody else's.

        Raises: as `send`.
        """
        present = self._silences()
        for alert_id, silence in silenced.items():
            known = present.pop(alert_id, None)
            ends_at = silence.until.isoformat()
            if known is None or abs(datetime.fromisoformat(known["endsAt"]) - silence.until) > timedelta(seconds=1):
                body = {
                    "id": known["id"] if known else "",
                    "matchers": [{"name": "incident", "value": alert_id, "isRegex": False, "isEqual": True}],
                    "startsAt": self._clock.now().isoformat(),
                    "endsAt": ends_at,
                    "createdBy": _CREATED_BY,
                    "comment": f"{silence.actor}: {silence.reason}",
                }
                post(self._client, f"{self._url}/silences", json.dumps(body).encode(), {"User-Agent": "spanwise"})
        for lifted in present.values():
            self._ask("DELETE", f"/silence/{lifted['id']}")

    def close(self) -> None:
        self._client.close()

    def _silences(self) -> dict[AlertId, dict[str, Any]]:
        found: list[dict[str, Any]] = self._ask("GET", "/silences").json()
        ours = [s for s in found if s["createdBy"] == _CREATED_BY and s["status"]["state"] != "expired"]
        return {AlertId(s["matchers"][0]["value"]): s for s in ours}

    def _ask(self, method: str, path: str) -> httpx.Response:
        try:
            response = self._client.request(method, self._url + path)
        except httpx.HTTPError as error:
            raise ChannelUnavailableError(f"{type(error).__name__}: {error}") from error
        if not response.is_success:
            raise ChannelRefusedError(f"HTTP {response.status_code} for {method} {path}")
        return response

    def _alerts(self, message: Message, now: datetime) -> list[dict[str, Any]]:
        rendered = self._templates.render(message)
        ends_at = now if message.notice is Notice.RESOLVED else now + self._hold
        return [
            {
                "labels": labels(message, stream),
                "annotations": {
                    "summary": rendered.subject,
                    "description": rendered.text,
                    "how_much": stream.how_much,
                    "dashboard": message.url,
                    "trade": message.content.trade,
                },
                "startsAt": now.isoformat(),
                "endsAt": ends_at.isoformat(),
                "generatorURL": message.url,
            }
            for stream in message.content.streams
        ]


def labels(message: Message, stream: StreamLine) -> dict[str, str]:
    """What an alert is recognised, grouped and routed by; empty ones are left out, as Alertmanager would."""
    content = message.content
    about = "rollout" if content.subject_kind is SubjectKind.ROLLOUT else "threshold"
    named = {
        "alertname": "SpanwiseRollout" if content.subject_kind is SubjectKind.ROLLOUT else "SpanwiseThreshold",
        about: content.subject,
        "incident": message.alert_id,
        "severity": content.severity,
        "kind": content.kind,
        "service": content.service,
        "environment": content.environment,
        "baseline": content.baseline,
        "candidate": content.candidate,
        "stream": stream.stream_id,
        "metric": stream.metric,
        "evaluator": stream.evaluator,
        "cohort": stream.cohort,
    }
    return {name: value for name, value in named.items() if value}
