"""The channels that the settings name."""

from __future__ import annotations

from datetime import timedelta

from alerts.config import AlertsConfig
from alerts.notify.alertmanager import AlertmanagerChannel
from alerts.notify.apprise_channel import AppriseChannel
from alerts.notify.channel import Channel
from alerts.notify.webhook import WebhookChannel
from alerts.templates import Templates
from storage.clock import Clock


def make_channels(config: AlertsConfig, templates: Templates, clock: Clock) -> list[Channel]:
    """
    Every configured channel; the same one configured twice is one channel.

    Raises:
        NotifyUrlError: Apprise does not understand a URL.
    """
    timeout = config.delivery.timeout_seconds
    hold = timedelta(hours=config.alertmanager_hold_hours)
    channels: list[Channel] = [
        *(AlertmanagerChannel(url, hold, templates, clock, timeout) for url in config.alertmanager_urls),
        *(AppriseChannel(url.get_secret_value(), templates, timeout) for url in config.notify_urls),
        *(WebhookChannel(webhook, templates, clock, timeout) for webhook in config.webhooks),
    ]
    return list({channel.name: channel for channel in channels}.values())
