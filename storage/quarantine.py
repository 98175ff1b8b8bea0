"""Requests the store refused: what they were and why."""

from __future__ import annotations

import polars as pl

from storage.client import Store
from storage.sql import load


def read_quarantine(store: Store, state: str = "", limit: int = 100) -> pl.DataFrame:
    """The newest first, of one state (held, retried, dropped) or of all; without their bytes."""
    return store.frame(load("quarantine"), {"state": state, "limit": limit})
