"""A LiteLLM Router with a retry and a fallback, or a silent model, told by OpenInference or by its own callback, V2 or before."""

import asyncio
import os
import sys

from tests.integration.dialects.apps.common import MESSAGES, MODELS, OTLP_GRPC, STUDENT, TEACHER, tracing, work

TOLD_BY = sys.argv[1]
os.environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "OTEL_EXPORTER": "otlp_grpc", "OTEL_ENDPOINT": f"http://{OTLP_GRPC}"}
os.environ["LITELLM_OTEL_V2"] = str(TOLD_BY == "v2")
provider = tracing()

import litellm  # noqa: E402  reads the environment when imported
from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER  # noqa: E402

if TOLD_BY == "openinference":
    from openinference.instrumentation.litellm import LiteLLMInstrumentor

    LiteLLMInstrumentor().instrument(tracer_provider=provider)
else:
    litellm.callbacks = ["otel"]


def deployment(group: str, model: str, **more: str) -> dict[str, object]:
    parameters = {"model": f"openai/{model}", "api_base": MODELS, "api_key": "x", "max_retries": 0, **more}
    return {"model_name": group, "litellm_params": parameters}


async def mirrored() -> None:
    """The teacher answers; the same is asked of the student, and nobody waits for it. Its group has a name of its own."""
    groups = [deployment("teacher", TEACHER, silent_model="student-shadow"), deployment("student-shadow", STUDENT)]
    router = litellm.Router(model_list=groups, num_retries=0)
    with work("mirrored", route="teacher"):
        await router.acompletion(model="teacher", messages=MESSAGES)
    await asyncio.to_thread(sys.stdin.read)  # the copy runs in the background: stop when both have arrived


async def main() -> None:
    router = litellm.Router(
        model_list=[deployment("student", STUDENT), deployment("teacher", TEACHER)],
        fallbacks=[{"student": ["teacher"]}],
        num_retries=1,
        disable_cooldowns=True,
    )
    with work("plain"):
        await router.acompletion(model="student", messages=MESSAGES)
    with work("stream"):
        options = {"stream": True, "stream_options": {"include_usage": True}}
        async for _ in await router.acompletion(model="student", messages=MESSAGES, **options):
            pass
    with work("retry"):
        await router.acompletion(model="student", messages=MESSAGES)
    with work("fallback"):
        await router.acompletion(model="student", messages=MESSAGES)
    await GLOBAL_LOGGING_WORKER.flush()


asyncio.run(mirrored() if "mirrored" in sys.argv else main())
