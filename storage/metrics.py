"""The rollup tables `metric_minutes`, `metric_hours`, `metric_days`: sufficient statistics, added together to answer anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import polars as pl
import polars.selectors as cs

from storage.client import Store
from storage.sql import load


class Grain(StrEnum):
    """Width of a row's bucket; the value is the table's name."""

    MINUTE = "metric_minutes"
    HOUR = "metric_hours"
    DAY = "metric_days"

    @property
    def seconds(self) -> int:
        return {Grain.MINUTE: 60, Grain.HOUR: 3_600, Grain.DAY: 86_400}[self]


FINER = {Grain.HOUR: Grain.MINUTE, Grain.DAY: Grain.HOUR}
"""What the rows of a table are merged from."""

METRIC_KEY = pl.Schema(
    {
        "bucket": pl.Datetime("ms", "UTC"),
        "service_name": pl.String(),
        "environment": pl.String(),
        "metric": pl.String(),
        "evaluator": pl.String(),
        "evaluator_version": pl.String(),
        "sampling_rule": pl.String(),
        "model_route": pl.String(),
        "model": pl.String(),
        "cohort": pl.String(),
        "prompt_version": pl.String(),
        "aa": pl.UInt8(),
        "mirrored": pl.UInt8(),
        "pair_route": pl.String(),
        "pair_model": pl.String(),
    }
)
"""What names a row, bucket included."""

_COUNTS = ("n_eligible", "n_scored", "n_fail", "n_sampled", "n_value", "n11", "n10", "n01", "n00", "n_incomplete")
_SUMS = ("sum_value", "sum_squares")

METRIC_STATISTICS: pl.Schema = pl.Schema(
    {f"{name}_{when}": pl.UInt64 for when in ("matured", "all") for name in _COUNTS}
    | {f"{name}_{when}": pl.Float64 for when in ("matured", "all") for name in _SUMS}
    | {"n_late": pl.UInt64}
    | {
        "hist_bins_all": pl.List(pl.Int16),
        "hist_counts_all": pl.List(pl.UInt64),
        "hist_sums_all": pl.List(pl.Float64),
        "hist_squares_all": pl.List(pl.Float64),
    }
)
"""What a row counts; `storage/schema/002_analytics.sql` says what each column means. All but the histograms merge by adding."""

METRIC_ROWS = pl.Schema({**METRIC_KEY, **METRIC_STATISTICS})
"""A row of any of the three tables, without its version."""

MATURED_ROWS = pl.Schema(
    {
        name: kind
        for name, kind in METRIC_ROWS.items()
        if name != "n_late" and (name.startswith("hist_") or not name.endswith("_all"))
    }
)
"""What of a row had matured; histograms are of what is known with the trace, and the same whether matured or not."""

VERDICT_METRICS = ("eval_fail", "thumbs_down", "correction", "escalation", "abandonment", "refund", "overturn")
"""Metrics made from verdicts; all others are known with the trace."""
FEEDBACK_METRICS = VERDICT_METRICS[1:]
# each has lists of names, and a statement a limited length
_WINDOWS_AT_ONCE = 12
FLAG_METRICS = ("retry", "fallback", "timeout", "error")


def read_metric_rows(
    store: Store,
    grain: Grain,
    since: datetime,
    until: datetime,
    *,
    services: Sequence[str] = (),
    metrics: Sequence[str] = (),
    routes: Sequence[str] = (),
    columns: Sequence[str] = tuple(METRIC_ROWS),
) -> pl.DataFrame:
    """
    Rows of one table, newest version of each, sorted by what of their key is asked for.

    Args:
        since, until: buckets in [since, until).
        services, metrics, routes: keep only these; empty keeps all.
        columns: of `METRIC_ROWS`; few of them are read much faster.

    Returns:
        `columns`.
    """
    # only what is asked: the engine finds its way by names that are constants, not by functions of them
    named = {"service_name": ("services", services), "metric": ("metrics", metrics), "model_route": ("routes", routes)}
    where = "".join(f"\n    AND {column} IN {{{name}:Array(String)}}" for column, (name, values) in named.items() if values)
    sql = load("read_metric_rows").replace("{columns}", ", ".join(columns)).replace("{table}", grain.value)
    sql = sql.replace("{where}", where)
    schema = pl.Schema({name: METRIC_ROWS[name] for name in columns})
    parameters = {"since": since, "until": until, "services": list(services), "metrics": list(metrics), "routes": list(routes)}
    return _typed(store.frame(sql, parameters), schema).sort([name for name in METRIC_KEY if name in schema])


@dataclass(frozen=True)
class Window:
    """Minutes in [since, until) of some metrics of some services."""

    since: datetime
    until: datetime
    services: Sequence[str]
    metrics: Sequence[str]


def read_matured_rows(store: Store, windows: Sequence[Window], routes: Sequence[str]) -> pl.DataFrame:
    """
    Rows of minutes that lie in any of the windows, with the columns that settling needs (`MATURED_ROWS`): half as wide.

    Read together: what a statement costs hardly depends on how many windows it has. No order is promised.
    """
    parts = [MATURED_ROWS.to_frame()]
    piece = load("matured_window")
    for first in range(0, len(windows), _WINDOWS_AT_ONCE):
        parameters: dict[str, object] = {"routes": list(routes)}
        texts = []
        for i, window in enumerate(windows[first : first + _WINDOWS_AT_ONCE]):
            values = {"since": window.since, "until": window.until}
            lists = {"services": list(window.services), "metrics": list(window.metrics)}
            parameters |= {f"{name}_{i}": value for name, value in (values | lists).items()}
            texts.append(piece.replace("{i}", str(i)))
        sql = load("read_matured_rows").replace("{columns}", ", ".join(MATURED_ROWS)).replace("{windows}", " OR ".join(texts))
        parts.append(_typed(store.frame(sql, parameters), MATURED_ROWS))
    rows = pl.concat(parts)
    # windows of different statements may overlap
    return rows if len(parts) <= 2 else rows.unique(list(METRIC_KEY))


def read_metric_counts(store: Store, coarse: Grain, buckets: Sequence[datetime]) -> dict[datetime, int]:
    """About how many finer rows some buckets are merged from; those without any are left out."""
    sql = load("read_metric_counts").replace("{fine}", FINER[coarse].value)
    frame = store.frame(sql, _of_buckets(coarse, buckets))
    return dict(frame.select(pl.from_epoch("wider", "s").dt.replace_time_zone("UTC"), "n").iter_rows())


def write_metric_rows(store: Store, grain: Grain, rows: pl.DataFrame, computed_at: datetime) -> int:
    """Upsert `rows` (`METRIC_ROWS`); `computed_at` is their version. Returns how many were written."""
    versioned = rows.select(list(METRIC_ROWS)).with_columns(is_deleted=pl.lit(0, pl.UInt8), computed_at=_version(computed_at))
    # names as numbers and a dictionary; one chunk has one dictionary
    named = versioned.rechunk().with_columns(cs.string().cast(pl.Categorical))
    # rows of one insert have different keys: there is nothing to look for among them
    store.insert(grain.value, named, {"optimize_on_insert": 0})
    return versioned.height


def merge_metric_rows(
    store: Store, coarse: Grain, buckets: Sequence[datetime], computed_at: datetime, slices: int = 1, index: int = 0
) -> None:
    """
    Upsert some buckets of hours or days, added up by the store from the next finer table.

    Counts are exact in any order. Floating sums are added in the order of the rows' keys; another order differs by rounding, less
    than one part in 10^12.

    Args:
        slices, index: only that part of the rows; those of one key are always in one part.
    """
    keys = [name for name in METRIC_KEY if name != "bucket"]
    plain = [name for name in METRIC_STATISTICS if not name.startswith("hist_")]
    sql = load("merge_metric_rows").replace("{coarse}", coarse.value).replace("{fine}", FINER[coarse].value)
    sql = sql.replace("{keys}", ", ".join(keys)).replace("{plain}", ", ".join(plain))
    sql = sql.replace("{added}", ", ".join(f"added_{name}" for name in plain))
    sql = sql.replace("{sums}", ", ".join(f"sum({name}) AS added_{name}" for name in plain))
    slicing = {"slices": slices, "slice": index, "computed_at": computed_at}
    store.command(sql, _of_buckets(coarse, buckets) | slicing)


def remove_metric_rows(
    store: Store, grain: Grain, buckets: Sequence[datetime], computed_at: datetime, metrics: Sequence[str] = ()
) -> None:
    """Take away the rows of some buckets, of some metrics or (empty) of all, that were not written again at `computed_at`."""
    sql = load("remove_metric_rows").replace("{table}", grain.value).replace("{keys}", ", ".join(METRIC_KEY))
    store.command(sql, _of_buckets(grain, buckets) | {"metrics": list(metrics), "computed_at": computed_at})


def count_written_rows(store: Store, grain: Grain, buckets: Sequence[datetime], computed_at: datetime) -> int:
    """How many rows were written at `computed_at`, those that take others away included."""
    sql = load("count_written_metric_rows").replace("{table}", grain.value)
    n: int = store.frame(sql, _of_buckets(grain, buckets) | {"computed_at": computed_at})["n"].item()
    return n


def _of_buckets(grain: Grain, buckets: Sequence[datetime]) -> dict[str, object]:
    seconds = sorted({int(bucket.timestamp()) for bucket in buckets})
    return {"width": grain.seconds, "buckets": seconds, "since": seconds[0], "until": seconds[-1] + grain.seconds}


def _version(moment: datetime) -> pl.Expr:
    return pl.lit(moment).dt.cast_time_unit("ns")


@dataclass(frozen=True)
class Piece:
    """A range of buckets [since, until) and the table to read it from."""

    grain: Grain
    since: datetime
    until: datetime


ADDED_UP = frozenset(
    name for name in METRIC_STATISTICS if not name.startswith(("hist_", "n00_", "n01_", "n10_", "n11_", "n_incomplete_"))
)
"""What `read_added_up` can add up of units; pairs are read as rows."""


def read_added_up(
    store: Store,
    pieces: Sequence[Piece],
    step_seconds: int,
    *,
    metrics: Sequence[str],
    statistics: Sequence[str],
    group_by: Sequence[str] = (),
    keep: Mapping[str, Sequence[str]] | None = None,
    without_environments: Sequence[str] = (),
    histograms: bool = False,
) -> pl.DataFrame:
    """
    Rows of units (not of pairs) added up per bucket, metric and group.

    Args:
        pieces: what to read, in order, without gaps or overlaps.
        step_seconds: width of a bucket, counted from the first piece's start.
        statistics: names of `ADDED_UP`; each costs about a thirtieth of the whole.
        group_by, keep: columns of `METRIC_KEY`; `keep` has the values wanted of each.
        without_environments: left out.
        histograms: add them up too.

    Returns:
        `bucket`, `metric`, the `group_by` columns and `statistics`; with histograms `hist_bins_all` (ascending) and
        `hist_counts_all`. No order is promised.
    """
    unknown = [name for name in (*group_by, *(keep or {})) if name not in METRIC_KEY]
    unknown += [name for name in statistics if name not in ADDED_UP]
    if unknown:
        raise ValueError(f"not a column of rollup rows that can be asked for: {unknown}")
    origin = int(pieces[0].since.timestamp())
    parameters: dict[str, object] = {
        "origin": origin,
        "step": step_seconds,
        "metrics": list(metrics),
        "without_environments": list(without_environments),
    }
    parameters |= {f"keep_{name}": list(values) for name, values in (keep or {}).items()}
    # How many traces were sampled does not depend on the evaluator: those rows stay, whichever evaluator is wanted.
    always = dict.fromkeys(("evaluator", "evaluator_version"), "metric = 'sampled' OR ")
    filters = " ".join(f"AND ({always.get(name, '')}{name} IN {{keep_{name}:Array(String)}})" for name in keep or {})
    texts = []
    for i, piece in enumerate(pieces):
        parameters |= {f"since_{i}": int(piece.since.timestamp()), f"until_{i}": int(piece.until.timestamp())}
        text = load("metric_rows_piece").replace("{table}", piece.grain.value).replace("{i}", str(i))
        texts.append(text.replace("{filters}", filters))
    # of a Map, not of two arrays: the store adds those up value by value, several times slower
    merged = "mapSort(sumMap(mapFromArrays(hist_bins_all, hist_counts_all)))"
    added = f", tuple(mapKeys({merged} AS merged), mapValues(merged)) AS histogram" if histograms else ""
    sums = ", ".join(f"sum({name}) AS {name}" for name in statistics)
    sql = load("add_up_metric_rows").replace("{pieces}", " UNION ALL ".join(texts)).replace("{histograms}", added)
    sql = sql.replace("{sums}", sums)
    frame = store.frame(sql.replace("{keys}", "".join(f"{name}, " for name in group_by)), parameters)
    start = origin + pl.col("number").cast(pl.Int64) * step_seconds
    bucket = pl.from_epoch(start, "s").dt.replace_time_zone("UTC").cast(METRIC_KEY["bucket"]).alias("bucket")
    counts = [pl.col(name).cast(METRIC_STATISTICS[name]) for name in statistics]
    lists = [
        pl.col("histogram").struct.field(f"{i}").cast(METRIC_STATISTICS[name]).alias(name)
        for i, name in enumerate(("hist_bins_all", "hist_counts_all"), 1)
        if histograms
    ]
    return frame.select(bucket, "metric", *group_by, *counts, *lists)


def _typed(frame: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    # A ClickHouse DateTime arrives as seconds since 1970.
    bucket = pl.from_epoch("bucket", "s").dt.cast_time_unit("ms").dt.replace_time_zone("UTC")
    frame = frame.with_columns(bucket) if "bucket" in schema else frame
    return frame.select(pl.col(name).cast(kind) for name, kind in schema.items())
