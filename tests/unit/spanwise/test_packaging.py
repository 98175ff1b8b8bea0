"""The rooms' generic names stay ours alone, and tables keep one writer."""

from __future__ import annotations

import ast
import importlib.metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ROOMS = ("storage", "collector", "analytics", "alerts", "api")


def test_no_installed_distribution_provides_a_room() -> None:
    providers = importlib.metadata.packages_distributions()
    assert {room: providers.get(room, []) for room in ROOMS} == {room: [] for room in ROOMS}


def modules(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imported_writers(path: Path) -> set[tuple[str, str]]:
    """(module, name) of everything called write_… that the module imports from storage."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("storage."):
            found |= {(node.module or "", alias.name) for alias in node.names if alias.name.startswith("write_")}
    return found


def test_a_writer_is_imported_by_one_room_only() -> None:
    rooms_of: dict[tuple[str, str], set[str]] = {}
    for room in ("collector", "analytics", "alerts", "api", "spanwise"):
        for path in modules(room):
            for writer in imported_writers(path):
                rooms_of.setdefault(writer, set()).add(room)
    # storage keeps the record of runs on behalf of every room that runs something
    del rooms_of["storage.job_runs", "write_job_run"]
    assert {writer: rooms for writer, rooms in rooms_of.items() if len(rooms) > 1} == {}
    assert rooms_of


@pytest.mark.parametrize("room", ["collector", "analytics", "alerts", "api"])
def test_only_the_composition_reads_the_environment(room: str) -> None:
    readers = [
        path.relative_to(ROOT).as_posix()
        for path in modules(room)
        if any(
            isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        )
    ]
    assert readers == []
