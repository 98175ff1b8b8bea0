"""One round of delivery as a process of its own, to be killed: DIRECTORY URL SECONDS, the last is how late it is."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

from pydantic import SecretStr

from alerts.config import WebhookConfig
from alerts.delivery import Dispatcher, RetryPolicy, StoreOutbox
from alerts.notify.webhook import WebhookChannel
from alerts.templates import Templates
from storage.alerts import read_alert_events, write_events
from storage.client import Store
from storage.clock import FixedClock
from storage.migrations import migrate
from tests.support.incidents import T0, make_notice


def main(directory: str, url: str, seconds: str) -> None:
    store = Store.embedded(Path(directory))
    migrate(store)
    notice = make_notice()
    if not read_alert_events(store, notice.alert_id):
        write_events(store, [notice])
    clock = FixedClock(T0 + timedelta(seconds=float(seconds)))
    channel = WebhookChannel(WebhookConfig(url=SecretStr(url)), Templates(), clock, 60)
    Dispatcher(StoreOutbox(store), [channel], str, RetryPolicy(), clock, f"process-{seconds}").run()
    channel.close()
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
