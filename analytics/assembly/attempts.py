"""Logical calls: which tries belong together, what each was (first, retry, fallback, hedge), and how the call ended."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from analytics.assembly.asked import answered_by_another, first_asked
from analytics.assembly.forest import NO_ROW, Forest, Mask, Rows
from analytics.assembly.hints import read_hints
from analytics.assembly.linking import Answer, AttemptKind, Evidence, Label, Try, link
from analytics.assembly.models import ASKED_MODEL
from analytics.assembly.statuses import FAILED, TIMED_OUT
from analytics.assembly.usage_scope import IS_SHELL, Usage
from analytics.config import AssemblyRules

_NS_PER_SECOND = 1_000_000_000
# A span that succeeded and yet holds an error had a try inside it that failed. Unset is success only with an answer to show.
_HAS_ERROR = pl.col("status").is_in(["ok", "unset"]) & ((pl.col("error_type") != "") | pl.col("has_exception"))
_HAS_ANSWER = pl.col("output_tokens").is_not_null() | (pl.col("response_id") != "") | (pl.col("finish_reasons").list.len() > 0)


@dataclass(frozen=True)
class Attempts:
    """
    The outcome of linking, aligned with the rows of a forest.

    `columns`: `logical_call_id`, `attempt_index`, `attempt_kind`, `fallback_from`, `attempt_evidence`; then, on the one row
    per logical call that answered it: `is_answer`, `call_retried`, `call_fell_back`, `call_timed_out`, `call_failed` (False on
    all other rows); `first_route`, `first_model`: what the logical call tried first. `is_inferred`: rows whose kind is a
    conclusion, not a statement. `is_auxiliary`: billed, but nobody's request.
    """

    columns: pl.DataFrame
    is_inferred: Mask
    is_auxiliary: Mask


def link_attempts(spans: pl.DataFrame, forest: Forest, usage: Usage, rules: AssemblyRules) -> Attempts:
    """
    Find the logical calls and label their tries.

    Args:
        spans: `ASSEMBLY_SPANS` in the order of `forest`, with routes resolved.
        usage: which rows are calls.
    """
    states = spans.select(
        failed=FAILED,
        timed_out=TIMED_OUT,
        answered=pl.col("status").is_in(["ok", "unset"]),
        has_error=_HAS_ERROR,
        hidden_error=_HAS_ERROR & ((pl.col("status") == "ok") | ((pl.col("status") == "unset") & _HAS_ANSWER)),
    )
    failed, answered = states["failed"].to_numpy(), states["answered"].to_numpy()
    is_try = usage.is_leaf_call | usage.is_attempt
    host = _hosts(forest, usage)
    crowded = _crowded(spans, forest, usage, host, failed)
    labels, answers = _linked(spans, forest, usage, host, crowded, failed, answered, rules)

    first = np.where(is_try, np.arange(spans.height), NO_ROW)
    is_answer = usage.is_leaf_call.copy()
    is_answer[crowded] = False
    fell_back = np.zeros(spans.height, dtype=np.bool_)
    columns = _stated(spans, usage.is_leaf_call, is_try)
    if labels:
        rows = np.array([label.row for label in labels])
        first[rows] = [label.first_row for label in labels]
        is_answer[[answer.row for answer in answers]] = True
        fell_back[[answer.row for answer in answers if answer.fell_back]] = True
        columns = _overlaid(columns, rows, labels)
    return _closed(spans, forest, usage, columns, first, is_answer, fell_back, failed, states)


def _hosts(forest: Forest, usage: Usage) -> Rows:
    """For each attempt span the call it is an attempt of, or -1."""
    host = np.full(len(usage.is_attempt), NO_ROW, dtype=np.int64)
    rows = np.flatnonzero(usage.is_attempt)
    if len(rows):
        call = forest.nearest(usage.is_leaf_call)[rows]
        host[rows] = np.where(usage.is_leaf_call[call], call, NO_ROW)
    return host


def _families(spans: pl.DataFrame, forest: Forest, usage: Usage, failed: Mask) -> npt.NDArray[np.uint64]:
    """
    Siblings' key per row. A call wrapped by other spans of the same call counts as a sibling of the outermost one's siblings.

    A library's own span around one call (an agent of one step, Vercel's outer span) is seen through too, unless it made good
    what failed inside.
    """
    is_wrapper = usage.is_call & ~usage.is_leaf_call
    is_shell = spans.select(IS_SHELL).to_series().to_numpy() & ~usage.is_call
    if not (is_wrapper.any() or is_shell.any()):
        return forest.family
    is_shell &= failed | (forest.below(usage.is_leaf_call & failed) == 0)
    absorbs = (is_wrapper | is_shell) & (forest.below(usage.is_leaf_call) == 1)
    return forest.family[forest.nearest(~forest.of_parent(absorbs))]


def _crowded(spans: pl.DataFrame, forest: Forest, usage: Usage, host: Rows, failed: Mask) -> Rows:
    """Calls of traces in which tries may belong together; every other call is a logical call by itself."""
    calls = np.flatnonzero(usage.is_leaf_call)
    explicit = spans.select((pl.col("attempt_kind") != "") | pl.col("attempt_index").is_not_null()).to_series().to_numpy()
    is_telling = failed | explicit
    crowded = np.zeros(len(forest.root), dtype=np.bool_)
    crowded[forest.trace[host[host != NO_ROW]]] = True
    telling = forest.trace[calls[is_telling[calls]]]
    n_calls = np.bincount(forest.trace[calls], minlength=len(crowded))
    crowded[telling[n_calls[telling] > 1]] = True
    grouped = calls[(spans["call_group"] != "").to_numpy()[calls]]
    if len(grouped):
        key = spans["call_group"].gather(grouped).hash().to_numpy() ^ (forest.trace[grouped].astype(np.uint64) << np.uint64(20))
        _, position, count = np.unique(key, return_inverse=True, return_counts=True)
        crowded[forest.trace[grouped[count[position] > 1]]] = True
    return calls[crowded[forest.trace[calls]]]


def _linked(
    spans: pl.DataFrame,
    forest: Forest,
    usage: Usage,
    host: Rows,
    crowded: Rows,
    failed: Mask,
    answered: Mask,
    rules: AssemblyRules,
) -> tuple[list[Label], list[Answer]]:
    """Link the tries of each trace that has something to link."""
    if not len(crowded):
        return [], []
    attempts = np.flatnonzero(host != NO_ROW)
    families = _families(spans, forest, usage, failed)
    by_host: defaultdict[int, list[Try]] = defaultdict(list)
    for attempt, call in zip(_tries(spans, attempts, families, failed, answered), host[attempts].tolist(), strict=True):
        by_host[call].append(attempt)
    gap_ns = int(rules.retry_gap_seconds * _NS_PER_SECOND)
    by_trace: defaultdict[int, list[Try]] = defaultdict(list)
    for call, trace in zip(_tries(spans, crowded, families, failed, answered), forest.trace[crowded].tolist(), strict=True):
        by_trace[trace].append(call)
    linked = [link(calls, by_host, gap_ns) for calls in by_trace.values()]
    return [label for labels, _ in linked for label in labels], [answer for _, answers in linked for answer in answers]


def _tries(spans: pl.DataFrame, rows: Rows, families: npt.NDArray[np.uint64], failed: Mask, answered: Mask) -> list[Try]:
    picked = spans.select(
        pl.col("start_time").dt.epoch("ns"),
        pl.col("end_time").dt.epoch("ns"),
        "model_route",
        ASKED_MODEL.alias("model"),
        "mirror_role",
        "call_group",
        "attempt_kind",
        "attempt_index",
        "fallback_from",
        "input_hash",
    ).gather(rows)
    return [
        Try(row, start, end, bad, good, route, model, side, family, group, kind, index, origin, content)
        for (start, end, route, model, side, group, kind, index, origin, content), row, bad, good, family in zip(
            picked.iter_rows(),
            rows.tolist(),
            failed[rows].tolist(),
            answered[rows].tolist(),
            families[rows].tolist(),
            strict=True,
        )
    ]


def _stated(spans: pl.DataFrame, is_leaf_call: Mask, is_try: Mask) -> pl.DataFrame:
    """What each span says of itself; a call that says nothing is the first and only try."""
    says = pl.col("attempt_kind") != ""
    says_index = pl.col("attempt_index").is_not_null()
    is_call = pl.Series(is_leaf_call)
    later = pl.lit(AttemptKind.RETRY.value)
    kind = pl.when(says).then("attempt_kind").when(says_index & (pl.col("attempt_index") > 0)).then(later)
    return spans.select(
        pl.when(says_index | says | ~is_call).then("attempt_index").otherwise(pl.lit(0, dtype=pl.UInt16)).alias("attempt_index"),
        kind.when(pl.Series(is_try)).then(pl.lit(AttemptKind.FIRST.value)).otherwise(pl.lit("")).alias("attempt_kind"),
        "fallback_from",
        pl.when((says | says_index) & pl.Series(is_try))
        .then(pl.lit(Evidence.EXPLICIT.value))
        .otherwise(pl.lit(Evidence.NONE.value))
        .alias("attempt_evidence"),
    )


def _overlaid(columns: pl.DataFrame, rows: Rows, labels: list[Label]) -> pl.DataFrame:
    """`columns` with the labels' values at `rows`."""
    values = {
        "attempt_index": pl.Series([label.attempt_index for label in labels], dtype=pl.UInt16),
        "attempt_kind": pl.Series([label.kind for label in labels], dtype=pl.String),
        "fallback_from": pl.Series([label.fallback_from for label in labels], dtype=pl.String),
        "attempt_evidence": pl.Series([label.evidence for label in labels], dtype=pl.String),
    }
    return columns.with_columns(columns[name].scatter(rows, series).alias(name) for name, series in values.items())


def _closed(
    spans: pl.DataFrame,
    forest: Forest,
    usage: Usage,
    columns: pl.DataFrame,
    first: Rows,
    is_answer: Mask,
    fell_back: Mask,
    failed: Mask,
    states: pl.DataFrame,
) -> Attempts:
    """Add the tries that left no span, and say on the answering row of each logical call how it went."""
    timed_out, has_error, hidden_error = (states[name].to_numpy() for name in ("timed_out", "has_error", "hidden_error"))
    hints = read_hints(spans, forest, usage.is_leaf_call)
    hidden = {int(row): Evidence.ERROR_ON_OK.value for row in np.flatnonzero(hidden_error & usage.is_leaf_call)}
    asked = first_asked(spans, forest, usage)
    is_other = usage.is_leaf_call & ~failed & answered_by_another(spans, asked)
    made_good = usage.stands_for_parent & forest.of_parent(failed | has_error) & usage.is_leaf_call
    hidden |= dict.fromkeys(np.flatnonzero(made_good & ~is_other).tolist(), Evidence.RAW_REQUEST.value)
    retried = {**hidden, **hints.retried}
    fallbacks = dict.fromkeys(np.flatnonzero(made_good & is_other).tolist(), Evidence.RAW_REQUEST.value)
    fallbacks |= dict.fromkeys(np.flatnonzero(is_other & ~usage.stands_for_parent).tolist(), Evidence.MODEL_CHAIN.value)
    fallbacks |= hints.fell_back
    columns = _hinted(columns, retried, AttemptKind.RETRY)
    columns = _hinted(columns, fallbacks, AttemptKind.FALLBACK)

    is_retry = (columns["attempt_kind"] == AttemptKind.RETRY).to_numpy() & (first != NO_ROW)
    is_retry[list(retried)] = True
    is_hinted_fallback = np.zeros(spans.height, dtype=np.bool_)
    is_hinted_fallback[list(fallbacks)] = True
    says_fallback = (columns["attempt_kind"] == AttemptKind.FALLBACK).to_numpy() & is_answer
    is_auxiliary = np.zeros(spans.height, dtype=np.bool_)
    is_auxiliary[hints.auxiliary] = True
    is_answer = is_answer & ~is_auxiliary
    timed_out = timed_out | (usage.stands_for_parent & forest.of_parent(timed_out))
    succeeded = is_answer & spans["status"].is_in(["ok", "unset"]).to_numpy()
    answers = {
        "is_answer": is_answer,
        "call_retried": is_answer & _any_try(first, is_retry),
        "call_fell_back": succeeded & (fell_back | says_fallback | _any_try(first, is_hinted_fallback)),
        "call_timed_out": is_answer & _any_try(first, timed_out),
        "call_failed": is_answer & failed,
    }
    evidence = columns["attempt_evidence"]
    is_inferred = (~evidence.is_in([Evidence.NONE, Evidence.EXPLICIT, Evidence.CALL_GROUP, Evidence.ATTEMPT_SPAN])).to_numpy()
    flags = [pl.Series(name, mask) for name, mask in answers.items()]
    return Attempts(columns.with_columns(*_of_first(spans, first, asked), *flags), is_inferred, is_auxiliary)


def _of_first(spans: pl.DataFrame, first: Rows, asked: pl.Series) -> list[pl.Series]:
    """Span id, route and model of the first try of each try's logical call; '' for what is no try."""
    tried = spans.select(
        pl.col("span_id").alias("logical_call_id"),
        pl.col("model_route").alias("first_route"),
        pl.when(asked == "").then(ASKED_MODEL).otherwise(asked).alias("first_model"),
    ).gather(np.maximum(first, 0))
    is_try = pl.Series(first != NO_ROW)
    return tried.select(pl.when(is_try).then(pl.all()).otherwise(pl.lit(""))).get_columns()


def _any_try(first: Rows, mask: Mask) -> Mask:
    """Whether `mask` holds for any try of the logical call that each row is a try of."""
    found = np.zeros(len(first), dtype=np.bool_)
    found[first[mask & (first != NO_ROW)]] = True
    of_call: Mask = found[np.maximum(first, 0)] & (first != NO_ROW)
    return of_call


def _hinted(columns: pl.DataFrame, hinted: dict[int, str], kind: AttemptKind) -> pl.DataFrame:
    """Rows that looked like a first and only try, and are not: which number they were is not known."""
    rows = sorted(hinted)
    if not rows:
        return columns
    known = columns["attempt_kind"].gather(rows).to_list()
    plain = [
        row for row, said in zip(rows, known, strict=True) if said in (AttemptKind.FIRST, AttemptKind.RETRY) and said != kind
    ]
    labels = [Label(row, NO_ROW, None, kind.value, "", hinted[row]) for row in plain]
    return _overlaid(columns, np.array(plain, dtype=np.int64), labels) if plain else columns
