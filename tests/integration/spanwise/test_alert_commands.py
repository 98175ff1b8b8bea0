"""gate, scorecard, alerts and traces in the terminal, against a running API."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Mapping

import pytest
import typer
import uvicorn
from typer.testing import CliRunner, Result

from api.app import create_app
from spanwise.commands import alerts, gate, scorecard, traces
from storage.client import Store
from tests.support.page_services import ALERT_ID, StoryDesk, story_services
from tests.support.peers import free_port, until
from tests.support.rollout_story import ROLLOUT

pytestmark = pytest.mark.integration


class Terminal:
    """Runs commands against one instance."""

    def __init__(self, url: str, desk: StoryDesk) -> None:
        self.url, self.desk = url, desk
        self._app = typer.Typer()
        for module in (gate, scorecard, alerts, traces):
            module.register(self._app)

    def run(self, *arguments: str, url: str | None = None) -> Result:
        wide: Mapping[str, str] = {"COLUMNS": "300"}
        return CliRunner().invoke(self._app, [*arguments, "--url", url or self.url], env=wide)


@pytest.fixture
def terminal(store: Store) -> Iterator[Terminal]:
    services = story_services(store)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(services), log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    until(lambda: server.started, "the API to be up")
    assert isinstance(services.alerts, StoryDesk)
    yield Terminal(f"http://127.0.0.1:{listener.getsockname()[1]}", services.alerts)
    server.should_exit = True
    thread.join()
    listener.close()


@pytest.mark.parametrize(("answer", "code"), [("pass", 0), ("fail", 1), ("undetermined", 2)])
def test_the_gates_answer_is_the_exit_code(terminal: Terminal, answer: str, code: int) -> None:
    document = terminal.desk.gate(ROLLOUT)
    terminal.desk.gate = lambda name, on="": {**document, "gate": answer}  # type: ignore[method-assign]
    shown = terminal.run("gate", ROLLOUT)
    assert shown.exit_code == code
    assert "Global, TaskCompletion" in shown.stdout
    told = terminal.run("gate", ROLLOUT, "--json")
    assert (told.exit_code, json.loads(told.stdout)["gate"]) == (code, answer)


def test_no_answer_is_not_a_fail(terminal: Terminal) -> None:
    assert terminal.run("gate", ROLLOUT, url=f"http://127.0.0.1:{free_port()}").exit_code == 3


def test_the_scorecard_shows_ranges_and_counts(terminal: Terminal) -> None:
    shown = terminal.run("scorecard", ROLLOUT)
    assert shown.exit_code == 0, shown.output
    assert "regulated_answer" in shown.stdout
    assert "✗ pages" in shown.stdout
    assert "cost, candidate over baseline" in shown.stdout
    assert json.loads(terminal.run("scorecard", ROLLOUT, "--json").stdout)["rollout"] == ROLLOUT
    # harm before the rest, a summary after it; what is not known says of what
    lines = shown.stdout.splitlines()
    states = [next((s for s in ("✗", "! suspected", "no harm seen", "collecting") if s in line), "") for line in lines]
    rows = [state for state in states[: next(n for n, line in enumerate(lines) if "cost, candidate" in line)] if state]
    assert rows == sorted(rows, key=lambda state: ("✗", "! suspected").index(state) if state in ("✗", "! suspected") else 2)
    assert lines[-1].startswith(f"{ROLLOUT}: divergence, gate fail; streams: {rows.count('✗')} paging")
    told = " ".join(shown.stdout.split())
    assert "not known: Groundedness in press: Groundedness in press is still collecting (31 of 50)." in told


def test_an_alert_is_listed_and_answered(terminal: Terminal) -> None:
    listed = terminal.run("alerts", "list")
    assert ALERT_ID in listed.stdout
    assert "is acknowledged" in terminal.run("alerts", "acknowledge", ALERT_ID, "--note", "on it").stdout
    assert "is silenced" in terminal.run("alerts", "silence", ALERT_ID, "--for", "4h", "--reason", "moving").stdout
    assert terminal.run("alerts", "silence", ALERT_ID, "--reason", "moving").exit_code == 1
    assert "is accepted" in terminal.run("alerts", "accept", ALERT_ID, "--reason", "known").stdout
    assert json.loads(terminal.run("alerts", "list", "--state", "firing", "--json").stdout)["items"] == []
    assert "0 messages" in terminal.run("alerts", "retry").stdout


def test_traces_of_an_empty_store(terminal: Terminal) -> None:
    shown = terminal.run("traces", "--cohort", "regulated_answer", "--errored")
    assert shown.exit_code == 0, shown.output
    assert json.loads(terminal.run("traces", "--json").stdout) == {"items": [], "next": None}
