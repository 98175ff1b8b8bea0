"""Small pieces of SQL text: literals, and nested steps. What goes in here is the program's own tables, never a sender's text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence


def text(value: str) -> str:
    """A string literal."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"


def texts(values: Iterable[str]) -> str:
    """An array of strings."""
    return f"[{', '.join(text(value) for value in values)}]"


def tuple_of(values: Iterable[str]) -> str:
    """The right side of `IN`."""
    return f"({', '.join(text(value) for value in values)})"


def numbers(values: Iterable[int], kind: str) -> str:
    """An array of numbers of type `kind`."""
    return f"CAST([{', '.join(str(value) for value in values)}], 'Array({kind})')"


def lookup(key: str, table: Mapping[str, str], otherwise: str = "''") -> str:
    """`key` translated by `table`."""
    return f"transform({key}, {texts(table)}, {texts(table.values())}, {otherwise})"


def starts_with_any(value: str, prefixes: Iterable[str]) -> str:
    return " OR ".join(f"startsWith({value}, {text(prefix)})" for prefix in prefixes)


def step(source: str, columns: Mapping[str, str]) -> str:
    """One more SELECT around `source`, with `columns` (alias -> expression) added to what it has."""
    lines = ",\n    ".join(f"{expression} AS {alias}" for alias, expression in columns.items())
    return f"SELECT *,\n    {lines}\nFROM (\n{source}\n)"


def nested(source: str, columns: Sequence[str], derived: Mapping[str, str], final: Mapping[str, str]) -> str:
    """
    A chain of SELECTs from `source` to `final`, in which every derived column is worked out once.

    A derived column lies one SELECT above the columns it names, because a name used beside its own definition would be written
    out at each use. Every SELECT passes on only what a later one needs, and what `final` alone needs goes through as one
    tuple: the engine resolves every column of every SELECT anew with each insert, which is most of what a small insert costs.

    Args:
        source: a SELECT with `columns`.
        derived, final: alias -> expression over `columns` and derived columns.
    """
    derived, final = _without_trivial(derived, final)
    known = {*columns, *derived}
    uses = {alias: _names(expression, known) - {alias} for alias, expression in derived.items()}
    middle = set[str]().union(*uses.values())
    carried = sorted(set(columns) & set[str]().union(*(_names(e, known) for e in final.values())) - middle)
    final = {alias: _replaced(e, {name: f"carried.{n}" for n, name in enumerate(carried, 1)}) for alias, e in final.items()}
    selects = [list(_aliased(final))]
    needed = set[str]().union(*(_names(expression, known) for expression in final.values()))
    for layer in _layers(uses, needed):
        passed = needed - layer
        selects.append([*sorted(passed), "carried", *_aliased({alias: derived[alias] for alias in sorted(layer)})])
        needed = passed.union(*(uses[alias] for alias in layer))
    if len(selects) > 1:
        selects[-1][selects[-1].index("carried")] = f"({', '.join([*carried, '0', '0'])}) AS carried"
    for select in reversed(selects):
        listed = ",\n    ".join(select)
        source = f"SELECT\n    {listed}\nFROM (\n{source}\n)"
    return source


_TRIVIAL = re.compile(r"''|[0-9]+|[A-Za-z_][A-Za-z_0-9]*|\[\]|emptyArrayString\(\)")


def _without_trivial(derived: Mapping[str, str], final: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Literals and mere names written out where they are named: fewer steps, and the engine drops the branches they decide."""
    derived, final = dict(derived), dict(final)
    while trivial := {alias: e for alias, e in derived.items() if _TRIVIAL.fullmatch(e) and e not in derived}:
        derived = {alias: _replaced(e, trivial) for alias, e in derived.items() if alias not in trivial}
        final = {alias: _replaced(e, trivial) for alias, e in final.items()}
    return derived, final


def _layers(uses: Mapping[str, set[str]], wanted: set[str]) -> list[set[str]]:
    """
    The derived columns that are needed, in groups from the last to the first: each as late as can be, one group before the first
    that names it.
    """
    layers = []
    layer = wanted & uses.keys()
    while layer:
        layers.append(layer)
        layer = set[str]().union(*(uses[alias] for alias in layer)) & uses.keys()
        if len(layers) > len(uses):
            raise ValueError(f"columns that need each other: {sorted(layer)}")
    # a column named by two groups belongs before the earlier one
    for later, layer in enumerate(layers):
        layers[later] = layer.difference(*layers[later + 1 :])
    return layers


def _aliased(columns: Mapping[str, str]) -> Iterable[str]:
    return (expression if expression == alias else f"{expression} AS {alias}" for alias, expression in columns.items())


_WORD = re.compile(r"'(?:[^'\\]|\\.)*'|[A-Za-z_][A-Za-z_0-9]*")


def _names(expression: str, known: set[str]) -> set[str]:
    """The columns an expression names; words inside literals are none."""
    return set(_WORD.findall(expression)) & known


def _replaced(expression: str, replacements: Mapping[str, str]) -> str:
    return _WORD.sub(lambda found: replacements.get(found[0], found[0]), expression)
