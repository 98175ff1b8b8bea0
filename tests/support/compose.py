"""`docker-compose.yml` and the `Dockerfile`, read as Docker would read them, for tests that run the services without Docker."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
_VARIABLE = re.compile(r"\$(?:\$|\{(\w+):-([^}]*)\})")
_UNITS = {"k": 2**10, "m": 2**20, "g": 2**30}


def compose(variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The whole file, merge keys and `${NAME:-default}` resolved."""
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    document: dict[str, Any] = _resolved(yaml.safe_load(text), variables or {})
    return document


def image_environment() -> dict[str, str]:
    """`ENV` of the last stage of the Dockerfile."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.removeprefix("ENV ") for line in text.splitlines() if line.startswith("ENV ")]
    return dict(pair.split("=", 1) for line in lines for pair in line.split())


def image_instruction(name: str) -> str:
    """The last instruction of that name in the Dockerfile, its arguments as written."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    return [line.removeprefix(f"{name} ") for line in text.splitlines() if line.startswith(f"{name} ")][-1]


def n_bytes(size: str) -> int:
    """Of `1536m`."""
    return int(size[:-1]) * _UNITS[size[-1]]


def _resolved(node: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _resolved(value, variables) for key, value in node.items()}
    if isinstance(node, list):
        return [_resolved(value, variables) for value in node]
    if isinstance(node, str):
        return _VARIABLE.sub(lambda match: variables.get(match[1], match[2]) if match[1] else "$", node)
    return node
