"""What goes wrong with a port, a file or an argument is told in one line, without a traceback, with the exit code of an error."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from spanwise.ports import Port, PortError
from spanwise.schedule import Schedule
from tests.support.server import ROOT

pytestmark = pytest.mark.integration


def failed(*arguments: str | Path, code: int = 1, environment: dict[str, str] | None = None) -> str:
    """What a command that fails says on standard error; log lines of the engine are JSON and left out."""
    command = [sys.executable, "-m", "spanwise", *map(str, arguments)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SPANWISE_")}
    variables = clean | {"COLUMNS": "200"} | (environment or {})
    done = subprocess.run(command, cwd=ROOT, env=variables, text=True, capture_output=True, timeout=120, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def one_line(*arguments: str | Path) -> str:
    lines = [line for line in failed(*arguments).splitlines() if not line.startswith("{")]
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize("door", ["otlp-grpc-port", "otlp-http-port", "http-port"])
def test_a_port_that_is_taken_is_named_with_its_option(door: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        ports = {"otlp-grpc-port": 0, "otlp-http-port": 0, "http-port": 0} | {door: number}
        given = [part for name, port in ports.items() for part in (f"--{name}", str(port))]
        told = one_line("serve", "--data-dir", tmp_path / "data", *given)
    assert told == f"spanwise: 127.0.0.1:{number} is in use; stop what listens there or give --{door}"
    assert not (tmp_path / "data" / "endpoints.json").exists()


def test_an_address_that_is_not_this_machines_is_told() -> None:
    with pytest.raises(
        PortError, match=r"cannot listen on 192\.0\.2\.1:4317: Cannot assign requested address; give another --host"
    ):
        Port("otlp_grpc_port", "192.0.2.1", 4317).try_it()


def test_a_schedule_that_never_started_can_be_stopped() -> None:
    Schedule([]).stop()


def test_a_data_directory_that_cannot_be_made_is_told() -> None:
    told = one_line("serve", "--data-dir", "/proc/x", "--otlp-grpc-port", "0", "--otlp-http-port", "0", "--http-port", "0")
    assert told.startswith("spanwise: /proc/x")


def test_a_backup_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    assert one_line("backup", "/proc/nope", "--data-dir", tmp_path / "data").startswith("spanwise: /proc/nope")


def test_a_directory_is_no_file_to_import(tmp_path: Path) -> None:
    assert "is a directory" in failed("import", tmp_path, code=2)


@pytest.mark.parametrize("manifest", ["{}", "[]", '{"schema": 1}', '{"schema": 1, "chunks": 5}'])
def test_a_foreign_manifest_is_no_backup(manifest: str, tmp_path: Path) -> None:
    from storage.backup import BackupError, _manifest

    (tmp_path / "manifest.json").write_text(manifest, encoding="utf-8")
    with pytest.raises(BackupError, match=r"manifest\.json is not the manifest of a backup"):
        _manifest(tmp_path, 1)


def test_what_is_no_trace_id_is_not_erased(tmp_path: Path) -> None:
    told = one_line("purge", "--trace", "xyz", "--data-dir", tmp_path)
    assert told == "spanwise: 'xyz' is no trace id: 32 hexadecimal digits, as `spanwise traces` shows them"


def test_a_copy_names_the_end_that_is_wrong(tmp_path: Path) -> None:
    told = one_line("copy", "--from", tmp_path / "nodir", "--to", "clickhouse://127.0.0.1:9")
    assert told == f"spanwise: --from: {tmp_path / 'nodir'} is no data directory of `spanwise serve`"
    assert not (tmp_path / "nodir").exists()
    (tmp_path / "data" / "clickhouse").mkdir(parents=True)
    assert one_line("copy", "--from", tmp_path / "data", "--to", "foo").startswith("spanwise: --to: unknown scheme ''")
    told = one_line("copy", "--from", tmp_path / "data", "--to", "clickhouse://127.0.0.1:9")
    assert told.startswith("spanwise: --to: no ClickHouse answers on 127.0.0.1:9: ")
    assert "Connection refused" in told


@pytest.mark.parametrize("job", ["backfill", "reprice", "renormalize"])
def test_a_job_says_which_time_it_cannot_read(job: str) -> None:
    assert one_line(job, "--since", "foo").startswith("spanwise: --since='foo' is not an RFC 3339 time")


def test_a_job_refuses_a_range_that_ends_before_it_begins() -> None:
    assert one_line("backfill", "--since", "-1h", "--until", "-2h").startswith("spanwise: --since -1h is not before --until -2h")
    assert one_line("backfill", "--since", "2200-01-01").startswith("spanwise: --since 2200-01-01 is not before now")
