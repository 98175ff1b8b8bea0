"""Where content and personal data sit in LLM telemetry: attribute keys by kind of content, patterns inside text."""

from __future__ import annotations

import re
from collections.abc import Callable

CONTENT_KEYS = {
    "prompts": (
        "gen_ai.prompt",
        "gen_ai.prompt.[0-9]*",
        "gen_ai.prompt.variable.*",
        "gen_ai.prompt.template.name",
        "gen_ai.prompt.template.variables",
        "gen_ai.input.messages",
        "gen_ai.system_instructions",
        "gen_ai.event.content",
        "llm.input_messages.*.content*",
        "llm.input_messages.*.arguments",
        "llm.prompts*",
        "llm.openai.messages",
        "llm.prompt_template.name",
        "llm.prompt_template.template",
        "llm.prompt_template.variables",
        "input.value",
        "traceloop.entity.input",
        "traceloop.prompt.template",
        "traceloop.prompt.template_variables",
        "langfuse.observation.input",
        "langfuse.trace.input",
        "ai.prompt*",
        "retrieval.documents.*",
    ),
    "completions": (
        "gen_ai.completion",
        "gen_ai.completion.[0-9]*.content",
        "gen_ai.completion.[0-9]*.arguments",
        "gen_ai.output.messages",
        "llm.output_messages.*.content*",
        "llm.output_messages.*.arguments",
        "llm.completions*",
        "llm.openai.choices",
        "output.value",
        "traceloop.entity.output",
        "langfuse.observation.output",
        "langfuse.trace.output",
        "ai.response.text",
        "ai.response.object",
        "ai.response.reasoning",
        "ai.response.toolCalls",
    ),
    "tools": (
        "gen_ai.tool.call.arguments",
        "gen_ai.tool.call.result",
        "gen_ai.completion.*.arguments",
        "llm.*_messages.*.arguments",
        "ai.toolCall.args",
        "ai.toolCall.result",
        "tool.parameters",
    ),
    "explanations": (
        "gen_ai.evaluation.explanation",
        "*annotations.*.annotation.explanation",
        "*evaluations.*.evaluation.explanation",
        "logfire.feedback.comment",
    ),
}
"""Where SDKs put content, by kind. Bodies of GenAI message events are content of prompts and completions alike."""

_EMAIL = re.compile(r"[^\s@<>\"',;:()\[\]\\]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}")
_CARD = re.compile(r"(?<![\d.])[2-6]\d(?:[ -]?\d){11,17}(?!\d)")
_PHONE = re.compile(r"(?<![\w.])(?:\+\d[\d ().-]{6,18}\d|\(\d{3}\) ?\d{3}[ .-]\d{4}|\d{3}[ .-]\d{3}[ .-]\d{4})(?!\w)")


def _is_card(text: str) -> bool:
    """ISO/IEC 7812: the Luhn sum over 13 to 19 digits."""
    digits = [int(c) for c in text if c.isdigit()]
    doubled = [sum(divmod(2 * d, 10)) for d in digits[-2::-2]]
    return 13 <= len(digits) <= 19 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _is_phone(text: str) -> bool:
    return 8 <= sum(c.isdigit() for c in text) <= 15


def always(_: str) -> bool:
    return True


PATTERNS: dict[str, tuple[re.Pattern[str], Callable[[str], bool]]] = {
    "email": (_EMAIL, always),
    "card": (_CARD, _is_card),
    "phone": (_PHONE, _is_phone),
}
"""Name -> the pattern, and what a match must also satisfy to be one."""
