"""
What released packages send, against the account of the server they called: tokens, cost, attempts, fallbacks, routes, models.

Packages of the dependency group `captures` are optional: `make test-captures` installs them; without one, its cases are skipped.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from decimal import Decimal
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest

from analytics.config import AnalyticsConfig, AssemblyRules
from tests.integration.dialects.conftest import ROOT, Capture, python_of
from tests.support.openai_server import Answer

pytestmark = pytest.mark.integration

PLAIN = Answer(input_tokens=40, output_tokens=12)
STREAM = Answer(input_tokens=50, output_tokens=20)
RETRIED = Answer(input_tokens=55, output_tokens=21)
RESCUE = Answer(input_tokens=60, output_tokens=30)
FAILURE = Answer(status=500)

# Student 1 and 4, teacher 10 and 40 USD per million; each answer has 8 cached tokens at a tenth:
# plain 32 x 1 + 8 x 0.1 + 12 x 4, stream 42 + 0.8 + 80, retried 47 + 0.8 + 84, rescue 52 x 10 + 8 x 1 + 30 x 40
COST = {"plain": "0.0000808", "stream": "0.0001228", "retry": "0.0001318", "fallback": "0.001728"}
# 40 + 48, 50 + 80, 600 + 1200
COST_UNCACHED = {"plain": "0.000088", "stream": "0.000130", "fallback": "0.0018"}


@dataclass(frozen=True)
class Told:
    """
    Who told the stories.

    Args:
        app: the program and its arguments. package: what it needs beyond the group `dev`, in the environment that tests run in,
            or in `environment`, which is one of its own. suffix: what it adds to the names of requests.
        dialect: what its spans must be recognised as.
        tells_cached: cached tokens are sent.
        n_tries: spans of calls in the story of the fallback; 1 where the failed try is a part of the one call.
    """

    app: str
    package: str
    dialect: str
    tells_cached: bool = True
    n_tries: int = 2
    session: str = "s1"
    environment: str = ""
    suffix: str = ""

    @property
    def id(self) -> str:
        return f"{self.app} {self.environment}".strip()


THREE_STORIES = [
    Told("openinference_openai", "openinference-instrumentation-openai", "oi"),
    Told("openllmetry_openai", "opentelemetry-instrumentation-openai", "oll"),
    Told("traceai", "traceAI-openai", "fi1", tells_cached=False),
    Told("traceai_before_1", "traceAI-openai", "fi0", tells_cached=False, environment="traceai-0"),
    Told("langchain", "openinference-instrumentation-langchain", "oi"),
    # the client below LangChain tells each call once more
    Told("langchain both", "openinference-instrumentation-langchain", "oi"),
    Told("pydantic_ai_fallback", "pydantic-ai-slim", "pai", n_tries=1),
    Told("pydantic_ai_fallback", "pydantic-ai-slim", "pai", n_tries=1, environment="pydantic-ai"),
    Told("langfuse_sdk", "langfuse", "lf", session=""),
    Told("logfire_sdk", "logfire", "pai"),
    Told("traceloop_sdk", "traceloop-sdk", "oll", environment="traceloop", suffix=".workflow"),
    Told("vercel 6", "ai-6", "ai", environment="node"),
    Told("vercel 7", "ai-7", "genai", environment="node"),
]


def require(package: str, environment: str = "") -> None:
    """Skip without the package. It is not imported: that would start its global state in this process."""
    if environment == "node":
        is_there = (ROOT / "tests/integration/dialects/apps/node_modules" / package).exists()
    elif environment:
        command = [python_of(environment), "-c", f"import importlib.metadata as m; m.version({package!r})"]
        is_there = Path(command[0]).exists() and subprocess.run(command, check=False, capture_output=True).returncode == 0
    else:
        is_there = any(distributions(name=package))
    if not is_there:
        pytest.skip(f"{package} is not installed; `make test-captures` installs it")


def assert_served(facts: dict[str, Any], answer: Answer, cost: str) -> None:
    """Counts, cost, route and cohort of a trace that one answer of the server made."""
    assert (facts["input_tokens"], facts["output_tokens"]) == (answer.input_tokens, answer.output_tokens)
    assert (facts["cost_usd"], facts["cost_source"]) == (Decimal(cost), "configured")
    assert (facts["model_route"], facts["cohort"]) == ("student", "refund")
    assert (facts["n_logical_calls"], facts["errored"], facts["timed_out"]) == (1, False, False)
    assert facts["model"].startswith(("student", "openai/student"))


@pytest.mark.parametrize("told", THREE_STORIES, ids=lambda told: told.id)
def test_what_is_reported_is_what_was_served(told: Told, capture: Capture) -> None:
    require(told.package, told.environment)
    capture.server.then(PLAIN, STREAM, FAILURE, RESCUE)
    capture.run(*told.app.split(), environment=told.environment)
    assert [served.answer for served in capture.server.served] == [PLAIN, STREAM, FAILURE, RESCUE]
    assert told.dialect in capture.dialects()

    cost = COST if told.tells_cached else COST_UNCACHED
    for name, answer in (("plain", PLAIN), ("stream", STREAM)):
        facts = capture.facts(name + told.suffix)
        assert_served(facts, answer, cost[name])
        assert facts["cache_read_tokens"] == (8 if told.tells_cached else None)
        assert (facts["n_model_calls"], facts["retried"], facts["fell_back"]) == (1, False, False)
        assert facts["session_id"] == told.session
    facts = capture.facts("fallback" + told.suffix)
    assert_served(facts, RESCUE, cost["fallback"])
    assert (facts["n_model_calls"], facts["retried"], facts["fell_back"]) == (told.n_tries, False, True)
    assert (facts["fallback_to"], facts["models"]) == ("teacher-70b-2026-01-01", ["teacher-70b-2026-01-01"])


LITELLM = {"openinference": "openinference-instrumentation-litellm", "v2": "litellm", "callback": "litellm"}


@pytest.mark.parametrize("told_by", LITELLM)
def test_a_litellm_router_with_retries_and_fallbacks(told_by: str, capture: Capture) -> None:
    require(LITELLM[told_by])
    capture.server.then(PLAIN, STREAM, FAILURE, RETRIED, FAILURE, FAILURE, RESCUE)
    capture.run("litellm_router", told_by)
    assert len(capture.server.served) == 7
    # the callback writes to the application's span, which had ended: only answers have a span, and a stream's has no usage
    has_all_tries = told_by != "callback"

    plain = capture.facts("plain")
    assert_served(plain, PLAIN, COST["plain"])
    assert (plain["n_model_calls"], plain["retried"], plain["fell_back"]) == (1, False, False)

    stream = capture.facts("stream")
    if has_all_tries:
        assert_served(stream, STREAM, COST["stream"])
    else:
        assert (stream["input_tokens"], stream["cost_usd"]) == (None, None)
        assert "usage_unknown" in stream["quality_flags"]
    assert (stream["n_model_calls"], stream["n_logical_calls"]) == (1, 1)

    retry = capture.facts("retry")
    assert_served(retry, RETRIED, COST["retry"])
    assert (retry["n_model_calls"], retry["retried"], retry["fell_back"]) == (2 if has_all_tries else 1, True, False)

    fallback = capture.facts("fallback")
    assert_served(fallback, RESCUE, COST["fallback"])
    assert (fallback["n_model_calls"], fallback["retried"]) == ((3, True) if has_all_tries else (1, False))
    assert (fallback["fell_back"], fallback["n_fallback_calls"]) == (True, 1)
    assert "teacher" in fallback["fallback_to"]


def test_a_litellm_proxy_with_a_fallback(capture: Capture) -> None:
    """The application sends its trace context: what the proxy tells hangs below the span that knows route and cohort."""
    require("litellm", "litellm-proxy")
    capture.server.then(PLAIN, STREAM, FAILURE, RESCUE)
    capture.run("litellm_proxy", environment="litellm-proxy", n_calls=4)
    assert [served.answer for served in capture.server.served] == [PLAIN, STREAM, FAILURE, RESCUE]
    assert "ll2" in capture.dialects()
    for name, answer in (("plain", PLAIN), ("stream", STREAM)):
        facts = capture.facts(name)
        assert_served(facts, answer, COST[name])
        assert (facts["n_model_calls"], facts["retried"], facts["fell_back"]) == (1, False, False)
        # the proxy answers with the name it was asked for, the group's: that is no model, and no other one
        assert facts["models"] == ["openai/student-8b"]
        assert "model_mismatch" not in facts["quality_flags"]
    facts = capture.facts("fallback")
    assert_served(facts, RESCUE, COST["fallback"])
    assert (facts["n_model_calls"], facts["retried"], facts["fell_back"], facts["fallback_to"]) == (2, False, True, "teacher")


def test_a_silent_model_is_a_shadow_when_its_group_is_configured_as_one(capture: Capture) -> None:
    """LiteLLM tells the copy as a call like any other, in the same trace: only the name of its group says what it is."""
    require("litellm")
    capture.server.then(PLAIN, STREAM)
    rules = AssemblyRules(shadow_routes=frozenset({"student-shadow"}))
    capture.run("litellm_router", "v2", "mirrored", n_calls=2, config=AnalyticsConfig(assembly=rules))
    served = {answer.request["model"]: answer.answer for answer in capture.server.served}
    units = capture.store.frame("SELECT * FROM trace_facts FINAL WHERE name != '' ORDER BY mirror_role").to_dicts()
    assert [(unit["mirror_role"], unit["model_route"]) for unit in units] == [
        ("primary", "teacher"),
        ("shadow", "student-shadow"),
    ]
    for unit, model in zip(units, ("teacher-70b", "student-8b"), strict=True):
        assert (unit["input_tokens"], unit["output_tokens"]) == (served[model].input_tokens, served[model].output_tokens)
        assert (unit["n_logical_calls"], unit["mirror_group"]) == (1, unit["trace_id"])
