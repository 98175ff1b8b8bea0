"""A LiteLLM proxy with its own OpenTelemetry callback (V2), asked by an application that sends its trace context along."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import openai
from opentelemetry.propagate import inject

from tests.integration.dialects.apps.common import MESSAGES, MODELS, OTLP_GRPC, STUDENT, TEACHER, tracing, work


def deployment(group: str, model: str) -> dict[str, object]:
    parameters = {"model": f"openai/{model}", "api_base": MODELS, "api_key": "x", "max_retries": 0}
    return {"model_name": group, "litellm_params": parameters}


CONFIG = {
    "litellm_settings": {"callbacks": ["otel"], "num_retries": 0},
    "model_list": [deployment("student", STUDENT), deployment("teacher", TEACHER)],
    "router_settings": {"fallbacks": [{"student": ["teacher"]}], "num_retries": 0, "disable_cooldowns": True},
    "general_settings": {"master_key": "sk-1"},
}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def started(directory: str, port: int) -> subprocess.Popen[bytes]:
    """The proxy, once it answers."""
    config = Path(directory, "config.yaml")
    config.write_text(json.dumps(CONFIG))  # JSON is YAML
    settings = {
        "LITELLM_OTEL_V2": "True",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "OTEL_EXPORTER": "otlp_grpc",
        "OTEL_ENDPOINT": f"http://{OTLP_GRPC}",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{OTLP_GRPC}",
    }
    command = [
        str(Path(sys.executable).with_name("litellm")),
        "--config",
        str(config),
        "--port",
        str(port),
        "--host",
        "127.0.0.1",
    ]
    proxy = subprocess.Popen(command, env=os.environ | settings, stdout=sys.stderr)
    for _ in range(600):
        assert proxy.poll() is None, "the proxy ended by itself"
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health/liveliness", trust_env=False).is_success:
                return proxy
        except httpx.TransportError:
            time.sleep(0.2)
    raise TimeoutError("the proxy does not answer")


def ask(ai: openai.OpenAI, **options: object) -> None:
    context: dict[str, str] = {}
    inject(context)
    reply = ai.chat.completions.create(model="student", messages=MESSAGES, extra_headers=context, **options)
    if options:
        list(reply)


tracing()
with tempfile.TemporaryDirectory() as directory:
    port = free_port()
    proxy = started(directory, port)
    try:
        with openai.OpenAI(base_url=f"http://127.0.0.1:{port}", api_key="sk-1", max_retries=0) as ai:
            with work("plain"):
                ask(ai)
            with work("stream"):
                ask(ai, stream=True, stream_options={"include_usage": True})
            with work("fallback"):
                ask(ai)
        sys.stdin.read()  # its callbacks run after the answers: it may end when all has arrived
    finally:
        proxy.send_signal(signal.SIGTERM)
        proxy.wait(30)
