"""Values beside a statement, in the form in which ClickHouse reads them fastest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple, TypeGuard

import polars as pl
from clickhouse_connect.driver.external import ExternalData

_MANY = 64
_PLAIN_WORDS = re.compile(r"[0-9A-Za-z_.:-]*")
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0"})
_MEMBERS = re.compile(r"SELECT arrayJoin\(\{(\w+):Array\(String\)\}\)")


def between(first: pl.Series, last: pl.Series) -> dict[str, int]:
    """Parameters `first` and `last`: the earliest of some moments, the latest of others, nanoseconds since 1970; 0 if none."""
    earliest, latest = (pl.select(value).item() for value in (first.dt.epoch("ns").min(), last.dt.epoch("ns").max()))
    return {"first": earliest or 0, "last": latest or 0}


class _Text:
    """A bound value that is already written the way ClickHouse reads it."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


class Bound(NamedTuple):
    """A statement as it is to be sent: its text, the values bound to it, and the tables that go with it."""

    sql: str
    values: dict[str, Any]
    tables: ExternalData | None


@contextmanager
def bound(sql: str, parameters: Mapping[str, Any] | None, *, reads_files: bool, takes_tables: bool) -> Iterator[Bound]:
    """
    A statement and its values, for as long as it runs.

    Long lists of plain words, such as trace ids, are quoted at once: the driver escapes character by character, a second for
    30,000. Where the statement has `SELECT arrayJoin({name:Array(String)})`, an engine that reads the files of this machine gets
    them as a file: 6,666 ids take it 20 ms to parse, and 2 ms to read. A server gets such a list, of any words, as a table beside
    the request: a bound value may not be longer than 128 KiB there (`http_max_field_value_size`).
    """
    values = dict(parameters or {})
    words = {name: value for name, value in values.items() if _is_many_words(value)}
    tables = ExternalData()
    with ExitStack() as files:

        def listed(match: re.Match[str]) -> str:
            name = match[1]
            if takes_tables and _is_many(values.get(name)):
                # not a name that a table of ours has
                table = f"given_{name}"
                if table not in (known.name for known in tables.files):
                    tables.add_file(file_name=table, data=_rows(values[name]), fmt="TSV", structure="word String")
                return f"SELECT word FROM {table}"
            if not reads_files or name not in words:
                return match[0]
            file = files.enter_context(NamedTemporaryFile("w", prefix="spanwise-", suffix=".txt"))
            file.write("\n".join(words[name]))
            file.flush()
            return f"SELECT word FROM file('{file.name}', 'LineAsString', 'word String')"

        sql = _MEMBERS.sub(listed, sql)
        left = {name: value for name, value in values.items() if f"{{{name}:" in sql}
        texts = {name: _Text("['" + "','".join(value) + "']") for name, value in words.items() if name in left}
        yield Bound(sql, left | texts, tables if tables.files else None)


def _rows(words: list[str]) -> bytes:
    """One column of tab-separated values, https://clickhouse.com/docs/interfaces/formats/TabSeparated."""
    text = "\n".join(words)
    if not _PLAIN_WORDS.fullmatch("".join(words)):
        text = "\n".join(word.translate(_ESCAPES) for word in words)
    return text.encode() + b"\n"


def _is_many(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and len(value) >= _MANY and set(map(type, value)) == {str}


def _is_many_words(value: object) -> TypeGuard[list[str]]:
    return _is_many(value) and all(value) and _PLAIN_WORDS.fullmatch("".join(value)) is not None
