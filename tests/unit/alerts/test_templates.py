"""The words of a page: their order, their escaping, and templates of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import TemplateError

from alerts.templates import Templates
from storage.alerts import Notice
from tests.support.incidents import make_message


def test_the_lines_come_in_the_order_in_which_they_are_read() -> None:
    text = Templates().render(make_message()).text
    told = [
        "DIVERGENCE  support-agent",
        "How much  TaskCompletion failures 19.8 % vs 9.9 %: at least +2.6 pp (proved)",
        "Cost      0.31x",
        "Certainty Evidence 4 100 to 1",
        "Reach     2 % of traffic",
        "Since     2026-03-03 12:00 UTC",
        "Not known Groundedness",
        "Do        Route regulated_answer back",
        "Traces    https://spanwise.example/traces/ab12",
        "Trade     saves $1,840 a week",
        "https://spanwise.example/alerts/a1",
    ]
    positions = [text.index(line) for line in told]
    assert positions == sorted(positions)


def test_what_is_not_known_has_no_line() -> None:
    text = Templates().render(make_message(cost="", reach="", since=None, not_known="", action="", exemplars=(), trade="")).text
    for label in ("Cost", "Reach", "Since", "Not known", "Do  ", "Traces", "Trade"):
        assert label not in text


@pytest.mark.parametrize(
    ("notice", "prefix", "first"),
    [
        (Notice.FIRING, "DIVERGENCE", "DIVERGENCE"),
        (Notice.UPDATE, "[UPDATE] ", "More streams joined"),
        (Notice.REMINDER, "[STILL OPEN] ", "Nobody has acknowledged this yet (notice 3)"),
        (Notice.RESOLVED, "[RESOLVED] ", "Closed: rolled back by ana"),
    ],
)
def test_each_notice_says_what_it_is(notice: Notice, prefix: str, first: str) -> None:
    rendered = Templates().render(make_message(notice, 3))
    assert rendered.subject.startswith(prefix)
    assert rendered.text.startswith(first)


def test_a_subject_is_one_line_and_html_is_escaped() -> None:
    hostile = 'a\r\nBcc: x@example.com\u2028<img src=x onerror="alert(1)">'
    rendered = Templates().render(make_message(what=hostile, trade=hostile))
    assert "\n" not in rendered.subject
    assert "\r" not in rendered.subject
    assert "<img" not in rendered.html
    assert "&lt;img" in rendered.html


def test_a_directory_replaces_what_it_has(tmp_path: Path) -> None:
    (tmp_path / "subject.txt.j2").write_text("{{ page.subject }} is {{ message.notice }}")
    rendered = Templates(tmp_path).render(make_message())
    assert rendered.subject == "refund-student is firing"
    assert "How much" in rendered.text


def test_a_template_that_fails_costs_nobody_a_page(tmp_path: Path) -> None:
    (tmp_path / "page.txt.j2").write_text("{{ page.no_such_field }}")
    (tmp_path / "page.html.j2").write_text("{{ 1 // 0 }}")
    rendered = Templates(tmp_path).render(make_message())
    assert "How much" in rendered.text
    assert "How much" in rendered.html


def test_a_template_that_cannot_be_compiled_is_found_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "page.txt.j2").write_text("{% if %}")
    with pytest.raises(TemplateError):
        Templates(tmp_path).check()
