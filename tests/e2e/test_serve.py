"""The whole path, as a production service would use it: real SDK, real doors, real engine, HTTP answers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from tests.support.server import ROOT, Server, running, wait_for

pytestmark = pytest.mark.e2e


def send_traces(server: Server, n: int, route: str = "student", cohort: str = "refund") -> list[str]:
    """`n` traces by the real SDK over the real exporter: route and cohort on the parent, tokens on the child."""
    provider = TracerProvider(resource=Resource({"service.name": "shop", "deployment.environment.name": "production"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(server.otlp_grpc, insecure=True)))
    tracer = provider.get_tracer("shop")
    ids = []
    for _ in range(n):
        with tracer.start_as_current_span("answer") as parent:
            parent.set_attributes({"rollout.route": route, "rollout.cohort": cohort, "session.id": "s1", "user.id": "u1"})
            with tracer.start_as_current_span("chat student-8b") as call:
                call.set_attributes(
                    {
                        "gen_ai.operation.name": "chat",
                        "gen_ai.provider.name": "openai",
                        "gen_ai.request.model": "gpt-4o-mini",
                        "gen_ai.response.model": "gpt-4o-mini",
                        "gen_ai.usage.input_tokens": 1000,
                        "gen_ai.usage.output_tokens": 100,
                    }
                )
                call.add_event(
                    "gen_ai.evaluation.result",
                    {"gen_ai.evaluation.name": "TaskCompletion", "gen_ai.evaluation.score.label": "fail"},
                )
            ids.append(f"{parent.get_span_context().trace_id:032x}")
    provider.shutdown()
    return ids


def facts(server: Server, trace_id: str) -> dict[str, Any]:
    columns = "model_route, cohort, input_tokens, output_tokens, n_model_calls, session_id, user_id, cost_usd"
    rows = server.sql(f"SELECT {columns} FROM trace_facts FINAL WHERE trace_id = {{t:String}}", t=trace_id)
    return dict(zip(columns.split(", "), rows[0], strict=True)) if rows else {}


def test_a_span_becomes_a_fact_a_metric_and_a_page(tmp_path: Path) -> None:
    with running(tmp_path / "data") as server:
        ids = send_traces(server, 20)
        found = wait_for(lambda: facts(server, ids[0]), 60, "the facts of the first trace")
        assert (found["model_route"], found["cohort"]) == ("student", "refund")
        assert (found["input_tokens"], found["output_tokens"], found["n_model_calls"]) == (1000, 100, 1)
        assert (found["session_id"], found["user_id"]) == ("s1", "u1")
        # gpt-4o-mini: 0.15 USD per million input tokens, 0.60 per million output tokens
        assert float(found["cost_usd"]) == pytest.approx(1000 * 0.15e-6 + 100 * 0.60e-6)

        trace = server.get(f"/api/v1/traces/{ids[0]}")
        assert {span["name"] for span in trace["spans"]} == {"answer", "chat student-8b"}

        httpx.post(
            f"{server.api}/api/v1/scores",
            json={"scores": [{"trace_id": ids[0], "name": "user_feedback", "label": "down", "annotator_kind": "user"}]},
        ).raise_for_status()
        wait_for(lambda: server.sql("SELECT count() FROM evaluations")[0][0] == 21, 60, "all evaluations")

        def failing() -> bool:
            answer = server.get("/api/v1/metrics/eval_fail_rate", group_by="route,cohort")
            return any(row["numerator"] == 20 for row in answer["items"])

        wait_for(failing, 60, "the eval-fail rate")
        assert httpx.get(f"{server.api}/", timeout=30).status_code == 200
        assert server.stop() == 0


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    with running(tmp_path / "data") as server:
        ids = send_traces(server, 200)
        server.kill()
    with running(tmp_path / "data") as again:
        expected = dict.fromkeys(ids, 2)
        sql = "SELECT trace_id, count() FROM spans GROUP BY trace_id"
        wait_for(lambda: dict(map(tuple, again.sql(sql))) == expected, 60, "every acknowledged span, once")


def test_a_second_process_is_told_who_owns_the_directory(tmp_path: Path) -> None:
    with running(tmp_path / "data") as server:
        second = subprocess.run(
            [sys.executable, "-m", "spanwise", "serve", "--data-dir", str(tmp_path / "data"), "--http-port", "0"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert second.returncode == 1
        assert f"is in use by process {server.process.pid}" in second.stderr
        assert "Traceback" not in second.stderr
        assert json.loads((tmp_path / "data" / "endpoints.json").read_text())["pid"] == server.process.pid


def test_a_wrong_setting_stops_the_start(tmp_path: Path) -> None:
    wrong = subprocess.run(
        [sys.executable, "-m", "spanwise", "serve", "--data-dir", str(tmp_path), "--job-interval", "-3"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert wrong.returncode == 1
    assert wrong.stderr.strip() == "spanwise: job_interval: input should be greater than 0, got -3.0"
