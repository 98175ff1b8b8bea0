"""OpenInference on LangChain and on the OpenAI client below it: each call is told twice."""

import sys

import openai
from langchain_openai import ChatOpenAI
from openinference.instrumentation.langchain import LangChainInstrumentor
from openinference.instrumentation.openai import OpenAIInstrumentor

from tests.integration.dialects.apps.common import MODELS, STUDENT, TEACHER, tracing, work

provider = tracing()
LangChainInstrumentor().instrument(tracer_provider=provider)
if "both" in sys.argv:
    OpenAIInstrumentor().instrument(tracer_provider=provider)


def chat(model: str) -> ChatOpenAI:
    return ChatOpenAI(model=model, base_url=MODELS, api_key="x", max_retries=0, stream_usage=True)


with work("plain"):
    chat(STUDENT).invoke("May I have a refund?")
with work("stream"):
    list(chat(STUDENT).stream("May I have a refund?"))
with work("fallback"):
    chat(STUDENT).with_fallbacks([chat(TEACHER)], exceptions_to_handle=(openai.InternalServerError,)).invoke(
        "May I have a refund?"
    )
