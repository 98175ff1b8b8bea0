"""A site that tells one story, and a real browser that fails the test when a page breaks its own rules."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.app import create_app
from storage.client import Store
from tests.support.page_rows import write_rows
from tests.support.page_services import StoryDesk, StoryPrices, story_services
from tests.support.server import wait_for

ARTIFACTS = Path(__file__).resolve().parents[2] / "artifacts" / "pages"
_START_SECONDS = 20.0


class Line:
    """The application behind a line that can be slow: then a page comes in pieces, and a browser may paint what it has."""

    _N_PIECES = 12
    _PIECE_SECONDS = 0.02  # longer than a browser takes from one picture to the next

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.is_slow = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self.is_slow or scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_in_pieces(message: Message) -> None:
            body = message.get("body", b"")
            size = len(body) // self._N_PIECES + 1
            while len(body) > size:
                await send({**message, "body": body[:size], "more_body": True})
                await asyncio.sleep(self._PIECE_SECONDS)
                body = body[size:]
            await send({**message, "body": body} if "body" in message else message)

        # compressed, a page would be parsed in one go
        plain = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        await self._app(scope | {"headers": plain}, receive, send_in_pieces)


@dataclass(frozen=True)
class Site:
    """A running server; `desk` and `prices` say what people did, `line` is how its answers travel."""

    url: str
    line: Line
    desk: StoryDesk
    prices: StoryPrices


@pytest.fixture
def site(store: Store) -> Iterator[Site]:
    """The pages over the story's rollouts and a few traces."""
    services = story_services(store, write_rows(store))
    assert isinstance(services.alerts, StoryDesk)
    assert isinstance(services.prices, StoryPrices)
    line = Line(create_app(services))
    config = uvicorn.Config(line, host="127.0.0.1", port=0, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_for(lambda: server.started or not thread.is_alive(), _START_SECONDS, "the start of the pages")
    assert server.started
    port = server.servers[0].sockets[0].getsockname()[1]
    yield Site(f"http://127.0.0.1:{port}", line, services.alerts, services.prices)
    server.should_exit = True
    thread.join(_START_SECONDS)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium on this machine")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_context(browser: Browser, site: Site) -> Iterator[Callable[..., BrowserContext]]:
    """A factory of browser contexts on the site; what their pages complain about fails the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def watch(page: Page) -> None:
        # a page that answers 404 on purpose is no complaint; a refused script, style or image is
        page.on("console", lambda message: complaints.append(message.text) if _is_complaint(message) else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(f"dialog {dialog.message!r}"), dialog.dismiss()))

    def make(**options: Any) -> BrowserContext:
        context = browser.new_context(base_url=site.url, **({"viewport": {"width": 1280, "height": 900}} | options))
        context.set_default_timeout(15_000)
        context.on("page", watch)
        contexts.append(context)
        return context

    yield make
    for context in contexts:
        context.close()
    assert complaints == []


def _is_complaint(message: Any) -> bool:
    return message.type in ("error", "warning") and "the server responded with a status of" not in message.text


@pytest.fixture
def page(open_context: Callable[..., BrowserContext]) -> Page:
    """A page of a desktop browser."""
    return open_context().new_page()


@pytest.fixture
def keep_screenshot() -> Callable[[Page, str], None]:
    """Keeps what the page looks like under `artifacts/pages`."""
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    return lambda page, name: page.screenshot(path=ARTIFACTS / f"{name}.png", full_page=True) and None
