"""
From decoded spans to normalised columns, as one SQL statement of nested steps, made from the tables of `attributes.py`.

Every attribute key is translated once, to a number that says which field it feeds and at which rank. The numbers of a span
are sorted, and each field then takes the first of its own. Documents inside attributes (JSON objects), lists, conflicts and
other rarities are worked out only for the spans that have them: the engine evaluates branches of `if` lazily.

The steps, each a SELECT over the one before (see `statement`):

    decoded     keys, texts, types and the span's own fields: from a segment (`decode.py`) or from stored rows
    translated  a code per attribute (field and rank), marker bits per span
    gathered    codes and texts, with second roles and the members of documents added
    ranked      the codes that can be read, in order of field and rank; their values
    picked      one text per field
    read        numbers, money, times, lists; what several fields decide together
    settled     tokens in their inclusive form, status, the finished columns

Source: docs/vocabulary.md. The obvious twin that this must equal: tests/support/normalise_twin.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from collector import documents, sqltext
from collector.attributes import (
    COST_SOURCES,
    COUNTS,
    ENVIRONMENT_KEYS,
    FIELDS,
    METADATA_DOCUMENTS,
    METADATA_PREFIXES,
    MISSING,
    RELEASE_KEYS,
    SERVICE_KEYS,
    Reading,
)
from collector.decode import DECODED, moment
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
from storage.spans import SPAN_COLUMNS

FIELD_IDS = {name: number for number, name in enumerate(FIELDS, start=1)}
_COUNTS_END = (len(COUNTS) + 1) * 256
_WEAK_ZERO = [FIELD_IDS[name] for name, field in COUNTS.items() if field.zero_is_weak]


def codes() -> tuple[dict[str, int], dict[str, int]]:
    """
    Attribute key -> field id * 256 + rank, for its first and (where a key feeds two fields) its second role.

    Raises:
        ValueError: a key has a third role, or a field has more than 127 keys.
    """
    first: dict[str, int] = {}
    second: dict[str, int] = {}
    for name, field in FIELDS.items():
        if len(field.keys) > 127:
            raise ValueError(f"field {name!r} has {len(field.keys)} keys; a rank has 7 bits")
        for rank, key in enumerate(field.keys, start=1):
            roles = second if key in first else first
            if key in roles:
                raise ValueError(f"key {key!r} has a third role, {name!r}")
            roles[key] = FIELD_IDS[name] * 256 + rank
    return first, second


def marker_bits() -> dict[str, int]:
    """Every key (or `prefix*`) whose presence on a span matters, and its bit."""
    keys = [key for dialect in DIALECTS.values() for group in dialect.markers for key in group]
    keys += [*documents.DOCUMENTS, *(prefix + "*" for prefix in METADATA_PREFIXES)]
    return {key: 1 << n for n, key in enumerate(dict.fromkeys(keys))}


_BITS = marker_bits()


def _mask(keys: Iterable[str]) -> int:
    return sum({_BITS[key] for key in keys})


def _has(keys: Iterable[str]) -> str:
    """Whether the span has any of the marker keys."""
    return f"bitAnd(markers, {_mask(keys)}) != 0"


_DOCUMENT_KEYS = documents.DOCUMENTS
_METADATA_KEYS = (*(prefix + "*" for prefix in METADATA_PREFIXES), *METADATA_DOCUMENTS)


def translated() -> dict[str, str]:
    """Codes of the attributes, and what is known of the span from their keys alone."""
    first, second = codes()
    both = {key: first.get(key, 0) + 65536 * second.get(key, 0) for key in first}
    exact = {key: bit for key, bit in _BITS.items() if not key.endswith("*")}
    families = {key[:-1]: bit for key, bit in _BITS.items() if key.endswith("*")}
    bits = [f"transform(k, {sqltext.texts(exact)}, {sqltext.numbers(exact.values(), 'UInt64')}, toUInt64(0))"]
    bits += [f"startsWith(k, {sqltext.text(prefix)}) * {bit}" for prefix, bit in families.items()]
    return {
        "roles": f"arrayMap(k -> transform(k, {sqltext.texts(both)}, {sqltext.numbers(both.values(), 'UInt32')}, toUInt32(0)), keys)",
        "second_roles": "arrayMap(r -> toUInt16(bitShiftRight(r, 16)), roles)",
        "markers": f"arrayReduce('groupBitOr', arrayMap(k -> {' + '.join(bits)}, keys))",
    }


def gathered(*, with_documents: bool) -> dict[str, str]:
    """All codes with their keys and texts: the attributes, those in a second role, the members of documents."""
    first, _ = codes()
    members = {key: code for key, code in first.items() if documents.MEMBERS in key}
    parts = {
        "all_roles": ["arrayMap(r -> toUInt16(bitAnd(r, 65535)), roles)", "arrayFilter(c -> c != 0, second_roles)"],
        "all_texts": ["texts", "arrayFilter((t, c) -> c != 0, texts, second_roles)"],
    }
    if with_documents:
        parts["all_roles"].append(
            f"arrayMap(p -> transform(p.1, {sqltext.texts(members)}, {sqltext.numbers(members.values(), 'UInt16')}, toUInt16(0)), members)"
        )
        parts["all_texts"].append("members.2")
    return {alias: f"arrayConcat({', '.join(listed)})" for alias, listed in parts.items()}


def _read_count() -> str:
    """A count as digits, '' when it is none: negative, fractional, a word, or beyond what a double holds exactly."""
    number = "toFloat64OrNull(t)"
    return (
        "multiIf(length(t) <= 15 AND toUInt64OrNull(t) IS NOT NULL, toString(assumeNotNull(toUInt64OrNull(t))), "
        f"{number} >= 0 AND {number} < 9007199254740992 AND floor({number}) = {number}, toString(toUInt64(assumeNotNull({number}))), '')"
    )


def _read_provider() -> str:
    head = "splitByChar('.', lower(t))[1]"
    return sqltext.lookup("lower(t)", PROVIDERS, sqltext.lookup(head, PROVIDERS, "lower(t)"))


_READINGS = {
    Reading.KIND: sqltext.lookup("lower(t)", KINDS),
    Reading.PROVIDER: _read_provider(),
    Reading.ROUTE: "if(startsWith(t, '/') OR position(t, '://') > 0, '', t)",
    Reading.SHORT_NAME: "if(length(t) > 100 OR match(t, '[\\\\s{}]'), '', t)",
    Reading.MONEY: "if(toDecimal64OrNull(t, 9) IS NULL OR startsWith(t, '-'), '', t)",
}


def unwrapped() -> dict[str, str]:
    """Texts of mapped attributes without one layer of JSON quoting; '' for what is missing or not mapped."""
    missing = sqltext.tuple_of(MISSING)
    return {
        "plain_texts": f"arrayMap((c, t) -> multiIf(c = 0 OR t IN {missing}, '', "
        "ascii(t) = 34 AND isValidJSON(t), JSONExtractString(t), t), all_roles, all_texts)"
    }


def ranked() -> dict[str, str]:
    """Readable values in the order of field, then strength, then rank; equal ranks in the order of the attributes."""
    branches = "".join(
        f"intDiv(c, 256) IN ({', '.join(str(FIELD_IDS[name]) for name, field in FIELDS.items() if field.reading is reading)}), {sql}, "
        for reading, sql in _READINGS.items()
    )
    weak = (
        f"(v = '0' AND intDiv(c, 256) IN ({', '.join(map(str, _WEAK_ZERO))})) OR "
        f"(intDiv(c, 256) = {FIELD_IDS['provider']} AND v IN {sqltext.tuple_of(FRAMEWORKS)})"
    )
    rank = "bitShiftLeft(toUInt64(intDiv(c, 256)), 48) + bitShiftLeft(toUInt64(bitAnd(c, 255)), 40) + i"
    return {
        "read_values": f"arrayMap((c, t) -> multiIf(t = '', '', c < {_COUNTS_END}, {_read_count()}, {branches}t), all_roles, plain_texts)",
        "ranking": "arraySort(arrayFilter(x -> x != 0, arrayMap((c, v, i) -> "
        f"if(v = '', 0, {rank} + if({weak}, bitShiftLeft(toUInt64(1), 47), 0)), all_roles, read_values, arrayEnumerate(all_roles))))",
    }


def placed() -> dict[str, str]:
    """The ranking as two arrays: which field, and where its value is."""
    return {
        "fields": "arrayMap(x -> toUInt8(bitShiftRight(x, 48)), ranking)",
        "places": "arrayMap(x -> toUInt32(x), ranking)",
    }


def picked() -> dict[str, str]:
    """One text per field: that of its first place, '' when it has none."""
    columns = {f"p_{name}": f"read_values[places[indexOf(fields, {number})]]" for name, number in FIELD_IDS.items()}
    cost_rank = f"toUInt8(bitAnd(bitShiftRight(ranking[indexOf(fields, {FIELD_IDS['cost']})], 40), 127))"
    return columns | {
        "cost_rank": cost_rank,
        # usage documents are read into their inclusive form already; their values lie beyond the attributes
        "is_from_document": f"places[indexOf(fields, {FIELD_IDS['input_tokens']})] > length(keys)",
        "twice": f"arrayFilter((f, g) -> f = g AND f <= {len(COUNTS)}, fields, arrayPopBack(arrayPushFront(fields, 0)))",
        "n_bad_counts": f"arrayCount((c, t, v) -> c > 0 AND c < {_COUNTS_END} AND t != '' AND v = '', all_roles, plain_texts, read_values)",
    }


def _list(value: str) -> str:
    """A list field: a JSON list, a list as Python writes it, or one word."""
    as_json = f"if(isValidJSON({value}), {value}, replaceAll({value}, '\\'', '\"'))"
    return (
        f"multiIf({value} = '', emptyArrayString(), startsWith({value}, '['), JSONExtract({as_json}, 'Array(String)'), [{value}])"
    )


def _bool(value: str) -> str:
    return f"multiIf(lower({value}) IN ('true', '1'), true, lower({value}) IN ('false', '0'), false, NULL)"


def _first_text(*values: str) -> str:
    """The first that is not ''."""
    head = ", ".join(f"{value} != '', {value}" for value in values[:-1])
    return f"multiIf({head}, {values[-1]})"


def _resource(*keys: str) -> str:
    return _first_text(*(f"resource_attributes[{sqltext.text(key)}]" for key in keys), "''")


def _ends_in(value: str, names: Iterable[str]) -> str:
    """Whether an error type is one of `names`, with or without a module in front."""
    return f"({value} IN {sqltext.tuple_of(names)} OR arrayElement(splitByChar('.', {value}), -1) IN {sqltext.tuple_of(names)})"


def _named_bits(tests: dict[str, str]) -> str:
    """The names whose test holds, as an array; made from a bit mask, for most rows have none or few."""
    mask = " + ".join(f"toUInt32({test}) * {1 << n}" for n, test in enumerate(tests.values()))
    return f"arrayMap(b -> {sqltext.texts(tests)}[b + 1], bitPositionsToArray({mask}))"


def dialect_list() -> str:
    """Every dialect whose scope, name or keys are here."""
    tests = {}
    for name, dialect in DIALECTS.items():
        ways = []
        if dialect.scopes:
            ways.append(sqltext.starts_with_any("scope_name", dialect.scopes))
        if dialect.names:
            ways.append(f"name IN {sqltext.tuple_of(dialect.names)}")
        masks = [_mask(group) for group in dialect.markers]
        single = sum({mask for mask in masks if mask.bit_count() == 1})
        if single:
            ways.append(f"bitAnd(markers, {single}) != 0")
        ways += [f"bitAnd(markers, {mask}) = {mask}" for mask in masks if mask.bit_count() > 1]
        tests[name] = f"({' OR '.join(ways)})"
    return _named_bits(tests)


def read() -> dict[str, str]:
    """Texts as what they are."""
    exception = "arrayLast((a, n) -> n = 'exception', event_attributes, event_names)['exception.type']"
    first_tokens = (
        f"arrayFilter((t, n) -> n IN {sqltext.tuple_of(FIRST_TOKEN_EVENTS)} AND t >= start_ns, event_times, event_names)"
    )
    counts = {f"n_{name}": f"toUInt64OrNull(p_{name})" for name in COUNTS}
    return counts | {
        "dialects": dialect_list(),
        "cost": "toDecimal64OrNull(p_cost, 9)",
        "listed_tags": _list("p_tags"),
        "listed_reasons": _list("p_finish_reasons"),
        "parameter_model": "if(p_parameters = '', '', JSONExtractString(p_parameters, 'model'))",
        "parameter_stream": "if(p_parameters = '', NULL, JSONExtract(p_parameters, 'stream', 'Nullable(Bool)'))",
        "exception_type": f"if(has(event_names, 'exception'), {exception}, '')",
        "first_token_event": f"if(hasAny(event_names, {sqltext.texts(FIRST_TOKEN_EVENTS)}) AND notEmpty({first_tokens}), "
        f"toFloat64(arrayMin({first_tokens}) - start_ns), NULL)",
        "duration": "if(end_ns > start_ns AND start_ns > 0, end_ns - start_ns, 0)",
        "conflicting": "arrayFilter(f -> arrayUniq(arrayFilter((v, c) -> intDiv(c, 256) = f AND v != '', read_values, all_roles)) > 1, "
        "arrayDistinct(twice))",
        "n_cache": "ifNull(toUInt64OrNull(p_cache_read_tokens), 0) + ifNull(toUInt64OrNull(p_cache_write_tokens), 0)",
        "n_thought": "ifNull(toUInt64OrNull(p_reasoning_tokens), 0)",
    }


def judged() -> dict[str, str]:
    """What several fields decide together."""
    failed = "(status_code = 2 OR upper(p_level) = 'ERROR')"
    seconds = f"({_has(['agentcc.request_id'])} OR NOT hasAny(dialects, ['fi0', 'fi1']))"
    has_vendor_model = "hasAny(dialects, ['oi', 'fi0', 'fi1']) AND parameter_model != ''"
    stripped = "arrayElement(splitByChar('/', {}), -1)"
    answered = _first_text("p_response_model", "p_request_model")
    is_same = f"{stripped.format(answered)} = {stripped.format('parameter_model')}"
    return {
        "is_failed": failed,
        "gap": "if(n_total_tokens IS NULL OR (n_input_tokens IS NULL AND n_output_tokens IS NULL), 0, "
        "toInt64(assumeNotNull(n_total_tokens)) - toInt64(ifNull(n_input_tokens, 0)) - toInt64(ifNull(n_output_tokens, 0)))",
        "kind_named": "multiIf("
        + "".join(f"startsWith(name, {sqltext.text(start)}), {sqltext.text(kind)}, " for start, kind in KIND_BY_NAME)
        + "p_kind != '', p_kind, "
        + "".join(f"startsWith(name, {sqltext.text(start)}), {sqltext.text(kind)}, " for start, kind in KIND_BY_NAME_ALONE)
        + "p_request_model != '' AND n_input_tokens IS NOT NULL, 'llm', 'other')",
        "error_name": _first_text("p_error_type", "exception_type", "p_error_code"),
        "http_code": _first_number(),
        "asked_model": f"if({has_vendor_model}, parameter_model, {_first_text('p_request_model', 'parameter_model')})",
        "answering_model": f"multiIf(NOT ({has_vendor_model}), p_response_model, {answered} = parameter_model, p_response_model, {is_same}, '', {answered})",
        "first_token_ns": "multiIf("
        f"p_first_token_seconds != '', {_first_token('p_first_token_seconds', 'true')}, "
        f"p_first_token_either != '', {_first_token('p_first_token_either', seconds)}, "
        f"p_first_token_ms != '', {_first_token('p_first_token_ms', 'false')}, "
        "first_token_event IS NOT NULL, if(first_token_event <= duration, first_token_event, NULL), "
        f"p_first_token_at != '', {_first_token_at()}, NULL)",
    }


def _first_number() -> str:
    number = "toUInt16OrNull({})"
    return f"coalesce({number.format('p_http_status')}, if({number.format('p_error_type')} BETWEEN 100 AND 599, {number.format('p_error_type')}, NULL))"


def _first_token(value: str, is_seconds: str) -> str:
    """Nanoseconds from a number in seconds or milliseconds; longer than the span: tried in milliseconds, else NULL."""
    number = f"toFloat64OrNull({value})"
    large, small = f"{number} * 1e9", f"{number} * 1e6"
    return (
        f"multiIf({is_seconds} AND {large} BETWEEN 0 AND duration, toUInt64(round({large})), "
        f"{small} BETWEEN 0 AND duration, toUInt64(round({small})), NULL)"
    )


def _first_token_at() -> str:
    moment = "toUnixTimestamp64Nano(parseDateTime64BestEffortOrNull(p_first_token_at, 9, 'UTC'))"
    return f"if({moment} >= start_ns AND {moment} - start_ns <= duration, toUInt64({moment} - start_ns), NULL)"


def _status() -> str:
    codes_of = "toString(ifNull(http_code, 0))"
    message = "lower(concat(status_message, ' ', p_level_message))"
    words = " OR ".join(f"position({message}, {sqltext.text(word)}) > 0" for word in TIMEOUT_WORDS)
    is_timeout = (
        f"arrayExists(e -> {_ends_in('e', TIMEOUTS)}, [p_error_type, exception_type, p_error_code, {codes_of}]) OR {words}"
    )
    is_cancelled = f"arrayExists(e -> {_ends_in('e', CANCELLATIONS)}, [p_error_type, exception_type, p_error_code, {codes_of}])"
    return f"multiIf(is_failed, multiIf({is_timeout}, 'timeout', {is_cancelled}, 'cancelled', 'error'), status_code = 1, 'ok', 'unset')"


def settled() -> dict[str, str]:
    """Tokens in their inclusive form: input contains cached, output contains reasoning. A second run changes nothing."""
    is_open = "gap > 0 AND n_cache = n_thought AND n_cache = gap"
    return {
        "is_undecidable": f"NOT is_from_document AND {is_open}",
        "adds_cache": "NOT is_from_document AND n_cache > 0 AND ((gap > 0 AND NOT (n_cache = n_thought AND n_cache = gap) "
        "AND (gap = n_cache OR (gap != n_thought AND gap = n_cache + n_thought))) OR ifNull(n_input_tokens, n_cache) < n_cache)",
        "adds_thought": "NOT is_from_document AND n_thought > 0 AND ((gap > 0 AND gap != n_cache "
        "AND (gap = n_thought OR gap = n_cache + n_thought)) OR ifNull(n_output_tokens, n_thought) < n_thought)",
    }


def summed() -> dict[str, str]:
    return {
        "all_input": "n_input_tokens + if(adds_cache, n_cache, 0)",
        "all_output": "n_output_tokens + if(adds_thought, n_thought, 0)",
        "is_total_given": "n_total_tokens IS NOT NULL AND assumeNotNull(n_total_tokens) >= ifNull(all_input, 0) + ifNull(all_output, 0)",
        "is_zero_unpriced": "ifNull(cost = 0 AND ifNull(all_input, 0) + ifNull(all_output, 0) > 0, false)",
    }


_QUALITY_FLAGS = {
    "end_before_start": "NOT (end_ns >= start_ns AND start_ns > 0)",
    "time_far_off": "start_ns > received_ns + 3600000000000 OR start_ns + 2592000000000000 < received_ns",
    "duplicate_key": "has_duplicate_keys",
    "empty_key": "has_empty_key",
    "bad_count": "n_bad_counts > 0",
    "token_conflict": "notEmpty(conflicting) OR is_undecidable",
    "tokens_converted": "adds_cache OR adds_thought",
    "first_token_dropped": "first_token_ns IS NULL AND (p_first_token_seconds != '' OR p_first_token_either != '' OR p_first_token_ms != '' "
    "OR first_token_event IS NOT NULL OR p_first_token_at != '')",
    "unread_document": f"({_has(_DOCUMENT_KEYS)}) AND empty(members)",
    "bad_parent": "has_bad_parent",
    "dropped_link": "has_bad_link",
    "dropped_attributes": "dropped_attributes_count > 0",
    "zero_unpriced": "is_zero_unpriced",
}
"""Names of what was coerced, dropped or in conflict, and when."""


def finished() -> dict[str, str]:
    """The columns of `span_records` that the vocabulary decides, by their names."""
    tag = "arrayFirst(t -> startsWith(t, '{}:'), listed_tags)"
    route_tag, cohort_tag = tag.format("route"), tag.format("cohort")
    stream = f"coalesce({_bool('p_is_streaming')}, if(endsWith(p_operation, '.doStream'), true, NULL), parameter_stream)"
    role = "lower(p_mirror_role)"
    is_suspect = (
        "hasAny(dialects, ['fi0', 'fi1']) AND p_provider = 'anthropic' AND p_cache_read_tokens = '' AND p_cache_write_tokens = ''"
    )
    service = "resource_attributes['service.name']"
    plain = {
        name: f"p_{name}"
        for name in ("operation", "cohort", "prompt_version", "session_id", "user_id", "provider", "response_id")
        + ("call_group", "attempt_kind", "fallback_from", "tool_call_id", "mirror_group", "evaluation_rule")
    }
    return plain | {
        "service_name": f"if({service} != '' AND NOT startsWith({service}, 'unknown_service'), {service}, "
        f"{_first_text(*(f'resource_attributes[{sqltext.text(key)}]' for key in SERVICE_KEYS[1:]), service)})",
        "environment": _first_text("p_environment", _resource(*ENVIRONMENT_KEYS)),
        "release": _resource(*RELEASE_KEYS),
        "kind": "kind_named",
        "operation": _first_text("p_operation", "if(kind_named = 'other', '', kind_named)"),
        "model_route": _first_text("p_model_route", f"substring({route_tag}, 7)"),
        "cohort": _first_text("p_cohort", f"substring({cohort_tag}, 8)"),
        "prompt_name": _first_text("p_prompt_name", "p_prompt_template"),
        "request_model": "asked_model",
        "response_model": "answering_model",
        "input_tokens": "all_input",
        "output_tokens": "all_output",
        "total_tokens": "multiIf(is_total_given, n_total_tokens, all_input IS NULL AND all_output IS NULL, n_total_tokens, "
        "ifNull(all_input, 0) + ifNull(all_output, 0))",
        **{name: f"n_{name}" for name in list(COUNTS)[3:]},
        "token_quality": "multiIf(n_input_tokens IS NULL AND n_output_tokens IS NULL AND n_total_tokens IS NULL, '', "
        f"notEmpty(conflicting) OR is_undecidable, 'conflict', {is_suspect}, 'suspect_undercount', "
        "adds_cache, 'converted_exclusive', is_total_given, 'reported', 'derived_total')",
        "reported_cost_usd": "cost",
        "cost_source": f"multiIf(cost IS NULL, '', is_zero_unpriced, 'zero_unpriced', {sqltext.texts(COST_SOURCES)}[cost_rank])",
        "ttft_ns": "first_token_ns",
        "is_streaming": stream,
        "status": _status(),
        "status_message": _first_text("status_message", "p_level_message"),
        "error_type": "error_name",
        "http_status": "http_code",
        "finish_reasons": "listed_reasons",
        "attempt_index": "toUInt16OrNull(p_attempt_index)",
        "tool_name": _first_text("p_tool_name", "if(kind_named = 'tool', p_entity_name, '')"),
        "tags": "listed_tags",
        "mirror_role": f"multiIf({role} IN ('primary', 'shadow', 'none'), {role}, {_bool('p_silent_experiment')}, 'shadow', '')",
        "evaluation_sampled": _bool("p_evaluation_sampled"),
        "duration_ns": "duration",
        "quality_flags": _named_bits(_QUALITY_FLAGS),
    }


def statement(decoded: str, *, with_documents: bool = True, with_messages: bool = True) -> str:
    """
    The whole SELECT around `decoded`, one column per column of `span_records` but `written_at`.

    Args:
        decoded: a SELECT with the columns of `decode.spans`.
        with_documents, with_messages: whether any span may hold a JSON document or tool calls; without, the statement is shorter,
            and what the engine spends on reading it with every insert is saved.
    """
    no_members = "CAST([], 'Array(Tuple(String, String))')"
    members = f"if({_has(_DOCUMENT_KEYS)}, {documents.members()}, {no_members})" if with_documents else no_members
    columns = own_columns() | finished() | gathered_metadata(with_documents=with_documents)
    columns["tool_call_names"] = tool_call_names() if with_messages else "emptyArrayString()"
    derived = {
        **translated(),
        "members": members,
        **gathered(with_documents=with_documents),
        **unwrapped(),
        **ranked(),
        **placed(),
        **picked(),
        **read(),
        **judged(),
        **settled(),
        **summed(),
    }
    return sqltext.nested(decoded, DECODED, derived, {f"c_{name}": columns[name] for name in SPAN_COLUMNS})


def own_columns() -> dict[str, str]:
    """What a span says of itself in every dialect."""
    same = (
        ("trace_id", "span_id", "parent_span_id", "trace_state", "name", "span_kind", "scope_name", "scope_version", "dialects")
        + ("resource_attributes", "links", "dropped_attributes_count", "dropped_events_count", "dropped_links_count")
        + ("resource_schema_url", "scope_schema_url", "row_version")
    )
    return {name: name for name in same} | {
        "start_time": moment("start_ns"),
        "end_time": moment("greatest(start_ns, end_ns)"),
        "attributes": "mapFromArrays(keys, texts)",
        "attribute_types": "types",
        "events": f"arrayZip(arrayMap(t -> {moment('t')}, event_times), event_names, event_attributes)",
        "received_at": moment("received_ns"),
    }


def gathered_metadata(*, with_documents: bool) -> dict[str, str]:
    """Every attribute under a metadata prefix, the members of metadata documents, and the losers of token conflicts."""
    prefixes = list(METADATA_PREFIXES)
    keys, values = "keys", "texts"
    if with_documents:
        prefixes += [key + documents.MEMBERS for key in METADATA_DOCUMENTS]
        keys, values = "arrayConcat(keys, members.1)", "arrayConcat(texts, members.2)"
    ranks = "multiIf(" + "".join(f"startsWith(k, {sqltext.text(p)}), {n}, " for n, p in enumerate(prefixes, 1)) + "0)"
    sizes = sqltext.numbers((len(prefix) for prefix in prefixes), "UInt8")
    found = f"arraySort(e -> e.1, arrayFilter(e -> e.1 > 0, arrayMap((k, t) -> ({ranks}, toString(k), t), {keys}, {values})))"
    named = f"arrayMap(e -> (substring(e.2, {sizes}[e.1] + 1), e.3), {found})"
    winners = f"[{', '.join(f'p_{name}' for name in COUNTS)}]"
    losers = (
        "arrayFilter((e, c) -> c > 0 AND c < " + str(_COUNTS_END) + " AND has(conflicting, intDiv(c, 256)) AND e.2 != '' "
        f"AND e.2 != {winners}[intDiv(c, 256)], arrayMap((k, v) -> (concat('conflict.', k), v), all_keys, read_values), all_roles)"
    )
    all_keys = "arrayConcat(keys, arrayMap(c -> '', arrayFilter(c -> c != 0, second_roles)), members.1)"
    pairs = f"arrayConcat({named}, if(empty(conflicting), [], {losers.replace('all_keys', all_keys)}))"
    once = f"arrayFilter((e, n) -> n = 1 AND e.1 != '' AND e.2 != '', pairs, arrayEnumerateUniq(pairs.1))"
    as_map = f"arrayMap(pairs -> mapFromArrays({once}.1, {once}.2), [{pairs}])[1]"
    return {"metadata": f"if({_has(_METADATA_KEYS)} OR notEmpty(conflicting), {as_map}, map())"}


def tool_call_names() -> str:
    """Names of the tools the model asked for: from flattened messages, else from message documents."""
    is_name = "endsWith(k, '.tool_call.function.name') OR (startsWith(k, 'gen_ai.completion.') AND match(k, '\\\\.tool_calls\\\\.[0-9]+\\\\.name$'))"
    flat = f"arrayFilter((t, k) -> {is_name}, texts, keys)"
    order = f"arrayMap(k -> (length(k), toString(k)), arrayFilter(k -> {is_name}, keys))"
    part = "if(JSONExtractString(p, 'type') = 'tool_call', JSONExtractString(p, 'name'), '')"
    messages = f"arrayFlatten(arrayMap(m -> arrayMap(p -> {part}, JSONExtractArrayRaw(m, 'parts')), JSONExtractArrayRaw(p_output_messages)))"
    vercel = "arrayMap(m -> JSONExtractString(m, 'toolName'), JSONExtractArrayRaw(p_output_messages))"
    return (
        f"multiIf(arrayExists(k -> {is_name}, keys), arraySort((t, o) -> o, {flat}, {order}), p_output_messages = '', emptyArrayString(), "
        f"arrayFilter(n -> n != '', arrayConcat({messages}, {vercel})))"
    )
