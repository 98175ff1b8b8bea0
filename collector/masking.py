"""
Keeps what must not be stored off the disk: rules drop, hash or redact attributes and text before a request is spooled.

A request is parsed, changed and serialised again, which costs several times its acceptance; without rules there is no
masker and no cost. Keys repeat, so what a rule does to a key is decided once per key.
"""

from __future__ import annotations

import fnmatch
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from collector.config import MaskingConfig, MaskRule
from collector.content import CONTENT_KEYS, PATTERNS, always

REDACTED = "[redacted]"


@dataclass(frozen=True)
class Masked:
    """The request as it may be stored, and how many of its items were left out."""

    payload: bytes
    n_left_out: int


class _Rule:
    """A rule made ready: which keys it looks at, and what it makes of a text."""

    def __init__(self, rule: MaskRule, hash_key: bytes) -> None:
        globs = [*rule.keys, *(glob for kind in rule.content for glob in CONTENT_KEYS[kind])]
        self.takes_every_key = not globs
        self._keys = re.compile("|".join(fnmatch.translate(glob) for glob in globs)) if globs else None
        self._patterns = [PATTERNS[name] for name in rule.patterns] + [(re.compile(regex), always) for regex in rule.regexes]
        self._hash_key = hash_key
        self.action = rule.action
        self.is_partial = bool(self._patterns)
        self.takes_message_bodies = bool({"prompts", "completions"} & set(rule.content))

    def takes(self, key: str) -> bool:
        return self._keys is None or self._keys.match(key) is not None

    def found_in(self, text: str) -> bool:
        return any(is_real(match[0]) for pattern, is_real in self._patterns for match in pattern.finditer(text))

    def replaced(self, text: str) -> str:
        """The text with every match replaced."""
        for pattern, is_real in self._patterns:
            text = pattern.sub(lambda match: self.instead(match[0]) if is_real(match[0]) else match[0], text)  # noqa: B023
        return text

    def instead(self, text: str) -> str:
        if self.action == "hash":
            digest = hmac.new(self._hash_key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
            return f"hash:{digest[:32]}"
        return "" if self.action == "drop" else REDACTED


class _LeftOut(Exception):
    """The item at hand is not to be kept."""


class Masker:
    """Applies rules to requests. Thread-safe."""

    def __init__(self, config: MaskingConfig) -> None:
        key = config.hash_key.get_secret_value().encode()
        self._rules = [_Rule(rule, key) for rule in config.rules]
        self._free_text = [rule for rule in self._rules if rule.takes_every_key]
        self._by_key: dict[str, list[_Rule]] = {}

    @classmethod
    def from_config(cls, config: MaskingConfig) -> Masker | None:
        """None when there is nothing to do."""
        return cls(config) if config.rules else None

    def traces(self, payload: bytes) -> Masked:
        """Mask a serialised `ExportTraceServiceRequest`. Unknown fields are dropped: rules cannot look into them."""
        request = ExportTraceServiceRequest.FromString(payload)
        request.DiscardUnknownFields()
        n_left_out = 0
        for resource_spans in request.resource_spans:
            self._attributes(resource_spans.resource.attributes)
            for scope_spans in resource_spans.scope_spans:
                self._attributes(scope_spans.scope.attributes)
                n_left_out += self._items(scope_spans.spans, self._span)
        return Masked(request.SerializeToString(), n_left_out)

    def logs(self, payload: bytes) -> Masked:
        """Mask a serialised `ExportLogsServiceRequest`."""
        request = ExportLogsServiceRequest.FromString(payload)
        request.DiscardUnknownFields()
        n_left_out = 0
        for resource_logs in request.resource_logs:
            self._attributes(resource_logs.resource.attributes)
            for scope_logs in resource_logs.scope_logs:
                self._attributes(scope_logs.scope.attributes)
                n_left_out += self._items(scope_logs.log_records, self._log_record)
        return Masked(request.SerializeToString(), n_left_out)

    def text(self, key: str, text: str) -> str | None:
        """
        A value that has no protobuf around it, as it would be stored under `key`.

        Returns:
            The masked text, or None when a rule leaves the whole item out.
        """
        value = AnyValue(string_value=text)
        try:
            return value.string_value if self._value(value, self._rules_of(key)) else ""
        except _LeftOut:
            return None

    def _items(self, items: Any, mask: Callable[[Any], None]) -> int:
        """Mask each item in place; those that a rule leaves out are removed. Returns how many were."""
        left_out = []
        for index, item in enumerate(items):
            try:
                mask(item)
            except _LeftOut:
                left_out.append(index)
        for index in reversed(left_out):
            del items[index]
        return len(left_out)

    def _span(self, span: Span) -> None:
        self._attributes(span.attributes)
        span.name = self._free(span.name)
        if span.status.message:
            span.status.message = self._free(span.status.message)
        for event in span.events:
            self._attributes(event.attributes)
            event.name = self._free(event.name)
        for link in span.links:
            self._attributes(link.attributes)

    def _log_record(self, record: LogRecord) -> None:
        is_message = record.event_name.startswith("gen_ai.") and not record.event_name.startswith("gen_ai.evaluation")
        self._attributes(record.attributes)
        rules = [rule for rule in self._rules if rule.takes_every_key or (is_message and rule.takes_message_bodies)]
        if record.HasField("body") and not self._value(record.body, rules):
            record.ClearField("body")

    def _rules_of(self, key: str) -> list[_Rule]:
        rules = self._by_key.get(key)
        if rules is None:
            rules = [rule for rule in self._rules if rule.takes(key)]
            if len(self._by_key) < 100_000:
                self._by_key[key] = rules
        return rules

    def _attributes(self, attributes: Any) -> None:
        dropped = []
        for index, attribute in enumerate(attributes):
            rules = self._rules_of(attribute.key)
            if rules and not self._value(attribute.value, rules):
                dropped.append(index)
        for index in reversed(dropped):
            del attributes[index]

    def _value(self, value: AnyValue, rules: Sequence[_Rule]) -> bool:
        """Apply rules to a value in place; False when it is to be removed."""
        for rule in rules:
            if rule.is_partial:
                self._inside(value, rule)
            elif rule.action == "drop":
                return False
            elif rule.action == "drop_item":
                raise _LeftOut
            else:
                whole = _plain_text(value)
                value.string_value = rule.instead(whole)
        return True

    def _inside(self, value: AnyValue, rule: _Rule) -> None:
        """Replace matches in every text of a value, however deep."""
        kind = value.WhichOneof("value")
        if kind == "string_value":
            value.string_value = self._matched(value.string_value, rule)
        elif kind == "bytes_value":
            text = value.bytes_value.decode("utf-8", "surrogateescape")
            value.bytes_value = self._matched(text, rule).encode("utf-8", "surrogateescape")
        elif kind in ("int_value", "double_value"):
            text = _plain_text(value)
            masked = self._matched(text, rule)
            if masked != text:
                value.string_value = masked
        elif kind == "array_value":
            for member in value.array_value.values:
                self._inside(member, rule)
        elif kind == "kvlist_value":
            self._members(value, rule)

    def _members(self, value: AnyValue, rule: _Rule) -> None:
        for member in value.kvlist_value.values:
            member.key = self._matched(member.key, rule)
            self._inside(member.value, rule)

    def _matched(self, text: str, rule: _Rule) -> str:
        if rule.action == "drop_item":
            if rule.found_in(text):
                raise _LeftOut
            return text
        return rule.replaced(text)

    def _free(self, text: str) -> str:
        for rule in self._free_text:
            text = self._matched(text, rule)
        return text


def _plain_text(value: AnyValue) -> str:
    """A value as text, the same for equal values; used to hash it."""
    kind = value.WhichOneof("value")
    if kind is None:
        return ""
    if kind == "array_value":
        return "[" + ",".join(_plain_text(member) for member in value.array_value.values) + "]"
    if kind == "kvlist_value":
        members: Iterable[str] = (f"{member.key}={_plain_text(member.value)}" for member in value.kvlist_value.values)
        return "{" + ",".join(members) + "}"
    return str(getattr(value, kind))
