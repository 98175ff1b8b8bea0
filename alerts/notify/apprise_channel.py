"""Slack, PagerDuty, Opsgenie, e-mail, Teams, Discord and a hundred others, through Apprise URLs."""

from __future__ import annotations

import hashlib
import logging
from typing import Any

import apprise

from alerts.notify.channel import ChannelRefusedError, ChannelUnavailableError
from alerts.page import Message
from alerts.templates import Templates
from storage.alerts import Notice
from storage.errors import PermanentError


class NotifyUrlError(ValueError, PermanentError):
    """Apprise does not understand a URL; the message shows its scheme only, the rest may be secret."""

    def __init__(self, url: str) -> None:
        self.scheme = url.split("://", 1)[0][:20]
        super().__init__(f"notify url {self.scheme}://… is not one Apprise understands; see https://appriseit.com/services/")


class AppriseChannel:
    """
    One Apprise URL.

    PagerDuty and Opsgenie are given the incident's key, so they show one incident whatever arrives twice, and close it.
    """

    def __init__(self, url: str, templates: Templates, timeout_seconds: float) -> None:
        self._url = url
        self._templates = templates
        self._timeout_seconds = timeout_seconds
        self._plugin("")
        self.name = f"{url.split('://', 1)[0]} {hashlib.sha256(url.encode()).hexdigest()[:8]}"

    def send(self, message: Message) -> None:
        plugin = self._plugin(message.alert_id)
        rendered = self._templates.render(message)
        html = _prefers_html(plugin)
        capture: Any = apprise.LogCapture
        with capture(level=logging.WARNING, fmt="%(message)s") as captured:
            try:
                sent = plugin.notify(
                    body=rendered.html if html else rendered.text,
                    title=rendered.subject,
                    notify_type=_notify_type(message),
                    body_format=apprise.NotifyFormat.HTML if html else apprise.NotifyFormat.TEXT,
                )
            except TypeError as error:
                raise ChannelRefusedError(str(error)) from error
            except OSError as error:
                raise ChannelUnavailableError(f"{type(error).__name__}: {error}") from error
            if not sent:
                # Apprise says why in its log only, and not whether it is for good: try again until the deadline.
                raise ChannelUnavailableError(captured.getvalue().strip()[:500] or "not sent")

    def close(self) -> None:
        """Nothing is kept open between messages."""

    def _plugin(self, key: str) -> Any:
        plugin: Any = apprise.Apprise.instantiate(self._url)
        if plugin is None:
            raise NotifyUrlError(self._url)
        plugin.socket_connect_timeout = plugin.socket_read_timeout = self._timeout_seconds
        schemes = plugin.schemas()
        if "pagerduty" in schemes:
            plugin.dedup, plugin.action = key, "map"
        elif "opsgenie" in schemes:
            plugin.alias = key
        return plugin


def _prefers_html(plugin: Any) -> bool:
    formats = plugin.notify_format
    first = formats[0] if isinstance(formats, tuple) else formats
    return bool(first == apprise.NotifyFormat.HTML)


def _notify_type(message: Message) -> Any:
    if message.notice is Notice.RESOLVED:
        return apprise.NotifyType.SUCCESS
    return {"critical": apprise.NotifyType.FAILURE, "warning": apprise.NotifyType.WARNING}.get(
        message.content.severity, apprise.NotifyType.INFO
    )
