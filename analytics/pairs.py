"""Mirrored and golden-set pairs: the same input through two routes, and which side failed."""

from __future__ import annotations

import polars as pl

_GROUP = ["service_name", "environment", "mirror_group"]
_SIDE = ["model_route", "model"]
_UNIT = ["trace_id", "mirror_role"]
_FLAGS = {"retry": "retried", "fallback": "fell_back", "timeout": "timed_out", "error": "errored"}
_VERDICT = ["metric", "evaluator", "evaluator_version"]
_KEY = ["bucket", "service_name", "environment", "model_route", "model", "cohort", "prompt_version", "aa", "mirrored"]


def pair_rows(
    keyed: pl.DataFrame, outcomes: pl.DataFrame, partners: pl.DataFrame, partner_outcomes: pl.DataFrame
) -> pl.DataFrame:
    """
    Count what happened to both sides of each pair, from the side of every unit in `keyed`.

    Units of one service, environment and mirror group are a pair when they took different routes (or models) and one is the
    primary, the other its shadow; in the environment `experiment`, whatever their roles. Of several runs of a group on one side
    the one that started last counts. A verdict counts for the pair when both sides have it from the same evaluator version.

    Returns:
        Key columns, `pair_route`, `pair_model`, `metric`, `evaluator`, `evaluator_version` and `n11` .. `n_incomplete`, matured
        and all. First digit: the other side failed... see `_CELLS`.
    """
    in_groups = (pl.col("mirrored") == 1) & (pl.col("mirror_group") != "")
    mine = keyed.filter(in_groups)
    everyone = pl.concat([mine, partners.filter(in_groups).select(mine.columns)]).unique(_UNIT, keep="first", maintain_order=True)
    verdicts = _verdicts(everyone, pl.concat([outcomes, partner_outcomes.select(outcomes.columns)]))
    pairs = _pairs(everyone).join(mine.select(_UNIT), on=_UNIT, how="semi")
    own = pairs.join(verdicts, on=_UNIT)
    other = pairs.join(verdicts, left_on=["other_trace_id", "other_role"], right_on=_UNIT)
    joined = own.join(
        other.rename({"failed": "other_failed", "failed_matured": "other_failed_matured"}),
        on=[*pairs.columns, *_VERDICT],
        how="full",
        coalesce=True,
    )
    return joined.group_by(*_KEY, "pair_route", "pair_model", *_VERDICT).agg(*_cells("matured"), *_cells("all"))


def _pairs(everyone: pl.DataFrame) -> pl.DataFrame:
    latest = everyone.sort("started_at", *_UNIT).unique([*_GROUP, *_SIDE], keep="last", maintain_order=True)
    other = latest.select(
        *_GROUP,
        pair_route="model_route",
        pair_model="model",
        other_trace_id="trace_id",
        other_role="mirror_role",
    )
    differs = (pl.col("model_route") != pl.col("pair_route")) | (pl.col("model") != pl.col("pair_model"))
    opposed = (pl.col("mirror_role") != pl.col("other_role")) | (pl.col("environment") == "experiment")
    both = latest.select(*_UNIT, "mirror_group", *_KEY).join(other, on=_GROUP)
    return both.filter(differs & opposed).drop("mirror_group")


def _verdicts(units: pl.DataFrame, outcomes: pl.DataFrame) -> pl.DataFrame:
    """Evaluators' verdicts and the flags, one row per unit and verdict."""
    flags = [
        units.select(*_UNIT, metric=pl.lit(metric), failed=pl.col(flag), failed_matured=pl.col(flag))
        for metric, flag in _FLAGS.items()
    ]
    judged = (
        outcomes.filter(metric="eval_fail")
        .join(units.select(_UNIT), on=_UNIT, how="semi")
        .unique([*_UNIT, *_VERDICT, "sampling_rule"])
        .group_by(*_UNIT, *_VERDICT)
        .agg(pl.col("failed", "failed_matured").max())
    )
    return pl.concat([judged, *flags], how="diagonal").with_columns(pl.col("evaluator", "evaluator_version").fill_null(""))


def _cells(when: str) -> list[pl.Expr]:
    """The first digit is the other side's failure, the second the own side's: n01: only the own side failed."""
    suffix = "_matured" if when == "matured" else ""
    own, other = pl.col(f"failed{suffix}"), pl.col(f"other_failed{suffix}")
    return [
        (own & other).sum().alias(f"n11_{when}"),
        (~own & other).sum().alias(f"n10_{when}"),
        (own & ~other).sum().alias(f"n01_{when}"),
        (~own & ~other).sum().alias(f"n00_{when}"),
        (own.is_null() | other.is_null()).sum().alias(f"n_incomplete_{when}"),
    ]
