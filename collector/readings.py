"""SQL that reads the picked texts as what they are, and decides what several fields decide together. Derived columns by name."""

from __future__ import annotations

from collections.abc import Iterable

from collector import sqltext
from collector.attributes import COUNTS, DOCUMENT_BYTES, MISSING
from collector.census import Census
from collector.dialects import (
    CANCELLATIONS,
    DIALECTS,
    FIRST_TOKEN_EVENTS,
    KIND_BY_NAME,
    KIND_BY_NAME_ALONE,
    TIMEOUT_WORDS,
    TIMEOUTS,
)
from collector.documents import DOCUMENTS


def derived(census: Census) -> dict[str, str]:
    """From one text per field to what the span says."""
    return _read(census) | _judged(census) | _settled(census) | _summed()


def read_list(value: str) -> str:
    """A list field: a JSON list, a list as Python writes it, or one word."""
    as_json = f"if(isValidJSON({value}), {value}, replaceAll({value}, '\\'', '\"'))"
    return (
        f"multiIf({value} = '', emptyArrayString(), startsWith({value}, '['), JSONExtract({as_json}, 'Array(String)'), [{value}])"
    )


def read_bool(value: str) -> str:
    return f"multiIf(lower({value}) IN ('true', '1'), true, lower({value}) IN ('false', '0'), false, NULL)"


def first_text(*values: str) -> str:
    """The first that is not ''."""
    values = tuple(value for value in values[:-1] if value != "''") + values[-1:]
    head = ", ".join(f"{value} != '', {value}" for value in values[:-1])
    return f"multiIf({head}, {values[-1]})" if head else values[-1]


def resource_text(census: Census, *keys: str) -> str:
    seen = [key for key in keys if census.has_resource_key(key)]
    return first_text(*(f"resource_attributes[{sqltext.text(key)}]" for key in seen), "''")


def _ends_in(value: str, names: Iterable[str]) -> str:
    """Whether an error type is one of `names`, with or without a module in front."""
    return f"({value} IN {sqltext.tuple_of(names)} OR arrayElement(splitByChar('.', {value}), -1) IN {sqltext.tuple_of(names)})"


def named_bits(tests: dict[str, str]) -> str:
    """The names whose test holds, as an array; made from a bit mask, for most rows have none or few."""
    mask = " + ".join(f"toUInt32({test}) * {1 << n}" for n, test in enumerate(tests.values()))
    return f"arrayMap(b -> {sqltext.texts(tests)}[b + 1], bitPositionsToArray({mask}))"


def _dialect_list(census: Census) -> str:
    """Every dialect whose scope, name or keys are here."""
    tests = {}
    for name, dialect in DIALECTS.items():
        ways = []
        if dialect.scopes:
            ways.append(sqltext.starts_with_any("scope_name", dialect.scopes))
        if dialect.names:
            ways.append(f"name IN {sqltext.tuple_of(dialect.names)}")
        single = [group[0] for group in dialect.markers if len(group) == 1]
        ways.append(census.present(single))
        ways += [" AND ".join(census.present([key]) for key in group) for group in dialect.markers if len(group) > 1]
        ways = [way for way in ways if "false" not in way.split(" AND ")]
        if ways:
            tests[name] = f"({' OR '.join(ways)})"
    return named_bits(tests)


def _read(census: Census) -> dict[str, str]:
    """Texts as what they are."""
    exception = "arrayLast((a, n) -> n = 'exception', event_attributes, event_names)['exception.type']"
    first_tokens = (
        f"arrayFilter((t, n) -> n IN {sqltext.tuple_of(FIRST_TOKEN_EVENTS)} AND t >= start_ns, event_times, event_names)"
    )
    first_token_event = (
        f"if(hasAny(event_names, {sqltext.texts(FIRST_TOKEN_EVENTS)}) AND notEmpty({first_tokens}), "
        f"toFloat64(arrayMin({first_tokens}) - start_ns), NULL)"
    )
    has_document = census.present(DOCUMENTS)
    is_unreadable = f"t NOT IN {sqltext.tuple_of(MISSING)} AND (length(t) > {DOCUMENT_BYTES} OR JSONType(t) != 'Object')"
    has_unread = f"arrayExists((k, t) -> k IN {sqltext.tuple_of(DOCUMENTS)} AND {is_unreadable}, keys, texts)"
    return _numbers(census) | {
        "dialects": _dialect_list(census),
        "has_unread_document": f"{has_document} AND empty(members) AND {has_unread}" if has_document != "false" else "false",
        "cost": "toDecimal64OrNull(p_cost, 9)",
        "listed_tags": read_list("p_tags") if census.has_field("tags") else "emptyArrayString()",
        "listed_reasons": read_list("p_finish_reasons") if census.has_field("finish_reasons") else "emptyArrayString()",
        "parameter_model": "if(p_parameters = '', '', JSONExtractString(p_parameters, 'model'))"
        if census.has_field("parameters")
        else "''",
        "parameter_stream": "if(p_parameters = '', NULL, JSONExtract(p_parameters, 'stream', 'Nullable(Bool)'))"
        if census.has_field("parameters")
        else "NULL",
        "exception_type": f"if(has(event_names, 'exception'), {exception}, '')" if census.has_event("exception") else "''",
        "first_token_event": first_token_event if any(map(census.has_event, FIRST_TOKEN_EVENTS)) else "NULL",
        "duration": "if(end_ns > start_ns AND start_ns > 0, end_ns - start_ns, 0)",
    }


def _numbers(census: Census) -> dict[str, str]:
    counts = {f"n_{name}": f"toUInt64OrNull(p_{name})" for name in COUNTS}
    details = list(COUNTS)[3:]
    counts |= {f"n_{name}": "NULL" for name in details if not census.has_field(name)}
    return counts | {
        "n_cache": "ifNull(n_cache_read_tokens, 0) + ifNull(n_cache_write_tokens, 0)",
        "n_thought": "ifNull(n_reasoning_tokens, 0)",
    }


def _judged(census: Census) -> dict[str, str]:
    """What several fields decide together."""
    failed = "(status_code = 2 OR upper(p_level) = 'ERROR')" if _may_fail(census) else "false"
    has_vendor_model = "hasAny(dialects, ['oi', 'fi0', 'fi1']) AND parameter_model != ''"
    stripped = "arrayElement(splitByChar('/', {}), -1)"
    answered = first_text("p_response_model", "p_request_model")
    is_same = f"{stripped.format(answered)} = {stripped.format('parameter_model')}"
    vendor = {
        "asked_model": f"if({has_vendor_model}, parameter_model, {first_text('p_request_model', 'parameter_model')})",
        "answering_model": f"multiIf(NOT ({has_vendor_model}), p_response_model, "
        f"{answered} = parameter_model, p_response_model, {is_same}, '', {answered})",
    }
    if not census.has_field("parameters"):
        vendor = {"asked_model": "p_request_model", "answering_model": "p_response_model"}
    return vendor | {
        "is_failed": failed,
        "gap": "if(n_total_tokens IS NULL OR (n_input_tokens IS NULL AND n_output_tokens IS NULL), 0, "
        "toInt64(assumeNotNull(n_total_tokens)) - toInt64(ifNull(n_input_tokens, 0)) - toInt64(ifNull(n_output_tokens, 0)))",
        "kind_named": "multiIf("
        + "".join(f"startsWith(name, {sqltext.text(start)}), {sqltext.text(kind)}, " for start, kind in KIND_BY_NAME)
        + "p_kind != '', p_kind, "
        + "".join(f"startsWith(name, {sqltext.text(start)}), {sqltext.text(kind)}, " for start, kind in KIND_BY_NAME_ALONE)
        + "p_request_model != '' AND n_input_tokens IS NOT NULL, 'llm', 'other')",
        "error_name": first_text("p_error_type", "exception_type", "p_error_code"),
        "http_code": _first_number() if census.has_field("http_status", "error_type", "error_code") else "NULL",
        "first_token_ns": _first_token_ns(census),
    }


def _first_token_ns(census: Census) -> str:
    seconds = f"({census.present(['agentcc.request_id'])} OR NOT hasAny(dialects, ['fi0', 'fi1']))"
    ways = {
        "first_token_seconds": _first_token("p_first_token_seconds", "true"),
        "first_token_either": _first_token("p_first_token_either", seconds),
        "first_token_ms": _first_token("p_first_token_ms", "false"),
    }
    branches = [f"p_{name} != '', {way}" for name, way in ways.items() if census.has_field(name)]
    if any(map(census.has_event, FIRST_TOKEN_EVENTS)):
        branches.append("first_token_event IS NOT NULL, if(first_token_event <= duration, first_token_event, NULL)")
    if census.has_field("first_token_at"):
        branches.append(f"p_first_token_at != '', {_first_token_at()}")
    return f"multiIf({', '.join(branches)}, NULL)" if branches else "NULL"


def _first_number() -> str:
    number = "toUInt16OrNull({})"
    told = [number.format(f"p_{name}") for name in ("error_type", "error_code")]
    codes_of = ", ".join(f"if({said} BETWEEN 100 AND 599, {said}, NULL)" for said in told)
    return f"coalesce({number.format('p_http_status')}, {codes_of})"


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


def _may_fail(census: Census) -> bool:
    return census.has_errors or census.has_field("level")


def read_status(census: Census) -> str:
    if not _may_fail(census):
        return "if(status_code = 1, 'ok', 'unset')"
    codes_of = "toString(ifNull(http_code, 0))"
    message = "lower(concat(status_message, ' ', p_level_message))"
    words = " OR ".join(f"position({message}, {sqltext.text(word)}) > 0" for word in TIMEOUT_WORDS)
    is_timeout = (
        f"arrayExists(e -> {_ends_in('e', TIMEOUTS)}, [p_error_type, exception_type, p_error_code, {codes_of}]) OR {words}"
    )
    is_cancelled = f"arrayExists(e -> {_ends_in('e', CANCELLATIONS)}, [p_error_type, exception_type, p_error_code, {codes_of}])"
    failure = f"multiIf({is_timeout}, 'timeout', {is_cancelled}, 'cancelled', 'error')"
    return f"multiIf(is_failed, {failure}, status_code = 1, 'ok', 'unset')"


def _settled(census: Census) -> dict[str, str]:
    """Tokens in their inclusive form: input contains cached, output contains reasoning. A second run changes nothing."""
    has_cache, has_thought = census.has_field("cache_read_tokens", "cache_write_tokens"), census.has_field("reasoning_tokens")
    is_open = "gap > 0 AND n_cache = n_thought AND n_cache = gap"
    return {
        "is_undecidable": f"NOT is_from_document AND {is_open}" if has_cache and has_thought else "false",
        "adds_cache": "NOT is_from_document AND n_cache > 0 AND ((gap > 0 AND NOT (n_cache = n_thought AND n_cache = gap) "
        "AND (gap = n_cache OR (gap != n_thought AND gap = n_cache + n_thought))) OR ifNull(n_input_tokens, n_cache) < n_cache)"
        if has_cache
        else "false",
        "adds_thought": "NOT is_from_document AND n_thought > 0 AND ((gap > 0 AND gap != n_cache "
        "AND (gap = n_thought OR gap = n_cache + n_thought)) OR ifNull(n_output_tokens, n_thought) < n_thought)"
        if has_thought
        else "false",
    }


def _summed() -> dict[str, str]:
    return {
        # LiteLLM reports zeros for a call that failed before anything was counted
        "is_blank": "is_failed AND ifNull(n_input_tokens, 0) = 0 AND ifNull(n_output_tokens, 0) = 0 AND ifNull(cost, 0) = 0",
        "all_input": "if(is_blank, NULL, n_input_tokens + if(adds_cache, n_cache, 0))",
        "all_output": "if(is_blank, NULL, n_output_tokens + if(adds_thought, n_thought, 0))",
        "is_total_given": "n_total_tokens IS NOT NULL "
        "AND assumeNotNull(n_total_tokens) >= ifNull(all_input, 0) + ifNull(all_output, 0)",
        "is_zero_unpriced": "ifNull(cost = 0 AND ifNull(all_input, 0) + ifNull(all_output, 0) > 0, false)",
    }
