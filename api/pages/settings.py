"""`/settings`: what the program runs with, read-only, secrets masked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from api import format as formats
from api.dependencies import Reader, ServicesDep
from api.pages.rendering import render
from api.services import Document
from api.shared import SharedRoute, shared

router = APIRouter(route_class=SharedRoute, include_in_schema=False)


@dataclass(frozen=True)
class Setting:
    """One effective value."""

    name: str
    value: str


@dataclass(frozen=True)
class Section:
    """The settings of one room, or one entry of a list such as `[[rollout]]`."""

    name: str
    settings: tuple[Setting, ...]


@dataclass(frozen=True)
class SettingsView:
    """Every section; `roles`: what this process runs."""

    sections: tuple[Section, ...]
    roles: tuple[str, ...]


@router.get("/settings")
@shared
def settings_page(request: Request, services: ServicesDep, _key: Reader) -> HTMLResponse:
    """The effective settings."""
    view = SettingsView(settings_sections(services.settings), tuple(sorted(services.roles)))
    return render(request, "settings.html", view, active="/settings")


def settings_sections(settings: Document) -> tuple[Section, ...]:
    """Nested settings as one list of dotted names per top-level section; single values come first, then lists of entries."""
    single = tuple(
        Setting(name, _text(name, value))
        for name, value in settings.items()
        if not isinstance(value, Mapping) and not _entries(value)
    )
    general = (Section("general", single),) if single else ()
    lists = [_entry(name, entry) for name, value in settings.items() for entry in _entries(value)]
    nested = [Section(name, tuple(_flat(value, ""))) for name, value in settings.items() if isinstance(value, Mapping)]
    return (*general, *lists, *nested)


def _entries(value: Any) -> Sequence[Mapping[str, Any]]:
    is_list = isinstance(value, list | tuple) and value and all(isinstance(entry, Mapping) for entry in value)
    return value if is_list else ()


def _entry(kind: str, entry: Mapping[str, Any]) -> Section:
    """An entry with what it sets; what it leaves to the default says nothing here."""
    name = entry.get("name") or entry.get("model") or ""
    return Section(f"{kind} {name}".strip(), tuple(found for found in _flat(entry, "") if found.value != _NOT_SET))


def _flat(values: Mapping[str, Any], prefix: str) -> Iterator[Setting]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        elif entries := _entries(value):
            for number, entry in enumerate(entries, 1):
                yield from _flat(entry, f"{prefix}{name}.{number}.")
        else:
            yield Setting(prefix + name, _text(name, value))


_NOT_SET = "not set"


def _text(name: str, value: Any) -> str:
    if value is None or value == "" or value in ([], (), {}):
        return _NOT_SET
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_text(name, item) for item in value)
    if isinstance(value, int) and name.endswith("_bytes"):
        return f"{value} ({formats.size(value)})"
    return str(value)
