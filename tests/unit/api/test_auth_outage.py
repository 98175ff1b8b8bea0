"""Doors stay open to known keys while the store does not answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from api import auth
from api.auth import KeyAuthenticator
from storage.api_keys import ApiKey, AuthenticationError, Scope, secret_hash
from storage.clock import FixedClock
from storage.errors import StoreUnavailableError

NOW = datetime(2026, 3, 1, tzinfo=UTC)
KEY = ApiKey("k1", "agent", frozenset({Scope.INGEST}))


def test_known_keys_stay_good_while_the_store_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    is_away = False

    def read(_store: object) -> dict[str, ApiKey]:
        if is_away:
            raise StoreUnavailableError("no answer")
        return {secret_hash("sw_good"): KEY}

    monkeypatch.setattr(auth, "read_keys", read)
    clock = FixedClock(NOW)
    authenticator = KeyAuthenticator(None, clock)  # type: ignore[arg-type]
    assert authenticator.authenticate("sw_good", "10.0.0.1") == KEY
    is_away = True
    clock.set(NOW + timedelta(hours=1))
    assert authenticator.authenticate("sw_good", "10.0.0.1") == KEY
    with pytest.raises(AuthenticationError):
        authenticator.authenticate("sw_bad", "10.0.0.1")


def test_nobody_is_let_in_on_keys_that_were_never_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(_store: object) -> dict[str, ApiKey]:
        raise StoreUnavailableError("no answer")

    monkeypatch.setattr(auth, "read_keys", read)
    with pytest.raises(StoreUnavailableError):
        KeyAuthenticator(None, FixedClock(NOW)).authenticate("sw_good", "127.0.0.1")  # type: ignore[arg-type]
