"""The history of the user's own prices: seeds from the settings, and what was put over the API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from analytics.config import PriceConfig
from storage.client import Store
from storage.prices import read_price_rows, write_price_row

SETTINGS = "settings"
"""The author of prices that come from the settings."""


@dataclass(frozen=True)
class PriceEntry:
    """One line of the price history."""

    price: PriceConfig
    author: str
    recorded_at: datetime | None

    def document(self, *, is_current: bool) -> dict[str, Any]:
        """As the API shows it; times are times."""
        said = self.price.model_dump(mode="json", exclude_none=True) | {"effective_from": self.price.effective_from}
        return said | {"author": self.author, "recorded_at": self.recorded_at, "is_current": is_current}


class PriceHistory:
    """
    The user's own prices: seeds from the settings, which are read-only, and entries made over the API, which win from their
    `effective_from` on. A new price never rewrites the past; `reprice` does, when asked.
    """

    def __init__(self, store: Store, seeds: Iterable[PriceConfig] = ()) -> None:
        self._store = store
        self._seeds = tuple(seeds)

    def entries(self) -> list[PriceEntry]:
        """Everything, sorted by model, provider and moment; of equals the one that wins is last."""
        stored = [
            PriceEntry(PriceConfig.model_validate_json(row["price"]), row["author"], row["recorded_at"])
            for row in read_price_rows(self._store).iter_rows(named=True)
        ]
        entries = [PriceEntry(price, SETTINGS, None) for price in self._seeds] + stored
        return sorted(entries, key=lambda e: (e.price.model.lower(), e.price.provider.lower(), e.price.effective_from))

    def prices(self, with_history: bool) -> Sequence[Mapping[str, Any]]:
        """As documents, `is_current` telling which entry of a model and provider is the newest; without history only these."""
        entries = self.entries()
        newest = {(e.price.model.lower(), e.price.provider.lower()): i for i, e in enumerate(entries)}
        documents = [entry.document(is_current=i in newest.values()) for i, entry in enumerate(entries)]
        return [document for document in documents if with_history or document["is_current"]]

    def set_price(self, price: Mapping[str, Any], author: str) -> Mapping[str, Any]:
        """
        Put an entry into the history; the same model, provider and moment again replaces it.

        Args:
            price: the fields of `PriceConfig`.
            author: who does it.

        Raises:
            ValueError: it is no price.
        """
        entry = PriceConfig.model_validate(dict(price))
        recorded_at = write_price_row(
            self._store, entry.price_id, entry.model, entry.provider, entry.effective_from, entry.model_dump_json(), author
        )
        return PriceEntry(entry, author, recorded_at).document(is_current=True)
