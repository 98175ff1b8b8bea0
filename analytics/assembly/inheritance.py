"""Route, cohort, prompt, session, user, tags and mirroring that a span takes from its ancestors."""

from __future__ import annotations

import numpy as np
import polars as pl

from analytics.assembly.forest import NO_ROW, Forest, Mask
from analytics.config import AssemblyRules

INHERITED = ("model_route", "cohort", "prompt_name", "prompt_version", "session_id", "user_id", "mirror_group")
SHADOW = "shadow"
PRIMARY = "primary"
UNMIRRORED = "none"


def inherit(spans: pl.DataFrame, forest: Forest, rules: AssemblyRules) -> pl.DataFrame:
    """
    Fill what spans do not say themselves: own value, else the nearest ancestor's, else the trace root's, else the resource's.

    A value that only repeats what the resource says is the resource's, so an ancestor's own word beats it.

    Args:
        spans: `ASSEMBLY_SPANS` in the order of `forest`.

    Returns:
        The same rows with `INHERITED`, `tags` and `mirror_role` resolved; `mirror_role` is one of `primary`, `shadow`, `none`.
    """
    own = spans.with_columns(
        model_route=_without_resource("model_route", "resource_route"),
        cohort=_without_resource("cohort", "resource_cohort"),
        mirror_role=pl.when(pl.col("mirror_role").is_in([PRIMARY, SHADOW])).then("mirror_role").otherwise(pl.lit("")),
    )
    resolved = [_filled(own[column], (own[column] != "").to_numpy(), forest) for column in (*INHERITED, "mirror_role")]
    tags = _filled(own["tags"], (own["tags"].list.len() > 0).to_numpy(), forest)
    is_shadow_route = pl.col("model_route").is_in(rules.shadow_routes)
    return (
        own.with_columns(*resolved, tags)
        .with_columns(model_route=_or("model_route", "resource_route"), cohort=_or("cohort", "resource_cohort"))
        .with_columns(
            mirror_role=pl.when(pl.col("mirror_role") != "")
            .then("mirror_role")
            .when(is_shadow_route)
            .then(pl.lit(SHADOW))
            .otherwise(pl.lit(UNMIRRORED))
        )
    )


def derive_routes(spans: pl.DataFrame, is_call: Mask, rules: AssemblyRules) -> tuple[pl.DataFrame, Mask]:
    """Route by model for model calls that nothing else gives a route, and which rows that concerns."""
    if not rules.routes_by_model:
        return spans, np.zeros(spans.height, dtype=np.bool_)
    by_model = [
        pl.col(column).replace_strict(rules.routes_by_model, default=None, return_dtype=pl.String)
        for column in ("request_model", "response_model")
    ]
    route = spans.select(pl.coalesce(*by_model).fill_null("")).to_series()
    is_derived = is_call & (spans["model_route"] == "").to_numpy() & (route != "").to_numpy()
    return spans.with_columns(model_route=pl.when(pl.Series(is_derived)).then(route).otherwise(pl.col("model_route"))), is_derived


def _filled(values: pl.Series, has_value: Mask, forest: Forest) -> pl.Series:
    """`values`, each taken from the nearest of itself, its ancestors and the trace's root that has one."""
    if has_value.all() or not has_value.any():
        return values
    source = forest.nearest(has_value)
    root = forest.root[forest.trace]
    from_root = ~has_value[source] & (root != NO_ROW)
    source = np.where(from_root, root, source)
    return values.gather(source)


def _without_resource(column: str, resource: str) -> pl.Expr:
    return pl.when(pl.col(column) == pl.col(resource)).then(pl.lit("")).otherwise(column)


def _or(column: str, fallback: str) -> pl.Expr:
    return pl.when(pl.col(column) == "").then(fallback).otherwise(column)
