"""
Readers of pages and API in a process of their own, each asking once a second: lean, so that the server is what is measured.

    echo '["/", "/traces"]' | python -m tests.bench.readers http://127.0.0.1:8080 --readers 50 --seconds 20
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from urllib.parse import urlsplit

_HEADERS = {"Accept": "text/html,application/json", "Accept-Encoding": "gzip"}


@dataclass(frozen=True)
class Read:
    """What readers saw: milliseconds of every answer, and the seconds of CPU they used themselves."""

    taken: list[float]
    cpu_seconds: float


class Readers:
    """A process of `n_readers`, ready to go: every address has been asked for once, as somebody did before them."""

    def __init__(self, api: str, paths: list[str], n_readers: int, seconds: float) -> None:
        command = [sys.executable, "-m", "tests.bench.readers", api, "--readers", str(n_readers), "--seconds", str(seconds)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(paths) + "\n")
        self._process.stdin.flush()
        self._process.stdout.readline()

    def run(self) -> Read:
        answer, _ = self._process.communicate("go\n")
        return Read(**json.loads(answer))


def _ask(connection: HTTPConnection, path: str) -> None:
    connection.request("GET", path, headers=_HEADERS)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise SystemExit(f"{path}: {answer.status} {body[:300]!r}")


def _read(api: str, paths: list[str], n_readers: int, seconds: float) -> list[float]:
    place = urlsplit(api)
    taken: list[float] = []
    start = time.perf_counter() + 0.5

    def read(number: int) -> None:
        connection = HTTPConnection(place.hostname or "", place.port, timeout=60)
        for turn in range(int(seconds)):
            due = start + turn + number / n_readers
            time.sleep(max(0.0, due - time.perf_counter()))
            began = time.perf_counter()
            _ask(connection, paths[(number * 7 + turn) % len(paths)])
            taken.append((time.perf_counter() - began) * 1000)
        connection.close()

    with ThreadPoolExecutor(n_readers) as pool:
        list(pool.map(read, range(n_readers)))
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("api")
    parser.add_argument("--readers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20)
    arguments = parser.parse_args()
    paths = json.loads(sys.stdin.readline())
    place = urlsplit(arguments.api)
    first = HTTPConnection(place.hostname or "", place.port, timeout=60)
    for path in paths:
        _ask(first, path)
    first.close()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    cpu = time.process_time()
    taken = _read(arguments.api, paths, arguments.readers, arguments.seconds)
    json.dump({"taken": taken, "cpu_seconds": time.process_time() - cpu}, sys.stdout)


if __name__ == "__main__":
    main()
