"""What a rule does to every place where a secret can stand, and what it leaves alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from pydantic import SecretStr, ValidationError

from collector.config import MaskingConfig, MaskRule
from collector.masking import Masked, Masker
from tests.support.receivers import make_span, trace_request


def masker(*rules: MaskRule) -> Masker:
    made = Masker.from_config(MaskingConfig(rules=rules, hash_key=SecretStr("pepper")))
    assert made is not None
    return made


def attributes(**values: object) -> list[KeyValue]:
    found = []
    for key, value in values.items():
        item = KeyValue(key=key.replace("__", "."))
        setattr(item.value, {str: "string_value", int: "int_value", bytes: "bytes_value"}[type(value)], value)
        found.append(item)
    return found


def masked_span(span: Span, *rules: MaskRule) -> Span:
    payload = masker(*rules).traces(trace_request(span).SerializeToString()).payload
    return ExportTraceServiceRequest.FromString(payload).resource_spans[0].scope_spans[0].spans[0]


def values(span: Span) -> dict[str, object]:
    return {item.key: getattr(item.value, item.value.WhichOneof("value") or "string_value") for item in span.attributes}


def test_no_rules_no_masker() -> None:
    assert Masker.from_config(MaskingConfig()) is None


def test_drop_hash_and_redact_by_key() -> None:
    span = make_span(attributes=attributes(user__id="ann", user__email="a@b.example", input__value="hi", n=3))
    found = values(
        masked_span(
            span,
            MaskRule(action="hash", keys=("user.id",)),
            MaskRule(action="redact", keys=("user.e*",)),
            MaskRule(action="drop", keys=("input.value",)),
        )
    )
    assert found.pop("user.id").startswith("hash:")
    assert found == {"user.email": "[redacted]", "n": 3}


def test_equal_values_hash_alike_and_only_with_the_same_secret() -> None:
    rule = MaskRule(action="hash", keys=("user.id",))
    span = make_span(attributes=attributes(user__id="ann"))
    other = Masker(MaskingConfig(rules=(rule,), hash_key=SecretStr("salt")))
    assert masked_span(span, rule) == masked_span(span, rule)
    assert masker(rule).text("user.id", "ann") != other.text("user.id", "ann")


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("prompts", ["gen_ai.input.messages", "gen_ai.prompt.0.content", "llm.input_messages.0.message.content", "input.value"]),
        ("completions", ["gen_ai.output.messages", "gen_ai.completion.0.content", "output.value", "ai.response.text"]),
        ("tools", ["gen_ai.tool.call.arguments", "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments"]),
        ("explanations", ["gen_ai.evaluation.explanation", "trace.annotations.0.annotation.explanation"]),
    ],
)
def test_content_goes_whichever_sdk_sent_it(kind: str, keys: list[str]) -> None:
    kept = ["gen_ai.prompt.name", "gen_ai.prompt.version", "gen_ai.usage.input_tokens", "gen_ai.completion.0.finish_reason"]
    span = make_span()
    for key in keys + kept:
        span.attributes.add(key=key).value.string_value = "text"
    found = values(masked_span(span, MaskRule.model_validate({"action": "drop", "content": [kind]})))
    assert list(found) == kept


SECRET = "write to ann@example.com"


def test_patterns_reach_every_text_of_a_request() -> None:
    span = make_span(name=SECRET, status=Status(code=2, message=SECRET), attributes=attributes(note=SECRET, raw=SECRET.encode()))
    nested = span.attributes.add(key="nested").value.kvlist_value.values.add(key=SECRET)
    nested.value.array_value.values.add().string_value = SECRET
    span.events.add(name=SECRET).attributes.add(key="exception.message").value.string_value = SECRET
    span.links.add(trace_id=b"1" * 16, span_id=b"1" * 8).attributes.add(key="x").value.string_value = SECRET
    request = trace_request(span)
    request.resource_spans[0].resource.attributes.add(key="owner").value.string_value = SECRET
    request.resource_spans[0].scope_spans[0].scope.attributes.add(key="owner").value.string_value = SECRET
    masked = masker(MaskRule(action="redact", patterns=("email",))).traces(request.SerializeToString())
    assert b"example.com" not in masked.payload
    assert masked.payload.count(b"write to [redacted]") == 11


def test_log_bodies_and_attributes_are_masked() -> None:
    request = ExportLogsServiceRequest()
    record = request.resource_logs.add().scope_logs.add().log_records.add(event_name="gen_ai.user.message")
    record.body.kvlist_value.values.add(key="content").value.string_value = SECRET
    record.attributes.add(key="x").value.string_value = SECRET
    by_pattern = masker(MaskRule(action="redact", patterns=("email",))).logs(request.SerializeToString())
    assert by_pattern.payload.count(b"write to [redacted]") == 2
    by_content = masker(MaskRule(action="drop", content=("prompts",))).logs(request.SerializeToString()).payload
    kept = ExportLogsServiceRequest.FromString(by_content).resource_logs[0].scope_logs[0].log_records[0]
    assert not kept.HasField("body")
    assert len(kept.attributes) == 1


@pytest.mark.parametrize(
    ("pattern", "text", "masked"),
    [
        ("email", "mail Ann.O'Neil+x@mail.example.co.uk!", "mail Ann.O'[redacted]!"),
        ("email", "jürgen@müller.example", "[redacted]"),
        ("email", "a @ b and user@localhost", "a @ b and user@localhost"),
        ("card", "4111 1111 1111 1111.", "[redacted]."),
        ("card", "card=5500-0000-0000-0004", "card=[redacted]"),
        ("card", "4111 1111 1111 1112", "4111 1111 1111 1112"),
        ("card", "1700000000000000000", "1700000000000000000"),
        ("phone", "call +44 20 7946 0958 now", "call [redacted] now"),
        ("phone", "(212) 555-0123", "[redacted]"),
        ("phone", "tokens 1234567 and 2026-11-22", "tokens 1234567 and 2026-11-22"),
    ],
)
def test_known_patterns(pattern: str, text: str, masked: str) -> None:
    """4111 1111 1111 1111 and 5500 0000 0000 0004 are the card networks' own test numbers; ...1112 fails the Luhn sum."""
    assert masker(MaskRule.model_validate({"action": "redact", "patterns": [pattern]})).text("note", text) == masked


def test_a_card_sent_as_a_number_is_found() -> None:
    span = make_span(attributes=attributes(card=4111111111111111, tokens=812))
    assert values(masked_span(span, MaskRule(action="redact", patterns=("card",)))) == {"card": "[redacted]", "tokens": 812}


def test_own_regexes_and_keys_together_narrow_the_rule() -> None:
    span = make_span(attributes=attributes(a="id K-12345", b="id K-12345"))
    found = values(masked_span(span, MaskRule(action="drop", keys=("a",), regexes=(r"K-\d+",))))
    assert found == {"a": "id ", "b": "id K-12345"}


def test_drop_item_leaves_the_whole_span_out_and_counts_it() -> None:
    rule = MaskRule(action="drop_item", keys=("tenant",), regexes=("acme",))
    request = trace_request(make_span(attributes=attributes(tenant="acme")), make_span(attributes=attributes(tenant="other")))
    masked = masker(rule).traces(request.SerializeToString())
    assert masked.n_left_out == 1
    assert b"acme" not in masked.payload
    assert b"other" in masked.payload


def test_unknown_fields_do_not_carry_secrets_past_the_rules() -> None:
    """Field 99 of a span, which no release knows."""
    unknown = b"\x9a\x06\x0b" + b"a@b.example"
    span = Span.FromString(make_span().SerializeToString() + unknown)
    masked = masker(MaskRule(action="redact", patterns=("email",))).traces(trace_request(span).SerializeToString())
    assert b"a@b.example" not in masked.payload


@pytest.mark.parametrize(
    "config",
    [
        {"rules": [{"action": "redact"}]},
        {"rules": [{"action": "redact", "regexes": ["("]}]},
        {"rules": [{"action": "redact", "regexes": ["a*"]}]},
        {"rules": [{"action": "hash", "keys": ["x"]}]},
    ],
)
def test_wrong_rules_stop_the_start(config: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        MaskingConfig.model_validate(config)


@given(st.text(max_size=60))
def test_masking_twice_is_masking_once(text: str) -> None:
    rule = masker(MaskRule(action="redact", patterns=("email", "card", "phone")))
    once = rule.text("x", text)
    assert once is not None
    assert rule.text("x", once) == once


def test_what_no_rule_names_is_the_same_bytes() -> None:
    payload = trace_request(make_span(attributes=attributes(a="b"))).SerializeToString()
    assert masker(MaskRule(action="drop", keys=("other",))).traces(payload) == Masked(payload, 0)
