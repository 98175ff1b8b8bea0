"""`/settings`: what the program runs with, read-only, secrets masked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from api.dependencies import Admin, ServicesDep
from api.pages.rendering import render
from api.services import Document

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class Setting:
    """One effective value."""

    name: str
    value: str


@dataclass(frozen=True)
class Section:
    """The settings of one room."""

    name: str
    settings: tuple[Setting, ...]


@dataclass(frozen=True)
class SettingsView:
    """Every section; `roles`: what this process runs."""

    sections: tuple[Section, ...]
    roles: tuple[str, ...]


@router.get("/settings")
def settings_page(request: Request, services: ServicesDep, _key: Admin) -> HTMLResponse:
    """The effective settings."""
    view = SettingsView(settings_sections(services.settings), tuple(sorted(services.roles)))
    return render(request, "settings.html", view, active="/settings")


def settings_sections(settings: Document) -> tuple[Section, ...]:
    """Nested settings as one list of dotted names per top-level section; single values come first."""
    single = tuple(Setting(name, _text(value)) for name, value in settings.items() if not isinstance(value, Mapping))
    nested = tuple(Section(name, tuple(_flat(value, ""))) for name, value in settings.items() if isinstance(value, Mapping))
    return (Section("general", single), *nested) if single else nested


def _flat(values: Mapping[str, Any], prefix: str) -> Iterator[Setting]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield Setting(prefix + name, _text(value))


def _text(value: Any) -> str:
    if value is None or value == "" or value in ([], (), {}):
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_text(item) for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} = {_text(item)}" for name, item in value.items())
    return str(value)
