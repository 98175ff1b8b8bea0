"""What is wrong or missing in the data of a window: read-only reports over several tables, each bounded in length."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from storage.client import Store
from storage.metrics import VERDICT_METRICS
from storage.sql import load

_LIMIT = 200
_SAMPLE = 1_000
_MOST_UNPRICED = 20_000
_MOST_WAITING = 20_000
_DIMENSIONS = {
    "service": "service_name",
    "environment": "environment",
    "route": "model_route",
    "model": "model",
    "cohort": "cohort",
    "prompt_version": "prompt_version",
    "evaluator": "evaluator",
}


def read_unpriced_models(store: Store, since: datetime, until: datetime) -> pl.DataFrame:
    """
    `provider`, `model`, `n_calls`, `last_seen` of models that no price was found for, most calls first. Of more than 20,000 such
    calls, those of one trace in `one_in_traces` are looked at, and `n_calls` is an estimate.
    """
    return _report(store, "quality_unpriced", since, until, most=_MOST_UNPRICED)


def read_quality_flags(store: Store, since: datetime, until: datetime) -> pl.DataFrame:
    """`flag`, `n_traces`, `example_trace_id`, most traces first."""
    return _report(store, "quality_flags", since, until)


def read_coverage(store: Store, since: datetime, until: datetime) -> pl.DataFrame:
    """Per service and route: `n_traces`, of them `n_priced`, `n_without_route`, `n_without_cohort`, `n_sampled`."""
    return _report(store, "quality_coverage", since, until)


def read_lateness(store: Store, since: datetime, until: datetime) -> pl.DataFrame:
    """Per service, metric and evaluator: `n_verdicts`, and `n_late_verdicts` that came after the metric's maturity."""
    return _report(store, "quality_lateness", since, until, metrics=list(VERDICT_METRICS))


def read_unattached_evaluations(store: Store, since: datetime, until: datetime) -> pl.DataFrame:
    """
    `name`, `target_scope`, `n_evaluations`, `oldest`, `example_target` of evaluations received in the window that no target was
    found for: it has not arrived, or never will; of the oldest 20,000 of them. An experiment's run as a whole has none.
    """
    return _report(store, "quality_unattached", since, until, most=_MOST_WAITING)


def read_unmapped_attributes(
    store: Store, since: datetime, until: datetime, known: Sequence[str], prefixes: Sequence[str]
) -> pl.DataFrame:
    """`key`, `n_spans`, `example`, `example_scope` of attributes nothing reads, in a sample of spans, most spans first."""
    return _report(store, "quality_attributes", since, until, known=list(known), prefixes=list(prefixes), sample=_SAMPLE)


def read_poisonous_traces(store: Store) -> pl.DataFrame:
    """`trace_id`, `reason`, `n_failures`, `state`, `changed_at` of traces no job could digest, newest first."""
    return store.frame(load("quality_poisonous"), {"limit": _LIMIT})


def read_facet(store: Store, dimension: str, since: datetime, until: datetime) -> pl.DataFrame:
    """`value`, `n` of one dimension, most frequent first. Raises KeyError for another dimension than `facet_names`."""
    sql = load("facet_values").replace("{column}", _DIMENSIONS[dimension])
    metrics = ["eval_fail"] if dimension == "evaluator" else ["error"]
    return store.frame(sql, {"since": since, "until": until, "metrics": metrics, "limit": _LIMIT})


def facet_names() -> tuple[str, ...]:
    return tuple(_DIMENSIONS)


def _report(store: Store, name: str, since: datetime, until: datetime, **more: object) -> pl.DataFrame:
    return store.frame(load(name), {"since": since, "until": until, "limit": _LIMIT, **more})
