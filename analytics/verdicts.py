"""Whether an evaluation passed or failed, or says neither; whether a user's feedback says that something went wrong."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

from analytics.config import Direction, EvaluatorRule, EvaluatorRules

EVAL_FAIL = "eval_fail"

FEEDBACK_NAMES = {
    **dict.fromkeys(("user_feedback", "thumbs", "user_thumbs", "rating", "feedback"), "thumbs_down"),
    "correction": "correction",
    **dict.fromkeys(("escalation", "escalated", "handoff"), "escalation"),
    **dict.fromkeys(("abandonment", "abandoned"), "abandonment"),
    **dict.fromkeys(("refund", "refunded"), "refund"),
    **dict.fromkeys(("human_review", "overturn", "overturned", "langgraph.human.decision"), "overturn"),
}
"""Evaluation names that are feedback, lower case and with `_` for `-`, and the metric each feeds."""

_UP = ("up", "positive", "like", "thumbs_up", "true", "yes", "good")
_DOWN = ("down", "negative", "dislike", "thumbs_down", "false", "no", "bad")
_OVERTURNED = ("rejected", "modified", "overturned", "fail", "failed")
_UPHELD = ("approved", "accepted", "upheld", "confirmed", "pass", "passed")
_TRUE = ("true", "yes", "1", "1.0")
_FALSE = ("false", "no", "0", "0.0")
_EVENTS = ("correction", "escalation", "abandonment", "refund")
_CORRECTION = "CORRECTION"

# Evaluators known to report how bad an answer is, on a scale from 0 to 1.
_WORSE_WHEN_HIGHER = r"hallucinat|toxic"
# Names that suggest the same, without a scale one could rely on.
_SUSPECTED_WORSE = r"hallucinat|toxic|bias|harm|profan|jailbreak|injection|violence|hate|sexual|leak|error_rate|risk"
_DEFAULT_WORST = 0.5


def with_verdicts(evaluations: pl.DataFrame, rules: EvaluatorRules) -> pl.DataFrame:
    """
    Read each evaluation once: feedback names first, then an explicit flag, a label, a configured threshold.

    Args:
        evaluations: `EVALUATIONS`.

    Returns:
        The rows that are verdicts (an evaluator's own error is none), with `metric`, `evaluator` ('' for feedback) and `failed`:
        True (failed; for an event: it happened), False, or NULL for neither.
    """
    named = evaluations.filter(pl.col("evaluator_error") == "").with_columns(
        key=pl.col("name").str.to_lowercase().str.replace_all("-", "_", literal=True),
        word=pl.col("label").str.to_lowercase().str.strip_chars(),
    )
    named = named.with_columns(
        metric=pl.when(pl.col("data_type").str.to_uppercase() == _CORRECTION)
        .then(pl.lit("correction"))
        .otherwise(pl.col("key").replace_strict(FEEDBACK_NAMES, default=EVAL_FAIL, return_dtype=pl.String))
    )
    is_feedback = pl.col("metric") != EVAL_FAIL
    failed = (
        pl.when(pl.col("metric") == "thumbs_down")
        .then(_thumbs_down(rules))
        .when(pl.col("metric") == "overturn")
        .then(_overturned())
        .when(is_feedback)
        .then(_happened())
        .otherwise(_failed(rules))
    )
    return named.with_columns(
        failed=failed,
        evaluator=pl.when(is_feedback).then(pl.lit("")).otherwise("name"),
        **{name: pl.when(is_feedback).then(pl.lit("")).otherwise(name) for name in ("evaluator_version", "sampling_rule")},
    ).drop("key", "word")


def _thumbs_down(rules: EvaluatorRules) -> pl.Expr:
    """-1 and 0 are down, unless the name is configured as signed, where 0 is neutral; other numbers say nothing by themselves."""
    signed = [name.lower().replace("-", "_") for name in rules.signed_feedback]
    score = pl.col("score")
    is_neutral = (score == 0) & pl.col("key").is_in(signed)
    return pl.coalesce(
        _by_threshold(rules),
        pl.when(pl.col("word").is_in(_DOWN)).then(True).when(pl.col("word").is_in(_UP)).then(False),
        ~pl.col("passed"),
        pl.when(is_neutral).then(None).when(score.is_in([-1.0, 0.0])).then(True).when(score == 1).then(False),
    )


def _happened() -> pl.Expr:
    """An event happened unless its value says that it did not; a bare event happened."""
    said = pl.coalesce(
        pl.when(pl.col("word").is_in(_TRUE)).then(True).when(pl.col("word").is_in(_FALSE)).then(False),
        "passed",
        pl.col("score") != 0,
    )
    return said.fill_null(True)


def _overturned() -> pl.Expr:
    return pl.coalesce(
        pl.when(pl.col("word").is_in([*_OVERTURNED, *_TRUE]))
        .then(True)
        .when(pl.col("word").is_in([*_UPHELD, *_FALSE]))
        .then(False),
        "passed",
        pl.col("score") != 0,
    )


def _failed(rules: EvaluatorRules) -> pl.Expr:
    return pl.coalesce(~pl.col("passed"), _by_label(rules), _by_threshold(rules), _by_known_name(rules))


def _by_label(rules: EvaluatorRules) -> pl.Expr:
    """
    A label in the evaluator's own sets, else in the default ones. Where higher is worse, or the name suggests it, `true` and
    `yes` do not mean that all is well: they fail where that direction is configured or known, and otherwise say nothing.
    """
    word = pl.col("word")
    expression: Any = pl.when(False).then(None)
    for name, rule in sorted(rules.evaluators.items()):
        passes = rules.pass_labels if rule.pass_labels is None else rule.pass_labels
        fails = rules.fail_labels if rule.fail_labels is None else rule.fail_labels
        if rule.direction is Direction.LOWER_IS_BETTER and rule.pass_labels is None and rule.fail_labels is None:
            passes, fails = (passes - set(_TRUE)) | set(_FALSE), (fails - set(_FALSE)) | set(_TRUE)
        is_this = pl.col("key") == _key(name)
        expression = expression.when(is_this & _among(word, fails)).then(True).when(is_this & _among(word, passes)).then(False)
        if rule.pass_labels is not None or rule.fail_labels is not None or rule.direction is not None:
            expression = expression.when(is_this).then(None)
    is_worse, is_suspect = pl.col("key").str.contains(_WORSE_WHEN_HIGHER), pl.col("key").str.contains(_SUSPECTED_WORSE)
    verdict: pl.Expr = (
        expression.when(is_worse & word.is_in(_TRUE))
        .then(True)
        .when(is_worse & word.is_in(_FALSE))
        .then(False)
        .when(is_suspect & word.is_in([*_TRUE, *_FALSE]))
        .then(None)
        .when(_among(word, rules.fail_labels))
        .then(True)
        .when(_among(word, rules.pass_labels))
        .then(False)
    )
    return verdict


def _by_threshold(rules: EvaluatorRules) -> pl.Expr:
    """A configured threshold; the threshold itself passes."""
    expression: Any = pl.when(False).then(None)
    for name, rule in sorted(rules.evaluators.items()):
        if rule.threshold is not None and rule.direction is not None:
            expression = expression.when(pl.col("key") == _key(name)).then(_misses(rule.threshold, rule.direction))
    threshold: pl.Expr = expression.otherwise(None)
    return threshold


def _by_known_name(rules: EvaluatorRules) -> pl.Expr:
    """What ships: hallucination and toxicity scores from 0 to 1 fail above one half, unless the evaluator is configured."""
    is_known = pl.col("key").str.contains(_WORSE_WHEN_HIGHER) & pl.col("score").is_between(0, 1)
    is_configured = pl.col("key").is_in([_key(name) for name, rule in rules.evaluators.items() if rule != EvaluatorRule()])
    return pl.when(is_known & ~is_configured).then(_misses(_DEFAULT_WORST, Direction.LOWER_IS_BETTER))


def _misses(threshold: float, direction: Direction) -> pl.Expr:
    return pl.col("score") < threshold if direction is Direction.HIGHER_IS_BETTER else pl.col("score") > threshold


def _key(name: str) -> str:
    return name.lower().replace("-", "_")


def _among(word: pl.Expr, labels: Iterable[str]) -> pl.Expr:
    return word.is_in(sorted(label.lower() for label in labels))
