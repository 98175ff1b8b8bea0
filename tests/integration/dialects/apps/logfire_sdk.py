"""Logfire on the OpenAI client, its spans sent to our door only."""

from typing import Any

import logfire
import openai

from tests.integration.dialects.apps.common import MESSAGES, STUDENT, TEACHER, client, exporting


def keep_session(match: logfire.ScrubMatch) -> Any:
    """Logfire scrubs every attribute with `session` in its name."""
    return match.value if match.path[-1] == "session.id" else None


logfire.configure(
    send_to_logfire=False,
    console=False,
    additional_span_processors=[exporting()],
    scrubbing=logfire.ScrubbingOptions(callback=keep_session),
)


def work(name: str) -> logfire.LogfireSpan:
    return logfire.span(name, **{"rollout.route": "student", "rollout.cohort": "refund", "session.id": "s1"})


with client() as ai:
    logfire.instrument_openai(ai)
    with work("plain"):
        ai.chat.completions.create(model=STUDENT, messages=MESSAGES)
    with work("stream"):
        list(ai.chat.completions.create(model=STUDENT, messages=MESSAGES, stream=True, stream_options={"include_usage": True}))
    with work("fallback"):
        try:
            ai.chat.completions.create(model=STUDENT, messages=MESSAGES)
        except openai.InternalServerError:
            ai.chat.completions.create(model=TEACHER, messages=MESSAGES)
logfire.shutdown()
