"""Small pieces of SQL text: literals, and nested steps. What goes in here is the program's own tables, never a sender's text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


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
