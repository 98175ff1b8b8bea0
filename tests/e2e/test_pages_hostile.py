"""Whatever a sender or a link puts into a page stays text: nothing runs, nothing is even tried."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Site
from tests.support import rollout_story as story
from tests.support.page_rows import HOSTILE, HOSTILE_TRACE

pytestmark = [pytest.mark.integration, pytest.mark.browser]

PAYLOADS = [
    HOSTILE,
    "javascript:window.hacked=1",
    '"><svg onload=window.hacked=1>',
    "' autofocus onfocus='window.hacked=1' {{ config }}${7*7}<%= 7*7 %>",
    "</title><script>window.hacked=1</script>",
    "\u2028window.hacked=1\u2029\u202egnp.exe\x00\x08",
    '<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=window.hacked=1&gt;">',
]


def check_nothing_ran(page: Page) -> None:
    assert page.evaluate("window.hacked") is None
    assert page.locator("main script, main iframe, main img, main [onerror], main [onload], main [onfocus]").count() == 0
    protocols = page.locator("[href]").evaluate_all(
        "links => links.map(link => new URL(link.getAttribute('href'), location).protocol)"
    )
    assert set(protocols) <= {"http:"}


@pytest.mark.parametrize("path", [f"/traces/{HOSTILE_TRACE}", "/traces", "/health", f"/traces?cohort={quote(HOSTILE)}"])
def test_span_content_stays_text(page: Page, path: str) -> None:
    page.goto(path)
    expect(page.get_by_text(HOSTILE).first).to_be_visible()
    check_nothing_ran(page)


def test_names_cohorts_and_evidence_of_a_rollout_stay_text(page: Page, site: Site) -> None:
    told = story.verdict()
    evil = replace(told.pages[0], headline=HOSTILE, quality=HOSTILE, action=HOSTILE, also_suspected=(HOSTILE,))
    site.desk.verdict_of[HOSTILE] = replace(
        told, rollout=HOSTILE, pages=(evil,), candidate_route=HOSTILE, candidate_model=HOSTILE
    )
    page.goto("/")
    check_nothing_ran(page)
    page.get_by_role("link", name=HOSTILE, exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
    check_nothing_ran(page)
    page.get_by_role("link", name="Open failing pairs").click()
    check_nothing_ran(page)


def test_what_a_link_says_stays_text(page: Page) -> None:
    for payload in PAYLOADS:
        text = quote(payload, safe="")
        for path in (
            f"/traces?user={text}&service={text}&evaluator={text}&to={text}",
            f"/traces?user={text}&service={text}&evaluator={text}&model={text}",
            f"/traces/{text}",
            f"/rollouts/{text}",
            f"/rollouts/{story.ROLLOUT}?plane={text}",
            f"/rollouts/{story.ROLLOUT}/pairs?cohort={text}&metric={text}&evaluator={text}",
            f"/alerts?rollout={text}",
            f"/alerts/{text}?done={text}",
            f"/login?next={text}",
        ):
            page.goto(path, wait_until="domcontentloaded")
            check_nothing_ran(page)
