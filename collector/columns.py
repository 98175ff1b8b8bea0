"""SQL of the finished columns of `span_records`, over the derived columns of `ranking.py` and `readings.py`."""

from __future__ import annotations

import re

from collector import sqltext
from collector.attributes import (
    COUNTS,
    ENVIRONMENT_KEYS,
    FIELDS,
    MEMBERS,
    METADATA_DOCUMENTS,
    METADATA_PREFIXES,
    RELEASE_KEYS,
    SERVICE_KEYS,
)
from collector.census import Census
from collector.decode import moment
from collector.ranking import may_conflict
from collector.readings import first_text, named_bits, read_bool, read_status, resource_text

_METADATA_KEYS = (*(prefix + "*" for prefix in METADATA_PREFIXES), *METADATA_DOCUMENTS)
_TOOL_NAME = re.compile(r".*\.tool_call\.function\.name|gen_ai\.completion\..*\.tool_calls\.[0-9]+\.name", re.DOTALL)
_PICKED = (
    "prompt_version",
    "session_id",
    "user_id",
    "provider",
    "response_id",
    "call_group",
    "attempt_kind",
    "fallback_from",
    "tool_call_id",
    "mirror_group",
    "evaluation_rule",
)
"""Columns that are the text of their field as it is."""

_OWN = (
    "trace_id",
    "span_id",
    "parent_span_id",
    "trace_state",
    "name",
    "span_kind",
    "scope_name",
    "scope_version",
    "dialects",
    "resource_attributes",
    "links",
    "dropped_attributes_count",
    "dropped_events_count",
    "dropped_links_count",
    "resource_schema_url",
    "scope_schema_url",
    "row_version",
)
"""Columns that are what the span says of itself, in every dialect."""


def final(census: Census) -> dict[str, str]:
    """Every column of `span_records` that a writer sends, by name; see `normalise`."""
    return _own_columns() | _finished(census) | {"metadata": _metadata(census), "tool_call_names": _tool_call_names(census)}


_QUALITY_FLAGS = {
    "end_before_start": "NOT (end_ns >= start_ns AND start_ns > 0)",
    "time_far_off": "start_ns > received_ns + 3600000000000 OR start_ns + 2592000000000000 < received_ns",
    "duplicate_key": "has_duplicate_keys",
    "empty_key": "has_empty_key",
    "bad_count": "has_bad_count",
    "token_conflict": "is_conflicting OR is_undecidable",
    "tokens_converted": "adds_cache OR adds_thought",
    "first_token_dropped": "first_token_ns IS NULL AND (p_first_token_seconds != '' OR p_first_token_either != '' "
    "OR p_first_token_ms != '' OR first_token_event IS NOT NULL OR p_first_token_at != '')",
    "unread_document": "has_unread_document",
    "bad_parent": "has_bad_parent",
    "dropped_link": "has_bad_link",
    "dropped_attributes": "dropped_attributes_count > 0",
    "zero_unpriced": "is_zero_unpriced",
}
"""Names of what was coerced, dropped or in conflict, and when."""


def _finished(census: Census) -> dict[str, str]:
    """The columns of `span_records` that the vocabulary decides, by their names."""
    tag = "arrayFirst(t -> startsWith(t, '{}:'), listed_tags)"
    # the name a LiteLLM Router was asked for, if it is not just the model's own
    deployed = "arrayElement(splitByChar('/', p_request_model), -1)"
    group = "''"
    if census.with_prefix("litellm."):
        group = f"if(has(dialects, 'll2') AND p_model_group NOT IN (p_request_model, {deployed}), p_model_group, '')"
    tagged = {name: f"substring({tag.format(name)}, {len(name) + 2})" for name in ("route", "cohort")}
    if not census.has_field("tags"):
        tagged = dict.fromkeys(tagged, "''")
    streaming = read_bool("p_is_streaming") if census.has_field("is_streaming") else "NULL"
    stream = f"coalesce({streaming}, if(endsWith(p_operation, '.doStream'), true, NULL), parameter_stream)"
    role = "lower(p_mirror_role)"
    is_suspect = (
        "hasAny(dialects, ['fi0', 'fi1']) AND p_provider = 'anthropic' AND p_cache_read_tokens = '' AND p_cache_write_tokens = ''"
    )
    service = "resource_attributes['service.name']"
    plain = {name: f"p_{name}" for name in _PICKED}
    return plain | {
        "service_name": f"if({service} != '' AND NOT startsWith({service}, 'unknown_service'), {service}, "
        f"{first_text(resource_text(census, *SERVICE_KEYS[1:]), service)})",
        "environment": first_text("p_environment", resource_text(census, *ENVIRONMENT_KEYS)),
        "release": resource_text(census, *RELEASE_KEYS),
        "kind": "kind_named",
        "operation": first_text("p_operation", "if(kind_named = 'other', '', kind_named)"),
        "model_route": first_text("p_model_route", tagged["route"], group),
        "cohort": first_text("p_cohort", tagged["cohort"]),
        "prompt_name": first_text("p_prompt_name", "p_prompt_template"),
        "request_model": "asked_model",
        # what its proxy answers to the client, the group's name, is no model
        "response_model": "answering_model" if group == "''" else f"if(answering_model = {group}, '', answering_model)",
        "input_tokens": "all_input",
        "output_tokens": "all_output",
        "total_tokens": "multiIf(is_blank, NULL, is_total_given, n_total_tokens, "
        "all_input IS NULL AND all_output IS NULL, n_total_tokens, "
        "ifNull(all_input, 0) + ifNull(all_output, 0))",
        **{name: f"n_{name}" for name in list(COUNTS)[3:]},
        "token_quality": "multiIf(is_blank OR n_input_tokens IS NULL AND n_output_tokens IS NULL AND n_total_tokens IS NULL, '', "
        f"is_conflicting OR is_undecidable, 'conflict', {is_suspect}, 'suspect_undercount', "
        "adds_cache, 'converted_exclusive', is_total_given, 'reported', 'derived_total')",
        "reported_cost_usd": "if(is_blank, NULL, cost)",
        "cost_source": "multiIf(cost IS NULL OR is_blank, '', is_zero_unpriced, 'zero_unpriced', cost_teller)",
        "ttft_ns": "first_token_ns",
        "is_streaming": stream,
        "status": read_status(census),
        "status_message": first_text("status_message", "p_level_message"),
        "error_type": "error_name",
        "http_status": "http_code",
        "finish_reasons": "listed_reasons",
        "attempt_index": "toUInt16OrNull(p_attempt_index)" if census.has_field("attempt_index") else "NULL",
        "tool_name": first_text("p_tool_name", "if(kind_named = 'tool', p_entity_name, '')"),
        "tags": "listed_tags",
        "mirror_role": f"multiIf({role} IN ('primary', 'shadow', 'none'), {role}, "
        f"{read_bool('p_silent_experiment')}, 'shadow', '')"
        if census.has_field("mirror_role", "silent_experiment")
        else "''",
        "evaluation_sampled": read_bool("p_evaluation_sampled") if census.has_field("evaluation_sampled") else "NULL",
        "duration_ns": "duration",
        "quality_flags": named_bits(_QUALITY_FLAGS),
    }


def _own_columns() -> dict[str, str]:
    """What a span says of itself in every dialect."""
    return {name: name for name in _OWN} | {
        "start_time": moment("start_ns"),
        "end_time": moment("greatest(start_ns, end_ns)"),
        "attributes": "mapFromArrays(keys, texts)",
        "attribute_types": "types",
        "events": f"arrayZip(arrayMap(t -> {moment('t')}, event_times), event_names, event_attributes)",
        "received_at": moment("received_ns"),
    }


def _metadata(census: Census) -> str:
    """Every attribute under a metadata prefix, the members of metadata documents, and the losers of token conflicts."""
    has_metadata = census.present(_METADATA_KEYS)
    if has_metadata == "false" and not may_conflict(census):
        return "map()"
    prefixes = [*METADATA_PREFIXES, *(key + MEMBERS for key in METADATA_DOCUMENTS)]
    ranks = "multiIf(" + "".join(f"startsWith(e.1, {sqltext.text(p)}), {n}, " for n, p in enumerate(prefixes, 1)) + "0)"
    sizes = sqltext.numbers((len(prefix) for prefix in prefixes), "UInt8")
    all_pairs = "arrayConcat(arrayMap((k, t) -> (toString(k), t), keys, texts), members)"
    plain = "if(ascii(e.2) = 34 AND isValidJSON(e.2), JSONExtractString(e.2), e.2)"
    ranked = f"arrayMap(e -> ({ranks}, e.1, {plain}), {all_pairs})"
    found = f"arraySort(e -> e.1, arrayFilter(e -> e.1 > 0 AND e.3 != '', {ranked}))"
    named = f"arrayMap(e -> (substring(e.2, {sizes}[e.1] + 1), e.3), {found})" if has_metadata != "false" else "[]"
    pairs = f"arrayConcat({named}, if(is_conflicting, losers, []))"
    once = "arrayFilter((e, n) -> n = 1 AND e.1 != '' AND e.2 != '', pairs, arrayEnumerateUniq(pairs.1))"
    as_map = f"arrayMap(pairs -> mapFromArrays({once}.1, {once}.2), [{pairs}])[1]"
    return f"if({has_metadata} OR is_conflicting, {as_map}, map())"


def _tool_call_names(census: Census) -> str:
    """Names of the tools the model asked for: from flattened messages, else from message documents."""
    has_flat = census.keys is None or any(_TOOL_NAME.fullmatch(key) for key in census.keys)
    if not has_flat and not any(census.has_key(key) for key in FIELDS["output_messages"].keys):
        return "emptyArrayString()"
    is_name = (
        "endsWith(k, '.tool_call.function.name') "
        "OR (startsWith(k, 'gen_ai.completion.') AND match(k, '\\\\.tool_calls\\\\.[0-9]+\\\\.name$'))"
    )
    flat = f"arrayFilter((t, k) -> {is_name}, texts, keys)"
    order = f"arrayMap(k -> (length(k), toString(k)), arrayFilter(k -> {is_name}, keys))"
    part = "if(JSONExtractString(p, 'type') = 'tool_call', JSONExtractString(p, 'name'), '')"
    parts = f"arrayMap(p -> {part}, JSONExtractArrayRaw(m, 'parts'))"
    messages = f"arrayFlatten(arrayMap(m -> {parts}, JSONExtractArrayRaw(p_output_messages)))"
    vercel = "arrayMap(m -> JSONExtractString(m, 'toolName'), JSONExtractArrayRaw(p_output_messages))"
    from_keys = f"arrayExists(k -> {is_name}, keys), arraySort((t, o) -> o, {flat}, {order}), " if has_flat else ""
    return (
        f"multiIf({from_keys}position(p_output_messages, 'tool') = 0, emptyArrayString(), "
        f"arrayFilter(n -> n != '', arrayConcat({messages}, {vercel})))"
    )
