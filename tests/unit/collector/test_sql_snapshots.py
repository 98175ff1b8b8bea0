"""
The SQL that is really sent for one segment, kept beside this test: a change to it is seen, and read, in review.

    SPANWISE_UPDATE_SNAPSHOTS=1 python -m pytest tests/unit/collector/test_sql_snapshots.py
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from collector import any_value, census, decode, evaluations, normalise
from collector.census import Census

SNAPSHOTS = Path(__file__).parent / "snapshots"

PAYLOAD = Census(
    keys=frozenset(
        {
            "gen_ai.operation.name",
            "gen_ai.provider.name",
            "gen_ai.request.model",
            "gen_ai.response.model",
            "gen_ai.response.id",
            "gen_ai.response.finish_reasons",
            "gen_ai.request.temperature",
            "gen_ai.usage.input_tokens",
            "gen_ai.usage.output_tokens",
            "llm.token_count.total",
            "openinference.span.kind",
            "session.id",
            "user.id",
            "rollout.route",
            "rollout.cohort",
        }
    ),
    resource_keys=frozenset({"service.name", "service.version", "deployment.environment.name"}),
    tags=frozenset({any_value.STRING, any_value.INT, any_value.DOUBLE, any_value.ARRAY}),
    event_tags=frozenset({any_value.STRING, any_value.DOUBLE}),
    event_names=frozenset({evaluations.EVENT_NAME}),
    has_odd_evaluations=False,
    has_nested=False,
    has_repeats=False,
    has_links=False,
    has_errors=False,
)
"""What the spans of tests/bench/payload.py hold."""


def statements() -> dict[str, str]:
    events = decode.evaluation_events("staged", evaluations.EVENT_NAME, PAYLOAD)
    return {
        "stage": decode.staged_spans("segment"),
        "census": census.question("staged"),
        "spans": normalise.staged("staged", PAYLOAD),
        "evaluations": evaluations.plain.select(events),
    }


@pytest.mark.parametrize("name", ["stage", "census", "spans", "evaluations"])
def test_sql_is_what_was_last_read(name: str) -> None:
    path = SNAPSHOTS / f"{name}.sql"
    sent = statements()[name] + "\n"
    if os.environ.get("SPANWISE_UPDATE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(sent, encoding="utf-8")
    assert sent == path.read_text(encoding="utf-8")


def test_what_does_not_occur_is_not_mentioned() -> None:
    sent = statements()["spans"]
    for word in ("langfuse.", "litellm.", "metadata.", "ai.model", "First Token", "TimeoutError"):
        assert word not in sent, word
    assert len(normalise.staged("staged")) > 3 * len(sent)
