"""
ClickHouse's HTTP interface in front of the embedded engine, close enough for clickhouse-connect, and able to fail on request.

No ClickHouse server binary is at hand where the tests run; the embedded engine is the real one, so what a server would do
with a statement is what this does. Faults are set by `Front.fail(...)` or, from another process, by `POST /fault`.

Run on its own: `python -m tests.support.clickhouse_http DIRECTORY [PORT]` prints `ready PORT`.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import chdb
import lz4.frame
import zstandard

_TRANSPORT = frozenset(
    [
        *("query", "database", "user", "password", "role", "quota_key", "query_id", "default_format"),
        *("session_id", "session_timeout", "session_check", "client_protocol_version"),
        *("compress", "decompress", "enable_http_compression", "http_zlib_compression_level"),
        *("wait_end_of_query", "buffer_size", "send_progress_in_http_headers", "http_headers_progress_interval_ms"),
    ]
)
_INSERT_DATA = re.compile(rb"^\s*INSERT\s+INTO\s.*?\bFORMAT\s+(\w+)[ \t]*\n?", re.IGNORECASE | re.DOTALL)
_TRAILING_FORMAT = re.compile(r"\bFORMAT\s+(\w+)\s*(?:SETTINGS\b.*)?;?\s*$", re.IGNORECASE | re.DOTALL)
# the default of `http_max_field_value_size`
_MAX_FIELD_VALUE = 128 << 10
_CODE = re.compile(r"Code: (\d+)")


def _reading(insert: re.Match[bytes], path: str) -> str:
    """The INSERT with its data in a file: what an HTTP body holds behind the statement, this engine reads from disk."""
    before = insert.group(0)[: insert.start(1)].decode().rstrip()[: -len("FORMAT")]
    format = insert.group(1).decode()
    if "input(" in before:
        return before.replace("input(", f"file('{path}', '{format}', ")
    return f"{before} FROM INFILE '{path}' FORMAT {format}"


class Fault(StrEnum):
    """How the next matching requests fail."""

    NONE = "none"
    REFUSE = "refuse"  # close the connection without reading
    ERROR = "error"  # 500 with an exception, nothing executed
    ERROR_AFTER_COMMIT = "error_after_commit"  # executed, then 500
    DIE_AFTER_COMMIT = "die_after_commit"  # executed, then the connection drops
    HANG = "hang"  # no answer until the fault is lifted
    FREEZE = "freeze"  # executed slowly: a second before each answer


@dataclass
class _Plan:
    fault: Fault = Fault.NONE
    pattern: str = ""
    remaining: int = -1  # -1: until lifted
    code: int = 210


class Front:
    """
    The server. `url` is what `Store.server` takes.

    Args:
        certificate: PEM files of a certificate and its key; with them it speaks TLS.
        user, password: asked of every request when there is a password.
    """

    def __init__(
        self,
        engine_path: Path,
        port: int = 0,
        *,
        certificate: tuple[Path, Path] | None = None,
        user: str = "default",
        password: str = "",
    ) -> None:
        self.path = engine_path
        self.credentials = (user, password) if password else None
        self.encodings: set[str] = set()
        self.n_bytes_in = self.n_bytes_out = 0
        self._local = threading.local()
        self._plan = _Plan()
        self._changed = threading.Condition()
        self.n_requests = 0
        self.n_faults = 0
        front = self

        class Handler(_Handler):
            owner = front

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"clickhouse://default:@127.0.0.1:{self.port}"

    def start(self) -> Front:
        self._thread.start()
        return self

    def stop(self) -> None:
        self.fail(Fault.NONE)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fail(self, fault: Fault, pattern: str = "", times: int = -1, code: int = 210) -> None:
        """Make requests whose SQL contains `pattern` fail, `times` times (-1: until `fail(Fault.NONE)`)."""
        with self._changed:
            self._plan = _Plan(fault, pattern, times, code)
            self.n_faults = 0
            self._changed.notify_all()

    @contextmanager
    def failing(self, fault: Fault, pattern: str = "", code: int = 210) -> Iterator[None]:
        self.fail(fault, pattern, code=code)
        try:
            yield
        finally:
            self.fail(Fault.NONE)

    def wait_for_fault(self, seconds: float = 180.0) -> None:
        """Return once a request has met the present fault."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.n_faults, seconds), f"no request contained {self._plan.pattern!r}"

    def take_fault(self, sql: str) -> _Plan:
        with self._changed:
            plan = self._plan
            if plan.fault is Fault.NONE or plan.pattern not in sql or plan.remaining == 0:
                return _Plan()
            if plan.remaining > 0:
                plan.remaining -= 1
            self.n_faults += 1
            self._changed.notify_all()
            if plan.fault is Fault.HANG:
                self._changed.wait_for(lambda: self._plan is not plan)
            return plan

    def connection(self) -> Any:
        """A connection of this thread: session state never leaks between requests."""
        if not hasattr(self._local, "connection"):
            self._local.connection = chdb.connect(str(self.path))
        return self._local.connection


@contextmanager
def _as_files(sql: str, tables: dict[str, bytes], arguments: dict[str, str]) -> Iterator[str]:
    """The statement with its external tables (which only a server has) as files; takes what describes them out of `arguments`."""
    with ExitStack() as files:
        for name, rows in tables.items():
            file = files.enter_context(tempfile.NamedTemporaryFile(suffix=".table"))
            file.write(rows)
            file.flush()
            kind, structure = arguments.pop(f"{name}_format"), arguments.pop(f"{name}_structure")
            sql = re.sub(rf"\b{name}\b", f"file('{file.name}', '{kind}', '{structure}')", sql)
        yield sql


class _Handler(BaseHTTPRequestHandler):
    owner: Front
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(b"Ok.\n") if urlsplit(self.path).path == "/ping" else self._run(b"")

    def do_POST(self) -> None:
        body = self._body()
        if urlsplit(self.path).path == "/fault":
            wish = json.loads(body)
            self.owner.fail(Fault(wish["fault"]), wish.get("pattern", ""), wish.get("times", -1), wish.get("code", 210))
            self._answer(b"")
            return
        self._run(body)

    def _run(self, body: bytes) -> None:
        self.owner.n_requests += 1
        if not self._is_known():
            self._refuse("Code: 516. DB::Exception: Authentication failed. (AUTHENTICATION_FAILED)", 516)
            return
        arguments = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        try:
            fields, tables = self._form(body)
        except ValueError as error:
            self._refuse(f"Code: 1000. DB::Exception: HTML Form Exception: {error}. (POCO_EXCEPTION)", 1000)
            return
        arguments |= fields
        if "multipart/form-data" in self.headers.get("Content-Type", ""):
            body = b""
        sql = arguments.get("query", "")
        plan = self.owner.take_fault(sql + body[:2000].decode(errors="replace"))
        if plan.fault in (Fault.REFUSE, Fault.HANG):
            self.close_connection = True
            self.connection.close()
            return
        if plan.fault is Fault.ERROR:
            self._refuse(f"Code: {plan.code}. DB::Exception: injected failure. (INJECTED)", plan.code)
            return
        try:
            with _as_files(sql, tables, arguments) as own:
                answer, format = self._execute(own, body, arguments)
        except RuntimeError as error:
            self._refuse(str(error))
            return
        if plan.fault is Fault.FREEZE:
            time.sleep(1)
        if plan.fault is Fault.DIE_AFTER_COMMIT:
            self.close_connection = True
            self.connection.close()
        elif plan.fault is Fault.ERROR_AFTER_COMMIT:
            self._refuse(f"Code: {plan.code}. DB::Exception: injected failure after commit. (INJECTED)", plan.code)
        else:
            self._answer(answer, {"X-ClickHouse-Format": format} if format else {})

    def _is_known(self) -> bool:
        """ClickHouse takes Basic authentication, or user and key as headers."""
        if self.owner.credentials is None:
            return True
        scheme, _, secret = self.headers.get("Authorization", "").partition(" ")
        if scheme == "Basic":
            return tuple(base64.b64decode(secret).decode().split(":", 1)) == self.owner.credentials
        return (self.headers.get("X-ClickHouse-User"), self.headers.get("X-ClickHouse-Key")) == self.owner.credentials

    def _execute(self, sql: str, body: bytes, arguments: dict[str, str]) -> tuple[bytes, str]:
        # what made a session read-only cannot be taken back: such a request has a session of its own
        is_own = "readonly" in arguments
        connection = chdb.connect(str(self.owner.path)) if is_own else self.owner.connection()
        try:
            return self._in_session(connection, sql, body, arguments)
        finally:
            if is_own:
                connection.close()

    def _in_session(self, connection: Any, sql: str, body: bytes, arguments: dict[str, str]) -> tuple[bytes, str]:
        database = arguments.get("database") or "default"
        connection.query(f"USE `{database}`")
        names = [name for name in arguments if name not in _TRANSPORT and not name.startswith("param_")]
        names.sort(key=lambda name: name == "readonly")
        parameters = {name.removeprefix("param_"): value for name, value in arguments.items() if name.startswith("param_")}
        for name in names:
            value = arguments[name].replace("\\", "\\\\").replace("'", "\\'")
            connection.query(f"SET {name} = '{value}'")
        try:
            return self._statement(connection, sql, body, parameters)
        finally:
            if "readonly" not in names:
                for name in names:
                    connection.query(f"SET {name} = DEFAULT")

    def _statement(self, connection: Any, sql: str, body: bytes, parameters: dict[str, str]) -> tuple[bytes, str]:
        whole = sql.encode() + (b"\n" if sql else b"") + body
        match = _INSERT_DATA.match(whole)
        if match and match.end() < len(whole):
            with tempfile.NamedTemporaryFile(suffix=".insert") as file:
                file.write(whole[match.end() :])
                file.flush()
                connection.query(_reading(match, file.name), params=parameters or None)
            return b"", ""
        text = sql + ("\n" if sql and body else "") + body.decode()
        format_match = _TRAILING_FORMAT.search(text)
        format = format_match.group(1) if format_match else "TabSeparated"
        result = connection.query(text, format, params=parameters or None)
        answer = result if isinstance(result, bytes) else result.bytes() or b""
        return answer, format

    def _form(self, body: bytes) -> tuple[dict[str, str], dict[str, bytes]]:
        """Fields, and external tables by name. Raises ValueError for a longer value than a server takes."""
        kind = self.headers.get("Content-Type", "")
        fields: dict[str, str] = {}
        tables: dict[str, bytes] = {}
        if "multipart/form-data" not in kind:
            return fields, tables
        boundary = kind.split("boundary=", 1)[1].strip('"').encode()
        for part in body.split(b"--" + boundary):
            head, _, rest = part.partition(b"\r\n\r\n")
            name = re.search(rb'name="([^"]+)"', head)
            value = rest.removesuffix(b"\r\n")
            if name and b"filename=" in head:
                tables[name.group(1).decode()] = value
            elif name and len(value) > _MAX_FIELD_VALUE:
                raise ValueError("Field value too long")
            elif name:
                fields[name.group(1).decode()] = value.decode()
        return fields, tables

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            chunks = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            body = b"".join(chunks)
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        encoding = self.headers.get("Content-Encoding", "")
        self.owner.encodings.add(encoding)
        self.owner.n_bytes_in += len(body)
        if encoding == "gzip":
            return gzip.decompress(body)
        if encoding == "lz4":
            return lz4.frame.decompress(body)
        if encoding == "zstd":
            return zstandard.ZstdDecompressor().decompressobj().decompress(body)
        return body

    def _answer(self, body: bytes, headers: dict[str, str] | None = None, status: int = 200) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("X-ClickHouse-Server-Display-Name", "front")
        self.send_header("X-ClickHouse-Summary", "{}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.owner.n_bytes_out += len(body)
        self.wfile.write(body)

    def _refuse(self, message: str, code: int | None = None) -> None:
        found = _CODE.search(message)
        number = str(code if code is not None else found.group(1) if found else 1000)
        self._answer(message.encode(), {"X-ClickHouse-Exception-Code": number}, status=500)


def main() -> None:
    directory = Path(sys.argv[1])
    front = Front(directory, int(sys.argv[2]) if len(sys.argv) > 2 else 0).start()
    print("ready", front.port, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
