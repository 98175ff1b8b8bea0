"""What a call cost: the user's own prices, then what was charged, then `genai-prices` at the call's own time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, fields
from datetime import UTC, datetime
from decimal import Decimal

import polars as pl

from analytics.assembly.bill import ASSUMED_SOURCES
from analytics.assembly.statuses import WITHOUT_USAGE, Charge
from analytics.config import PriceConfig
from analytics.frames import require
from analytics.list_prices import TIERS, list_rates
from analytics.rates import FEMTO, Rates

SPANS_TO_PRICE = pl.Schema(
    {
        "kind": pl.String(),
        "provider": pl.String(),
        "request_model": pl.String(),
        "response_model": pl.String(),
        "start_time": pl.Datetime("ns", "UTC"),
        "end_time": pl.Datetime("ns", "UTC"),
        "input_tokens": pl.UInt64(),
        "output_tokens": pl.UInt64(),
        "cache_read_tokens": pl.UInt64(),
        "cache_write_tokens": pl.UInt64(),
        "reasoning_tokens": pl.UInt64(),
        "audio_input_tokens": pl.UInt64(),
        "audio_output_tokens": pl.UInt64(),
        "reported_cost_usd": pl.Decimal(18, 9),
        "status": pl.String(),
        "http_status": pl.UInt16(),
        "error_type": pl.String(),
        "finish_reasons": pl.List(pl.String()),
        "is_model_call": pl.Boolean(),
        "usage_scope": pl.String(),
        "quality_flags": pl.List(pl.String),
    }
)

# Public prices change at most at half-hours (off-peak hours), so one answer serves a model for half an hour.
_SLOT = "30m"
_KEY = ["provider", "request_model", "response_model", "slot", "epoch", "tier"]
_RATES = [field.name for field in fields(Rates)]


class PriceBook:
    """
    Resolves models to rates, once per provider, model, half-hour and price tier, and applies them as columns.

    Args:
        prices: the user's own; of two for the same model, provider and moment the later in order wins.
    """

    def __init__(self, prices: Iterable[PriceConfig] = ()) -> None:
        self._prices = sorted(enumerate(prices), key=lambda item: (item[1].effective_from, item[0]))
        self._by_name: dict[str, list[PriceConfig]] = {}
        for _, price in self._prices:
            for name in price.names:
                self._by_name.setdefault(name, []).append(price)
        self._moments = sorted({price.effective_from for _, price in self._prices})
        self._resolved: dict[tuple[object, ...], Rates] = {}

    def price(self, spans: pl.DataFrame) -> pl.DataFrame:
        """
        Add what each span cost.

        Args:
            spans: `SPANS_TO_PRICE`; further columns pass through, row order is kept.

        Returns:
            `spans` with `cost_usd` (charged or priced, NULL when unknown), `computed_cost_usd` (what the price book says, even
            when the emitter's figure counts) and `cost_source`: `configured`, `reported`, `genai_prices`, `failed_free`,
            `lower_bound`, `unpriced`, '' for spans that are no calls and own no usage. `quality_flags` gains `cost_failed_free`
            and `cost_lower_bound`.
        """
        require(spans, SPANS_TO_PRICE, "spans to price")
        is_call = spans.select(_is_call()).to_series()
        priced = (
            self._with_rates(spans.select(*SPANS_TO_PRICE).filter(is_call))
            .with_columns(computed_cost_usd=_money(_femto_cost()))
            .with_columns(_source().alias("cost_source"))
            .select(_cost().alias("cost_usd"), "computed_cost_usd", "cost_source")
        )
        # most spans are no calls: their rows are empty
        rows = pl.select(pl.when(is_call).then(is_call.cum_sum() - 1)).to_series()
        cost, computed, source = (column.gather(rows) for column in priced)
        spans = spans.with_columns(cost, computed, source.fill_null(""))
        is_assumed = priced["cost_source"].is_in(ASSUMED_SOURCES).any()
        return spans.with_columns(_flags().alias("quality_flags")) if is_assumed else spans

    def _with_rates(self, calls: pl.DataFrame) -> pl.DataFrame:
        moments = pl.Series([m.astimezone(UTC) for m in self._moments], dtype=pl.Datetime("ns", "UTC"))
        keyed = calls.with_columns(
            slot=pl.col("start_time").dt.truncate(_SLOT),
            epoch=moments.search_sorted(calls["start_time"], side="right"),
            tier=pl.Series(TIERS, dtype=pl.UInt64).search_sorted(calls["input_tokens"].fill_null(0), side="left"),
        )
        wanted = keyed.select(_KEY).unique()
        rows = [key | asdict(self._rates(*key.values())) for key in wanted.iter_rows(named=True)]
        rates = pl.DataFrame(rows, schema={**wanted.schema, **RATE_SCHEMA})
        return keyed.join(rates, on=_KEY, how="left", maintain_order="left")

    def _rates(self, provider: str, request_model: str, response_model: str, slot: datetime, epoch: int, tier: int) -> Rates:
        key = (provider, request_model, response_model, slot, epoch, tier)
        if key not in self._resolved:
            self._resolved[key] = self._resolve(provider, request_model, response_model, slot, epoch, tier)
        return self._resolved[key]

    def _resolve(self, provider: str, request_model: str, response_model: str, slot: datetime, epoch: int, tier: int) -> Rates:
        own = self._own_price((response_model, request_model), provider, epoch)
        if own is not None:
            return rates_of(own)
        for model in dict.fromkeys((response_model, request_model)):
            found = list_rates(provider, model, slot, tier) if model else None
            if found is not None:
                return found
        return Rates()

    def _own_price(self, models: tuple[str, str], provider: str, epoch: int) -> PriceConfig | None:
        if epoch == 0:
            return None
        now = self._moments[epoch - 1]
        # Routers write `openai/student-8b` for what is configured as `student-8b`.
        for model in (*models, *(model.partition("/")[2] for model in models)):
            current = [
                price
                for price in self._by_name.get(model.lower(), ())
                if price.effective_from <= now and price.provider.lower() in ("", provider.lower())
            ]
            # A price for this provider beats one for any; then the newest; `_by_name` is in that order.
            if current:
                return max(enumerate(current), key=lambda item: (item[1].provider != "", item[1].effective_from, item[0]))[1]
        return None


RATE_SCHEMA = pl.Schema({name: pl.Int128 for name in _RATES if name not in ("source", "needs_usage", "femto_per_ns")}) | {
    "femto_per_ns": pl.Float64,
    "needs_usage": pl.Boolean,
    "source": pl.String,
}


def rates_of(price: PriceConfig) -> Rates:
    """A user's price as rates per token, call and nanosecond."""
    by_tokens = price.input_usd_per_mtok is not None or price.output_usd_per_mtok is not None
    per_hour = price.gpu_hour_usd or Decimal(0)
    shared = per_hour / (price.concurrent_requests or 1)
    given = {
        "input": price.input_usd_per_mtok,
        "cache_read": _first(price.cache_read_usd_per_mtok, price.input_usd_per_mtok),
        "cache_write": _first(price.cache_write_usd_per_mtok, price.input_usd_per_mtok),
        "audio_input": _first(price.audio_input_usd_per_mtok, price.input_usd_per_mtok),
        "output": price.output_usd_per_mtok,
        "reasoning": _first(price.reasoning_usd_per_mtok, price.output_usd_per_mtok),
        "audio_output": _first(price.audio_output_usd_per_mtok, price.output_usd_per_mtok),
    }
    return Rates(
        **{name: int((rate or 0) * FEMTO / 1_000_000) for name, rate in given.items()},
        request=int((price.request_usd or 0) * FEMTO),
        femto_per_ns=float(shared * FEMTO / (3_600 * 10**9)),
        needs_usage=by_tokens,
        source="configured",
    )


def _first(*rates: Decimal | None) -> Decimal | None:
    return next((rate for rate in rates if rate is not None), None)


def _is_call() -> pl.Expr:
    return pl.col("is_model_call") | pl.col("usage_scope").is_in(["own", "attempt"])


def _femto_cost() -> pl.Expr:
    """Exact in integers of 1e-15 USD; null where a count that has a price is unknown."""

    def n(name: str) -> pl.Expr:
        return pl.col(name).cast(pl.Int128).fill_null(0)

    # Embeddings and rerankings answer nothing that is counted.
    no_output = pl.col("kind").is_in(["embedding", "rerank"])
    has_usage = pl.col("input_tokens").is_not_null() & (pl.col("output_tokens").is_not_null() | no_output)
    # nobody asks a fee for a request that was refused; a machine that was paid by the second was held all the same
    is_free = ~_has_usage() & (WITHOUT_USAGE == Charge.REFUSED) & (pl.col("femto_per_ns") == 0)
    known = has_usage | ~(pl.col("needs_usage") | is_free)
    plain_input = (n("input_tokens") - n("cache_read_tokens") - n("cache_write_tokens") - n("audio_input_tokens")).clip(0)
    plain_output = (n("output_tokens") - n("reasoning_tokens") - n("audio_output_tokens")).clip(0)
    busy_ns = (pl.col("end_time") - pl.col("start_time")).dt.total_nanoseconds().clip(0)
    total = (
        plain_input * pl.col("input")
        + n("cache_read_tokens") * pl.col("cache_read")
        + n("cache_write_tokens") * pl.col("cache_write")
        + n("audio_input_tokens") * pl.col("audio_input")
        + plain_output * pl.col("output")
        + n("reasoning_tokens") * pl.col("reasoning")
        + n("audio_output_tokens") * pl.col("audio_output")
        + pl.col("request")
        + (busy_ns * pl.col("femto_per_ns")).round().cast(pl.Int128)
    )
    return pl.when(known & (pl.col("source") != "")).then(total)


def _money(femto: pl.Expr) -> pl.Expr:
    """1e-15 USD to Decimal USD, rounded half up to 1e-9."""
    nano = (femto + 500_000) // 1_000_000
    return (nano.cast(pl.Decimal(38, 9)) * pl.lit(Decimal("0.000000001"), pl.Decimal(38, 9))).cast(pl.Decimal(18, 9))


def _has_usage() -> pl.Expr:
    return pl.col("input_tokens").is_not_null() & pl.col("output_tokens").is_not_null()


def _source() -> pl.Expr:
    return (
        pl.when((pl.col("source") == "configured") & pl.col("computed_cost_usd").is_not_null())
        .then(pl.lit("configured"))
        .when(pl.col("reported_cost_usd") > 0)
        .then(pl.lit("reported"))
        .when(pl.col("computed_cost_usd").is_not_null())
        .then(pl.lit("genai_prices"))
        .when(~_has_usage() & (WITHOUT_USAGE == Charge.REFUSED))
        .then(pl.lit("failed_free"))
        .when(~_has_usage() & (WITHOUT_USAGE == Charge.BROKEN))
        .then(pl.lit("lower_bound"))
        .otherwise(pl.lit("unpriced"))
    )


def _cost() -> pl.Expr:
    zero = pl.lit(Decimal(0), pl.Decimal(18, 9))
    return (
        pl.when(pl.col("cost_source").is_in(["configured", "genai_prices"]))
        .then(pl.col("computed_cost_usd"))
        .when(pl.col("cost_source") == "reported")
        .then(pl.col("reported_cost_usd"))
        .when(pl.col("cost_source").is_in(ASSUMED_SOURCES))
        .then(zero)
    )


def _flags() -> pl.Expr:
    flag = pl.when(pl.col("cost_source").is_in(ASSUMED_SOURCES)).then(pl.concat_list(pl.format("cost_{}", "cost_source")))
    merged = pl.concat_list("quality_flags", flag).list.unique().list.sort()
    return pl.when(flag.is_not_null()).then(merged).otherwise(pl.col("quality_flags"))
