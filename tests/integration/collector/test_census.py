"""What a census leaves out of the statements changes no row: narrow and wide statements agree."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from collector import census, decode, evaluations
from collector.census import EVERYTHING
from collector.config import FlushConfig
from collector.loader import Loader
from storage.client import Store
from tests.integration.collector.test_dialects import CASES, TRAPS
from tests.support.segments import load_spans, make_span, read_spans, resource_spans, write_segment

pytestmark = pytest.mark.integration


def test_a_span_alone_is_read_as_in_a_crowd(store: Store, tmp_path: Path) -> None:
    groups = [
        resource_spans([make_span(case.attributes, **case.span, span_id=n.to_bytes(8, "big"))], case.scope, case.resource)
        for n, case in enumerate([*CASES, *TRAPS], start=1)
    ]
    load_spans(store, tmp_path, groups)
    in_crowd = read_spans(store)
    store.command("TRUNCATE TABLE span_records")
    for group in groups[::3]:
        load_spans(store, tmp_path, [group])
    alone = read_spans(store)
    assert len(alone) == len(groups[::3])
    for span_id, row in alone.items():
        assert row == in_crowd[span_id]


def test_counts_what_occurs(store: Store, tmp_path: Path) -> None:
    spans = [
        make_span({"user.id": "u", "n": 1, "list": ["a", "b"]}, events={"exception": (1, {"exception.type": "E", "at": 0.5})}),
        make_span({"gen_ai.request.model": "m"}, code=2),
    ]
    path = write_segment(tmp_path, [resource_spans(spans, resource={"service.name": "s"})])
    loader = Loader(store, FlushConfig())
    with loader.staged(path) as table:
        (found,) = census.answers(store.frame(census.question(table))).values()
    assert found == census.Census(
        keys=frozenset({"user.id", "n", "list", "gen_ai.request.model"}),
        resource_keys=frozenset({"service.name"}),
        tags=frozenset({0x0A, 0x18, 0x2A}),
        event_tags=frozenset({0x0A, 0x21}),
        event_names=frozenset({"exception"}),
        has_odd_evaluations=False,
        has_nested=True,
        has_repeats=False,
        has_links=False,
        has_errors=True,
    )
    assert not found.has_key("metadata")
    assert found.present(["n", "metadata", "user.*"]) == "(has(keys, 'n') OR arrayExists(k -> startsWith(k, 'user.'), keys))"
    assert found.present(["metadata"]) == "false"


def _evaluated(**attributes: object) -> Span:
    named = {f"gen_ai.evaluation.{name.replace('__', '.')}": value for name, value in attributes.items()}
    return make_span(
        {"n": len(named)}, name=repr(named), events={"gen_ai.evaluation.result": (1.5, named), "other": (1, {"x": 1})}
    )


PLAIN = [
    _evaluated(name="relevance", score__value=0.25, score__label="pass", explanation="ünïcode 'quoted'"),
    _evaluated(name="thumbs-UP"),
    _evaluated(name="User-Feedback", score__value=-1.5e300),
    _evaluated(name="human_review", score__value=7, version="3"),
    _evaluated(name="None", score__label="null"),
    _evaluated(score__value=math.nan, score__label=""),
    _evaluated(name="x", score__value=math.inf),
    _evaluated(),
]
ODD = [
    _evaluated(name="relevance", score__value="0.25"),
    _evaluated(name="relevance", passed=True),
    _evaluated(name="relevance", other="x"),
    _evaluated(name=5),
]


@pytest.mark.parametrize("scope", ["", "openlit.otel", "traceai_openai"])
def test_plain_evaluations_in_sql_equal_their_twin(store: Store, tmp_path: Path, scope: str) -> None:
    loader = Loader(store, FlushConfig())
    path = write_segment(tmp_path, [resource_spans(PLAIN, scope)])
    with loader.staged(path) as table:
        (counted,) = census.answers(store.frame(census.question(table))).values()
        assert not counted.has_odd_evaluations
        expected = evaluations.from_events(store.frame(decode.evaluation_events(table, evaluations.EVENT_NAME, EVERYTHING)))
        found = store.frame(evaluations.plain.select(decode.evaluation_events(table, evaluations.EVENT_NAME, counted)))
    order = ["target_trace_id", "target_span_id", "name", "evaluated_at"]
    assert found.cast(expected.schema).sort(order).to_dicts() == expected.sort(order).to_dicts()


@pytest.mark.parametrize("span", ODD, ids=lambda span: span.name)
def test_one_odd_evaluation_sends_all_to_the_twin(store: Store, tmp_path: Path, span: Span) -> None:
    loader = Loader(store, FlushConfig())
    path = write_segment(tmp_path, [resource_spans([*PLAIN, span])])
    with loader.staged(path) as table:
        (counted,) = census.answers(store.frame(census.question(table))).values()
    assert counted.has_odd_evaluations
    loader.insert_spans(path, path.stem)
    loader.insert_spans(path, path.stem)  # a replay
    assert store.frame("SELECT count() AS n FROM evaluation_records")["n"].item() == len(PLAIN) + 1


def test_a_table_that_a_crash_left_is_taken_over_by_the_replay(store: Store, tmp_path: Path) -> None:
    path = write_segment(tmp_path, [resource_spans([make_span({"user.id": "u"})])])
    loader = Loader(store, FlushConfig())
    with loader.staged(path) as table:
        store.command(f"CREATE TABLE kept AS {table} ENGINE = Memory")
    store.command(f"RENAME TABLE kept TO {table}")  # as it would lie there after a restart: empty
    loader.insert_spans(path, path.stem)
    assert [row["user_id"] for row in read_spans(store).values()] == ["u"]
    assert store.frame("SELECT name FROM system.tables WHERE name LIKE 'staged%' AND database = currentDatabase()").is_empty()
