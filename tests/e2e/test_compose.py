"""
Every service of docker-compose.yml outside Docker: its command, its environment and its configuration files; only the network's
names and ports are exchanged. ClickHouse is the embedded engine behind its HTTP interface; Prometheus and Alertmanager are real.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.test_roles import ClickHouse
from tests.support.compose import ROOT, compose, image_environment, image_instruction, n_bytes
from tests.support.peers import free_port, peer, until
from tests.support.server import Server, wait_for

PROGRAMS = {
    "prometheus": shutil.which("prometheus"),
    "alertmanager": shutil.which("prometheus-alertmanager") or shutil.which("alertmanager"),
    "promtool": shutil.which("promtool"),
    "amtool": shutil.which("amtool"),
}
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(None in PROGRAMS.values(), reason="no Prometheus or Alertmanager on this machine"),
]
SERVICES: dict[str, dict[str, Any]] = compose()["services"]
ROLES = ("collector", "analytics", "alerts", "api")
_SPAN = {
    "resourceSpans": [
        {
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
            "scopeSpans": [
                {
                    "spans": [
                        {
                            "traceId": "5b8efff798038103d269b633813fc60c",
                            "spanId": "eee19b7ec3c1b174",
                            "name": "answer",
                            "kind": 1,
                            "startTimeUnixNano": "1763800000000000000",
                            "endTimeUnixNano": "1763800001000000000",
                        }
                    ]
                }
            ],
        }
    ]
}


class Network:
    """Where the names of the compose network are on this machine."""

    def __init__(self, clickhouse: ClickHouse, keys: Path) -> None:
        self.alertmanager, self.prometheus = free_port(), free_port()
        self.keys = keys
        self.places = {"clickhouse:8123": f"127.0.0.1:{clickhouse.port}", "alertmanager:9093": f"127.0.0.1:{self.alertmanager}"}

    def here(self, text: str) -> str:
        for name, place in self.places.items():
            text = text.replace(name, place)
        return text.replace("/keys/", f"{self.keys}/")

    def environment(self, service: str) -> dict[str, str]:
        """The image's and the service's, but on loopback and on free ports."""
        own = {
            "SPANWISE_HOST": "127.0.0.1",
            "SPANWISE_HTTP_PORT": "0",
            "SPANWISE_OTLP_GRPC_PORT": "0",
            "SPANWISE_OTLP_HTTP_PORT": "0",
        }
        given = image_environment() | SERVICES[service]["environment"]
        given.pop("PATH")
        given.pop("SPANWISE_DATA_DIR")
        return {name: self.here(value) for name, value in given.items()} | own


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o750)
    clickhouse = ClickHouse(tmp_path / "clickhouse")
    yield Network(clickhouse, keys)
    clickhouse.stop()


def run_init_step(network: Network, scratch: Path) -> str:
    """The service `keys`, as its entry point would run it."""
    program = scratch / "spanwise"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m spanwise "$@"\n')
    program.chmod(0o755)
    environment = os.environ | network.environment("keys") | {"PATH": f"{scratch}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    command = [*SERVICES["keys"]["entrypoint"], network.here(SERVICES["keys"]["command"][0])]
    done = subprocess.run(command, cwd=scratch, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def role(name: str, network: Network, directory: Path) -> Iterator[Server]:
    command = SERVICES[name]["command"]
    assert command[0] == "serve"
    server = Server(directory / name, *command[1:], environment=network.environment(name))
    try:
        yield server
    finally:
        assert server.stop() == 0


def peak_bytes(server: Server) -> int:
    text = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", text)[1]) * 1024  # type: ignore[index]


def test_the_services_work_together(network: Network, tmp_path: Path) -> None:
    run_init_step(network, tmp_path)
    first = {name: (network.keys / name).read_text() for name in ("ingest", "read", "admin")}
    assert len(set(first.values())) == 3
    modes = {name: stat.S_IMODE((network.keys / name).stat().st_mode) for name in first}
    # Prometheus is a member of the group; the other keys are for their owner only
    assert modes == {"ingest": 0o600, "read": 0o640, "admin": 0o600}
    assert "keys /keys/admin" in SERVICES["keys"]["command"][0]
    run_init_step(network, tmp_path)
    assert {name: (network.keys / name).read_text() for name in first} == first

    with ExitStack() as stack:
        servers = {name: stack.enter_context(role(name, network, tmp_path)) for name in ROLES}
        network.places |= {f"{name}:8080": server.api.removeprefix("http://") for name, server in servers.items()}
        stack.enter_context(alertmanager(network, tmp_path))
        stack.enter_context(prometheus(network, tmp_path))

        for server in servers.values():
            check = re.search(r'CMD \["python", "-c", "(.*)"\]', image_instruction("HEALTHCHECK"))
            assert check is not None
            code = check[1].replace("http://127.0.0.1:8080", server.api)
            subprocess.run([sys.executable, "-c", code], check=True, timeout=30)

        door = f"{servers['collector'].otlp_http}/v1/traces"
        assert httpx.post(door, json=_SPAN, timeout=30).status_code == 401
        httpx.post(door, json=_SPAN, headers={"Authorization": f"Bearer {first['ingest']}"}, timeout=30).raise_for_status()

        def found() -> bool:
            key = {"Authorization": f"Bearer {first['read']}"}
            answer = httpx.get(
                f"{servers['api'].api}/api/v1/traces", params={"from": "2025-11-22T00:00:00Z"}, headers=key, timeout=30
            )
            return len(answer.raise_for_status().json()["items"]) == 1

        wait_for(found, 60, "the trace in the API")
        url = f"http://127.0.0.1:{network.prometheus}/api/v1"

        def scraped() -> bool:
            targets = httpx.get(f"{url}/targets", timeout=10).json()["data"]["activeTargets"]
            return [target["health"] for target in targets] == ["up"] * len(ROLES)

        until(scraped, "all four roles to be scraped with the key", 60)
        known = httpx.get(f"{url}/alertmanagers", timeout=10).json()["data"]["activeAlertmanagers"]
        assert [entry["url"] for entry in known] == [f"http://127.0.0.1:{network.alertmanager}/api/v2/alerts"]
        peaks = {name: peak_bytes(server) for name, server in servers.items()}
        print({name: f"{peak / 2**20:.0f} MiB" for name, peak in peaks.items()})
        assert all(peak < 0.8 * n_bytes(SERVICES[name]["mem_limit"]) for name, peak in peaks.items()), peaks


def written(network: Network, name: str, directory: Path) -> Path:
    """A file of `deploy/` with this machine's places in it, scraping and grouping without the waits."""
    text = network.here((ROOT / "deploy" / name).read_text(encoding="utf-8"))
    text = text.replace("/etc/prometheus/spanwise-rules.yml", str(ROOT / "docs" / "prometheus-rules.yml")).replace("30s", "1s")
    path = directory / name
    path.write_text(text, encoding="utf-8")
    return path


@contextmanager
def alertmanager(network: Network, directory: Path) -> Iterator[None]:
    config = written(network, "alertmanager.yml", directory)
    check = subprocess.run([str(PROGRAMS["amtool"]), "check-config", str(config)], capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stdout + check.stderr
    inside = {"/etc/alertmanager/alertmanager.yml": config, "/alertmanager": directory / "alertmanager"}
    listen = [f"--web.listen-address=127.0.0.1:{network.alertmanager}", "--cluster.listen-address="]
    url = f"http://127.0.0.1:{network.alertmanager}/-/healthy"
    with peer([str(PROGRAMS["alertmanager"]), *flags("alertmanager", inside), *listen], url, directory / "alertmanager.log"):
        yield


@contextmanager
def prometheus(network: Network, directory: Path) -> Iterator[None]:
    config = written(network, "prometheus.yml", directory)
    check = subprocess.run(
        [str(PROGRAMS["promtool"]), "check", "config", str(config)], capture_output=True, text=True, check=False
    )
    assert check.returncode == 0, check.stdout + check.stderr
    inside = {"/etc/prometheus/prometheus.yml": config, "/prometheus": directory / "prometheus"}
    listen = [f"--web.listen-address=127.0.0.1:{network.prometheus}"]
    url = f"http://127.0.0.1:{network.prometheus}/-/healthy"
    with peer([str(PROGRAMS["prometheus"]), *flags("prometheus", inside), *listen], url, directory / "prometheus.log"):
        yield


def flags(service: str, inside: dict[str, Path]) -> list[str]:
    """Its command with this machine's paths; each path it names must be mounted."""
    mounted = {mount.split(":")[1] for mount in SERVICES[service]["volumes"]}
    found = []
    for word in SERVICES[service]["command"]:
        flag, _, value = word.partition("=")
        if value.startswith("/"):
            assert value in mounted, f"{service}: {value} is not mounted"
            value = str(inside[value])
        found.append(f"{flag}={value}")
    return found
