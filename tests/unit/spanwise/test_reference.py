"""The settings page of the docs is what the settings say."""

from __future__ import annotations

from pathlib import Path

from spanwise.reference import reference
from spanwise.settings import load

PAGE = Path(__file__).parents[3] / "docs" / "settings.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "write it again: spanwise config --reference > docs/settings.md"


def test_sections_lists_and_defaults_are_there() -> None:
    page = reference()
    assert "| `http_port` | `8080` | API and pages; 0 asks the system for a free port |" in page
    assert "`[[rollout]]`, any number" in page
    assert "| `collector.spool.durability` | `fsync` |" in page
    assert "| `storage.retention.spans_days` | `30` |" in page


def test_a_section_for_each_name_is_headed_as_the_settings_file_has_it(tmp_path: Path) -> None:
    heading = "[analytics.evaluation.evaluators.NAME]"
    assert f"## `{heading}`, one for each name\n" in reference()
    file = tmp_path / "spanwise.toml"
    file.write_text(heading.replace("NAME", "Safety") + '\ndirection = "higher_is_better"\nthreshold = 0.5\n', encoding="utf-8")
    assert load(file).analytics.evaluation.evaluators["Safety"].threshold == 0.5


def test_settings_that_take_certain_words_say_which() -> None:
    told = {line.split("`")[1]: line for line in reference().splitlines() if line.startswith("| `")}
    # a Literal, an enumeration, one that may be left out, and several of them
    assert told["collector.spool.durability"].endswith("; one of `fsync`, `write` |")
    assert told["direction"].endswith("; one of `higher_is_better`, `lower_is_better` |")
    assert told["role"].endswith("; any of `collector`, `analytics`, `alerts`, `api` |")
    assert told["patterns"].endswith("; any of `email`, `card`, `phone` |")
    assert "one of" not in told["data_dir"]


def test_what_only_the_program_says_is_no_setting() -> None:
    assert "`discovered`" not in reference()
