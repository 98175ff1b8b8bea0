"""The two kinds of failure every room understands, and the ones the store raises itself."""

from __future__ import annotations

from pathlib import Path


class SpanwiseError(Exception):
    """Base of every error raised on purpose."""


class PermanentError(SpanwiseError):
    """The same bytes or the same request will fail again; retrying is useless."""


class RetryableError(SpanwiseError):
    """The same request may succeed later; unknown failures count as this."""


class DataDirectoryBusyError(PermanentError):
    """Another process owns the data directory."""

    def __init__(self, directory: Path, owner_pid: int | None) -> None:
        self.directory = directory
        self.owner_pid = owner_pid
        owner = f"process {owner_pid}" if owner_pid else "another process"
        super().__init__(f"data directory {directory} is in use by {owner}; stop it, or choose another --data-dir")


class StoreUnavailableError(RetryableError):
    """The store did not answer, or answered that it cannot now."""


class StoreRefusedError(PermanentError):
    """The store understood the request and refused it."""


class QueryLimitError(PermanentError):
    """A query went over a limit that its caller set. `limit` is `rows`, `memory`, `seconds` or `bytes`."""

    def __init__(self, limit: str, message: str) -> None:
        self.limit = limit
        super().__init__(message)


class FrameShapeError(ValueError, PermanentError):
    """A frame lacks a column, or holds one of another type."""

    def __init__(self, frame: str, problems: list[str]) -> None:
        self.frame = frame
        self.problems = problems
        super().__init__(f"frame {frame!r} has the wrong shape: {'; '.join(problems)}")
