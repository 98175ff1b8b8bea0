"""traceAI on the OpenAI client, its spans also sent to us."""

from fi_instrumentation import register
from fi_instrumentation.fi_types import ProjectType
from traceai_openai import OpenAIInstrumentor

from tests.integration.dialects.apps.common import tell_three_stories, tracing

provider = tracing(register(project_name="support-agent", project_type=ProjectType.OBSERVE, verbose=False))
OpenAIInstrumentor().instrument(tracer_provider=provider)
tell_three_stories()
