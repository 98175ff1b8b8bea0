"""Every kind of attribute value, wherever it stands, comes back as what was sent; bytes never break a reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from storage.client import Store
from storage.spans import JsonValue, value_of
from storage.traces import read_trace
from tests.support.collecting import collecting
from tests.support.segments import any_value, load_spans, make_span, read_spans, resource_spans

pytestmark = pytest.mark.integration

# longer than 127 bytes: their lengths, as the wire has them, are no UTF-8
LONG = "é" * 200
SENT: dict[str, Any] = {
    "text": "x",
    "empty": "",
    "looks like it": '{"@otlp":"no base64"}',
    "number": -(2**63),
    "double": 0.5,
    "not a number": float("nan"),
    "flag": False,
    "bytes": b"\xff\x00",
    "unset": None,
    "one": ["stop"],
    "scalars": ["a", 1, True, 0.5, None],
    "no elements": [],
    "map": {"a": 1, "b": LONG, "c": [1, ["x", {}]], "d": {"e": None, "f": b"\xff"}},
    "no members": {},
    "lists": [[1], ["b"]],
    "maps": [{"role": "user", "parts": [{"content": LONG}]}],
    "list of bytes": [b"\xff"],
    "long list": ["x" * 100] * 300,
}
READ: dict[str, JsonValue] = SENT | {
    "not a number": "nan",
    "bytes": "/wA=",
    "map": {"a": 1, "b": LONG, "c": [1, ["x", {}]], "d": {"e": None, "f": "/w=="}},
    "list of bytes": ["/w=="],
}
NESTED = {"map", "no members", "lists", "maps", "list of bytes", "long list"}


def loaded(store: Store, tmp_path: Path) -> dict[str, Any]:
    """The row of a span that has all of these values."""
    span = make_span(SENT, events={"e": (0.1, SENT)})
    link = span.links.add(trace_id=b"1" * 16, span_id=b"2" * 8)
    for key, value in SENT.items():
        link.attributes.add(key=key).value.CopyFrom(any_value(value))
    load_spans(store, tmp_path, [resource_spans([span], "", SENT)])
    [row] = read_spans(store).values()
    return row


def test_every_kind_of_value_is_read_back(store: Store, tmp_path: Path) -> None:
    row = loaded(store, tmp_path)
    texts = row["attributes"]
    assert {key: value_of(text, tag) for (key, text), tag in zip(texts.items(), row["attribute_types"], strict=True)} == READ
    for carrier in (row["resource_attributes"], row["events"][0]["attributes"], row["links"][0]["attributes"]):
        # without types a scalar is its text; lists and maps say themselves what they are
        lists = {key: value_of(text) for key, text in carrier.items() if key in NESTED | {"scalars", "no elements"}}
        assert lists == {key: READ[key] for key in lists}
        assert (carrier["number"], carrier["flag"], carrier["one"]) == (str(-(2**63)), "false", '["stop"]')


def test_whoever_reads_a_trace_sees_json(store: Store, tmp_path: Path) -> None:
    row = loaded(store, tmp_path)
    trace = read_trace(store, row["trace_id"], 10)
    assert trace is not None
    [span] = trace.spans.to_dicts()
    for carrier in (
        span["attributes"],
        span["resource_attributes"],
        span["events"][0]["attributes"],
        span["links"][0]["attributes"],
    ):
        assert {key: json.loads(carrier[key]) for key in NESTED} == {key: READ[key] for key in NESTED}
        assert carrier["looks like it"] == SENT["looks like it"]
    assert span["events"][0]["time"] == row["events"][0]["time"]


def test_log_records_with_maps_stop_nobody(store: Store, tmp_path: Path) -> None:
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    details = records.add(event_name="gen_ai.client.inference.operation.details", time_unix_nano=1)
    details.body.CopyFrom(any_value(SENT["map"]))
    details.attributes.add(key="gen_ai.input.messages").value.CopyFrom(any_value(SENT["maps"]))
    result = records.add(event_name="gen_ai.evaluation.result", time_unix_nano=1)
    result.body.CopyFrom(any_value(SENT["map"]))
    for key, value in {"gen_ai.evaluation.name": "faith", "gen_ai.response.id": "r", "more": SENT["maps"]}.items():
        result.attributes.add(key=key).value.CopyFrom(any_value(value))
    with collecting(store, tmp_path) as running:
        url = f"{running.endpoints.otlp_http}/v1/logs"
        headers = {"content-type": "application/x-protobuf"}
        httpx.post(url, content=request.SerializeToString(), headers=headers, trust_env=False).raise_for_status()
        running.collector.flush()
    assert store.frame("SELECT name, target_response_id FROM evaluations").rows() == [("faith", "r")]
    ledger = store.frame(
        "SELECT entry, reason, sum(n_items) FROM ingest_ledger FINAL WHERE entry != 'requests' GROUP BY ALL ORDER BY entry"
    )
    assert ledger.rows() == [("accepted", "", 2), ("masked_out", "no evaluation", 1), ("received", "", 2), ("written", "", 1)]
