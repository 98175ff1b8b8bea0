"""Every metric that can be asked for: its name, its unit, the rollup rows it is made of and the function that makes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from analytics.metrics import cost_per_trace as cost
from analytics.metrics import eval_score as score
from analytics.metrics import latency as speed
from analytics.metrics import throughput as load
from analytics.metrics import tokens_per_trace as tokens
from analytics.metrics.cost_per_1k_requests import cost_per_1k_requests
from analytics.metrics.error_rate import call_error_rate, error_rate
from analytics.metrics.eval_fail_rate import eval_fail_rate
from analytics.metrics.fallback_rate import call_fallback_rate, fallback_rate
from analytics.metrics.feedback_rates import feedback_rate, overturn_rate
from analytics.metrics.rates import RATE_COLUMNS
from analytics.metrics.retry_rate import call_retry_rate, retry_rate
from analytics.metrics.timeout_rate import call_timeout_rate, timeout_rate

Evaluate = Callable[[pl.DataFrame, list[str], int], pl.DataFrame]


@dataclass(frozen=True)
class Metric:
    """
    One metric.

    `unit` is of `headline`, the first of `columns`, which is what a chart draws. `statistics` of the row metrics `sources` are
    added up, `evaluate` turns them into `columns`: rows, keys, step in seconds.
    """

    name: str
    description: str
    unit: str
    columns: tuple[str, ...]
    sources: tuple[str, ...]
    statistics: tuple[str, ...]
    evaluate: Evaluate
    has_histogram: bool = False

    @property
    def headline(self) -> str:
        return self.columns[0]


def _plain(function: Callable[[pl.DataFrame, list[str]], pl.DataFrame]) -> Evaluate:
    return lambda rows, keys, _: function(rows, keys)


_FLAGS = ("n_eligible_all", "n_fail_all")
_CALLS = ("n_value_all", "sum_value_all")
_REPORTS = (*_FLAGS, "n_scored_all", "n_scored_matured")
_VERDICTS = (*_REPORTS, "n_sampled_all")
_VALUES = ("n_eligible_all", "n_value_all", "sum_value_all")
_SCORES = (*_VALUES, "sum_squares_all", "n_value_matured")


def _rate(
    name: str,
    description: str,
    function: Callable[[pl.DataFrame, list[str]], pl.DataFrame],
    statistics: tuple[str, ...],
    *sources: str,
) -> Metric:
    return Metric(name, description, "1", RATE_COLUMNS, sources, statistics, _plain(function))


def _all() -> list[Metric]:
    flags = {
        "retry": (retry_rate, call_retry_rate, "a call was repeated on the same route"),
        "fallback": (fallback_rate, call_fallback_rate, "another route had to answer"),
        "timeout": (timeout_rate, call_timeout_rate, "any attempt timed out"),
        "error": (error_rate, call_error_rate, "the answer was an error"),
    }
    events = {
        "thumbs_down": "a thumbs-down",
        "correction": "a correction",
        "escalation": "an escalation to a person",
        "abandonment": "an abandoned task",
        "refund": "a refund",
    }
    return [
        _rate("eval_fail_rate", "share of decided verdicts that failed", eval_fail_rate, _VERDICTS, "eval_fail", "sampled"),
        Metric(
            "eval_score",
            "mean evaluator score per trace",
            "score",
            score.COLUMNS,
            ("eval_fail",),
            _SCORES,
            _plain(score.eval_score),
        ),
        *[
            _rate(f"{name}_rate", f"share of served traces with {what}", feedback_rate, _REPORTS, name, "error")
            for name, what in events.items()
        ],
        _rate("overturn_rate", "share of human reviews that overturned the answer", overturn_rate, _REPORTS, "overturn", "error"),
        *[
            _rate(f"{name}_rate", f"share of served traces in which {why}", of, _FLAGS, name)
            for name, (of, _, why) in flags.items()
        ],
        *[
            _rate(f"call_{name}_rate", f"share of logical calls in which {why}", of, _CALLS, name)
            for name, (_, of, why) in flags.items()
        ],
        Metric("latency", "duration of served traces", "ms", speed.COLUMNS, ("latency",), _VALUES, _plain(speed.latency), True),
        Metric(
            "time_to_first_token", "time to first token", "ms", speed.COLUMNS, ("ttft",), _VALUES, _plain(speed.latency), True
        ),
        Metric("cost_per_trace", "mean cost of a trace", "USD", cost.COLUMNS, ("cost",), _VALUES, _plain(cost.cost_per_trace)),
        Metric(
            "cost_per_1k_requests", "cost of 1,000 traces", "USD", cost.COLUMNS, ("cost",), _VALUES, _plain(cost_per_1k_requests)
        ),
        Metric(
            "tokens_per_trace",
            "mean tokens of a trace, prompt and completion",
            "tokens",
            tokens.COLUMNS,
            ("input_tokens", "output_tokens"),
            _VALUES,
            _plain(tokens.tokens_per_trace),
        ),
        Metric("throughput", "served traces per second", "1/s", load.COLUMNS, ("error",), ("n_eligible_all",), load.throughput),
    ]


METRICS = {metric.name: metric for metric in _all()}
"""By name."""
