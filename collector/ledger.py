"""Ledger lines of what the spool and the flusher counted."""

from __future__ import annotations

import polars as pl

from collector.records import Entry, LedgerKey, Tally
from storage.ledger import LEDGER_LINES

_MS_PER_MINUTE = 60_000


def to_lines(tally: Tally, source: str) -> pl.DataFrame:
    """
    The tally as `LEDGER_LINES`, sorted; zero counts are left out.

    Args:
        source: who says so (a segment, a quarantined request): its lines replace those it said before.
    """
    kept = sorted((key, n) for key, n in tally.items() if n > 0)
    return _frame(kept, source)


def without(key: LedgerKey, source: str) -> pl.DataFrame:
    """A line that takes back what `source` counted under `key`."""
    return _frame([(key, 0)], source)


def _frame(counts: list[tuple[LedgerKey, int]], source: str) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "minute": pl.Series([key.minute * _MS_PER_MINUTE for key, _ in counts], dtype=pl.Int64).cast(
                pl.Datetime("ms", "UTC")
            ),
            "signal": [str(key.signal) for key, _ in counts],
            "key_id": [key.key_id for key, _ in counts],
            "entry": [str(key.entry) for key, _ in counts],
            "reason": [key.reason for key, _ in counts],
            "n_items": [n for _, n in counts],
            "source": [source] * len(counts),
        },
        schema=LEDGER_LINES,
    )


def add_written(tally: Tally, key: LedgerKey, n_items: int) -> None:
    """Count `n_items` more of the request at `key` as written; negative takes back."""
    tally[key._replace(entry=Entry.WRITTEN, reason="")] += n_items
