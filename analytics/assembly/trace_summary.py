"""One row per trace and mirror role."""

from __future__ import annotations

import numpy as np
import polars as pl

from analytics.assembly.bill import CHARGED, bill
from analytics.assembly.flags import Flag
from analytics.assembly.forest import NO_ROW, Mask, Rows
from analytics.assembly.models import ANSWERING_MODEL
from analytics.assembly.spans import ASSEMBLED
from analytics.assembly.statuses import FAILED, TIMED_OUT
from analytics.assembly.units import Units
from analytics.frames import require
from storage.facts import TRACE_FACTS

PRICED = pl.Schema(
    {**ASSEMBLED, "cost_usd": pl.Decimal(18, 9), "computed_cost_usd": pl.Decimal(18, 9), "cost_source": pl.String()}
)
"""Assembled spans with their price: `cost_usd` is what a span was charged or priced at, NULL when nobody knows."""

_PICKED = ("prompt_name", "prompt_version", "cohort", "session_id", "user_id", "mirror_group")
_NO_ANSWER_KINDS = ("embedding", "rerank")


def summarise_traces(spans: pl.DataFrame) -> pl.DataFrame:
    """
    Sum up each trace.

    What an evaluator did (its span and all below it) is left out of everything but `n_spans` and `evaluation_cost_usd`.

    Args:
        spans: `PRICED`: assembled spans of whole traces, in the order of `assemble_spans`.

    Returns:
        `TRACE_FACTS`, sorted by trace and mirror role.

    Raises:
        FrameShapeError: a column is missing or has another type.
    """
    require(spans, PRICED, "priced spans")
    if spans.is_empty():
        return TRACE_FACTS.to_frame()
    spans, units = _numbered(spans)
    is_user = ~_mask(spans, "is_evaluator_traffic")
    lead = _lead(spans, units, is_user)
    bills = pl.DataFrame({"unit": np.arange(units.size)}).join(
        bill(spans.select(CHARGED).filter(pl.col("charge") != "")), on="unit", how="left", maintain_order="left"
    )
    facts = pl.concat(
        [
            _identity(spans, units, is_user, lead),
            _timing(spans, units, is_user, lead),
            _calls(spans, units, is_user, lead),
            bills.drop("unit").with_columns(pl.col("cost_source").fill_null(""), pl.col("unpriced_calls").fill_null(0)),
        ],
        how="horizontal",
    )
    facts = _paired(facts)
    flagged = facts.with_columns(_flags(spans, units, facts, lead), _models(spans, units, is_user))
    return flagged.select(TRACE_FACTS.names()).cast(TRACE_FACTS).sort("trace_id", "mirror_role")


def _numbered(spans: pl.DataFrame) -> tuple[pl.DataFrame, Units]:
    """Number the units; spans of one unit end up next to each other, in order of start."""
    trace = spans["trace_id"].rle_id().to_numpy().astype(np.int64)
    key = trace * 2 + (spans["unit_role"] == "shadow").to_numpy()
    if (np.diff(key) < 0).any():
        order = np.argsort(key, kind="stable")
        spans, key = spans[order], key[order]
    unit = np.cumsum(np.diff(key, prepend=key[0]) != 0)
    return spans.with_columns(unit=pl.Series(unit, dtype=pl.Int64)), Units(unit)


def _mask(spans: pl.DataFrame, condition: str | pl.Expr) -> Mask:
    mask: Mask = spans.select(pl.col(condition) if isinstance(condition, str) else condition).to_series().to_numpy()
    return mask


def _lead(spans: pl.DataFrame, units: Units, is_user: Mask) -> Rows:
    """The span each unit is named and timed after: its root, else its first span that is no evaluator's, else its first."""
    is_root = _mask(spans, "is_root")
    lead = units.starts
    for choice in (is_root, is_user, is_root & is_user):
        rows = units.first(choice)
        lead = np.where(rows != NO_ROW, rows, lead)
    return lead


def _identity(spans: pl.DataFrame, units: Units, is_user: Mask, lead: Rows) -> pl.DataFrame:
    """
    Which unit this is. A value is the lead span's, else that of the first call that has one, else of the first span that has
    one.
    """
    is_request = _mask(spans, "is_request") & is_user
    generates = is_request & ~_mask(spans, pl.col("kind").is_in(_NO_ANSWER_KINDS))
    first_call = units.first(generates)
    first_call = np.where(first_call != NO_ROW, first_call, units.first(is_request))
    picked = {name: _picked(spans[name], spans[name], units, is_user, is_request, lead) for name in _PICKED}
    route = _picked(spans["model_route"], spans["first_route"], units, is_user, is_request, lead)
    sampled = _mask(spans, pl.col("evaluation_sampled").fill_null(False))
    unsampled = _mask(spans, (~pl.col("evaluation_sampled")).fill_null(False))
    rule = units.first(sampled)
    is_sampled = units.any(sampled)
    return (
        spans.select("trace_id", "service_name", "environment", "name", "unit_role")[lead]
        .rename({"unit_role": "mirror_role"})
        .with_columns(
            model_route=route,
            model=_at(spans["first_model"], first_call),
            **picked,
            n_spans=pl.Series(units.count(np.ones_like(is_user))),
            received_at=pl.Series(np.maximum.reduceat(_epoch(spans, "received_at"), units.starts)).cast(pl.Datetime("ns", "UTC")),
            evaluation_sampled=pl.when(pl.Series(is_sampled | units.any(unsampled))).then(pl.Series(is_sampled)),
            sampling_rule=_at(spans["evaluation_rule"], rule),
        )
    )


def _paired(facts: pl.DataFrame) -> pl.DataFrame:
    """Both sides of a trace are a pair even if nobody gave it a key: then the trace id is."""
    group = pl.col("mirror_group").max().over("trace_id")
    key = pl.when(group == "").then("trace_id").otherwise(group)
    is_split = facts["trace_id"].is_duplicated()
    return facts.with_columns(mirror_group=pl.when(is_split).then(key).otherwise("mirror_group")) if is_split.any() else facts


def _picked(
    lead_values: pl.Series, call_values: pl.Series, units: Units, is_user: Mask, is_request: Mask, lead: Rows
) -> pl.Series:
    has_value = (lead_values != "").to_numpy() & is_user
    says = is_request & (call_values != "").to_numpy()
    if not (has_value.any() or says.any()):
        return _nothing(lead_values.name, units.size)
    rows = np.where(has_value[lead], lead, NO_ROW)
    values = _at(lead_values, rows)
    if (rows == NO_ROW).any():
        call = units.first(says)
        other = units.first(has_value)
        from_call = pl.Series((rows == NO_ROW) & (call != NO_ROW))
        from_other = pl.Series((rows == NO_ROW) & (call == NO_ROW))
        choice = pl.when(from_call).then(_at(call_values, call)).when(from_other).then(_at(lead_values, other)).otherwise(values)
        values = pl.select(choice.alias(lead_values.name)).to_series()
    return values


def _at(values: pl.Series, rows: Rows) -> pl.Series:
    """`values` at `rows`, '' where a row is -1."""
    is_there = rows != NO_ROW
    if not is_there.any():
        return _nothing(values.name, len(rows))
    picked = values.gather(np.maximum(rows, 0))
    if is_there.all():
        return picked
    return pl.select(pl.when(pl.Series(is_there)).then(picked).otherwise(pl.lit("")).alias(values.name)).to_series()


def _nothing(name: str, n_rows: int) -> pl.Series:
    return pl.repeat("", n_rows, dtype=pl.String, eager=True).alias(name)


def _timing(spans: pl.DataFrame, units: Units, is_user: Mask, lead: Rows) -> pl.DataFrame:
    """A trace lasts as long as its root; without one, from the first start to the last end of what is there."""
    start, end = _epoch(spans, "start_time"), _epoch(spans, "end_time")
    counts = is_user | ~units.any(is_user)[units.unit]
    last_end = np.maximum.reduceat(np.where(counts, end, np.iinfo(np.int64).min), units.starts)
    is_root = _mask(spans, "is_root")[lead]
    duration = np.where(is_root, end[lead], last_end) - start[lead]
    return pl.DataFrame(
        {
            "started_at": spans["start_time"].gather(lead),
            "duration_ns": pl.Series(np.maximum(duration, 0)).cast(pl.UInt64),
        }
    )


def _epoch(spans: pl.DataFrame, column: str) -> Rows:
    return spans[column].dt.epoch("ns").to_numpy()


def _calls(spans: pl.DataFrame, units: Units, is_user: Mask, lead: Rows) -> pl.DataFrame:
    """How the logical calls went, and whether the trace's own answer did go wrong."""
    is_answer, retried, fell_back, timed_out, failed = (
        _mask(spans, name) & is_user for name in ("is_answer", "call_retried", "call_fell_back", "call_timed_out", "call_failed")
    )
    generates = is_answer & ~_mask(spans, pl.col("kind").is_in(_NO_ANSWER_KINDS))
    end = _epoch(spans, "end_time")
    final = units.last_by(end, generates)
    final = np.where(final != NO_ROW, final, units.last_by(end, is_answer))
    answering = units.last_by(end, generates & ~failed)
    fallback = units.first(fell_back)
    route, model = spans["model_route"], spans.select(ANSWERING_MODEL.alias("model")).to_series()
    fallback_to = pl.select(
        pl.when(_at(route, fallback) != _at(spans["first_route"], fallback))
        .then(_at(route, fallback))
        .otherwise(_at(model, fallback))
    ).to_series()
    errored = _errored(spans, lead, final, failed)
    culprit = np.where(errored, np.where(_mask(spans, FAILED)[lead], lead, final), NO_ROW)
    n_requests = units.count(_mask(spans, "is_request") & is_user)
    ttft = pl.Series(answering != NO_ROW)
    return pl.DataFrame(
        {
            "ttft_ns": pl.select(pl.when(ttft).then(spans["ttft_ns"].gather(np.maximum(answering, 0)))).to_series(),
            "n_model_calls": n_requests,
            "n_logical_calls": units.count(is_answer),
            "n_retried_calls": units.count(retried),
            "n_fallback_calls": units.count(fell_back),
            "n_timed_out_calls": units.count(timed_out),
            "n_errored_calls": units.count(failed),
            "retried": units.any(retried),
            "fell_back": units.any(fell_back),
            "fallback_to": fallback_to,
            "timed_out": units.any(timed_out) | (_mask(spans, TIMED_OUT) & is_user)[lead],
            "errored": errored,
            "error_type": _at(spans["error_type"], culprit),
        }
    )


def _errored(spans: pl.DataFrame, lead: Rows, final: Rows, failed: Mask) -> Mask:
    """The root's own word counts, unless a raw request made its error good; without one, how the call that ended last went."""
    says = _mask(spans, pl.col("is_root") & (pl.col("status") != "unset") & ~pl.col("is_overruled"))[lead]
    is_bad = _mask(spans, FAILED)[lead]
    is_final_bad: Mask = np.where(final != NO_ROW, failed[np.maximum(final, 0)], is_bad)
    return np.where(says, is_bad, is_final_bad)


def _models(spans: pl.DataFrame, units: Units, is_user: Mask) -> pl.Series:
    """Models that answered, sorted."""
    answered = _mask(spans, pl.col("is_request") & pl.col("status").is_in(["ok", "unset"])) & is_user
    known = (
        spans.filter(pl.Series(answered)).select("unit", ANSWERING_MODEL.alias("models")).filter(pl.col("models") != "").unique()
    )
    lists = known.sort("models").group_by("unit").agg("models")
    everyone = pl.DataFrame({"unit": np.arange(units.size)})
    return everyone.join(lists, on="unit", how="left", maintain_order="left")["models"].fill_null([])


def _flags(spans: pl.DataFrame, units: Units, facts: pl.DataFrame, lead: Rows) -> pl.Series:
    """Flags of the unit's spans and of its sums, sorted."""
    is_rooted = _mask(spans, "is_root")[lead] | (facts["mirror_role"] != "none").to_numpy()
    own = {
        Flag.NO_ROOT: ~is_rooted,
        Flag.EVALUATOR_ONLY: _mask(spans, "is_evaluator_traffic")[lead],
        **{
            flag: _mask(facts, (pl.col(column) > 0).fill_null(False))
            for flag, column in (
                (Flag.COST_FAILED_FREE, "refused"),
                (Flag.COST_LOWER_BOUND, "broken"),
                (Flag.USAGE_UNKNOWN, "silent"),
                (Flag.UNPRICED, "unpriced_calls"),
                (Flag.EVALUATION_UNPRICED, "unpriced_evaluations"),
            )
        },
    }
    of_spans = (
        spans.select("unit", flag="quality_flags")
        .filter(pl.col("flag").list.len() > 0)
        .explode("flag", empty_as_null=False)
        .filter(~pl.col("flag").str.starts_with("cost_"))
    )
    of_units = [
        pl.DataFrame({"unit": np.flatnonzero(mask), "flag": [flag.value] * int(mask.sum())}, schema=of_spans.schema)
        for flag, mask in own.items()
    ]
    lists = pl.concat([of_spans, *of_units]).unique().sort("flag").group_by("unit").agg(quality_flags="flag")
    everyone = pl.DataFrame({"unit": np.arange(units.size)})
    return everyone.join(lists, on="unit", how="left", maintain_order="left")["quality_flags"].fill_null([])
