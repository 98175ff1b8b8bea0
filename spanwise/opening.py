"""Opening the store that the settings name."""

from __future__ import annotations

from spanwise.settings import Settings
from storage.client import Store
from storage.migrations import migrate


def open_store(settings: Settings) -> Store:
    """The store the settings name, brought to this release's schema."""
    if settings.clickhouse_url is None:
        store = Store.embedded(settings.data_dir, settings.storage.database, settings.storage.min_free_bytes)
    else:
        store = Store.server(settings.clickhouse_url.get_secret_value(), settings.storage.database, settings.storage)
    try:
        migrate(store)
    except BaseException:
        store.close()
        raise
    return store
