"""Finding a trace, reading it, and taking the same rows away as a file."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import polars as pl
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.conftest import Site
from tests.support.page_rows import ANSWER, FALLBACK_TRACE, STUDENT_TRACE, TEACHER_TRACE, USER

pytestmark = [pytest.mark.integration, pytest.mark.browser]


def test_a_trace_is_found_by_its_user_and_read_to_the_last_attribute(
    page: Page, keep_screenshot: Callable[[Page, str], None]
) -> None:
    page.goto("/traces")
    page.get_by_label("User").fill(USER)
    page.get_by_role("button", name="Search").click()
    links = page.locator("tbody th a")
    expect(links).to_have_count(2)
    links.first.click()
    expect(page).to_have_url(f"{page.url.partition('/traces')[0]}/traces/{STUDENT_TRACE}")
    expect(page.get_by_text("Invents a policy")).to_be_visible()
    expect(page.get_by_text(ANSWER, exact=True)).to_be_visible()
    page.get_by_text("raw attributes").click()
    expect(page.get_by_text("gen_ai.operation.name")).to_be_visible()
    page.get_by_role("link", name="search terms").click()
    expect(page.get_by_role("heading", name="Span: search terms")).to_be_visible()
    keep_screenshot(page, "trace")


def test_the_attempts_of_a_call_say_what_failed_and_who_answered(page: Page) -> None:
    page.goto(f"/traces/{FALLBACK_TRACE}")
    attempts = page.locator("section", has=page.get_by_role("heading", name="3 attempts of one call")).locator("tbody tr")
    assert [row.split("\t")[0].split() for row in attempts.all_inner_texts()] == [
        ["1", "First"],
        ["2", "Retry"],
        ["3", "Fallback"],
    ]
    expect(attempts.nth(0)).to_contain_text("Timeout")
    expect(attempts.nth(2)).to_contain_text("Answered")
    expect(attempts.nth(2)).to_contain_text("$0.0120")


def test_the_csv_link_gives_the_rows_the_page_shows(page: Page, site: Site) -> None:
    page.goto(f"/traces?user={USER}&from=-24h")
    shown = [
        (href.rsplit("/", 1)[-1], cost)
        for href, cost in zip(
            page.locator("tbody th a").evaluate_all("links => links.map(link => link.getAttribute('href'))"),
            page.locator("tbody td:last-child").all_inner_texts(),
            strict=True,
        )
    ]
    path = page.get_by_role("link", name="CSV of traces").get_attribute("href")
    assert path is not None
    answer = httpx.get(site.url + path)
    assert answer.headers["content-type"].startswith("text/csv")
    rows = pl.read_csv(answer.content, schema_overrides={"trace_id": pl.String})
    assert rows["trace_id"].to_list() == [trace_id for trace_id, _ in shown] == [STUDENT_TRACE, TEACHER_TRACE]
    # 5.6 and 18.4 thousandths of a dollar, as the fixture charged
    assert rows["cost_usd"].to_list() == [0.0056, 0.0184]
    assert [cost for _, cost in shown] == ["$0.00560", "$0.0184"]


def test_search_works_without_javascript_and_goes_on_to_older_traces(open_context: Callable[..., BrowserContext]) -> None:
    page = open_context(java_script_enabled=False).new_page()
    page.goto("/traces")
    expect(page.locator("tbody tr")).to_have_count(50)
    page.get_by_role("link", name="Older").click()
    # 64 traces in all
    expect(page.locator("tbody tr")).to_have_count(14)
    page.get_by_role("link", name="Newest").click()
    page.get_by_label("Timed out").check()
    page.get_by_role("button", name="Search").click()
    expect(page.locator("tbody tr")).to_have_count(1)


@pytest.mark.parametrize(
    ("path", "on"),
    [
        ("/traces/" + "9" * 32, "Traces"),
        ("/traces?from=banana", "Traces"),
        ("/rollouts/nobody", "Rollouts"),
        ("/alerts/nothing", "Alerts"),
        ("/nothing", "Rollouts"),
    ],
)
def test_what_is_not_there_is_said_in_a_page_that_leads_on(page: Page, path: str, on: str) -> None:
    response = page.goto(path)
    assert response is not None
    assert response.status in (400, 404)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.get_by_role("main").get_by_role("link", name=on)).to_be_visible()
