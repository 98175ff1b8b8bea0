// The Vercel AI SDK's own telemetry: version 6 (`ai.*` beside `gen_ai.*`) or 7 (`gen_ai.*` by its OpenTelemetry package).

import { trace } from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { BatchSpanProcessor, NodeTracerProvider } from "@opentelemetry/sdk-trace-node";

const [version] = process.argv.slice(2);
const ai = await import(`ai-${version}`);
const { createOpenAI } = await import(`openai-${Number(version) - 3}`);
const exporter = new OTLPTraceExporter({ url: `${process.env.CAPTURE_OTLP_HTTP}/v1/traces` });
const provider = new NodeTracerProvider({ spanProcessors: [new BatchSpanProcessor(exporter)] });
provider.register();

const telemetry = {};
if (version === "6") telemetry.experimental_telemetry = { isEnabled: true };
else ai.registerTelemetry(new (await import("@ai-sdk/otel")).OpenTelemetry());

const openai = createOpenAI({ baseURL: process.env.CAPTURE_MODELS, apiKey: "x" });
const ask = (model) => ({ model: openai.chat(model), prompt: "May I have a refund?", maxRetries: 0, ...telemetry });

async function work(name, run) {
  const attributes = { "rollout.route": "student", "rollout.cohort": "refund", "session.id": "s1" };
  await trace.getTracer("shop").startActiveSpan(name, { attributes }, async (span) => {
    await run();
    span.end();
  });
}

await work("plain", () => ai.generateText(ask("student-8b")));
await work("stream", async () => {
  for await (const _ of ai.streamText(ask("student-8b")).textStream);
});
await work("fallback", async () => {
  try {
    await ai.generateText(ask("student-8b"));
  } catch {
    await ai.generateText(ask("teacher-70b"));
  }
});
await provider.shutdown();
