"""
SQL that translates the attributes of a span once and puts what they say in the order of field and rank.

Each function gives derived columns by name (`normalise.statement` chains them). Lambda variables: `k` key, `t` text, `c` code,
`v` value as read, `i` position.
"""

from __future__ import annotations

from collector import sqltext
from collector.attributes import COUNTS, FIELDS, MEMBERS, MISSING, SCRUBBED, Reading
from collector.codes import BITS, COUNTS_END, FIELD_IDS, codes
from collector.dialects import FRAMEWORKS, KINDS, PROVIDERS

_WEAK_ZERO = [FIELD_IDS[name] for name, field in COUNTS.items() if field.zero_is_weak]


def derived(*, with_documents: bool) -> dict[str, str]:
    """From `keys` and `texts` (and `members` of documents) to one text per field, named `p_<field>`."""
    gathered = _gathered(with_documents=with_documents)
    return _translated() | gathered | _unwrapped() | _ranked() | _placed() | _picked()


def _translated() -> dict[str, str]:
    """Codes of the attributes, and what is known of the span from their keys alone."""
    first, second = codes()
    both = {key: first.get(key, 0) + 65536 * second.get(key, 0) for key in first}
    exact = {key: bit for key, bit in BITS.items() if not key.endswith("*")}
    families = {key[:-1]: bit for key, bit in BITS.items() if key.endswith("*")}
    bits = [f"transform(k, {sqltext.texts(exact)}, {sqltext.numbers(exact.values(), 'UInt64')}, toUInt64(0))"]
    bits += [f"startsWith(k, {sqltext.text(prefix)}) * {bit}" for prefix, bit in families.items()]
    roles = sqltext.numbers(both.values(), "UInt32")
    return {
        "roles": f"arrayMap(k -> transform(k, {sqltext.texts(both)}, {roles}, toUInt32(0)), keys)",
        "second_roles": "arrayMap(r -> toUInt16(bitShiftRight(r, 16)), roles)",
        "markers": f"arrayReduce('groupBitOr', arrayMap(k -> {' + '.join(bits)}, keys))",
    }


def _gathered(*, with_documents: bool) -> dict[str, str]:
    """All codes with their keys and texts: the attributes, those in a second role, the members of documents."""
    first, _ = codes()
    members = {key: code for key, code in first.items() if MEMBERS in key}
    parts = {
        "all_roles": ["arrayMap(r -> toUInt16(bitAnd(r, 65535)), roles)", "arrayFilter(c -> c != 0, second_roles)"],
        "all_texts": ["texts", "arrayFilter((t, c) -> c != 0, texts, second_roles)"],
    }
    if with_documents:
        roles = sqltext.numbers(members.values(), "UInt16")
        parts["all_roles"].append(f"arrayMap(p -> transform(p.1, {sqltext.texts(members)}, {roles}, toUInt16(0)), members)")
        parts["all_texts"].append("members.2")
    return {alias: f"arrayConcat({', '.join(listed)})" for alias, listed in parts.items()}


def _read_count() -> str:
    """A count as digits, '' when it is none: negative, fractional, a word, or beyond what a double holds exactly."""
    number = "toFloat64OrNull(t)"
    return (
        "multiIf(length(t) <= 15 AND toUInt64OrNull(t) IS NOT NULL, toString(assumeNotNull(toUInt64OrNull(t))), "
        f"{number} >= 0 AND {number} < 9007199254740992 AND floor({number}) = {number}, "
        f"toString(toUInt64(assumeNotNull({number}))), '')"
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


def _unwrapped() -> dict[str, str]:
    """Texts of mapped attributes without one layer of JSON quoting; '' for what is missing or not mapped."""
    missing = sqltext.tuple_of(MISSING)
    return {
        "plain_texts": f"arrayMap((c, t) -> multiIf(c = 0 OR t IN {missing} OR startsWith(t, {sqltext.text(SCRUBBED)}), '', "
        "ascii(t) = 34 AND isValidJSON(t), JSONExtractString(t), t), all_roles, all_texts)"
    }


def _ranked() -> dict[str, str]:
    """Readable values in the order of field, then strength, then rank; equal ranks in the order of the attributes."""
    read_by = {
        reading: [str(FIELD_IDS[name]) for name, field in FIELDS.items() if field.reading is reading] for reading in Reading
    }
    branches = "".join(f"intDiv(c, 256) IN ({', '.join(read_by[reading])}), {sql}, " for reading, sql in _READINGS.items())
    weak = (
        f"(v = '0' AND intDiv(c, 256) IN ({', '.join(map(str, _WEAK_ZERO))})) OR "
        f"(intDiv(c, 256) = {FIELD_IDS['provider']} AND v IN {sqltext.tuple_of(FRAMEWORKS)})"
    )
    rank = "bitShiftLeft(toUInt64(intDiv(c, 256)), 48) + bitShiftLeft(toUInt64(bitAnd(c, 255)), 40) + i"
    return {
        "read_values": f"arrayMap((c, t) -> multiIf(t = '', '', c < {COUNTS_END}, {_read_count()}, {branches}t), "
        "all_roles, plain_texts)",
        "ranking": "arraySort(arrayFilter(x -> x != 0, arrayMap((c, v, i) -> "
        f"if(v = '', 0, {rank} + if({weak}, bitShiftLeft(toUInt64(1), 47), 0)), "
        "all_roles, read_values, arrayEnumerate(all_roles))))",
    }


def _placed() -> dict[str, str]:
    """The ranking as two arrays: which field, and where its value is."""
    return {
        "fields": "arrayMap(x -> toUInt8(bitShiftRight(x, 48)), ranking)",
        "places": "arrayMap(x -> toUInt32(x), ranking)",
    }


def _picked() -> dict[str, str]:
    """One text per field: that of its first place, '' when it has none."""
    columns = {f"p_{name}": f"read_values[places[indexOf(fields, {number})]]" for name, number in FIELD_IDS.items()}
    cost_rank = f"toUInt8(bitAnd(bitShiftRight(ranking[indexOf(fields, {FIELD_IDS['cost']})], 40), 127))"
    return columns | {
        "cost_rank": cost_rank,
        # usage documents are read into their inclusive form already; their values lie beyond the attributes
        "is_from_document": f"places[indexOf(fields, {FIELD_IDS['input_tokens']})] > length(keys)",
        "twice": f"arrayFilter((f, g) -> f = g AND f <= {len(COUNTS)}, fields, arrayPopBack(arrayPushFront(fields, 0)))",
        "n_bad_counts": f"arrayCount((c, t, v) -> c > 0 AND c < {COUNTS_END} AND t != '' AND v = '', "
        "all_roles, plain_texts, read_values)",
    }
