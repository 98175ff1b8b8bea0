"""
SQL for JSON documents inside attributes: each becomes `<document>{}.<member>` pairs, as if the members had been attributes.

Evaluated only for spans that have such an attribute. A document longer than `DOCUMENT_BYTES`, or not JSON, yields nothing and
stays as it came.

Source: docs/semantics.md, "Langfuse usage details" for the four shapes.
"""

from __future__ import annotations

from collections.abc import Callable

from collector.attributes import (
    COST_DOCUMENT,
    DOCUMENT_BYTES,
    MEMBERS,
    METADATA_DOCUMENTS,
    PROVIDER_DOCUMENT,
    RAW_USAGE_DOCUMENTS,
    USAGE_DOCUMENT,
)
from collector.sqltext import text

DOCUMENTS = (*METADATA_DOCUMENTS, USAGE_DOCUMENT, COST_DOCUMENT, *RAW_USAGE_DOCUMENTS, PROVIDER_DOCUMENT)

_NAMED = {
    "usage": (USAGE_DOCUMENT,),
    "cost": (COST_DOCUMENT,),
    "usage.raw": RAW_USAGE_DOCUMENTS,
    "provider": (PROVIDER_DOCUMENT,),
}
"""Documents whose members go by a shorter name than the attribute's."""

_PAIRS = "Array(Tuple(String, String))"


def sources(member: str) -> tuple[str, ...]:
    """The attributes that may hold the document of `<document>{}.<member>`."""
    document = member.split(MEMBERS)[0]
    return _NAMED.get(document, (document,))


def document(key: str) -> str:
    """The text of one document, '' when absent or too long; `keys` and `texts` are columns."""
    found = f"texts[indexOf(keys, {text(key)})]"
    return f"if(length({found}) <= {DOCUMENT_BYTES}, {found}, '')"


def members(has_key: Callable[[str], bool]) -> str:
    """All pairs of all documents of a span, as `Array(Tuple(String, String))`; `has_key` says which documents occur at all."""
    parts = [_flat(key) for key in METADATA_DOCUMENTS if has_key(key)]
    if has_key(USAGE_DOCUMENT):
        parts.append(f"arrayMap(u -> {_usage('u')}, [{document(USAGE_DOCUMENT)}])[1]")
    if has_key(COST_DOCUMENT):
        parts.append(f"arrayMap(u -> {_cost('u')}, [{document(COST_DOCUMENT)}])[1]")
    if raw := [document(key) for key in RAW_USAGE_DOCUMENTS if has_key(key)]:
        usage = _literals_as_json(f"concat({', '.join(raw)}, '')")
        parts.append(f"arrayMap(u -> {_raw_usage('u')}, [{usage}])[1]")
    if has_key(PROVIDER_DOCUMENT):
        parts.append(f"arrayMap(u -> {_provider('u')}, [{document(PROVIDER_DOCUMENT)}])[1]")
    joined = f"arrayConcat({', '.join(parts)})" if parts else "[]"
    return f"CAST({joined}, {text(_PAIRS)})"


def _flat(key: str) -> str:
    prefix = text(key + MEMBERS)
    return f"arrayMap(p -> (concat({prefix}, p.1), p.2), JSONExtractKeysAndValues({document(key)}, 'String'))"


def _pairs(prefix: str, values: dict[str, str]) -> str:
    """Pairs of the members that are not NULL."""
    listed = ", ".join(f"({text(prefix + MEMBERS + name)}, {value})" for name, value in values.items())
    return f"arrayMap(p -> (p.1, toString(assumeNotNull(p.2))), arrayFilter(p -> p.2 IS NOT NULL, [{listed}]))"


def _count(u: str, *path: str) -> str:
    """A count inside a document, NULL when absent."""
    return f"JSONExtract({u}, {', '.join(text(part) for part in path)}, 'Nullable(UInt64)')"


def _first(*values: str) -> str:
    return f"coalesce({', '.join(values)})"


def _cost(u: str) -> str:
    total = f"JSONExtract({u}, 'total', 'Nullable(Float64)')"
    parts = f"JSONExtractKeysAndValues({u}, 'Float64')"
    summed = f"if(empty({parts}), NULL, round(arraySum(p -> p.2, {parts}), 9))"
    return _pairs("cost", {"total": _first(total, summed)})


def _raw_usage(u: str) -> str:
    """A provider's usage object: OpenAI's names, or Anthropic's."""
    return _pairs(
        "usage.raw",
        {
            "input": _first(_count(u, "prompt_tokens"), _count(u, "input_tokens")),
            "output": _first(_count(u, "completion_tokens"), _count(u, "output_tokens")),
            "total": _count(u, "total_tokens"),
            "cache_read": _first(
                _count(u, "prompt_tokens_details", "cached_tokens"),
                _count(u, "input_tokens_details", "cached_tokens"),
                _count(u, "cache_read_input_tokens"),
            ),
            "cache_write": _count(u, "cache_creation_input_tokens"),
            "reasoning": _first(
                _count(u, "completion_tokens_details", "reasoning_tokens"),
                _count(u, "output_tokens_details", "reasoning_tokens"),
            ),
        },
    )


def _provider(u: str) -> str:
    return _pairs(
        "provider",
        {
            "cache_write": _first(
                _count(u, "anthropic", "cacheCreationInputTokens"), _count(u, "bedrock", "usage", "cacheWriteInputTokens")
            )
        },
    )


def _literals_as_json(raw: str) -> str:
    """Python's literals written as JSON's; what is then still no JSON yields nothing."""
    as_json = f"replaceRegexpAll({raw}, '\\\\bNone\\\\b', 'null')"
    for word in ("True", "False"):
        as_json = f"replaceRegexpAll({as_json}, '\\\\b{word}\\\\b', '{word.lower()}')"
    return f"arrayMap(r -> if(isValidJSON(r), r, replaceAll({as_json.replace(raw, 'r')}, '\\'', '\"')), [{raw}])[1]"


def _usage(u: str) -> str:
    """
    Langfuse's usage document in its four shapes, told apart by their keys. A given total that only another reading explains
    decides for that reading.
    """
    buckets = f"JSONExtractKeysAndValues({u}, 'UInt64')"

    def total_of(prefix: str) -> str:
        return (
            f"arraySum(p -> if(startsWith(p.1, '{prefix}_') AND NOT startsWith(p.1, '{prefix}_priority') "
            f"AND NOT p.1 IN ('input_tokens', 'output_tokens'), p.2, 0), {buckets})"
        )

    ephemeral = f"arraySum(p -> if(startsWith(p.1, 'cache_creation_ephemeral_'), p.2, 0), {buckets})"
    written = f"ifNull({_count(u, 'cache_creation_input_tokens')}, {ephemeral})"
    read = f"ifNull({_count(u, 'cache_read_input_tokens')}, 0)"
    total = _first(_count(u, "total"), _count(u, "total_tokens"))
    is_native = f"(JSONHas({u}, 'input') OR JSONHas({u}, 'output'))"
    is_chat = f"(JSONHas({u}, 'prompt_tokens') OR JSONHas({u}, 'completion_tokens'))"
    own_in, own_out = f"ifNull({_count(u, 'input')}, 0)", f"ifNull({_count(u, 'output')}, 0)"
    all_in = f"({own_in} + {total_of('input')} + {read} + {written})"
    all_out = f"({own_out} + {total_of('output')})"
    is_plain = f"(ifNull({total}, 0) = {own_in} + {own_out} AND {all_in} + {all_out} != {own_in} + {own_out})"
    sent_in, sent_out = _count(u, "input_tokens"), _count(u, "output_tokens")
    is_inclusive = f"(ifNull({total}, 0) = {sent_in} + {sent_out})"
    return _pairs(
        "usage",
        {
            "input": f"multiIf({is_native}, if({is_plain}, {own_in}, {all_in}), {is_chat}, {_count(u, 'prompt_tokens')}, "
            f"if({is_inclusive}, {sent_in}, {sent_in} + {read} + {written}))",
            "output": f"multiIf({is_native} AND (JSONHas({u}, 'output') OR {total_of('output')} > 0), "
            f"if({is_plain}, {own_out}, {all_out}), {is_native}, NULL, {is_chat}, {_count(u, 'completion_tokens')}, {sent_out})",
            "total": total,
            "cache_read": _first(
                _count(u, "input_cached_tokens"),
                _count(u, "input_cache_read"),
                _count(u, "cache_read_input_tokens"),
                _count(u, "prompt_tokens_details", "cached_tokens"),
                _count(u, "input_tokens_details", "cached_tokens"),
            ),
            "cache_write": _first(
                _count(u, "input_cache_creation"), _count(u, "cache_creation_input_tokens"), f"nullIf({ephemeral}, 0)"
            ),
            "reasoning": _first(
                _count(u, "output_reasoning_tokens"),
                _count(u, "output_reasoning"),
                _count(u, "completion_tokens_details", "reasoning_tokens"),
                _count(u, "output_tokens_details", "reasoning_tokens"),
            ),
            "audio_input": _first(_count(u, "input_audio_tokens"), _count(u, "prompt_tokens_details", "audio_tokens")),
            "audio_output": _first(_count(u, "output_audio_tokens"), _count(u, "completion_tokens_details", "audio_tokens")),
        },
    )
