"""traceAI on the OpenAI client, its spans sent to us instead of to FutureAGI."""

from fi_instrumentation import register
from fi_instrumentation.fi_types import ProjectType
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from traceai_openai import OpenAIInstrumentor

from tests.integration.dialects.apps.common import OTLP_GRPC, tell_three_stories

ours = OTLPSpanExporter(endpoint=OTLP_GRPC, insecure=True)
provider = register(project_name="support-agent", project_type=ProjectType.OBSERVE, span_exporter=ours, verbose=False)
trace.set_tracer_provider(provider)
OpenAIInstrumentor().instrument(tracer_provider=provider)
tell_three_stories()
