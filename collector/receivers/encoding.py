"""`Content-Encoding` undone within a bound: a small body that would swell past it is refused before it does."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable

import zstandard

from collector.checks import UndecodableError
from collector.intake import TooLargeError

ACCEPTED = "gzip, deflate, zstd"
_CHUNK = 1 << 20
_GZIP, _ZLIB, _RAW_DEFLATE = 31, 15, -15
_MAX_ZSTD_WINDOW = 32 << 20


class UnknownEncodingError(LookupError):
    """A `Content-Encoding` nobody here can undo. HTTP 415."""

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding
        super().__init__(f"content encoding {encoding!r} is not supported; use {ACCEPTED}")


def decoded(body: bytes, encoding: str, limit: int, grow: Callable[[int], None]) -> bytes:
    """
    The body without its encoding.

    Args:
        limit: most bytes that may come out.
        grow: told of every chunk of output before the next one is made; may raise to stop.

    Raises:
        TooLargeError: more would come out than `limit`.
        UndecodableError: cut short, or not so encoded.
        UnknownEncodingError: another encoding.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return body
    if name in ("gzip", "x-gzip"):
        return _inflated(body, _GZIP, limit, grow)
    if name == "deflate":
        # RFC 9110 says zlib; some senders leave its header away
        is_zlib = len(body) > 1 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0
        return _inflated(body, _ZLIB if is_zlib else _RAW_DEFLATE, limit, grow)
    if name == "zstd":
        return _unzstd(body, limit, grow)
    raise UnknownEncodingError(encoding)


def _inflated(body: bytes, window: int, limit: int, grow: Callable[[int], None]) -> bytes:
    chunks = []
    size = 0
    rest = body
    while rest:
        member = zlib.decompressobj(window)
        while not member.eof:
            try:
                chunk = member.decompress(rest, _CHUNK)
            except zlib.error as error:
                raise UndecodableError(f"body is not so encoded: {error}") from error
            rest = member.unconsumed_tail
            if not chunk and not rest and not member.eof:
                raise UndecodableError("compressed body is cut short")
            size += len(chunk)
            if size > limit:
                raise TooLargeError(limit)
            grow(len(chunk))
            chunks.append(chunk)
        rest = member.unused_data
    return b"".join(chunks)


def _unzstd(body: bytes, limit: int, grow: Callable[[int], None]) -> bytes:
    chunks = []
    size = 0
    try:
        with zstandard.ZstdDecompressor(max_window_size=_MAX_ZSTD_WINDOW).stream_reader(
            io.BytesIO(body), read_across_frames=True
        ) as reader:
            while chunk := reader.read(_CHUNK):
                size += len(chunk)
                if size > limit:
                    raise TooLargeError(limit)
                grow(len(chunk))
                chunks.append(chunk)
    except zstandard.ZstdError as error:
        raise UndecodableError(f"body is not so encoded: {error}") from error
    return b"".join(chunks)
