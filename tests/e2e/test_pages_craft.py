"""Rules every page keeps: accessible in light and dark, on a phone too, light in weight, and still while it loads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.e2e.conftest import Site
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
# tables that are wider than the box they scroll in: part of them is not seen at a glance
_CUT = """() => [...document.querySelectorAll('.scroll')]
  .filter((box) => box.offsetParent && box.scrollWidth > box.clientWidth + 1).map((box) => box.getAttribute('aria-label'))"""
_MAX_SHIFT = 0.001
# each shift's share of the view, and what moved from which rectangle to which
_SHIFTS = """() => new Promise((resolve) => {
  const box = ({ x, y, width, height }) => [x, y, width, height].map(Math.round).join(' ');
  const what = (node) => `${node?.nodeName} ${node?.className ?? ''} "${(node?.textContent ?? '').trim().slice(0, 40)}"`;
  const shifts = [];
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      if (entry.hadRecentInput) continue;
      shifts.push([entry.value, entry.sources.map((s) => `${what(s.node)}: ${box(s.previousRect)} to ${box(s.currentRect)}`)]);
    }
  }).observe({ type: 'layout-shift', buffered: true });
  requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => resolve(shifts), 0)));
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
        cut = [label for label in page.evaluate(_CUT) if (label, width) != ("Waterfall of spans", 375)]
        if cut:
            wrong.append(("table-cut-off", cut))
        if wrong:
            found[name] = wrong
        keep_screenshot(page, f"{name}-{width}-{scheme}")
    assert found == {}


@pytest.mark.parametrize("width", [1280, 375])
def test_no_page_moves_while_it_loads(open_context: Callable[..., BrowserContext], site: Site, width: int) -> None:
    site.line.is_slow = True
    page = open_context(viewport={"width": width, "height": 900}).new_page()
    moved: dict[str, str] = {}
    for name, path in PATHS.items():
        page.goto(path, wait_until="networkidle")
        shifts = page.evaluate(_SHIFTS)
        if sum(value for value, _ in shifts) > _MAX_SHIFT:
            moved[name] = "\n".join(f"  {value:.4f} {thing}" for value, things in shifts for thing in things)
    assert not moved, "\n".join(f"{name}\n{things}" for name, things in moved.items())


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
