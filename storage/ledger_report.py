"""Reading the ingest ledger: what became of every item that arrived."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from storage.client import Store
from storage.sql import load


def read_ledger_rows(store: Store, since: datetime, until: datetime, step: timedelta | None) -> pl.DataFrame:
    """`bucket`, `signal`, `key_id`, `entry`, `reason`, `n_items`, sorted; one bucket for the whole range without `step`."""
    seconds = int(step.total_seconds()) if step is not None else 0
    return store.frame(load("ledger_rows"), {"since": since, "until": until, "step": seconds})


def read_ledger_balance(store: Store, since: datetime, until: datetime) -> pl.DataFrame:
    """One row per signal: received, rejected, accepted, written, quarantined, masked_out, pending, superseded, requests lost."""
    return store.frame(load("ledger_balance"), {"since": since, "until": until})


def read_ledger_totals(store: Store) -> pl.DataFrame:
    """`signal`, `entry`, `reason`, `n_items` over everything the ledger holds."""
    return store.frame(load("ledger_totals"))
