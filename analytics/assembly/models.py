"""Whether two model names mean the same model."""

from __future__ import annotations

import re
from functools import lru_cache

import polars as pl

_ROUTED = re.compile(r"^.*/")
_CLOUD = re.compile(r"^((us|eu|apac|global)\.)?((anthropic|amazon|meta|mistral|cohere|ai21|deepseek)\.)?")
_DATED = re.compile(r"([-@:](latest|\d{4}-?\d{2}-?\d{2}|\d{4}))+(-v\d+)?(:\d+)?$")

ASKED_MODEL = pl.when(pl.col("request_model") == "").then("response_model").otherwise("request_model")
ANSWERING_MODEL = pl.when(pl.col("response_model") == "").then("request_model").otherwise("response_model")


@lru_cache(maxsize=65536)
def bare_model(name: str) -> str:
    """The model's name without provider prefix, date or version suffix: `openai/gpt-4o-2024-08-06` is `gpt-4o`."""
    return _DATED.sub("", _CLOUD.sub("", _ROUTED.sub("", name.lower())))


def answers_as_another(request_model: pl.Series, response_model: pl.Series) -> pl.Series:
    """Where both names are known and mean different models."""
    pairs = pl.DataFrame({"asked": request_model, "answered": response_model})
    asked, answered = pl.col("asked"), pl.col("answered")
    differs = (asked != "") & (answered != "") & (asked != answered)
    unlike = pairs.filter(differs).unique()
    other = [(a, b) for a, b in unlike.iter_rows() if bare_model(a) != bare_model(b)]
    if not other:
        return pl.repeat(False, pairs.height, dtype=pl.Boolean, eager=True)
    others = pl.Series([pl.Series(pair).to_list() for pair in other], dtype=pl.List(pl.String))
    return pairs.select(pl.concat_list("asked", "answered").is_in(others.implode())).to_series()
