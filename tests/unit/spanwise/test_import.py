"""`spanwise import` tells what went wrong: with a file, and with the key at the door of an instance."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import grpc
import httpx
import pytest
from google.rpc.status_pb2 import Status
from typer.testing import CliRunner

from collector.importer import Imported, UnreadableFileError
from collector.records import Signal
from spanwise.cli import app
from spanwise.commands import imports
from spanwise.instance import InstanceError
from tests.support.receivers import make_span, trace_request

JSON_TRACES = b'{"resourceSpans": []}'


@pytest.mark.parametrize("is_json", [True, False])
def test_a_refused_key_is_told_with_the_reason_and_the_variable(is_json: bool) -> None:
    why = "an API key is needed: send `Authorization: Bearer KEY`"
    code = grpc.StatusCode.UNAUTHENTICATED.value[0]
    header = {"content-type": "application/x-protobuf"}
    body = (
        {"json": {"code": code, "message": why}}
        if is_json
        else {"content": Status(code=code, message=why).SerializeToString(), "headers": header}
    )
    transport = httpx.MockTransport(lambda _: httpx.Response(401, **body))
    message = JSON_TRACES if is_json else trace_request(make_span()).SerializeToString()
    with httpx.Client(base_url="http://door", transport=transport) as client, pytest.raises(InstanceError) as refused:
        imports._sender(client)(Signal.TRACES, message, is_json)
    assert f"{why}; put a key in SPANWISE_API_KEY" in str(refused.value)


def test_an_answer_that_is_not_the_doors_is_told_by_its_number() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(502, text="<html>bad gateway</html>"))
    with httpx.Client(base_url="http://door", transport=transport) as client, pytest.raises(InstanceError, match="answered 502"):
        imports._sender(client)(Signal.TRACES, JSON_TRACES, True)


def test_a_file_without_a_message_of_otlp_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.jsonl"
    path.write_text("{}", encoding="utf-8")
    done = Imported(2, 0, 0, 2, "message 1: not JSON")
    monkeypatch.setattr(imports, "_importing", lambda _: nullcontext(lambda *_: done))
    monkeypatch.chdir(tmp_path)
    told = CliRunner().invoke(app, ["import", str(path)])
    assert "the first: message 1: not JSON" in told.stdout
    assert isinstance(told.exception, UnreadableFileError)
