"""Prices: the user's own first, then what was charged, then the public list at the call's own time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from genai_prices import Usage, calc_price

from analytics.config import PriceConfig
from analytics.price_book import SPANS_TO_PRICE, PriceBook

NOW = datetime(2026, 3, 1, 12, 7, tzinfo=UTC)


def priced(*prices: PriceConfig, **changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(SPANS_TO_PRICE) | {
        "kind": "llm",
        "provider": "",
        "request_model": "student-8b",
        "response_model": "",
        "start_time": NOW,
        "end_time": NOW + timedelta(seconds=3),
        "input_tokens": 1_000,
        "output_tokens": 100,
        "status": "unset",
        "is_model_call": True,
        "usage_scope": "own",
        "quality_flags": [],
    }
    frame = pl.DataFrame([row | changes], schema=dict(SPANS_TO_PRICE))
    return PriceBook(prices).price(frame).row(0, named=True)


OWN = PriceConfig(model="student-8b", input_usd_per_mtok="2", output_usd_per_mtok="10", cache_read_usd_per_mtok="0.5")


def test_own_price_by_class() -> None:
    # 700 x 2 + 300 x 0.5 + 100 x 10 millionths
    assert priced(OWN, cache_read_tokens=300)["cost_usd"] == Decimal("0.002550000")


def test_own_price_beats_the_reported_one_and_both_are_kept() -> None:
    row = priced(OWN, reported_cost_usd=Decimal("0.5"))
    assert (row["cost_source"], row["cost_usd"], row["reported_cost_usd"]) == ("configured", Decimal("0.003"), Decimal("0.5"))


def test_gpu_hour_is_shared_by_concurrency() -> None:
    price = PriceConfig(model="student-8b", gpu_hour_usd="2.10", concurrent_requests=24)
    # 3 s of 2.10 / 24 an hour; token counts are not needed
    assert priced(price, input_tokens=None, output_tokens=None)["cost_usd"] == Decimal("0.000072917")


def test_gpu_hour_without_concurrency_is_all_the_busy_time() -> None:
    assert priced(PriceConfig(model="student-8b", gpu_hour_usd="3.6"))["cost_usd"] == Decimal("0.003")


def test_aliases_case_and_provider() -> None:
    price = PriceConfig(model="other", aliases=["Student-8B"], provider="vllm", request_usd="0.25")
    assert priced(price, provider="vllm")["cost_usd"] == Decimal("0.25")
    assert priced(price, provider="else")["cost_usd"] is None


def test_a_name_with_a_routers_prefix_has_the_price_of_the_name_without() -> None:
    other = PriceConfig(model="openai/student-8b", request_usd="0.25")
    assert priced(OWN, request_model="openai/student-8b")["cost_usd"] == Decimal("0.003")
    assert priced(OWN, other, request_model="openai/student-8b")["cost_usd"] == Decimal("0.25")
    assert priced(OWN, request_model="openai/teacher-70b")["cost_usd"] is None


def test_history_prices_each_call_at_its_own_time() -> None:
    later = OWN.model_copy(update={"effective_from": NOW, "input_usd_per_mtok": Decimal(4)})
    assert priced(OWN, later, start_time=NOW - timedelta(microseconds=1))["cost_usd"] == Decimal("0.003")
    assert priced(OWN, later)["cost_usd"] == Decimal("0.005")


def test_reported_zero_with_tokens_is_unpriced() -> None:
    row = priced(reported_cost_usd=Decimal(0))
    assert (row["cost_usd"], row["cost_source"]) == (None, "unpriced")


@pytest.mark.parametrize(
    ("changes", "source"),
    [({"status": "error", "http_status": 429}, "failed_free"), ({"status": "timeout"}, "lower_bound")],
)
def test_failed_calls_without_usage(changes: dict[str, Any], source: str) -> None:
    row = priced(input_tokens=None, output_tokens=None, **changes)
    assert (row["cost_usd"], row["cost_source"], row["quality_flags"]) == (Decimal(0), source, [f"cost_{source}"])


@pytest.mark.parametrize(
    ("price", "failure", "cost", "source"),
    [
        # 3 s of 3.60 an hour: the machine was held, whatever came of it
        ({"gpu_hour_usd": "3.6"}, {"status": "error", "http_status": 503}, "0.003", "configured"),
        ({"gpu_hour_usd": "3.6"}, {"status": "timeout"}, "0.003", "configured"),
        # a fee is for what was taken on
        ({"request_usd": "0.25"}, {"status": "error", "http_status": 429}, "0", "failed_free"),
        ({"request_usd": "0.25"}, {"status": "timeout"}, "0.25", "configured"),
    ],
)
def test_failed_calls_of_models_that_need_no_usage(
    price: dict[str, str], failure: dict[str, Any], cost: str, source: str
) -> None:
    row = priced(PriceConfig(model="student-8b", **price), input_tokens=None, output_tokens=None, **failure)
    assert (row["cost_usd"], row["cost_source"]) == (Decimal(cost), source)


@pytest.mark.parametrize(
    ("provider", "model", "usage"),
    [
        ("openai", "gpt-4o", {"input_tokens": 12_345, "output_tokens": 678, "cache_read_tokens": 1_000}),
        ("anthropic", "claude-sonnet-4-5", {"input_tokens": 250_000, "output_tokens": 9, "cache_write_tokens": 5_000}),
        ("deepseek", "deepseek-chat", {"input_tokens": 999, "output_tokens": 31}),
        ("perplexity", "sonar", {"input_tokens": 10, "output_tokens": 10}),
    ],
)
@pytest.mark.parametrize("moment", [datetime(2025, 5, 1, 0, 29, 59, tzinfo=UTC), datetime(2026, 3, 1, 16, 31, tzinfo=UTC)])
def test_list_price_equals_the_package_called_span_by_span(
    provider: str, model: str, usage: dict[str, int], moment: datetime
) -> None:
    expected = calc_price(Usage(**usage), model, provider_id=provider, genai_request_timestamp=moment).total_price
    row = priced(provider=provider, request_model=model, start_time=moment, end_time=moment, **usage)
    assert row["cost_source"] == "genai_prices"
    assert abs(row["cost_usd"] - expected) <= Decimal("5e-10")


@pytest.mark.parametrize(
    ("said", "source"),
    [
        ({"http_status": 429}, "failed_free"),
        ({"error_type": "RateLimitError"}, "failed_free"),
        # a gateway that gave up waiting: the model may have worked and billed
        ({"http_status": 504}, "lower_bound"),
        ({"error_type": "APITimeoutError", "status": "timeout"}, "lower_bound"),
        ({"error_type": "ConnectionError"}, "lower_bound"),
        ({"status": "ok", "finish_reasons": ["error"]}, "lower_bound"),
        ({"status": "ok"}, "unpriced"),
    ],
)
def test_a_span_is_priced_by_the_same_word_as_its_trace(said: dict[str, Any], source: str) -> None:
    row = priced(**{"status": "error", "input_tokens": None, "output_tokens": None} | said)
    assert row["cost_source"] == source
