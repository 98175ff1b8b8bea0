"""`spanwise import`: files of OTLP by the way of live traffic, to the running instance or straight into the data directory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import httpx
import typer
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from rich.console import Console

from api.auth import KeyAuthenticator
from collector.importer import Imported, Progress, UnreadableFileError, count_items, import_through
from collector.intake import BusyError, Receipt
from collector.records import Signal
from collector.service import Collector
from spanwise.instance import KEY_VARIABLE, InstanceError, otlp_http_url, own_store, with_key_advice
from spanwise.progress import bar
from spanwise.settings import Settings, load
from storage.clock import WallClock
from storage.migrations import migrate

ImportOne = Callable[[Path, Progress], Imported]

console = Console()


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(name="import")(import_files)


def import_files(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="JSON lines or protobuf of the Collector's file exporter; .gz and .zst too", exists=True, dir_okay=False
        ),
    ],
    config: Annotated[Path | None, typer.Option("--config", help="settings file; default: spanwise.toml where it exists")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="data directory of the embedded engine")] = None,
) -> None:
    """Take in files of OTLP spans and logs; importing a file again doubles nothing. The key comes from SPANWISE_API_KEY."""
    with _importing(load(config, {"data_dir": data_dir})) as import_one:
        for path in files:
            with bar(f"import {path.name}") as update:
                done = import_one(path, lambda read, size: update(read / max(size, 1), ""))
            console.print(
                f"{path}: {done.n_items} items in {done.n_messages} messages, "
                f"{done.n_rejected} rejected, {done.n_undecodable} messages undecodable",
                soft_wrap=True,
                markup=False,
            )
            if done.first_undecodable:
                console.print(f"  the first: {done.first_undecodable}", soft_wrap=True, markup=False)
            if done.n_undecodable == done.n_messages > 0:
                raise UnreadableFileError(path, "it holds no message of OTLP")


@contextmanager
def _importing(settings: Settings) -> Iterator[ImportOne]:
    """How one file is imported: by a collector of our own when nobody owns the data, else through the door of who does."""
    with own_store(settings) as store:
        if store is not None:
            migrate(store)
            clock = WallClock()
            collector = Collector(
                settings.collector, store, settings.data_dir / "spool", clock, KeyAuthenticator(store, clock), host=None
            )
            collector.start()
            try:
                yield collector.import_file
            finally:
                collector.stop()
            return
    limit = settings.collector.receivers.max_request_bytes
    secret = os.environ.get(KEY_VARIABLE, "")
    headers = {"authorization": f"Bearer {secret}"} if secret else {}
    with httpx.Client(base_url=otlp_http_url(settings), headers=headers, timeout=60) as client:
        accept = _sender(client)
        yield lambda path, progress: import_through(accept, path, limit, progress)


def _sender(client: httpx.Client) -> Callable[[Signal, bytes, bool], Receipt]:
    """Messages over OTLP/HTTP, as any exporter sends them."""

    def accept(signal: Signal, message: bytes, is_json: bool) -> Receipt:
        n_items = count_items(signal, message, is_json=is_json)
        content_type = "application/json" if is_json else "application/x-protobuf"
        try:
            answer = client.post(f"/v1/{signal}", content=message, headers={"content-type": content_type})
        except httpx.TransportError as error:
            raise InstanceError(f"no answer from {client.base_url}: {error}") from error
        if answer.status_code in (429, 503):
            raise BusyError(float(answer.headers.get("retry-after", "1")))
        if answer.is_error:
            raise InstanceError(f"{client.base_url}: {with_key_advice(answer, _told(answer))}")
        n_rejected = _rejected(signal, answer, is_json)
        return Receipt(n_items, {"refused by the instance": n_rejected} if n_rejected else {})

    return accept


def _told(answer: httpx.Response) -> str:
    """Why the door refused: OTLP answers with a Status in the encoding of the request."""
    try:
        is_json = "json" in answer.headers.get("content-type", "")
        return str(answer.json()["message"] if is_json else Status.FromString(answer.content).message)
    except (ValueError, LookupError, TypeError, DecodeError):  # of something between, such as a proxy
        return f"answered {answer.status_code}"


def _rejected(signal: Signal, answer: httpx.Response, is_json: bool) -> int:
    if is_json:
        partial = answer.json().get("partialSuccess", {})
        return int(partial.get("rejectedSpans" if signal is Signal.TRACES else "rejectedLogRecords", 0))
    if signal is Signal.TRACES:
        return int(ExportTraceServiceResponse.FromString(answer.content).partial_success.rejected_spans)
    return int(ExportLogsServiceResponse.FromString(answer.content).partial_success.rejected_log_records)
