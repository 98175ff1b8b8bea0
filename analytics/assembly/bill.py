"""What a trace cost and how many tokens it took: sums over the spans that count, or unknown."""

from __future__ import annotations

import polars as pl

from analytics.assembly.statuses import Charge

_SUBSETS = ("cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
_MONEY = pl.Decimal(18, 9)
_MIXED = "mixed"
CHARGED = (
    "unit",
    "charge",
    "is_evaluator_traffic",
    "input_tokens",
    "output_tokens",
    *_SUBSETS,
    "cost_usd",
    "cost_source",
    "reported_cost_usd",
    "computed_cost_usd",
)
"""What of a span counts for a bill."""

ASSUMED_SOURCES = ("failed_free", "lower_bound")
"""What `cost_source` says of a failed call whose cost is an assumption."""


def bill(charged: pl.DataFrame) -> pl.DataFrame:
    """
    Sum up the charged spans of each unit.

    Cost is NULL as soon as one call's cost is unknown. A refused call without usage counts as 0, a broken one as 0 and makes
    the sum a lower bound; both are counted. Input and output tokens are NULL when a call that was served, or broke while it was,
    did not say; the subsets (cache, reasoning) are sums over those that did. Reported and computed cost are sums over the spans
    that cost something, NULL unless each of them has one, so that they can be compared.

    Args:
        charged: `CHARGED` (columns of `PRICED`, and `unit`), spans with a charge only.

    Returns:
        One row per unit: `unit`, tokens, `cost_usd`, `cost_source`, `reported_cost_usd`, `computed_cost_usd`,
        `evaluation_cost_usd`, `unpriced_calls`, and the numbers of `refused` and `broken` without a price, `silent` about
        their tokens, `evaluations` and `unpriced_evaluations`.
    """
    is_priced = _is_priced()
    is_free = pl.col("charge").is_in([Charge.REFUSED, Charge.BROKEN])
    rows = charged.with_columns(
        is_user=~pl.col("is_evaluator_traffic"),
        is_unpriced=~is_priced & ~is_free,
        is_usage=pl.col("charge") == Charge.USAGE,
    ).with_columns(
        is_summed=pl.col("is_user") & pl.col("is_usage"),
        # a call that broke has a cost where its seconds have a price
        is_costed=pl.col("is_user") & (pl.col("is_usage") | is_priced),
    )
    is_user, is_summed, is_costed, is_unpriced = (pl.col(f"is_{name}") for name in ("user", "summed", "costed", "unpriced"))
    without_price = is_user & ~is_priced

    def sum_of(column: str, mask: pl.Expr) -> pl.Expr:
        return pl.when(mask).then(column).sum()

    def missing(column: str, mask: pl.Expr) -> pl.Expr:
        return (mask & pl.col(column).is_null()).sum()

    sums = rows.group_by("unit").agg(
        sum_of("input_tokens", is_summed),
        sum_of("output_tokens", is_summed),
        *(sum_of(column, is_summed) for column in _SUBSETS),
        *((is_summed & pl.col(column).is_not_null()).sum().alias(f"n_{column}") for column in _SUBSETS),
        sum_of("cost_usd", is_user),
        sum_of("reported_cost_usd", is_costed),
        sum_of("computed_cost_usd", is_costed),
        evaluation_cost_usd=sum_of("cost_usd", ~is_user),
        unpriced_calls=(is_user & is_unpriced).sum(),
        unpriced_evaluations=(~is_user & is_unpriced).sum(),
        evaluations=(~is_user).sum(),
        users=is_user.sum(),
        costed=is_costed.sum(),
        refused=(without_price & (pl.col("charge") == Charge.REFUSED)).sum(),
        broken=(without_price & (pl.col("charge") == Charge.BROKEN)).sum(),
        silent=(is_user & pl.col("charge").is_in([Charge.UNKNOWN, Charge.BROKEN])).sum(),
        no_input=missing("input_tokens", is_summed),
        no_output=missing("output_tokens", is_summed),
        no_reported=missing("reported_cost_usd", is_costed),
        no_computed=missing("computed_cost_usd", is_costed),
    )
    costed, users = pl.col("costed") > 0, pl.col("users") > 0
    knows_usage = users & (pl.col("silent") == 0)
    return (
        sums.with_columns(
            _known("input_tokens", knows_usage & (pl.col("no_input") == 0)),
            _known("output_tokens", knows_usage & (pl.col("no_output") == 0)),
            *(_known(column, pl.col(f"n_{column}") > 0) for column in _SUBSETS),
            _known("cost_usd", users & (pl.col("unpriced_calls") == 0)).cast(_MONEY),
            _known("reported_cost_usd", costed & (pl.col("no_reported") == 0)).cast(_MONEY),
            _known("computed_cost_usd", costed & (pl.col("no_computed") == 0)).cast(_MONEY),
            _known("evaluation_cost_usd", (pl.col("evaluations") > 0) & (pl.col("unpriced_evaluations") == 0)).cast(_MONEY),
            pl.col("unpriced_calls").cast(pl.UInt32),
        )
        .join(_sources(rows), on="unit", how="left")
        .with_columns(cost_source=pl.when(pl.col("cost_usd").is_not_null()).then("cost_source").fill_null(""))
    )


def _is_priced() -> pl.Expr:
    """Charged or computed; a failure that the price step already took for 0 is judged by its `charge`, as if it had no price."""
    return pl.col("cost_usd").is_not_null() & ~pl.col("cost_source").is_in(ASSUMED_SOURCES)


def _known(column: str, condition: pl.Expr) -> pl.Expr:
    return pl.when(condition).then(column).alias(column)


def _sources(rows: pl.DataFrame) -> pl.DataFrame:
    """Where each unit's cost comes from; `mixed` when its spans do not agree."""
    priced = rows.filter(pl.col("is_user") & _is_priced())
    names = priced["cost_source"].unique().sort()
    code = pl.col("cost_source").cast(pl.Enum(names)).to_physical()
    return (
        priced.group_by("unit")
        .agg(low=code.min(), high=code.max())
        .select(
            "unit",
            pl.when(pl.col("low") == pl.col("high"))
            .then(pl.col("low").replace_strict(dict(enumerate(names)), return_dtype=pl.String))
            .otherwise(pl.lit(_MIXED))
            .alias("cost_source"),
        )
    )
