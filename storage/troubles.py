"""What keeps a rollout from being judged, or part of its data from counting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum

import polars as pl

from storage.client import Store
from storage.sql import load


class TroubleKind(StrEnum):
    """What is wrong."""

    # nothing further is settled or judged until it is over
    STOPPED = "stopped"
    # rollup rows that say nothing sensible were left out of a comparison
    MALFORMED_ROWS = "malformed_rows"


@dataclass(frozen=True)
class Trouble:
    """
    One trouble of one rollout.

    `comparison_id`, `metric` and `n_rows` are of malformed rows; `detail` says what was being done and the error, or has an
    example of the rows; `since` is on the wall clock.
    """

    rollout: str
    kind: TroubleKind
    comparison_id: str
    metric: str
    n_rows: int
    detail: str
    is_over: bool
    since: datetime


_ROWS = pl.Schema(
    {
        "rollout": pl.String(),
        "kind": pl.String(),
        "comparison_id": pl.String(),
        "metric": pl.String(),
        "n_rows": pl.UInt64(),
        "detail": pl.String(),
        "is_over": pl.Boolean(),
        "since": pl.Datetime("ns", "UTC"),
    }
)


def write_troubles(store: Store, troubles: Sequence[Trouble]) -> None:
    """Append versions; of one rollout, kind, comparison and metric the newest counts."""
    rows = [asdict(trouble) | {"kind": trouble.kind.value} for trouble in troubles]
    store.insert("rollout_troubles", pl.DataFrame(rows, schema=_ROWS))


def read_trouble_rows(store: Store) -> pl.DataFrame:
    """Those that are not over, by rollout: the fields of `Trouble`."""
    return store.frame(load("troubles")).select(pl.col(name).cast(kind) for name, kind in _ROWS.items())


def read_troubles(store: Store) -> list[Trouble]:
    """The same as values."""
    return [Trouble(**row | {"kind": TroubleKind(row["kind"])}) for row in read_trouble_rows(store).iter_rows(named=True)]
