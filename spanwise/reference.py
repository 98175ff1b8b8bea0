"""The settings reference, written from the settings themselves: `docs/settings.md` is what this returns."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from enum import Enum
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from spanwise.settings import Settings

_HEAD = """\
# Settings

Read from `spanwise.toml` in the working directory (or `--config FILE`), from environment variables, and from the
command line; the later of these wins. The variable of a setting is `SPANWISE_` and its name in capitals, two
underscores for each dot: `collector.spool.max_bytes` is `SPANWISE_COLLECTOR__SPOOL__MAX_BYTES`. Lists and tables are
given as JSON in variables. `spanwise config` prints what is in force, secrets masked.

This page is written by `spanwise config --reference`.
"""


def reference() -> str:
    """The whole page, Markdown."""
    return "\n".join([_HEAD, *_section(Settings, "", "", "")]).rstrip() + "\n"


def _section(model: type[BaseModel], table: str, prefix: str, title: str) -> Iterator[str]:
    """A section's rows, then those of the sections in it; `prefix` starts the names, which in a list begin anew."""
    if title:
        yield f"## {title}\n"
        yield f"{_first_line(model)}\n"
    plain, nested = [], []
    for name, field in model.model_fields.items():
        inner, is_list = _model_of(field.annotation)
        if inner is None:
            plain.append((name, field))
        else:
            nested.append((name, inner, is_list))
    if plain:
        yield "| Setting | Default | What |"
        yield "|---|---|---|"
        for name, field in plain:
            yield f"| `{prefix}{name}` | {_default(field)} | {_cell(field.description or '')} |"
        yield ""
    for name, inner, is_list in nested:
        heading = f"`[[{table}{name}]]`, any number" if is_list else f"`[{table}{name}]`"
        yield from _section(inner, f"{table}{name}.", "" if is_list else f"{prefix}{name}.", heading)


def _model_of(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The settings section inside an annotation, and whether there may be several."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    for argument in typing.get_args(annotation):
        inner, _ = _model_of(argument)
        if inner is not None:
            is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
            return inner, not is_union
    return None, False


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    if value is None or value in ("", (), {}, frozenset()) or (isinstance(value, SecretStr) and not value.get_secret_value()):
        return "not set"
    if isinstance(value, frozenset):
        return ", ".join(f"`{item}`" for item in sorted(value))
    if isinstance(value, tuple):
        return ", ".join(f"`{item.value if isinstance(item, Enum) else item}`" for item in value)
    return f"`{value.value if isinstance(value, Enum) else value}`"


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
