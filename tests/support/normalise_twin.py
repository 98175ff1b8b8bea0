"""
The slow, obvious twin of decoding and normalising: one span at a time, in Python, from the same tables. The SQL must equal it.

It reads protobuf objects, not bytes, and ranks by looking every key up; nothing of the SQL's way (codes, sorting) is here.
Documents other than `metadata` are left to the hand-worked cases of test_dialects.py.
"""

from __future__ import annotations

import base64
import json
import math
from contextlib import suppress
from decimal import Decimal
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from collector.attributes import COST_SOURCES, COUNTS, FIELDS, METADATA_DOCUMENTS, METADATA_PREFIXES, MISSING, SCRUBBED, Reading
from collector.dialects import (
    CANCELLATIONS,
    DIALECTS,
    FIRST_TOKEN_EVENTS,
    FRAMEWORKS,
    KIND_BY_NAME,
    KIND_BY_NAME_ALONE,
    KINDS,
    PROVIDERS,
    TIMEOUT_WORDS,
    TIMEOUTS,
)

TAGS = {
    "string_value": 10,
    "bool_value": 16,
    "int_value": 24,
    "double_value": 33,
    "array_value": 42,
    "kvlist_value": 50,
    "bytes_value": 58,
}


def to_text(value: AnyValue) -> str:
    """What `attributes` holds for a value (lists of scalars only)."""
    kind = value.WhichOneof("value")
    if kind is None:
        return ""
    content = getattr(value, kind)
    if kind == "bool_value":
        return "true" if content else "false"
    if kind == "double_value":
        return repr(content).removesuffix(".0")
    if kind == "bytes_value":
        return base64.b64encode(content).decode()
    if kind == "array_value":
        return f"[{','.join(_to_json(element) for element in content.values)}]"
    return str(content)


def _to_json(value: AnyValue) -> str:
    kind = value.WhichOneof("value")
    if kind is None or (kind == "double_value" and not math.isfinite(value.double_value)):
        return "null"
    return json.dumps(value.string_value, ensure_ascii=False).replace("/", "\\/") if kind == "string_value" else to_text(value)


def normalise(span: Span, scope: str) -> dict[str, Any]:
    """Columns of `span_records` that the vocabulary decides; a span whose resource is empty."""
    return _Twin(span, scope).row()


class _Twin:
    def __init__(self, span: Span, scope: str) -> None:
        self.span, self.scope = span, scope
        last = {pair.key: n for n, pair in enumerate(span.attributes)}
        kept = [(n, pair) for n, pair in enumerate(span.attributes) if last[pair.key] == n and pair.key]
        self.attributes = {pair.key: to_text(pair.value) for _, pair in kept}
        self.types = [TAGS.get(pair.value.WhichOneof("value") or "", 0) for _, pair in kept]
        self.flags: set[str] = set()
        if len(last) < len(span.attributes):
            self.flags.add("duplicate_key")
        if any(not pair.key for pair in span.attributes):
            self.flags.add("empty_key")
        self.members = self._members()
        self.said = self.attributes | self.members
        self.duration = max(0, span.end_time_unix_nano - span.start_time_unix_nano)
        if span.end_time_unix_nano < span.start_time_unix_nano:
            self.flags.add("end_before_start")

    def _members(self) -> dict[str, str]:
        found = {}
        n_unread = 0
        for key in METADATA_DOCUMENTS:
            text = self.attributes.get(key, "")
            try:
                document = json.loads(text)
            except ValueError:
                document = None
            if isinstance(document, dict):
                found |= {f"{key}{{}}.{name}": str(value) for name, value in document.items()}
            else:
                n_unread += text not in MISSING
        if n_unread and not found:
            self.flags.add("unread_document")
        return found

    # -- one field -----------------------------------------------------------------------------------------------

    def _read(self, name: str, key: str) -> str:
        """The value of one key for one field, '' when it has none."""
        text = self.said.get(key, "")
        if text in MISSING or text.startswith(SCRUBBED):
            return ""
        text = _unwrapped(text)
        if not text:
            return ""
        reading = FIELDS[name].reading
        if reading is Reading.COUNT:
            return self._count(text)
        if reading is Reading.KIND:
            return KINDS.get(text.lower(), "")
        if reading is Reading.PROVIDER:
            lower = text.encode().lower().decode()  # as the engine does: letters of ASCII
            return PROVIDERS.get(lower, PROVIDERS.get(lower.split(".")[0], lower))
        if reading is Reading.ROUTE:
            return "" if text.startswith("/") or "://" in text else text
        if reading is Reading.SHORT_NAME:
            return "" if len(text.encode()) > 100 or any(c in " \t\n\r\f\v{}" for c in text) else text
        if reading is Reading.MONEY:
            number = _number(text)  # Decimal(18, 9) has nine digits before the point
            return text if number is not None and number < 1e9 and not text.startswith("-") else ""
        return text

    def _count(self, text: str) -> str:
        number = _number(text)
        if number is None or number < 0 or number != math.floor(number) or number >= 2**53:
            self.flags.add("bad_count")
            return ""
        return str(int(number))

    def pick(self, name: str) -> str:
        field = FIELDS[name]
        values = [value for value in (self._read(name, key) for key in field.keys) if value]
        weak = {"0"} if field.zero_is_weak else set(FRAMEWORKS) if name == "provider" else set()
        return next((value for value in values if value not in weak), values[0] if values else "")

    def losers(self, name: str) -> dict[str, str]:
        best = self.pick(name)
        return {key: value for key in FIELDS[name].keys if (value := self._read(name, key)) and value != best}

    # -- the row -------------------------------------------------------------------------------------------------

    def row(self) -> dict[str, Any]:
        dialects = self.dialects()
        provider = self.pick("provider")
        tokens = self.tokens(dialects, provider)
        tags = _list(self.pick("tags"))
        error = self.pick("error_type") or self._exception() or self.pick("error_code")
        row = {
            "attributes": self.attributes,
            "attribute_types": self.types,
            "dialects": dialects,
            "kind": (kind := self.kind()),
            "operation": self.pick("operation") or (kind if kind != "other" else ""),
            "provider": provider,
            "cohort": self.pick("cohort") or _tag(tags, "cohort:"),
            "session_id": self.pick("session_id"),
            "prompt_name": self.pick("prompt_name") or self.pick("prompt_template"),
            "prompt_version": self.pick("prompt_version"),
            "tags": tags,
            "finish_reasons": _list(self.pick("finish_reasons")),
            "duration_ns": self.duration,
            "ttft_ns": self.first_token(dialects),
            "status": self.status(),
            "error_type": error,
            "metadata": self.metadata(),
            **tokens,
        }
        return row | {"quality_flags": sorted(self.flags)}

    def dialects(self) -> list[str]:
        def has(marker: str) -> bool:
            return any(key.startswith(marker[:-1]) if marker.endswith("*") else key == marker for key in self.attributes)

        return [
            name
            for name, dialect in DIALECTS.items()
            if any(self.scope.startswith(scope) for scope in dialect.scopes)
            or self.span.name in dialect.names
            or any(all(has(marker) for marker in group) for group in dialect.markers)
        ]

    def kind(self) -> str:
        name = self.span.name
        decided = [kind for start, kind in KIND_BY_NAME if name.startswith(start)]
        alone = [kind for start, kind in KIND_BY_NAME_ALONE if name.startswith(start)]
        is_call = bool(self.pick("request_model") and self.pick("input_tokens"))
        return next(iter([*decided, *filter(None, [self.pick("kind")]), *alone, "llm" if is_call else "other"]))

    def tokens(self, dialects: list[str], provider: str) -> dict[str, Any]:
        n = {name: int(value) if (value := self.pick(name)) else None for name in COUNTS}
        is_conflict = any(self.losers(name) for name in COUNTS)
        cost = Decimal(self.pick("cost")) if self.pick("cost") else None
        is_blank = self.failed() and not n["input_tokens"] and not n["output_tokens"] and not cost
        given, total = (n["input_tokens"], n["output_tokens"]), n["total_tokens"]
        cache = (n["cache_read_tokens"] or 0) + (n["cache_write_tokens"] or 0)
        thought = n["reasoning_tokens"] or 0
        gap = total - (given[0] or 0) - (given[1] or 0) if total is not None and given != (None, None) else 0
        plus_in, plus_out = 0, 0
        if gap > 0 and cache == thought == gap:
            is_conflict = True
        elif gap > 0 and gap == cache:
            plus_in = cache
        elif gap > 0 and gap == thought:
            plus_out = thought
        elif gap > 0 and gap == cache + thought:
            plus_in, plus_out = cache, thought
        if given[0] is not None and given[0] + plus_in < cache:
            plus_in += cache
        if given[1] is not None and given[1] + plus_out < thought:
            plus_out += thought
        n["input_tokens"] = given[0] + plus_in if given[0] is not None else None
        n["output_tokens"] = given[1] + plus_out if given[1] is not None else None
        least = (n["input_tokens"] or 0) + (n["output_tokens"] or 0)
        is_given = total is not None and total >= least
        n["total_tokens"] = total if is_given or given == (None, None) else least
        if is_conflict:
            self.flags.add("token_conflict")
        if plus_in or plus_out:
            self.flags.add("tokens_converted")
        is_suspect = {"fi0", "fi1"} & set(dialects) and provider == "anthropic" and not self.pick("cache_read_tokens")
        if is_blank:
            return n | {"input_tokens": None, "output_tokens": None, "total_tokens": None, "reported_cost_usd": None} | {
                "token_quality": "", "cost_source": ""
            }  # fmt: skip
        quality = (
            "" if given == (None, None) and total is None
            else "conflict" if is_conflict
            else "suspect_undercount" if is_suspect and not self.pick("cache_write_tokens")
            else "converted_exclusive" if plus_in
            else "reported" if is_given
            else "derived_total"
        )  # fmt: skip
        is_unpriced = cost == 0 and least > 0
        if is_unpriced:
            self.flags.add("zero_unpriced")
        source = (
            COST_SOURCES[next(n for n, key in enumerate(FIELDS["cost"].keys) if self._read("cost", key))]
            if cost is not None
            else ""
        )
        return n | {
            "token_quality": quality,
            "reported_cost_usd": cost,
            "cost_source": "zero_unpriced" if is_unpriced else source,
        }

    def first_token(self, dialects: list[str]) -> int | None:
        is_ms = bool({"fi0", "fi1"} & set(dialects)) and "agentcc.request_id" not in self.attributes
        for name, units in (
            ("first_token_seconds", (1e9, 1e6)),
            ("first_token_either", (1e6,) if is_ms else (1e9, 1e6)),
            ("first_token_ms", (1e6,)),
        ):
            if self.pick(name):
                number = _number(self.pick(name))
                found = [round(number * unit) for unit in units if number is not None and 0 <= number * unit <= self.duration]
                return self._first_token(found[0] if found else None)
        start = self.span.start_time_unix_nano
        times = [e.time_unix_nano - start for e in self.span.events if e.name in FIRST_TOKEN_EVENTS and e.time_unix_nano >= start]
        return self._first_token(min(times) if min(times) <= self.duration else None) if times else None

    def _first_token(self, found: int | None) -> int | None:
        if found is None:
            self.flags.add("first_token_dropped")
        return found

    def failed(self) -> bool:
        return self.span.status.code == 2

    def _exception(self) -> str:
        exceptions = [event for event in self.span.events if event.name == "exception"]
        said = {pair.key: to_text(pair.value) for pair in exceptions[-1].attributes} if exceptions else {}
        return said.get("exception.type", "")

    def status(self) -> str:
        if not self.failed():
            return "ok" if self.span.status.code == 1 else "unset"
        errors = [self.pick("error_type"), self._exception(), self.pick("error_code"), self.pick("http_status")]
        names = {name for error in errors for name in (error, error.rsplit(".", 1)[-1])}
        if names & set(TIMEOUTS) or any(word in self.span.status.message.lower() for word in TIMEOUT_WORDS):
            return "timeout"
        return "cancelled" if names & set(CANCELLATIONS) else "error"

    def metadata(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for prefix in (*METADATA_PREFIXES, *(f"{key}{{}}." for key in METADATA_DOCUMENTS)):
            for key, text in self.said.items():
                if key.startswith(prefix) and key != prefix and _unwrapped(text):
                    found.setdefault(key.removeprefix(prefix), _unwrapped(text))
        for name in COUNTS:
            for key, value in self.losers(name).items():
                found.setdefault(f"conflict.{key}", value)
        return found


def _unwrapped(text: str) -> str:
    """Without one layer of JSON quoting."""
    if text.startswith('"'):
        with suppress(ValueError):
            return str(json.loads(text))
    return text


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _list(text: str) -> list[str]:
    if text.startswith("["):
        return [str(element) for element in json.loads(text)]
    return [text] if text else []


def _tag(tags: list[str], prefix: str) -> str:
    return next((tag.removeprefix(prefix) for tag in tags if tag.startswith(prefix)), "")
