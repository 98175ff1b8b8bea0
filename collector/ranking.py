"""
SQL that finds, for each field, the best of the attributes that feed it.

Of the keys of a field only those that the census counted are looked at, best first; a value that cannot be read, or that means
"not set", gives way to the next. Derived columns by name (`normalise` chains them):

    plain           texts of the attributes without one layer of JSON quoting; '' for what means "not set"
    said_<field>    what each of its keys says, best first; '' where the span lacks the key (fields that are read)
    read_<field>    the same as the field reads it; '' for what is none
    p_<field>       the one that counts
"""

from __future__ import annotations

from collector import sqltext
from collector.attributes import COST_SOURCES, COUNTS, FIELDS, MEMBERS, MISSING, SCRUBBED, Reading
from collector.census import Census
from collector.dialects import FRAMEWORKS, KINDS, PROVIDERS

EMPTY = "''"


def derived(census: Census) -> dict[str, str]:
    """From `keys` and `texts` (and `members` of documents) to one text per field, named `p_<field>`."""
    columns = {"plain": _plain("texts"), "plain_members": _plain("members.2")}
    for name, field in FIELDS.items():
        columns |= _picked(name, census) if field.reading is Reading.TEXT else _read(name, census)
    return columns | _told(census) | _counted(census)


def _seen(name: str, census: Census) -> list[str]:
    """The keys of a field that occur, best first."""
    return [key for key in FIELDS[name].keys if census.has_key(key)]


def may_conflict(census: Census) -> bool:
    """Whether a count may come under two keys."""
    return any(len(_seen(name, census)) > 1 for name in COUNTS)


def _plain(texts: str) -> str:
    return (
        f"arrayMap(t -> multiIf(t IN {sqltext.tuple_of(MISSING)} OR startsWith(t, {sqltext.text(SCRUBBED)}), '', "
        f"ascii(t) = 34 AND isValidJSON(t), JSONExtractString(t), t), {texts})"
    )


def _said(key: str) -> str:
    if MEMBERS in key:
        return f"plain_members[indexOf(members.1, {sqltext.text(key)})]"
    return f"plain[indexOf(keys, {sqltext.text(key)})]"


def _picked(name: str, census: Census) -> dict[str, str]:
    """A field that takes any text."""
    said = [_said(key) for key in _seen(name, census)]
    if len(said) < 2:
        return {f"p_{name}": said[0] if said else EMPTY}
    return {f"p_{name}": f"arrayFirst(v -> v != '', [{', '.join(said)}])"}


def _read(name: str, census: Census) -> dict[str, str]:
    """A field that takes what it can read; weak values give way to any other."""
    keys = _seen(name, census)
    if not keys:
        return {f"p_{name}": EMPTY}
    weak = ("0",) if FIELDS[name].zero_is_weak else FRAMEWORKS if name == "provider" else ()
    best = f"arrayFirst(v -> v != '', read_{name})"
    if weak and len(keys) > 1:
        strong = f"arrayFirst(v -> v NOT IN {sqltext.tuple_of(['', *weak])}, read_{name})"
        best = f"if({strong} != '', {strong}, {best})"
    return {
        f"said_{name}": f"[{', '.join(_said(key) for key in keys)}]",
        f"read_{name}": f"arrayMap(t -> if(t = '', '', {_READINGS[FIELDS[name].reading]}), said_{name})",
        f"p_{name}": best if len(keys) > 1 else f"read_{name}[1]",
    }


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
    Reading.COUNT: _read_count(),
    Reading.KIND: sqltext.lookup("lower(t)", KINDS),
    Reading.PROVIDER: _read_provider(),
    Reading.ROUTE: "if(startsWith(t, '/') OR position(t, '://') > 0, '', t)",
    Reading.SHORT_NAME: "if(length(t) > 100 OR match(t, '[\\\\s{}]'), '', t)",
    Reading.MONEY: "if(toDecimal64OrNull(t, 9) IS NULL OR startsWith(t, '-'), '', t)",
}


def _told(census: Census) -> dict[str, str]:
    """Which key a value came from, where that matters."""
    tellers = dict(zip(FIELDS["cost"].keys, COST_SOURCES, strict=True))
    costs, inputs = _seen("cost", census), _seen("input_tokens", census)
    told = sqltext.texts(tellers[key] for key in costs)
    # usage documents are read into their inclusive form already
    is_document = ", ".join(str(int(MEMBERS in key)) for key in inputs)
    return {
        "cost_teller": f"{told}[indexOf(read_cost, p_cost)]" if costs else EMPTY,
        "is_from_document": f"p_input_tokens != '' AND [{is_document}][indexOf(read_input_tokens, p_input_tokens)] = 1"
        if "1" in is_document
        else "false",
    }


def _counted(census: Census) -> dict[str, str]:
    """Counts that could not be read, and counts that disagree."""
    bad, disagreeing, losers = [], [], []
    for name in COUNTS:
        keys = _seen(name, census)
        if keys:
            bad.append(f"arrayExists((t, v) -> t != '' AND v = '', said_{name}, read_{name})")
        if len(keys) > 1:
            disagreeing.append(f"arrayExists(v -> v != '' AND v != p_{name}, read_{name})")
            named = sqltext.texts(f"conflict.{key}" for key in keys)
            losers.append(f"arrayMap((k, v) -> (k, if(v = p_{name}, '', v)), {named}, read_{name})")
    return {
        "has_bad_count": " OR ".join(bad) or "false",
        "is_conflicting": " OR ".join(disagreeing) or "false",
        "losers": f"arrayConcat({', '.join(losers)})" if losers else "[]",
    }
