"""SQL lives in `.sql` files; this reads one by name."""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def load(name: str, package: str = "storage") -> str:
    """The text of `<package>/sql/<name>.sql`."""
    return resources.files(package).joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
