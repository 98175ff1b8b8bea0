from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.content import Message, conversation_of

ASKED = (Message("user", "May I?"),)
ANSWERED = (Message("assistant", "Yes."),)


@pytest.mark.parametrize(
    "attributes",
    [
        {
            "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"type": "text", "content": "May I?"}]}]),
            "gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": "Yes."}]}]),
        },
        {
            "gen_ai.prompt.0.role": "user",
            "gen_ai.prompt.0.content": "May I?",
            "gen_ai.completion.0.role": "assistant",
            "gen_ai.completion.0.content": "Yes.",
        },
        {
            "llm.input_messages.0.message.role": "user",
            "llm.input_messages.0.message.content": "May I?",
            "llm.output_messages.0.message.role": "assistant",
            "llm.output_messages.0.message.content": "Yes.",
        },
        {
            "ai.prompt.messages": json.dumps([{"role": "user", "content": [{"type": "text", "text": "May I?"}]}]),
            "ai.response.text": "Yes.",
        },
        {
            "input.value": json.dumps({"messages": [{"role": "user", "content": "May I?"}]}),
            "output.value": json.dumps({"role": "assistant", "content": "Yes."}),
        },
    ],
)
def test_every_dialect_tells_the_same_conversation(attributes: dict[str, str]) -> None:
    conversation = conversation_of(attributes)
    assert conversation.prompt == ASKED
    assert conversation.completion == ANSWERED


def test_indexed_messages_are_put_in_order_and_gaps_are_legal() -> None:
    attributes = {"gen_ai.prompt.10.content": "third", "gen_ai.prompt.2.content": "second", "gen_ai.prompt.0.content": "first"}
    assert [message.text for message in conversation_of(attributes).prompt] == ["first", "second", "third"]


def test_the_system_instructions_come_first_and_once() -> None:
    system = json.dumps([{"type": "text", "content": "Be kind."}])
    attributes = {
        "gen_ai.system_instructions": system,
        "gen_ai.input.messages": json.dumps([{"role": "user", "content": "May I?"}]),
    }
    assert conversation_of(attributes).prompt == (Message("system", "Be kind."), *ASKED)


def test_a_tool_call_is_shown_as_it_was_sent() -> None:
    call = {"type": "tool_call", "name": "refund", "arguments": {"order": 7}}
    attributes = {"gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": [call]}])}
    (message,) = conversation_of(attributes).completion
    assert json.loads(message.text) == call


def test_the_same_words_under_several_keys_are_told_once() -> None:
    attributes = {"gen_ai.input.messages": json.dumps([{"role": "user", "content": "May I?"}]), "input.value": "May I?"}
    assert conversation_of(attributes).prompt == ASKED


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["role", "content", "parts", "type", "text", "x"]), inner)
    ),
    max_leaves=10,
)


@given(json_values | st.text())
def test_nothing_a_sender_writes_breaks_it(value: object) -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    for key in ("gen_ai.input.messages", "input.value", "gen_ai.prompt.0.content", "gen_ai.system_instructions"):
        for message in conversation_of({key: text}).prompt:
            assert isinstance(message.text, str)
