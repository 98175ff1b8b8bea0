"""`endpoints.json` in a data directory: where the instance that owns it can be reached."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

_FILE = "endpoints.json"


def announce(data_dir: Path, endpoints: Mapping[str, str | int]) -> None:
    """Write the file whole: a reader sees the old one or the new one, never half of it."""
    path = data_dir / _FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(endpoints) + "\n", encoding="utf-8")
    beside.replace(path)


def withdraw(data_dir: Path) -> None:
    """The instance stops."""
    (data_dir / _FILE).unlink(missing_ok=True)


def announced(data_dir: Path) -> dict[str, object]:
    """What a living instance announced; empty where there is none."""
    try:
        found: dict[str, object] = json.loads((data_dir / _FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if _is_alive(found.get("pid")) else {}


def _is_alive(pid: object) -> bool:
    return isinstance(pid, int) and Path(f"/proc/{pid}").exists()
