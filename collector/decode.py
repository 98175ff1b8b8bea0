"""
A segment file as rows: the engine reads the protobuf itself, and each span becomes one row of wire values (`staged_spans`), then
one with keys, texts and types of its attributes (`decoded`). This is the only place that knows how a segment looks to the engine.
"""

from __future__ import annotations

from collections.abc import Collection
from importlib import resources
from pathlib import Path

from collector import any_value, sqltext
from collector.census import Census
from storage.sql import load

_SPANS = """
scope.name LowCardinality(String)
scope.version LowCardinality(String)
schema_url LowCardinality(String)
resource.attributes.key Array(LowCardinality(String))
resource.attributes.value Array(String)
resource_schema_url LowCardinality(String)
received_at UInt64
spans.trace_id Array(String)
spans.span_id Array(String)
spans.trace_state Array(String)
spans.parent_span_id Array(String)
spans.name Array(LowCardinality(String))
spans.kind Array(Int32)
spans.start_time Array(UInt64)
spans.end_time Array(UInt64)
spans.attributes.key Array(Array(LowCardinality(String)))
spans.attributes.value Array(Array(String))
spans.dropped_attributes_count Array(UInt32)
spans.events.time Array(Array(UInt64))
spans.events.name Array(Array(LowCardinality(String)))
spans.events.attributes.key Array(Array(Array(LowCardinality(String))))
spans.events.attributes.value Array(Array(Array(String)))
spans.dropped_events_count Array(UInt32)
spans.links.trace_id Array(Array(String))
spans.links.span_id Array(Array(String))
spans.links.trace_state Array(Array(String))
spans.links.attributes.key Array(Array(Array(LowCardinality(String))))
spans.links.attributes.value Array(Array(Array(String)))
spans.dropped_links_count Array(UInt32)
spans.status.message Array(String)
spans.status.code Array(Int32)
"""
"""Column of the Protobuf input and its type: fields of `Spans` in segment.proto by their dotted names."""

_LOGS = """
scope.name LowCardinality(String)
received_at UInt64
records.time Array(UInt64)
records.observed_time Array(UInt64)
records.body Array(String)
records.event_name Array(String)
records.trace_id Array(String)
records.span_id Array(String)
records.attributes.key Array(Array(LowCardinality(String)))
records.attributes.value Array(Array(String))
"""


def schema_directory() -> Path:
    """Where `segment.proto` lies."""
    return Path(str(resources.files("collector").joinpath("sql")))


def structure(columns: str) -> str:
    """The structure argument of `file` or `input`."""
    pairs = (line.split(" ", 1) for line in columns.strip().splitlines())
    return ", ".join(f"`{name}` {kind}" for name, kind in pairs)


SPAN_STRUCTURE = structure(_SPANS)
LOG_STRUCTURE = structure(_LOGS)

DECODED = (
    "trace_id",
    "span_id",
    "parent_span_id",
    "trace_state",
    "name",
    "span_kind",
    "scope_name",
    "scope_version",
    "scope_schema_url",
    "resource_schema_url",
    "resource_attributes",
    "links",
    "dropped_attributes_count",
    "dropped_events_count",
    "dropped_links_count",
    "row_version",
    "status_code",
    "status_message",
    "start_ns",
    "end_ns",
    "received_ns",
    "keys",
    "texts",
    "types",
    "event_times",
    "event_names",
    "event_attributes",
    "has_duplicate_keys",
    "has_empty_key",
    "has_bad_parent",
    "has_bad_link",
)
"""What `decoded` and `stored_spans` give: a span's own fields, times in nanoseconds, and its attributes as three arrays."""

_LONGEST_TIME = (1 << 63) - 1
_IS_LINK = (
    "length(t) = 16 AND length(s) = 8 AND t != unhex('00000000000000000000000000000000') AND s != unhex('0000000000000000')"
)


def moment(nanoseconds: str) -> str:
    """A time column from unsigned nanoseconds; what lies beyond 2262 is held at its end."""
    return f"fromUnixTimestamp64Nano(toInt64(least({nanoseconds}, {_LONGEST_TIME})), 'UTC')"


def _attributes(keys: str, values: str, tags: Collection[int] = any_value.TAGS) -> str:
    return f"mapFromArrays({keys}, arrayMap(v -> {any_value.text('v', tags)}, {values}))"


def _nested_attributes(keys: str, values: str, tags: Collection[int]) -> str:
    return f"arrayMap((ks, vs) -> {_attributes('ks', 'vs', tags)}, {keys}, {values})"


_SCOPE = ("scope_name", "scope_version", "scope_schema_url", "resource_schema_url", "resource_attributes", "received_ns")
_OWN = {
    name: "s_" + name.removeprefix("spans.").replace(".", "_")
    for name in (line.split(" ", 1)[0] for line in _SPANS.strip().splitlines())
    if name.startswith("spans.")
}

STAGED = (*_SCOPE, *_OWN.values())
"""Columns of `staged_spans`: what the scope says, and the span's own fields (`s_...`), values of attributes as wire bytes."""


def staged_spans(source: str) -> str:
    """
    One row per span, nothing decoded but the attributes of the resource.

    Args:
        source: a table expression with the columns of `SPAN_STRUCTURE`.
    """
    arrays = ", ".join(f"`{name}` AS {alias}" for name, alias in _OWN.items())
    return f"""SELECT {", ".join(STAGED)}
FROM (
    SELECT `scope.name` AS scope_name, `scope.version` AS scope_version, schema_url AS scope_schema_url, resource_schema_url,
        {_attributes("`resource.attributes.key`", "`resource.attributes.value`")} AS resource_attributes,
        received_at AS received_ns, {", ".join(f"`{name}`" for name in _OWN)}
    FROM {source}
)
ARRAY JOIN {arrays}"""


def decoded(census: Census) -> dict[str, str]:
    """The columns of `DECODED` (and helpers) by name, over those of `STAGED`."""
    return _span_columns(census) | _texts(census) | _cleaned(census)


def _span_columns(census: Census) -> dict[str, str]:
    links = (
        "arrayZip(arrayMap(t -> lower(hex(t)), s_links_trace_id), arrayMap(s -> lower(hex(s)), s_links_span_id), "
        f"s_links_trace_state, {_nested_attributes('s_links_attributes_key', 's_links_attributes_value', census.event_tags)})"
    )
    is_link = f"arrayMap((t, s) -> {_IS_LINK}, s_links_trace_id, s_links_span_id)"
    content = "s_name, s_parent_span_id, s_start_time, s_status_code, s_status_message, "
    content += "s_attributes_key, s_attributes_value, s_events_name"
    return {
        "trace_id": "lower(hex(s_trace_id))",
        "span_id": "lower(hex(s_span_id))",
        "parent_span_id": "if(length(s_parent_span_id) = 8 AND s_parent_span_id != unhex('0000000000000000'), "
        "lower(hex(s_parent_span_id)), '')",
        "has_bad_parent": "length(s_parent_span_id) NOT IN (0, 8)",
        "trace_state": "s_trace_state",
        "name": "s_name",
        "span_kind": "transform(s_kind, [1, 2, 3, 4, 5], ['internal', 'server', 'client', 'producer', 'consumer'], '')",
        "status_code": "s_status_code",
        "status_message": "s_status_message",
        "start_ns": "s_start_time",
        "end_ns": "s_end_time",
        "event_times": "s_events_time",
        "event_names": "s_events_name",
        "event_attributes": _nested_attributes("s_events_attributes_key", "s_events_attributes_value", census.event_tags),
        "links": f"arrayFilter((l, ok) -> ok, {links}, {is_link})" if census.has_links else "[]",
        "has_bad_link": f"arrayExists((t, s) -> NOT ({_IS_LINK}), s_links_trace_id, s_links_span_id)"
        if census.has_links
        else "false",
        "dropped_attributes_count": "s_dropped_attributes_count",
        "dropped_events_count": "s_dropped_events_count",
        "dropped_links_count": "s_dropped_links_count",
        "row_version": f"bitShiftLeft(toUInt128(s_end_time), 32) + bitAnd(cityHash64({content}), 4294967295)",
    }


def _texts(census: Census) -> dict[str, str]:
    """Texts of the attributes; lists of several elements as JSON, other nested values as text that says so."""
    hot = f"arrayMap(v -> {any_value.text('v', census.tags, is_hot=True)}, s_attributes_value)"
    columns = {"raw_types": "arrayMap(v -> toUInt8(ascii(v)), s_attributes_value)"}
    if not census.has_nested:
        return columns | {"all_texts": hot}
    unread = any_value.is_unread("t", "y")
    read = f"arrayMap((t, y) -> if({unread}, {any_value.unread_text('t')}, t), raw_texts, raw_types)"
    return columns | {
        "raw_texts": hot,
        "all_texts": f"if(arrayExists((t, y) -> {unread}, raw_texts, raw_types), {read}, raw_texts)",
    }


def _cleaned(census: Census) -> dict[str, str]:
    """Keys once each, the last one counting, none empty."""
    if not census.has_repeats:
        plain = {"keys": "s_attributes_key", "texts": "all_texts", "types": "raw_types"}
        return plain | {"has_duplicate_keys": "false", "has_empty_key": "false"}
    uniq = "arrayReverse(arrayEnumerateUniq(arrayReverse(s_attributes_key)))"

    def clean(column: str) -> str:
        kept = f"arrayFilter((x, k, n) -> n = 1 AND k != '', {column}, s_attributes_key, {uniq})"
        return f"if(has_duplicate_keys OR has_empty_key, {kept}, {column})"

    return {
        "keys": clean("s_attributes_key"),
        "texts": clean("all_texts"),
        "types": clean("raw_types"),
        "has_duplicate_keys": "arrayUniq(s_attributes_key) < length(s_attributes_key)",
        "has_empty_key": "has(s_attributes_key, '')",
    }


_SPAN_HEAD = (
    "lower(hex(s_trace_id)) AS trace_id, lower(hex(s_span_id)) AS span_id, toString(scope_name) AS scope_name, "
    f"{moment('received_ns')} AS received_at"
)


def evaluation_events(staged: str, event_name: str, census: Census) -> str:
    """One row per span event called `event_name`: the columns of `evaluations.EVENTS`."""
    return f"""SELECT trace_id, span_id, scope_name, {moment("event_time")} AS time,
    {_attributes("ks", "vs", census.event_tags)} AS attributes, received_at
FROM (
    SELECT {_SPAN_HEAD}, s_events_time, s_events_name, s_events_attributes_key, s_events_attributes_value
    FROM {staged}
)
ARRAY JOIN s_events_time AS event_time, s_events_name AS event_name,
    s_events_attributes_key AS ks, s_events_attributes_value AS vs
WHERE event_name = {sqltext.text(event_name)}"""


def evaluation_spans(staged: str, keys: str) -> str:
    """The spans with an attribute whose key matches `keys` (RE2): the columns of `evaluations.CANDIDATE_SPANS`."""
    return f"""SELECT {_SPAN_HEAD}, lower(hex(s_parent_span_id)) AS parent_span_id,
    {moment("greatest(s_start_time, s_end_time)")} AS end_time,
    {_attributes("s_attributes_key", "s_attributes_value")} AS attributes,
    arrayMap(v -> toUInt8(ascii(v)), s_attributes_value) AS attribute_types,
    arrayMap((t, s) -> CAST((lower(hex(t)), lower(hex(s))), 'Tuple(trace_id String, span_id String)'),
        s_links_trace_id, s_links_span_id) AS links
FROM {staged}
WHERE arrayExists(k -> match(k, {sqltext.text(keys)}), s_attributes_key)"""


def logs(source: str) -> str:
    """One row per log record: the columns of `evaluations.LOG_RECORDS`."""
    time = "multiIf(own_time > 0, own_time, observed_time > 0, observed_time, received_ns)"
    return f"""SELECT lower(hex(l_trace_id)) AS trace_id, lower(hex(l_span_id)) AS span_id, event_name,
    {any_value.text("body_value")} AS body, {moment(time)} AS time, toString(`scope.name`) AS scope_name,
    {_attributes("ks", "vs")} AS attributes, {moment("received_ns")} AS received_at
FROM (
    SELECT `scope.name`, l_trace_id, l_span_id, event_name, body_value, own_time, observed_time, ks, vs,
        received_at AS received_ns
    FROM {source}
    ARRAY JOIN `records.trace_id` AS l_trace_id, `records.span_id` AS l_span_id, `records.event_name` AS event_name,
        `records.body` AS body_value, `records.time` AS own_time, `records.observed_time` AS observed_time,
        `records.attributes.key` AS ks, `records.attributes.value` AS vs
)"""


def stored_spans() -> str:
    """Spans of `span_records` that start in [{since}, {until}), with the columns of `DECODED`."""
    return load("stored_spans", "collector")
