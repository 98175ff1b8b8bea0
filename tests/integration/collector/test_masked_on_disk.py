"""What a rule forbids is nowhere below the data directory: not in the spool, not in the engine's files, not in quarantine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from collector.receivers.grpc_server import SERVICES
from collector.records import Signal
from storage.client import Store
from tests.support.collecting import Running, collecting
from tests.support.receivers import make_span, trace_request

pytestmark = pytest.mark.integration

SECRETS = [
    "zelda.quux@example.com",
    "4111 1111 1111 1111",
    "+44 20 7946 0958",
    "CUST-90210",
    "PROMPT-SENTINEL",
    "user-sentinel-77",
    "TENANT-X",
]
RULES = [
    {"action": "redact", "patterns": ["email", "card", "phone"], "regexes": ["CUST-[0-9]+"]},
    {"action": "drop", "content": ["prompts", "explanations"]},
    {"action": "hash", "keys": ["user.id"]},
    {"action": "drop_item", "keys": ["tenant"], "regexes": ["TENANT-X"]},
]
MASKED = {"masking": {"rules": RULES, "hash_key": "pepper"}}


def trace_payload() -> bytes:
    span = make_span(name="answer zelda.quux@example.com")
    texts = {
        "gen_ai.input.messages": "PROMPT-SENTINEL",
        "user.id": "user-sentinel-77",
        "note": "call +44 20 7946 0958, card 4111 1111 1111 1111, CUST-90210",
        "gen_ai.request.model": "kept-model",
    }
    for key, text in texts.items():
        span.attributes.add(key=key).value.string_value = text
    event = span.events.add(name="gen_ai.evaluation.result", time_unix_nano=1_700_000_000_500_000_000)
    event.attributes.add(key="gen_ai.evaluation.name").value.string_value = "kept-evaluation"
    event.attributes.add(key="gen_ai.evaluation.explanation").value.string_value = "PROMPT-SENTINEL"
    gone = make_span(span_id=b"gone-one")
    gone.attributes.add(key="tenant").value.string_value = "TENANT-X"
    return trace_request(span, gone).SerializeToString()


def log_payload() -> bytes:
    request = ExportLogsServiceRequest()
    record = request.resource_logs.add().scope_logs.add().log_records.add(event_name="gen_ai.evaluation.result")
    record.body.string_value = "asked by zelda.quux@example.com"
    record.attributes.add(key="gen_ai.evaluation.explanation").value.string_value = "PROMPT-SENTINEL"
    record.attributes.add(key="who").value.string_value = "zelda.quux@example.com"
    return request.SerializeToString()


def send_everything(running: Running) -> None:
    """The same through every door: gRPC, HTTP as JSON, logs, scores."""
    with grpc.insecure_channel(running.endpoints.otlp_grpc) as channel:
        for signal, payload in ((Signal.TRACES, trace_payload()), (Signal.LOGS, log_payload())):
            channel.unary_unary(f"/{SERVICES[signal]}/Export")(payload, timeout=10)
    attributes = [{"key": "gen_ai.input.messages", "value": {"stringValue": "PROMPT-SENTINEL"}}]
    span = {"traceId": "ab" * 16, "spanId": "cd" * 8, "name": "CUST-90210", "attributes": attributes}
    document = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    url = f"{running.endpoints.otlp_http}/v1/traces"
    headers = {"content-type": "application/json"}
    httpx.post(url, content=json.dumps(document), headers=headers, trust_env=False).raise_for_status()
    score: dict[str, Any] = {"name": "thumbs", "trace_id": "ab" * 16, "value": "down", "explanation": "PROMPT-SENTINEL"}
    running.collector.accept_scores([{**score, "metadata": {"mail": "zelda.quux@example.com"}}], "")


def files_holding(needle: str, *directories: Path) -> list[Path]:
    return [p for d in directories for p in d.rglob("*") if p.is_file() and needle.encode() in p.read_bytes()]


@pytest.fixture
def uncompressed(fresh_store: Store) -> Store:
    """Columns stored as they are, so that a search of the files would find what is there."""
    store = fresh_store
    for table in ("span_records", "evaluation_records"):
        columns = store.frame(
            "SELECT name, type FROM system.columns WHERE database = {d:String} AND table = {t:String} AND type LIKE '%String%'",
            {"d": store.database, "t": table},
        )
        plain = ", ".join(f"MODIFY COLUMN `{name}` {kind} CODEC(NONE)" for name, kind in columns.rows())
        store.command(f"ALTER TABLE {table} {plain}")
    return store


def test_forbidden_text_is_in_no_file(uncompressed: Store, tmp_path: Path, engine_directory: Path) -> None:
    with collecting(uncompressed, tmp_path, MASKED) as running:
        send_everything(running)
        for secret in SECRETS:
            assert files_holding(secret, tmp_path) == [], f"{secret} is in the spool"
        running.collector.flush()
        for secret in SECRETS:
            assert files_holding(secret, tmp_path, engine_directory) == [], f"{secret} is stored"
        assert files_holding("kept-model", engine_directory)
    ledger = uncompressed.frame(
        "SELECT entry, sum(n_items) AS n FROM ingest_ledger FINAL WHERE signal = 'traces' GROUP BY entry ORDER BY entry"
    )
    counts = dict(ledger.iter_rows())
    assert (counts["received"], counts["accepted"], counts["masked_out"], counts["written"]) == (3, 3, 1, 2)


def test_the_search_would_find_it(uncompressed: Store, tmp_path: Path, engine_directory: Path) -> None:
    """Without rules every secret is on the disk: first in the spool, then in the engine's files."""
    with collecting(uncompressed, tmp_path, {"spool": {"segment_seconds": 60.0}}) as running:
        send_everything(running)
        assert [secret for secret in SECRETS if not files_holding(secret, tmp_path)] == []
        running.collector.flush()
        assert [secret for secret in SECRETS if not files_holding(secret, engine_directory)] == []
