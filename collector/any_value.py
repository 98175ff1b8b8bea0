"""
SQL expressions that turn the wire bytes of an AnyValue into text.

Scalars become what they say; bytes become base64; lists of scalars become JSON. Maps and what is nested deeper keep their wire
bytes, wrapped so that they are text (`storage.spans.NESTED`), to be read by `storage.spans.value_of`: nothing is lost, and no
recursion is needed here. The value's tag byte is stored beside it, which tells "0" from 0.

Source: protobuf wire format; `opentelemetry/proto/common/v1/common.proto`.
"""

from __future__ import annotations

from collections.abc import Collection

from collector import sqltext
from storage.spans import NESTED, NESTED_END

STRING, BOOL, INT, DOUBLE, ARRAY, KVLIST, BYTES = 0x0A, 0x10, 0x18, 0x21, 0x2A, 0x32, 0x3A
"""First wire byte of each kind of AnyValue; 0 is "unset"."""

SCALARS = frozenset((0, STRING, BOOL, INT, DOUBLE, BYTES))
TAGS = frozenset((STRING, BOOL, INT, DOUBLE, ARRAY, KVLIST, BYTES))

LONGEST_LIST = 20_000
"""Bytes; a longer list is kept as a nested value."""


def payload(v: str) -> str:
    """What follows tag and length. The length of the length follows from the length of the whole."""
    return f"substring({v}, 3 + (length({v}) > 129) + (length({v}) > 16386) + (length({v}) > 2097155))"


def int64_text(v: str) -> str:
    """
    A varint of up to ten bytes, seven bits each, as decimal text.

    The first eight bytes are read as one little-endian number whose groups are shifted together; the last two follow.
    """
    low = f"reinterpretAsUInt64(substring({v}, 2, 8))"
    groups = [f"bitAnd(bitShiftRight({low}, {n}), {0x7F << 7 * n})" for n in range(8)]
    groups.append(f"bitShiftLeft(toUInt64(bitAnd(ascii(substring({v}, 10, 1)), 127)), 56)")
    groups.append(f"bitShiftLeft(toUInt64(bitAnd(ascii(substring({v}, 11, 1)), 1)), 63)")
    joined = groups[0]
    for group in groups[1:]:
        joined = f"bitOr({joined}, {group})"
    return f"toString(reinterpretAsInt64({joined}))"


def int64_text_short(v: str) -> str:
    """The same as `int64_text` in a tenth of the words, which the engine analyses at each insert, but slower to run."""
    group = f"bitShiftLeft(toUInt64(bitAnd(ascii(substring({v}, n + 2, 1)), 127)), 7 * n)"
    return f"toString(reinterpretAsInt64(arraySum(arrayMap(n -> {group}, range(toUInt32(greatest(length({v}), 1) - 1))))))"


def nested_text(v: str) -> str:
    """The wire bytes in `v` as text that says so: valid UTF-8 whatever they are."""
    return f"concat({sqltext.text(NESTED)}, base64Encode({v}), {sqltext.text(NESTED_END)})"


def may_nest(tags: Collection[int]) -> bool:
    """Whether there are values other than scalars."""
    return not SCALARS.issuperset(tags)


def _is_one_string(v: str) -> str:
    """Whether the list in `v` holds one short string and nothing else."""
    return (
        f"length({v}) BETWEEN 6 AND 129 AND substring({v}, 3, 1) = '\\n' AND ascii(substring({v}, 4, 1)) = length({v}) - 4 "
        f"AND substring({v}, 5, 1) = '\\n' AND ascii(substring({v}, 6, 1)) = length({v}) - 6"
    )


def is_nested(v: str) -> str:
    """Whether `text`, when hot, leaves `v` as wire bytes."""
    scalars = ", ".join(map(str, sorted(SCALARS)))
    return f"if(ascii({v}) IN ({scalars}), false, ascii({v}) != {ARRAY} OR NOT ({_is_one_string(v)}))"


def text(v: str = "v", tags: Collection[int] = TAGS, *, is_hot: bool = False) -> str:
    """
    The text of the AnyValue in `v`, a lambda's variable; what is neither a scalar nor a list of one short string is nested.

    Args:
        tags: the kinds that may occur.
        is_hot: pay more words, analysed once an insert, for less work per value. What is nested stays wire bytes: `unread_text`.
    """
    ways = {
        STRING: ("", payload(v)),
        INT: ("", int64_text(v) if is_hot else int64_text_short(v)),
        DOUBLE: ("", f"toString(reinterpretAsFloat64(substring({v}, 2, 8)))"),
        BOOL: ("", f"if(substring({v}, 2) = '\\0', 'false', 'true')"),
        BYTES: ("", f"base64Encode({payload(v)})"),
        ARRAY: (f" AND {_is_one_string(v)}", f"concat('[', toJSONString(substring({v}, 7)), ']')"),
    }
    branches = [f"ascii({v}) = {tag}{more}, {way}" for tag, (more, way) in ways.items() if tag in tags]
    if may_nest(tags) and not is_hot:
        branches += [f"{v} = '', ''", nested_text(v)]
    else:
        branches.append(v)
    return f"multiIf({', '.join(branches)})" if len(branches) > 1 else v


def is_unread(t: str, kind: str) -> str:
    """Whether a text is still wire bytes: they start with their tag, and no scalar's text is left so (nor a list's JSON)."""
    return f"{kind} NOT IN (0, {STRING}, {BOOL}, {INT}, {DOUBLE}, {BYTES}) AND ascii({t}) = {kind}"


def unread_text(v: str) -> str:
    """Wire bytes of a list of scalars as JSON; of anything else, or of a very long list, as a nested value."""
    return f"""if(length({v}) > {LONGEST_LIST} OR ascii({v}) != {ARRAY}, {nested_text(v)}, arrayMap(parts -> if(
            arrayExists(e -> ascii(e) NOT IN (0, {STRING}, {BOOL}, {INT}, {DOUBLE}), parts), {nested_text(v)},
            concat('[', arrayStringConcat(arrayMap(e -> {_scalar_json("e")}, parts), ','), ']')),
        arrayMap(body -> {_split("body")}, [{payload(v)}]))[1])"""


def _scalar_json(e: str) -> str:
    return f"""multiIf(
            ascii({e}) = {STRING}, toJSONString({payload(e)}),
            ascii({e}) = {INT}, {int64_text_short(e)},
            ascii({e}) = {DOUBLE}, ifNull(toJSONString(reinterpretAsFloat64(substring({e}, 2, 8))), 'null'),
            ascii({e}) = {BOOL}, if(substring({e}, 2) = '\\0', 'false', 'true'),
            'null')"""


def _split(body: str) -> str:
    """The elements of a list, each as its own bytes: a step of the fold takes one `0x0A, length, bytes` at position `acc.1`."""
    one, two, three = (f"toUInt32(ascii(substring({body}, acc.1 + {n}, 1)))" for n in (1, 2, 3))
    size = f"bitAnd({one}, 127) + ({one} > 127) * (bitAnd({two}, 127) * 128 + ({two} > 127) * {three} * 16384)"
    start = f"acc.1 + 2 + ({one} > 127) * (1 + ({two} > 127))"
    step = f"(toUInt32({start} + {size}), arrayPushBack(acc.2, substring({body}, {start}, {size})))"
    return (
        f"arrayFold((acc, step) -> if(acc.1 > length({body}), acc, {step}), "
        f"range(toUInt32(length({body}) / 2)), (toUInt32(1), emptyArrayString())).2"
    )
