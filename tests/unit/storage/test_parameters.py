"""Values beside a statement: long lists of words as files, everything else as it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from storage.parameters import bound

LISTED = "SELECT 1 WHERE x IN (SELECT arrayJoin({ids:Array(String)})) AND y = {other:String}"
IDS = [f"{n:032x}" for n in range(100)]


def test_an_engine_of_this_machine_reads_a_long_list_from_a_file() -> None:
    with bound(LISTED, {"ids": IDS, "other": "a"}, reads_files=True, takes_tables=False) as (sql, values, tables):
        path = re.search(r"file\('([^']+)', 'LineAsString', 'word String'\)", sql)
        assert path is not None
        assert Path(path[1]).read_text().split("\n") == IDS
        assert (values, tables) == ({"other": "a"}, None)
    assert not Path(path[1]).exists()


def test_one_that_may_not_read_files_gets_it_as_text() -> None:
    with bound(LISTED, {"ids": IDS, "other": "a"}, reads_files=False, takes_tables=False) as (sql, values, tables):
        assert (sql, tables) == (LISTED, None)
        assert str(values["ids"]) == "['" + "','".join(IDS) + "']"


def test_a_server_gets_it_as_a_table() -> None:
    words = [*IDS, "", "a'b", "two\nlines", "tab\tand\\"]
    with bound(LISTED, {"ids": words, "other": "a"}, reads_files=False, takes_tables=True) as (sql, values, tables):
        assert sql == "SELECT 1 WHERE x IN (SELECT word FROM given_ids) AND y = {other:String}"
        assert values == {"other": "a"}
        assert tables is not None
        assert tables.query_params == {"given_ids_format": "TSV", "given_ids_structure": "word String"}
        [(_, rows, _)] = tables.form_data.values()
        assert rows.decode().split("\n") == [*IDS, "", "a'b", "two\\nlines", "tab\\tand\\\\", ""]


def test_a_list_that_is_used_in_another_way_too_is_sent_as_well() -> None:
    sql = "SELECT {ids:Array(String)}, x IN (SELECT arrayJoin({ids:Array(String)}))"
    with bound(sql, {"ids": IDS}, reads_files=True, takes_tables=False) as (text, values, _):
        assert text.startswith("SELECT {ids:Array(String)}, x IN (SELECT word FROM file(")
        assert str(values["ids"]).startswith("['")


@pytest.mark.parametrize("words", [["a"], [*IDS, ""], [*IDS, "a'b"], [*IDS, "two\nlines"], [*range(100)]])
def test_short_lists_and_words_that_need_quoting_are_left_to_the_driver(words: list[object]) -> None:
    with bound(LISTED, {"ids": words, "other": "a"}, reads_files=True, takes_tables=False) as (sql, values, tables):
        assert (sql, values, tables) == (LISTED, {"ids": words, "other": "a"}, None)
