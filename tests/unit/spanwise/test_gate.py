"""A gate that was not asked, or did not answer, exits with a code of its own: 1 and 2 are answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from spanwise.cli import app
from spanwise.commands import gate

NO_ANSWER = 3


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["refund-student", "--on", "paper"], "paper"),
        (["refund-student", "--ulr", "http://127.0.0.1:1"], "--ulr"),
        (["refund-student", "and-another"], "and-another"),
        ([], "Missing argument"),
        (["refund-student", "--config", "nowhere.toml"], "no file nowhere.toml"),
        (["refund-student", "--url", "http://[nonsense"], "no answer"),
    ],
)
def test_a_wrong_call_is_no_verdict(arguments: list[str], told: str) -> None:
    result = CliRunner().invoke(app, ["gate", *arguments], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert (result.exit_code, told in result.stderr) == (NO_ANSWER, True), result.output


def test_a_wrong_setting_is_no_verdict() -> None:
    Path("spanwise.toml").write_text("http_port = 99999\n", encoding="utf-8")
    result = CliRunner().invoke(app, ["gate", "refund-student"])
    assert result.exit_code == NO_ANSWER
    assert "http_port" in result.stderr


@pytest.mark.parametrize("body", ["<html>sign in</html>", "[]", '{"gate": "perhaps"}', '{"gate": "pass"}'])
def test_what_is_no_gate_is_no_verdict(body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def answering(*_: Any) -> Iterator[httpx.Client]:
        transport = httpx.MockTransport(lambda _: httpx.Response(200, text=body))
        with httpx.Client(base_url="http://proxy", transport=transport) as client:
            yield client

    monkeypatch.setattr(gate, "api", answering)
    result = CliRunner().invoke(app, ["gate", "refund-student"])
    assert result.exit_code == NO_ANSWER
    assert result.stderr.startswith("spanwise: no answer: ")


def test_other_commands_keep_the_usual_codes() -> None:
    assert CliRunner().invoke(app, ["scorecard", "--wrong"]).exit_code == 2
    assert CliRunner().invoke(app, ["gate", "--help"]).exit_code == 0
