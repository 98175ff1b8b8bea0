"""Prompts and completions for reading: the same words whichever way an instrumentation wrote them down."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_MAX_TEXT = 50_000
# most specific first: the first that is present wins, since instrumentations repeat the same messages under several keys
_PROMPTS = (
    "gen_ai.input.messages",
    "gen_ai.prompt.",
    "llm.input_messages.",
    "ai.prompt.messages",
    "ai.prompt",
    "langfuse.observation.input",
    "langfuse.trace.input",
    "traceloop.entity.input",
    "input.value",
    "gen_ai.prompt",
)
_COMPLETIONS = (
    "gen_ai.output.messages",
    "gen_ai.completion.",
    "llm.output_messages.",
    "ai.response.text",
    "ai.response.object",
    "langfuse.observation.output",
    "langfuse.trace.output",
    "traceloop.entity.output",
    "output.value",
    "gen_ai.completion",
)
_SYSTEM = "gen_ai.system_instructions"


@dataclass(frozen=True)
class Message:
    """One message of a conversation; `role` may be ''."""

    role: str
    text: str


@dataclass(frozen=True)
class Conversation:
    """What went in and what came out; empty where content was not sent or was masked."""

    prompt: tuple[Message, ...]
    completion: tuple[Message, ...]


def conversation_of(attributes: Mapping[str, str]) -> Conversation:
    """The messages in a span's attributes."""
    system = tuple(_messages(attributes.get(_SYSTEM, ""), "system"))
    prompt = _first(attributes, _PROMPTS, "")
    return Conversation(
        prompt if any(m.role == "system" for m in prompt) else system + prompt, _first(attributes, _COMPLETIONS, "assistant")
    )


def _first(attributes: Mapping[str, str], keys: Iterable[str], role: str) -> tuple[Message, ...]:
    for key in keys:
        found = _indexed(attributes, key) if key.endswith(".") else tuple(_messages(attributes.get(key, ""), role))
        if found:
            return found
    return ()


def _indexed(attributes: Mapping[str, str], prefix: str) -> tuple[Message, ...]:
    """Messages flattened into `prefix` + index + field; gaps and any order are legal."""
    found: dict[int, dict[str, str]] = {}
    for key, value in attributes.items():
        index, _, field = key.removeprefix(prefix).partition(".")
        if key.startswith(prefix) and index.isdecimal():
            found.setdefault(int(index), {})[field.removeprefix("message.")] = value
    messages = []
    for _, fields in sorted(found.items()):
        text = fields.get("content") or "\n".join(f"{name}: {fields[name]}" for name in sorted(fields) if name != "role")
        messages.append(Message(fields.get("role", ""), text[:_MAX_TEXT]))
    return tuple(messages)


def _messages(text: str, role: str) -> Iterable[Message]:
    """Messages in one attribute's text: a JSON list of messages, one message, or the words themselves."""
    if not text:
        return
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        yield Message(role, text[:_MAX_TEXT])
        return
    if isinstance(value, dict) and isinstance(value.get("messages"), list):
        value = value["messages"]
    items = value if isinstance(value, list) else [value]
    if items and all(isinstance(item, dict) and {"role", "content", "parts", "type"} & item.keys() for item in items):
        for item in items:
            yield Message(str(item.get("role", role)), _words(item.get("parts", item.get("content", item)))[:_MAX_TEXT])
    elif isinstance(value, str):
        yield Message(role, value[:_MAX_TEXT])
    else:
        yield Message(role, _pretty(value)[:_MAX_TEXT])


def _words(value: Any) -> str:
    """The readable words of a message's content or parts; what is not text is shown as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\n".join(_words(part) for part in value)
    if isinstance(value, dict):
        text = value.get("text", value.get("content"))
        if isinstance(text, str) and value.get("type", "text") in ("text", "input_text", "output_text", "reasoning"):
            return text
    return _pretty(value)


def _pretty(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)
