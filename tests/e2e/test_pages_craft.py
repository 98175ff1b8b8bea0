"""Rules every page keeps: accessible in light and dark, on a phone too, light in weight, and still while it loads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.support import rollout_story as story
from tests.support.page_rows import FALLBACK_TRACE, HOSTILE_TRACE, STUDENT_TRACE
from tests.support.page_services import ALERT_ID

pytestmark = [pytest.mark.integration, pytest.mark.browser]

AXE = (Path(__file__).resolve().parents[1] / "support" / "vendor" / "axe.min.js").read_text(encoding="utf-8")
PATHS = {
    "rollouts": "/",
    "rollout": f"/rollouts/{story.ROLLOUT}",
    "rollout-waiting": "/rollouts/summarizer",
    "pairs": f"/rollouts/{story.ROLLOUT}/pairs?cohort={story.LOSING}",
    "traces": "/traces",
    "trace": f"/traces/{STUDENT_TRACE}",
    "trace-attempts": f"/traces/{FALLBACK_TRACE}",
    "trace-hostile": f"/traces/{HOSTILE_TRACE}",
    "alerts": "/alerts",
    "alert": f"/alerts/{ALERT_ID}",
    "health": "/health",
    "prices": "/prices",
    "settings": "/settings",
    "login": "/login",
    "problem": "/rollouts/nobody",
}
_MAX_BYTES = 500_000
_MAX_SHIFT = 0.02
_SHIFT = """() => new Promise((resolve) => {
  let total = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) total += entry.value;
  }).observe({ type: 'layout-shift', buffered: true });
  requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => resolve(total), 0)));
})"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 375])
def test_no_page_has_an_accessibility_violation_or_scrolls_sideways(
    open_context: Callable[..., BrowserContext], keep_screenshot: Callable[[Page, str], None], scheme: str, width: int
) -> None:
    page = open_context(color_scheme=scheme, viewport={"width": width, "height": 900}).new_page()
    found: dict[str, Any] = {}
    for name, path in PATHS.items():
        page.goto(path, wait_until="load")
        page.evaluate(AXE)
        result = page.evaluate("axe.run(document, {resultTypes: ['violations', 'incomplete']})")
        wrong = [(v["id"], [node["html"][:200] for node in v["nodes"]][:3]) for v in result["violations"]]
        if page.evaluate("document.documentElement.scrollWidth") > width:
            wrong.append(("scrolls-sideways", []))
        if wrong:
            found[name] = wrong
        keep_screenshot(page, f"{name}-{width}-{scheme}")
    assert found == {}


def test_no_page_moves_while_it_loads(page: Page) -> None:
    shifts = {}
    for name, path in PATHS.items():
        page.goto(path, wait_until="networkidle")
        shifts[name] = page.evaluate(_SHIFT)
    assert {name: shift for name, shift in shifts.items() if shift > _MAX_SHIFT} == {}


def test_the_heaviest_page_weighs_less_than_half_a_megabyte(page: Page) -> None:
    sizes: dict[str, int] = {}
    page.on("response", lambda response: sizes.update({response.url: len(response.body())}))
    page.goto(f"/rollouts/{story.ROLLOUT}", wait_until="networkidle")
    assert len(sizes) >= 5
    assert sum(sizes.values()) < _MAX_BYTES


def test_pages_can_be_printed(page: Page, keep_screenshot: Callable[[Page, str], None]) -> None:
    page.goto(f"/rollouts/{story.ROLLOUT}")
    page.emulate_media(media="print")
    assert not page.locator(".nav").is_visible()
    assert page.locator("#headline").is_visible()
    keep_screenshot(page, "rollout-print")
