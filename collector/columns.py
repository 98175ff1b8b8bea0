"""SQL of the finished columns of `span_records`, over the derived columns of `ranking.py` and `readings.py`."""

from __future__ import annotations

from collector import sqltext
from collector.attributes import (
    COST_SOURCES,
    COUNTS,
    ENVIRONMENT_KEYS,
    MEMBERS,
    METADATA_DOCUMENTS,
    METADATA_PREFIXES,
    RELEASE_KEYS,
    SERVICE_KEYS,
)
from collector.codes import COUNTS_END, has
from collector.decode import moment
from collector.documents import DOCUMENTS
from collector.readings import first_text, named_bits, read_bool, read_status, resource_text

_METADATA_KEYS = (*(prefix + "*" for prefix in METADATA_PREFIXES), *METADATA_DOCUMENTS)


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


def final(*, with_documents: bool, with_messages: bool) -> dict[str, str]:
    """Every column of `span_records` that a writer sends, by name; see `normalise.statement`."""
    names = _tool_call_names() if with_messages else "emptyArrayString()"
    return _own_columns() | _finished() | _gathered_metadata(with_documents=with_documents) | {"tool_call_names": names}


_QUALITY_FLAGS = {
    "end_before_start": "NOT (end_ns >= start_ns AND start_ns > 0)",
    "time_far_off": "start_ns > received_ns + 3600000000000 OR start_ns + 2592000000000000 < received_ns",
    "duplicate_key": "has_duplicate_keys",
    "empty_key": "has_empty_key",
    "bad_count": "n_bad_counts > 0",
    "token_conflict": "notEmpty(conflicting) OR is_undecidable",
    "tokens_converted": "adds_cache OR adds_thought",
    "first_token_dropped": "first_token_ns IS NULL AND (p_first_token_seconds != '' OR p_first_token_either != '' "
    "OR p_first_token_ms != '' OR first_token_event IS NOT NULL OR p_first_token_at != '')",
    "unread_document": f"({has(DOCUMENTS)}) AND empty(members)",
    "bad_parent": "has_bad_parent",
    "dropped_link": "has_bad_link",
    "dropped_attributes": "dropped_attributes_count > 0",
    "zero_unpriced": "is_zero_unpriced",
}
"""Names of what was coerced, dropped or in conflict, and when."""


def _finished() -> dict[str, str]:
    """The columns of `span_records` that the vocabulary decides, by their names."""
    tag = "arrayFirst(t -> startsWith(t, '{}:'), listed_tags)"
    # the name a LiteLLM Router was asked for, if it is not just the model's own
    deployed = "arrayElement(splitByChar('/', p_request_model), -1)"
    group = f"if(has(dialects, 'll2') AND p_model_group NOT IN (p_request_model, {deployed}), p_model_group, '')"
    route_tag, cohort_tag = tag.format("route"), tag.format("cohort")
    stream = f"coalesce({read_bool('p_is_streaming')}, if(endsWith(p_operation, '.doStream'), true, NULL), parameter_stream)"
    role = "lower(p_mirror_role)"
    is_suspect = (
        "hasAny(dialects, ['fi0', 'fi1']) AND p_provider = 'anthropic' AND p_cache_read_tokens = '' AND p_cache_write_tokens = ''"
    )
    service = "resource_attributes['service.name']"
    plain = {name: f"p_{name}" for name in _PICKED}
    return plain | {
        "service_name": f"if({service} != '' AND NOT startsWith({service}, 'unknown_service'), {service}, "
        f"{first_text(*(f'resource_attributes[{sqltext.text(key)}]' for key in SERVICE_KEYS[1:]), service)})",
        "environment": first_text("p_environment", resource_text(*ENVIRONMENT_KEYS)),
        "release": resource_text(*RELEASE_KEYS),
        "kind": "kind_named",
        "operation": first_text("p_operation", "if(kind_named = 'other', '', kind_named)"),
        "model_route": first_text("p_model_route", f"substring({route_tag}, 7)", group),
        "cohort": first_text("p_cohort", f"substring({cohort_tag}, 8)"),
        "prompt_name": first_text("p_prompt_name", "p_prompt_template"),
        "request_model": "asked_model",
        "response_model": "answering_model",
        "input_tokens": "all_input",
        "output_tokens": "all_output",
        "total_tokens": "multiIf(is_blank, NULL, is_total_given, n_total_tokens, "
        "all_input IS NULL AND all_output IS NULL, n_total_tokens, "
        "ifNull(all_input, 0) + ifNull(all_output, 0))",
        **{name: f"n_{name}" for name in list(COUNTS)[3:]},
        "token_quality": "multiIf(is_blank OR n_input_tokens IS NULL AND n_output_tokens IS NULL AND n_total_tokens IS NULL, '', "
        f"notEmpty(conflicting) OR is_undecidable, 'conflict', {is_suspect}, 'suspect_undercount', "
        "adds_cache, 'converted_exclusive', is_total_given, 'reported', 'derived_total')",
        "reported_cost_usd": "if(is_blank, NULL, cost)",
        "cost_source": "multiIf(cost IS NULL OR is_blank, '', is_zero_unpriced, 'zero_unpriced', "
        f"{sqltext.texts(COST_SOURCES)}[cost_rank])",
        "ttft_ns": "first_token_ns",
        "is_streaming": stream,
        "status": read_status(),
        "status_message": first_text("status_message", "p_level_message"),
        "error_type": "error_name",
        "http_status": "http_code",
        "finish_reasons": "listed_reasons",
        "attempt_index": "toUInt16OrNull(p_attempt_index)",
        "tool_name": first_text("p_tool_name", "if(kind_named = 'tool', p_entity_name, '')"),
        "tags": "listed_tags",
        "mirror_role": f"multiIf({role} IN ('primary', 'shadow', 'none'), {role}, "
        f"{read_bool('p_silent_experiment')}, 'shadow', '')",
        "evaluation_sampled": read_bool("p_evaluation_sampled"),
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


def _gathered_metadata(*, with_documents: bool) -> dict[str, str]:
    """Every attribute under a metadata prefix, the members of metadata documents, and the losers of token conflicts."""
    prefixes = list(METADATA_PREFIXES)
    keys, values = "keys", "texts"
    if with_documents:
        prefixes += [key + MEMBERS for key in METADATA_DOCUMENTS]
        keys, values = "arrayConcat(keys, members.1)", "arrayConcat(texts, members.2)"
    ranks = "multiIf(" + "".join(f"startsWith(k, {sqltext.text(p)}), {n}, " for n, p in enumerate(prefixes, 1)) + "0)"
    sizes = sqltext.numbers((len(prefix) for prefix in prefixes), "UInt8")
    ranked = f"arrayMap((k, t) -> ({ranks}, toString(k), t), {keys}, {values})"
    found = f"arraySort(e -> e.1, arrayFilter(e -> e.1 > 0 AND e.3 != '', {ranked}))"
    named = f"arrayMap(e -> (substring(e.2, {sizes}[e.1] + 1), e.3), {found})"
    winners = f"[{', '.join(f'p_{name}' for name in COUNTS)}]"
    losers = (
        "arrayFilter((e, c) -> c > 0 AND c < " + str(COUNTS_END) + " AND has(conflicting, intDiv(c, 256)) AND e.2 != '' "
        f"AND e.2 != {winners}[intDiv(c, 256)], "
        "arrayMap((k, v) -> (concat('conflict.', k), v), all_keys, read_values), all_roles)"
    )
    all_keys = "arrayConcat(keys, arrayMap(c -> '', arrayFilter(c -> c != 0, second_roles)), members.1)"
    pairs = f"arrayConcat({named}, if(empty(conflicting), [], {losers.replace('all_keys', all_keys)}))"
    once = "arrayFilter((e, n) -> n = 1 AND e.1 != '' AND e.2 != '', pairs, arrayEnumerateUniq(pairs.1))"
    as_map = f"arrayMap(pairs -> mapFromArrays({once}.1, {once}.2), [{pairs}])[1]"
    return {"metadata": f"if({has(_METADATA_KEYS)} OR notEmpty(conflicting), {as_map}, map())"}


def _tool_call_names() -> str:
    """Names of the tools the model asked for: from flattened messages, else from message documents."""
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
    return (
        f"multiIf(arrayExists(k -> {is_name}, keys), arraySort((t, o) -> o, {flat}, {order}), "
        "p_output_messages = '', emptyArrayString(), "
        f"arrayFilter(n -> n != '', arrayConcat({messages}, {vercel})))"
    )
