"""Pydantic AI: a plain agent, a streamed run, and a FallbackModel whose first model fails."""

import asyncio

import openai
from pydantic_ai import Agent
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.instrumented import InstrumentationSettings
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from tests.integration.dialects.apps.common import MODELS, STUDENT, TEACHER, tracing, work

Agent.instrument_all(InstrumentationSettings(tracer_provider=tracing()))


async def main() -> None:
    async with openai.AsyncOpenAI(base_url=MODELS, api_key="x", max_retries=0) as ai:
        provider = OpenAIProvider(openai_client=ai)
        student, teacher = OpenAIChatModel(STUDENT, provider=provider), OpenAIChatModel(TEACHER, provider=provider)
        with work("plain"):
            await Agent(student).run("May I have a refund?")
        with work("stream"):
            async with Agent(student).run_stream("May I have a refund?") as answer:
                await answer.get_output()
        with work("fallback"):
            await Agent(FallbackModel(student, teacher)).run("May I have a refund?")


asyncio.run(main())
