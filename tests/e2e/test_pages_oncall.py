"""What on-call does: from the alert's link to the losing cohort, to a failing pair, to an answer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from alerts.verdict import VerdictKind
from storage.client import Store
from tests.e2e.conftest import Site
from tests.support import rollout_story as story
from tests.support.page_rows import ANSWER, GOOD_ANSWER, STUDENT_TRACE, write_failure
from tests.support.page_services import ALERT_ID

pytestmark = [pytest.mark.integration, pytest.mark.browser]


def test_from_the_alerts_link_to_a_failing_pair_and_an_acknowledgement(
    page: Page, site: Site, keep_screenshot: Callable[[Page, str], None]
) -> None:
    page.goto(f"/alerts/{ALERT_ID}")
    expect(page.get_by_role("heading", level=1)).to_contain_text(story.LOSING)
    page.get_by_role("link", name=f"Open failing pairs of {story.LOSING}").click()
    expect(page.get_by_text(ANSWER)).to_be_visible()
    expect(page.get_by_text(GOOD_ANSWER)).to_be_visible()
    expect(page.get_by_text("Same cohort, another input")).to_be_visible()
    keep_screenshot(page, "failing-pair")
    page.get_by_role("link", name="trace of student").click()
    expect(page.get_by_text(STUDENT_TRACE)).to_be_visible()
    page.goto(f"/alerts/{ALERT_ID}")
    page.get_by_label("Note").fill("on it")
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.get_by_role("status")).to_contain_text("Acknowledged")
    expect(page.get_by_role("button", name="Acknowledge")).to_have_count(0)
    assert site.desk.alert(ALERT_ID)["state"] == "acknowledged"
    keep_screenshot(page, "acknowledged")


def test_the_losing_cohort_alone_stands_as_harmed_in_the_shaded_quadrant(page: Page) -> None:
    page.goto("/")
    expect(page.get_by_role("row", name=story.ROLLOUT)).to_contain_text(story.LOSING)
    page.get_by_role("link", name=story.ROLLOUT).click()
    harmed = page.locator(".plane .harmed")
    expect(harmed).to_have_count(1)
    expect(harmed).to_have_attribute("data-cohort", story.LOSING)
    shade = page.locator(".plane .shade").bounding_box()
    dot = harmed.locator(".dot").bounding_box()
    assert shade is not None
    assert dot is not None
    assert shade["x"] <= dot["x"] <= shade["x"] + shade["width"]
    assert shade["y"] <= dot["y"] <= shade["y"] + shade["height"]
    row = page.locator(f"tr.harmed[data-cohort={story.LOSING}]")
    # the proved minimum comes before the estimate
    assert row.inner_text().index("at least +2.6") < row.inner_text().index("best estimate +9.9")


def test_without_javascript_alerts_are_silenced_and_accepted(open_context: Callable[..., BrowserContext], site: Site) -> None:
    page = open_context(java_script_enabled=False).new_page()
    page.goto(f"/alerts/{ALERT_ID}")
    page.get_by_label("For", exact=True).select_option("4 hours")
    silence = page.locator("form", has=page.get_by_role("heading", name="Silence"))
    silence.get_by_label("Reason").fill("provider incident")
    silence.get_by_role("button").click()
    expect(page.get_by_text("provider incident")).to_be_visible()
    assert site.desk.alert(ALERT_ID)["state"] == "silenced"
    accept = page.locator("form", has=page.get_by_role("heading", name="Accept"))
    accept.get_by_label("Reason").fill("known limit")
    accept.get_by_role("button").click()
    expect(page.get_by_role("heading", name="Answer", exact=True)).to_have_count(0)
    assert site.desk.alert(ALERT_ID)["close_reason"] == "known limit"


def test_a_refused_price_comes_back_with_what_was_typed(page: Page, site: Site) -> None:
    before = len(site.prices.prices(with_history=True))
    page.goto("/prices")
    page.get_by_label("Model").fill("new-student")
    page.get_by_role("button", name="Add price").click()
    expect(page.get_by_role("alert")).to_contain_text("a price needs")
    expect(page.get_by_label("Model")).to_have_value("new-student")
    page.get_by_label("GPU hour").fill("1.25")
    page.get_by_role("button", name="Add price").click()
    expect(page.get_by_role("status")).to_be_visible()
    expect(page.get_by_role("row", name="new-student")).to_contain_text("$1.25 per GPU hour")
    assert len(site.prices.prices(with_history=True)) == before + 1


def test_a_page_refreshes_itself_keeps_what_was_opened_and_can_be_paused(page: Page, site: Site) -> None:
    page.goto(f"/rollouts/{story.ROLLOUT}")
    page.locator("details.metric").last.locator("summary").click()
    site.desk.verdict_of[story.ROLLOUT] = story.verdict(VerdictKind.NO_HARM_SEEN)
    # what the timer does every ten seconds
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator(".title .badge")).to_have_text("No harm seen")
    assert page.locator("details.metric").last.get_attribute("open") is not None
    expect(page.locator(".chart-box .uplot").first).to_be_visible()
    page.get_by_role("button", name="Live").click()
    site.desk.verdict_of[story.ROLLOUT] = story.verdict(VerdictKind.DIVERGENCE)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.get_by_role("button", name="Paused").click()
    expect(page.locator(".title .badge")).to_have_text("Divergence")
    assert len(requests) == 1


def refresh(page: Page) -> None:
    """What the timer does every ten seconds; returns once the answer is in the page."""
    page.evaluate(
        """() => new Promise((done) => {
          document.body.addEventListener('htmx:after:swap', () => done(), { once: true });
          document.dispatchEvent(new Event('visibilitychange'));
        })"""
    )


def test_an_alert_shows_what_others_did_and_keeps_what_is_typed(page: Page, site: Site) -> None:
    page.goto(f"/alerts/{ALERT_ID}")
    reason = page.locator("#accept").get_by_label("Reason")
    reason.fill("known limit of the")
    site.desk.acknowledge(ALERT_ID, "ada", "")
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    # nothing is replaced under the hands of somebody who types
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(reason).to_be_focused()
    assert requests == []
    page.get_by_role("heading", level=1).click()
    page.evaluate("document.activeElement.blur()")
    refresh(page)
    expect(page.locator(".lead")).to_contain_text("Acknowledged")
    expect(page.get_by_role("button", name="Acknowledge")).to_have_count(0)
    expect(reason).to_have_value("known limit of the")


def test_newer_pairs_are_told_of_and_do_not_move_what_is_read(page: Page, site: Site, store: Store) -> None:
    page.goto(f"/rollouts/{story.ROLLOUT}/pairs?cohort={story.LOSING}")
    before = page.locator("section.card").bounding_box()
    expect(page.get_by_role("status")).to_contain_text("These are the newest")
    write_failure(store, "6" * 32, story.LOSING)
    refresh(page)
    expect(page.get_by_role("status")).to_contain_text("Newer pairs have come in")
    expect(page.locator("section.card")).to_have_count(1)
    assert page.locator("section.card").bounding_box() == before
    refresh(page)
    page.get_by_role("link", name="show them").click()
    expect(page.locator("section.card")).to_have_count(2)
    expect(page.get_by_role("status")).to_contain_text("These are the newest")


def test_prices_others_set_appear_beside_a_half_filled_form(page: Page, site: Site) -> None:
    page.goto("/prices")
    page.get_by_label("GPU hour").fill("2.5")
    page.evaluate("document.activeElement.blur()")
    site.prices.set_price({"model": "new-student", "gpu_hour_usd": 1.25}, "ada")
    refresh(page)
    expect(page.get_by_role("row", name="new-student")).to_be_visible()
    expect(page.get_by_label("GPU hour")).to_have_value("2.5")


def test_the_keyboard_reaches_the_content_and_every_point_of_the_plane(page: Page) -> None:
    page.goto(f"/rollouts/{story.ROLLOUT}")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    reached = set()
    for _ in range(80):
        page.keyboard.press("Tab")
        cohort = page.evaluate("document.activeElement.matches('.plane a') ? document.activeElement.dataset.cohort : null")
        if cohort:
            reached.add(cohort)
            expect(page.locator(f".plane a[data-cohort={cohort}] .name")).to_be_visible()
            expect(page.locator(f".plane a[data-cohort={cohort}] .ring")).to_be_visible()
    drawn = page.locator(".plane a").evaluate_all("points => points.map(point => point.dataset.cohort)")
    assert reached == set(drawn)
    assert story.LOSING in reached
