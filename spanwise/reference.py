"""The settings reference, written from the settings themselves: `docs/settings.md` is what this returns."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Iterator
from enum import Enum, StrEnum
from typing import Any, Literal

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


class _Many(StrEnum):
    """How often a section may be there."""

    ONCE = "`[{}]`"
    LISTED = "`[[{}]]`, any number"
    NAMED = "`[{}.NAME]`, one for each name"


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
        if not _is_setting(field):
            continue
        inner, many = _model_of(field.annotation)
        if inner is None:
            plain.append((name, field))
        else:
            nested.append((name, inner, many))
    if plain:
        yield "| Setting | Default | What |"
        yield "|---|---|---|"
        for name, field in plain:
            yield f"| `{prefix}{name}` | {_default(field)} | {_cell((field.description or '') + _choice(field.annotation))} |"
        yield ""
    for name, inner, many in nested:
        below = f"{table}{name}.NAME." if many is _Many.NAMED else f"{table}{name}."
        yield from _section(inner, below, f"{prefix}{name}." if many is _Many.ONCE else "", many.format(f"{table}{name}"))


def _is_setting(field: FieldInfo) -> bool:
    """What only the program itself may say of a section is none."""
    extra = field.json_schema_extra
    return not isinstance(extra, dict) or extra.get("is_setting") is not False


def _model_of(annotation: Any) -> tuple[type[BaseModel] | None, _Many]:
    """The settings section inside an annotation, and how often it may be there."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, _Many.ONCE
    for argument in typing.get_args(annotation):
        inner, many = _model_of(argument)
        if inner is not None:
            origin = typing.get_origin(annotation)
            return inner, many if _is_union(origin) else _Many.NAMED if origin is dict else _Many.LISTED
    return None, _Many.ONCE


def _choice(annotation: Any) -> str:
    """What a setting may be, for one that takes only certain words."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return "; one of " + _listed(arguments)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "; one of " + _listed(annotation)
    told = next((text for text in map(_choice, arguments) if text), "")
    return told if _is_union(origin) else told.replace("; one of", "; any of")


def _is_union(origin: Any) -> bool:
    return origin in (typing.Union, types.UnionType)


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    if value is None or value in ("", (), {}, frozenset()) or (isinstance(value, SecretStr) and not value.get_secret_value()):
        return "not set"
    if isinstance(value, frozenset):
        return _listed(sorted(value))
    return _listed(value if isinstance(value, tuple) else [value])


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(f"`{value.value if isinstance(value, Enum) else value}`" for value in values)


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
