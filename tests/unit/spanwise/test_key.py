"""`spanwise key create`: a secret goes to a file that nobody else reads and that held nothing, or no key is made."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from spanwise.cli import app
from spanwise.commands import key
from storage.errors import PermanentError

SECRET = "sw_the-secret"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Names of the keys that were made."""
    names: list[str] = []

    def create(_settings: object, _url: object, name: str, _scopes: object) -> dict[str, Any]:
        names.append(name)
        return {"key_id": "0f1e2d3c4b5a", "secret": SECRET, "scopes": ["admin"]}

    monkeypatch.setattr(key, "_create", create)
    monkeypatch.chdir(tmp_path)
    return names


def create(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["key", "create", "--scope", "admin", *arguments])


def test_the_secret_is_its_owners_only(made: list[str]) -> None:
    assert create("ci", "--secret-file", "secret").exit_code == 0
    assert Path("secret").read_text(encoding="utf-8") == SECRET
    assert stat.S_IMODE(Path("secret").stat().st_mode) == 0o600
    assert made == ["ci"]


def test_a_file_that_is_there_is_kept_and_no_key_made(made: list[str]) -> None:
    Path("secret").write_text("of another key", encoding="utf-8")
    refused = create("ci", "--secret-file", "secret")
    assert isinstance(refused.exception, PermanentError)
    assert "secret exists" in str(refused.exception)
    assert (Path("secret").read_text(encoding="utf-8"), made) == ("of another key", [])


def test_a_file_that_cannot_be_made_makes_no_key(made: list[str]) -> None:
    refused = create("ci", "--secret-file", "nonexist/secret")
    assert isinstance(refused.exception, FileNotFoundError)
    assert made == []


def test_a_key_that_was_not_made_leaves_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object) -> None:
        raise PermanentError("needs admin")

    monkeypatch.setattr(key, "_create", refuse)
    monkeypatch.chdir(tmp_path)
    assert create("ci", "--secret-file", "secret").exit_code == 1
    assert not Path("secret").exists()


@pytest.mark.parametrize("name", ["", "  "])
def test_a_key_has_a_name(name: str, made: list[str]) -> None:
    assert "needs a name" in str(create(name).exception)
    assert made == []
