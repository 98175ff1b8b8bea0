"""Public list prices from `genai-prices`, bundled and pinned: never fetched, so a rebuild gives the same figures."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from functools import cache, lru_cache

from genai_prices import data_snapshot
from genai_prices.types import ModelInfo, ModelPrice, TieredPrices, Usage

from analytics.rates import FEMTO, Rates

# Names the package does not know, or silently takes for another provider.
_PROVIDERS = {
    "x_ai": "x-ai",
    "xai": "x-ai",
    "gcp.gen_ai": "google",
    "gcp.gemini": "google",
    "gcp.vertex_ai": "google",
    "azure.ai.openai": "azure",
    "az.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "az.ai.inference": "azure",
    "aws.bedrock": "aws",
    "mistral_ai": "mistral",
    "moonshot_ai": "moonshotai",
    "together_ai": "together",
}
_PREFIXES = re.compile(r"^(azure|azure_ai|gemini|models|openai|anthropic|vertex_ai|bedrock|mistral|groq|deepseek|xai|cohere)/")
_BEDROCK = re.compile(r"^((us|eu|apac|global)\.)?(anthropic|amazon|meta|mistral|cohere|ai21|deepseek)\.")


def _tiers() -> list[int]:
    starts = {
        tier.start
        for provider in data_snapshot.get_snapshot().providers
        for model in provider.models
        for prices in ([model.prices] if isinstance(model.prices, ModelPrice) else [c.prices for c in model.prices])
        for price in vars(prices).values()
        if isinstance(price, TieredPrices)
        for tier in price.tiers
    }
    return sorted(starts)


TIERS = _tiers()
"""Input token counts above which some model's rates change; tier i holds counts in (TIERS[i-1], TIERS[i]]."""


@lru_cache(maxsize=65_536)
def list_rates(provider: str, model: str, at: datetime, tier: int) -> Rates | None:
    """
    The public rates of a model.

    Args:
        provider: canonical provider id, '' if unknown.
        model: as the span names it, prefixes included.
        at: the call's time (its half-hour is enough: prices change at none other).
        tier: index into the gaps between `TIERS` that the call's input tokens fall into.

    Returns:
        None when the package does not know the model, or knows it without a price per token.
    """
    found = _find(provider, model)
    if found is None:
        return None
    return _rates(found.get_prices(at), TIERS[tier - 1] + 1 if tier else 0)


@cache
def _find(provider: str, model: str) -> ModelInfo | None:
    snapshot = data_snapshot.get_snapshot()
    names = dict.fromkeys((model, _PREFIXES.sub("", model)))
    wanted = _provider(provider, model)
    for provider_id in dict.fromkeys((wanted, None) if not provider else (wanted,)):
        for name in names:
            try:
                return snapshot.find_provider_model(name, None, provider_id, None)[1]
            except LookupError:
                continue
    return None


def _provider(provider: str, model: str) -> str | None:
    if _BEDROCK.match(model):
        return "aws"
    if model.startswith("ft:"):
        return "openai"
    return _PROVIDERS.get(provider, provider) or None


def _rates(price: ModelPrice, base: int) -> Rates | None:
    """Differences of the package's own totals by one token: prices are linear within a tier, and it knows what contains what."""
    if price.input_mtok is None and price.output_mtok is None:
        return None

    def total(**usage: int) -> Decimal:
        return price.calc_price(Usage(**usage))["total_price"]

    floor = total(input_tokens=base)

    def step(**usage: int) -> int:
        return int((total(input_tokens=base + usage.pop("input_tokens", 0), **usage) - floor) * FEMTO)

    return Rates(
        input=step(input_tokens=1),
        cache_read=step(input_tokens=1, cache_read_tokens=1),
        cache_write=step(input_tokens=1, cache_write_tokens=1),
        audio_input=step(input_tokens=1, input_audio_tokens=1),
        output=step(output_tokens=1),
        reasoning=step(output_tokens=1, output_reasoning_tokens=1),
        audio_output=step(output_tokens=1, output_audio_tokens=1),
        request=int(total() * FEMTO),
        source="genai_prices",
    )
