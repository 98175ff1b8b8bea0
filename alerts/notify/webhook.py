"""Posts a message as signed JSON; docs/alerting.md is its specification."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import httpx

from alerts.config import WebhookConfig
from alerts.notify.channel import post
from alerts.page import Message, to_json
from alerts.templates import Templates
from storage.clock import Clock

VERSION = 1


class WebhookChannel:
    """One endpoint."""

    def __init__(self, config: WebhookConfig, templates: Templates, clock: Clock, timeout_seconds: float) -> None:
        self._url = config.url.get_secret_value()
        self._secret = config.secret.get_secret_value().encode() if config.secret else None
        self._templates = templates
        self._clock = clock
        self._client = httpx.Client(timeout=timeout_seconds)

    @property
    def name(self) -> str:
        host = httpx.URL(self._url).host
        return f"webhook {host} {hashlib.sha256(self._url.encode()).hexdigest()[:8]}"

    def send(self, message: Message) -> None:
        body = json.dumps(payload(message, self._templates), separators=(",", ":")).encode()
        headers = {"User-Agent": "spanwise", "Idempotency-Key": f"{message.alert_id}-{message.notice_number}"}
        if self._secret is not None:
            timestamp = str(int(self._clock.now().timestamp()))
            headers |= {"Spanwise-Timestamp": timestamp, "Spanwise-Signature": sign(self._secret, timestamp, body)}
        post(self._client, self._url, body, headers)

    def close(self) -> None:
        self._client.close()


def sign(secret: bytes, timestamp: str, body: bytes) -> str:
    """`v1=` and the HMAC-SHA256, hexadecimal, of the timestamp, a full stop and the body."""
    return "v1=" + hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def payload(message: Message, templates: Templates) -> dict[str, Any]:
    """The body, version 1."""
    rendered = templates.render(message)
    return {
        "version": VERSION,
        "dedup_key": message.alert_id,
        "notice": message.notice,
        "notice_number": message.notice_number,
        "recorded_at": message.recorded_at.isoformat(),
        "close_reason": message.close_reason,
        "url": message.url,
        "title": rendered.subject,
        "text": rendered.text,
        "alert": json.loads(to_json(message.content)),
    }
