"""The model that a call asked first, where its own span does not say."""

from __future__ import annotations

import numpy as np
import polars as pl

from analytics.assembly.forest import Forest, Mask
from analytics.assembly.models import ANSWERING_MODEL, answers_as_another
from analytics.assembly.usage_scope import Usage

_CHAIN = "fallback:"


def first_asked(spans: pl.DataFrame, forest: Forest, usage: Usage) -> pl.Series:
    """
    Per row the model asked first, '' where the row's own model is all there is to know.

    A raw request that stands for its parent was sent for what the parent asked. Pydantic AI lists the models of a fallback chain
    on the agent (`fallback:first,second`) and names the chat after the one that answered.

    Args:
        spans: `ASSEMBLY_SPANS` in the order of `forest`.
    """
    asked = spans["request_model"]
    names = pl.repeat("", spans.height, dtype=pl.String, eager=True)
    stand_ins = np.flatnonzero(usage.stands_for_parent & (forest.parent >= 0))
    if len(stand_ins):
        names = names.scatter(stand_ins, asked.gather(forest.parent[stand_ins]))
    is_chain = asked.str.starts_with(_CHAIN).to_numpy()
    if is_chain.any():
        above = forest.nearest(is_chain)
        rows = np.flatnonzero(usage.is_leaf_call & is_chain[above])
        first = asked.gather(above[rows]).str.strip_prefix(_CHAIN).str.split(",").list.first().str.strip_chars()
        names = names.scatter(rows, first)
    return names


def answered_by_another(spans: pl.DataFrame, first: pl.Series) -> Mask:
    """Where the model that answered is known and is not the one that `first_asked` names."""
    return answers_as_another(first, spans.select(ANSWERING_MODEL.alias("model")).to_series()).to_numpy()
