"""The Traceloop SDK: OpenLLMetry with route, cohort and session as association properties; a workflow is the request."""

import os

import openai
from traceloop.sdk import Traceloop
from traceloop.sdk.decorators import workflow

from tests.integration.dialects.apps.common import MESSAGES, OTLP_HTTP, STUDENT, TEACHER, client

os.environ["TRACELOOP_TELEMETRY"] = "false"
Traceloop.init(app_name="shop", api_endpoint=OTLP_HTTP, disable_batch=False)
Traceloop.set_association_properties({"route": "student", "cohort": "refund", "session_id": "s1"})


@workflow(name="plain")
def plain(ai: openai.OpenAI) -> None:
    ai.chat.completions.create(model=STUDENT, messages=MESSAGES)


@workflow(name="stream")
def stream(ai: openai.OpenAI) -> None:
    list(ai.chat.completions.create(model=STUDENT, messages=MESSAGES, stream=True, stream_options={"include_usage": True}))


@workflow(name="fallback")
def fallback(ai: openai.OpenAI) -> None:
    try:
        ai.chat.completions.create(model=STUDENT, messages=MESSAGES)
    except openai.InternalServerError:
        ai.chat.completions.create(model=TEACHER, messages=MESSAGES)


with client() as made:
    for tell in (plain, stream, fallback):
        tell(made)
