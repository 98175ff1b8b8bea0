"""From a verdict to the page's lines."""

from __future__ import annotations

import pytest

from alerts.config import RolloutConfig
from alerts.page import from_json, rollout_content, to_json, trace_links, trade_sentence
from tests.support.rollout_story import LOSING, ROLLOUT, finding, verdict

DECLARED = RolloutConfig(name=ROLLOUT, service="support-agent", environment="production", baseline="teacher", candidate="student")


def test_a_verdicts_page_is_taken_over_line_by_line() -> None:
    known = verdict()
    page = known.pages[0]
    stream = finding(LOSING).stream_id
    content = rollout_content(known, DECLARED, {stream}, trace_links("https://s.example", ["a/b"]), None)
    assert (content.what, content.cost, content.certainty, content.reach) == (
        page.headline,
        page.cost,
        page.certainty,
        page.reach,
    )
    assert (content.not_known, content.action) == (page.not_known, page.action)
    [line] = content.streams
    assert (line.stream_id, line.cohort, line.how_much) == (stream, LOSING, page.quality)
    assert (content.kind, content.severity, content.environment) == ("divergence", "critical", "production")
    assert content.exemplars[0].url == "https://s.example/traces/a%2Fb"
    assert from_json(to_json(content)) == content


def test_a_page_for_none_of_the_verdicts_streams_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="has no page for streams"):
        rollout_content(verdict(), DECLARED, {"another"}, (), None)


@pytest.mark.parametrize(
    ("saving", "failures", "price", "expected"),
    [
        # 1840 / 166 = 11.084
        (1840.0, 166.0, None, "saves $1,840 a week and fails about 166 more traces a week: worth it only if {} $11.08"),
        # 166 * 25 = 4150
        (1840.0, 166.0, 25.0, "saves $1,840 a week and fails about 166 more traces a week: $4,150 of harm at $25.00 each"),
        (-12.0, 3.0, None, "costs $12.00 a week more and fails about 3 more traces a week"),
        (0.004, 8.0, None, "saves $0.0040 a week and fails about 8 more traces a week: worth it only if {} $0.0005"),
        (None, 166.0, 25.0, ""),
        (1840.0, None, None, ""),
        (1840.0, 0.0, None, ""),
    ],
)
def test_the_saving_is_weighed_against_the_harm(
    saving: float | None, failures: float | None, price: float | None, expected: str
) -> None:
    assert trade_sentence(saving, failures, price) == expected.format("a failed trace costs less than")
