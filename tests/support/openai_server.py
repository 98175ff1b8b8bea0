"""
An OpenAI-compatible server on loopback that says beforehand what it will count and how it will fail.

    with OpenAIServer() as server:
        client = openai.OpenAI(base_url=server.url, api_key="x")

Answers are queued with `then(...)`; without any, the default answer is given. What was served is in `server.served`.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Answer:
    """
    One response.

    Args:
        status: 200 answers; anything else is an error body with that status.
        broken_after: streaming only: chunks after which the connection is cut, before usage was told.
    """

    text: str = "Hello there"
    model: str = ""
    input_tokens: int = 40
    output_tokens: int = 12
    cached_tokens: int = 8
    reasoning_tokens: int = 4
    status: int = 200
    error: str = "server_error"
    broken_after: int | None = None

    def usage(self) -> dict[str, Any]:
        return {
            "prompt_tokens": self.input_tokens,
            "completion_tokens": self.output_tokens,
            "total_tokens": self.input_tokens + self.output_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning_tokens},
        }


@dataclass(frozen=True)
class Served:
    """What was asked and what was answered."""

    path: str
    request: dict[str, Any]
    answer: Answer
    response_id: str


@dataclass
class OpenAIServer:
    """`/v1/chat/completions` (streaming too) and `/v1/embeddings`."""

    default: Answer = field(default_factory=Answer)
    served: list[Served] = field(default_factory=list)
    _queued: deque[Answer] = field(default_factory=deque)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def then(self, *answers: Answer) -> Self:
        """Queue answers; they are given in order, one to each request."""
        self._queued.extend(answers)
        return self

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def __enter__(self) -> Self:
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, name="openai-stub")
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def take(self, path: str, request: dict[str, Any]) -> Served:
        with self._lock:
            answer = self._queued.popleft() if self._queued else self.default
            served = Served(path, request, answer, f"chatcmpl-{len(self.served):04d}")
            self.served.append(served)
            return served


def completion(served: Served) -> dict[str, Any]:
    """The body of a chat completion."""
    answer = served.answer
    message = {"role": "assistant", "content": answer.text}
    return {
        "id": served.response_id,
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": answer.model or f"{served.request['model']}-2026-01-01",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": answer.usage(),
    }


def chunks(served: Served) -> Iterator[dict[str, Any]]:
    """The same as a stream: one word a chunk, then the finish reason, then usage if it was asked for."""
    whole = completion(served)
    base = {key: whole[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    for word in served.answer.text.split(" "):
        yield {**base, "choices": [{"index": 0, "delta": {"role": "assistant", "content": word + " "}, "finish_reason": None}]}
    yield {**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    if (served.request.get("stream_options") or {}).get("include_usage"):
        yield {**base, "choices": [], "usage": served.answer.usage()}


def embedding(served: Served) -> dict[str, Any]:
    inputs = served.request["input"]
    count = len(inputs) if isinstance(inputs, list) else 1
    usage = {"prompt_tokens": served.answer.input_tokens, "total_tokens": served.answer.input_tokens}
    data = [{"object": "embedding", "index": n, "embedding": [0.0, 1.0]} for n in range(count)]
    return {"object": "list", "data": data, "model": served.request["model"], "usage": usage}


def _handler(server: OpenAIServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            served = server.take(self.path, request)
            if served.answer.status != 200:
                self._json({"error": {"message": served.answer.error, "type": served.answer.error}}, served.answer.status)
            elif self.path.endswith("/embeddings"):
                self._json(embedding(served))
            elif request.get("stream"):
                self._stream(served)
            else:
                self._json(completion(served))

        def _json(self, body: dict[str, Any], status: int = 200) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _stream(self, served: Served) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for number, chunk in enumerate(chunks(served)):
                if number == served.answer.broken_after:
                    self.close_connection = True
                    return
                self._chunk(f"data: {json.dumps(chunk)}\n\n")
            self._chunk("data: [DONE]\n\n")
            self._chunk("")

        def _chunk(self, text: str) -> None:
            data = text.encode()
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

    return Handler
