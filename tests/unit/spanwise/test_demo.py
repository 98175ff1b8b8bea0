"""The demo invites to look at pages only while somebody serves them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import Mock

import pytest
from rich.console import Console

from spanwise import demo


@pytest.mark.parametrize("wait", [True, False])
def test_it_names_pages_only_while_they_are_up(wait: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()

    @contextmanager
    def server(*_: Any) -> Iterator[tuple[dict[str, str], Mock]]:
        yield {"api": "http://127.0.0.1:1"}, Mock()

    monkeypatch.setattr(demo, "Console", lambda: Console(file=screen, width=200))
    monkeypatch.setattr("signal.signal", Mock())
    monkeypatch.setattr(demo, "_server", server)
    monkeypatch.setattr(demo, "_firing", lambda _: [{"alert_id": "a1"}])
    for name in ("_replay", "_judge", "_wait", "_until_interrupted"):
        monkeypatch.setattr(demo, name, Mock())
    assert demo.run(wait=wait, seed=1, port=0) == 0
    assert ("http://127.0.0.1:1/alerts/a1" in screen.getvalue()) == wait
