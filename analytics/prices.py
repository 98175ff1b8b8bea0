"""The user's own prices: what one looks like in `spanwise.toml`, over the API and in the table, and their history."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from storage.client import Store
from storage.prices import read_price_rows, write_price_row

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PER_MILLION = Field(None, ge=0, le=1_000_000, description="USD per million tokens of this class")


class Price(BaseModel):
    """
    What one model costs from a moment on: any sum of token rates, a fee per request, and a share of a GPU's time.

    A token class without a rate falls back to the class that contains it (cached and audio input to input, reasoning and audio
    output to output). All rates 0 means free. Rates absent and nothing else given is refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(min_length=1, description="model as requested or as answering; case is ignored")
    provider: str = Field("", description="provider this price is for; empty for any")
    aliases: frozenset[str] = Field(frozenset(), description="further names of the same model")
    effective_from: AwareDatetime = Field(_EPOCH, description="calls that started at or after this moment have this price")
    input_usd_per_mtok: Decimal | None = _PER_MILLION
    output_usd_per_mtok: Decimal | None = _PER_MILLION
    cache_read_usd_per_mtok: Decimal | None = _PER_MILLION
    cache_write_usd_per_mtok: Decimal | None = _PER_MILLION
    reasoning_usd_per_mtok: Decimal | None = _PER_MILLION
    audio_input_usd_per_mtok: Decimal | None = _PER_MILLION
    audio_output_usd_per_mtok: Decimal | None = _PER_MILLION
    request_usd: Decimal | None = Field(None, ge=0, le=1_000_000, description="USD per call")
    gpu_hour_usd: Decimal | None = Field(None, ge=0, le=1_000_000, description="USD per hour of the GPUs that serve one call")
    concurrent_requests: Decimal | None = Field(
        None,
        gt=0,
        description="calls that share those GPUs at a time; without it a call pays for all the time it keeps them busy",
    )

    @model_validator(mode="after")
    def _says_something(self) -> Price:
        if self.concurrent_requests is not None and self.gpu_hour_usd is None:
            raise ValueError("concurrent_requests needs gpu_hour_usd")
        rates = (self.input_usd_per_mtok, self.output_usd_per_mtok, self.request_usd, self.gpu_hour_usd)
        if all(rate is None for rate in rates):
            raise ValueError("a price needs a token rate, request_usd or gpu_hour_usd")
        return self

    @property
    def names(self) -> frozenset[str]:
        """Every name of the model, in lower case."""
        return frozenset(name.lower() for name in {self.model, *self.aliases})

    @property
    def price_id(self) -> str:
        """The same model, provider and moment is the same entry: putting it again replaces it."""
        text = "\0".join((self.model.lower(), self.provider.lower(), self.effective_from.astimezone(UTC).isoformat()))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class PriceEntry:
    """One line of the price history."""

    price: Price
    # settings, or who put it over the API
    author: str
    recorded_at: datetime | None
    is_seed: bool


def set_price(store: Store, price: Price, author: str) -> PriceEntry:
    """Put a price into the history; the past is not rewritten unless `reprice` is run. Returns the entry."""
    write_price_row(store, price.price_id, price.model, price.provider, price.effective_from, price.model_dump_json(), author)
    return next(entry for entry in read_entries(store, ()) if entry.price.price_id == price.price_id)


def delete_price(store: Store, price: Price, author: str) -> None:
    """Take an entry made over the API out of the history."""
    write_price_row(
        store, price.price_id, price.model, price.provider, price.effective_from, price.model_dump_json(), author, is_deleted=True
    )


def read_entries(store: Store, seeds: Iterable[Price]) -> list[PriceEntry]:
    """The whole history, seeds from the settings included, sorted by model, provider and moment; seeds first among equals."""
    stored = [
        PriceEntry(Price.model_validate_json(row["price"]), row["author"], row["recorded_at"], is_seed=False)
        for row in read_price_rows(store).iter_rows(named=True)
    ]
    entries = [PriceEntry(price, "settings", None, is_seed=True) for price in seeds] + stored
    return sorted(entries, key=lambda e: (e.price.model.lower(), e.price.provider.lower(), e.price.effective_from, not e.is_seed))
