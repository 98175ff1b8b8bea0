"""The settings page of the docs is what the settings say."""

from __future__ import annotations

from pathlib import Path

from spanwise.reference import reference

PAGE = Path(__file__).parents[3] / "docs" / "settings.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "write it again: spanwise config --reference > docs/settings.md"


def test_sections_lists_and_defaults_are_there() -> None:
    page = reference()
    assert "| `http_port` | `8080` | API and pages; 0 asks the system for a free port |" in page
    assert "`[[rollout]]`, any number" in page
    assert "| `collector.spool.durability` | `fsync` |" in page
    assert "| `storage.retention.spans_days` | `30` |" in page
