"""Turns a message into words: Jinja2 templates, any of which a file of the same name in a settings directory replaces."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import structlog
from jinja2 import (
    BaseLoader,
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    PackageLoader,
    StrictUndefined,
    TemplateError,
    select_autoescape,
)

from alerts.page import Message

log = structlog.get_logger(__name__)

NAMES = ("subject.txt.j2", "page.txt.j2", "page.html.j2")


@dataclass(frozen=True)
class Rendered:
    """A message in words; `subject` is one line."""

    subject: str
    text: str
    html: str


class Templates:
    """
    Renders messages.

    A template of yours that fails costs nobody a page: ours takes its place, and the failure is logged.
    """

    def __init__(self, directory: Path | None = None) -> None:
        ours = PackageLoader("alerts", "templates")
        self._ours = _environment(ours)
        self._chosen = _environment(ChoiceLoader([FileSystemLoader(directory), ours])) if directory else self._ours

    def render(self, message: Message) -> Rendered:
        """All three forms."""
        subject, text, html = (self._one(name, message) for name in NAMES)
        return Rendered(_one_line(subject), text.strip() + "\n", html.strip() + "\n")

    def check(self) -> None:
        """Compile every template. Raises `TemplateError` for one that cannot work, so that a start can be refused."""
        for name in NAMES:
            self._chosen.get_template(name)

    def _one(self, name: str, message: Message) -> str:
        values = {"message": message, "page": message.content}
        try:
            return self._chosen.get_template(name).render(values)
        except (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            if self._chosen is self._ours:
                raise
            log.error("template_failed", template=name, error=str(error))
            return self._ours.get_template(name).render(values)


def _environment(loader: BaseLoader) -> Environment:
    return Environment(
        loader=loader,
        autoescape=select_autoescape(enabled_extensions=("html.j2",), default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _one_line(text: str) -> str:
    # Cohorts and evaluators are named by whoever sends spans: a line break must not become a mail header.
    return re.sub(r"[\x00-\x1f\x7f\u2028\u2029]+", " ", text).strip()[:250]
