"""What a channel is, and the two ways in which it fails."""

from __future__ import annotations

from typing import Protocol

import httpx

from alerts.page import Message
from storage.errors import PermanentError, RetryableError


class Channel(Protocol):
    """Carries messages to people or to another system."""

    @property
    def name(self) -> str:
        """Stable over restarts, different for every channel, without secrets; names the channel in `deliveries`."""
        ...

    def send(self, message: Message) -> None:
        """
        Hand over one message; returns once the other side has taken it.

        Raises:
            ChannelRefusedError: it will not take this message, however often.
            ChannelUnavailableError: it may take it later.
        """
        ...

    def close(self) -> None: ...


class ChannelRefusedError(PermanentError):
    """The other side understood and refused."""


class ChannelUnavailableError(RetryableError):
    """The other side did not answer, or not now. `retry_after_seconds`: when it asked to be tried again."""

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)


def post(client: httpx.Client, url: str, content: bytes, headers: dict[str, str]) -> httpx.Response:
    """POST JSON; every way in which that fails becomes one of the two errors, without the URL, which may be secret."""
    try:
        response = client.post(url, content=content, headers={"Content-Type": "application/json", **headers})
    except httpx.HTTPError as error:
        raise ChannelUnavailableError(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__) from error
    except (httpx.InvalidURL, ValueError) as error:
        raise ChannelRefusedError(f"{type(error).__name__}") from error
    if response.is_success:
        return response
    problem = f"HTTP {response.status_code} {response.reason_phrase}: {response.text[:200]}".strip(": ")
    if response.status_code in (408, 425, 429) or response.status_code >= 500:
        raise ChannelUnavailableError(problem, _retry_after(response))
    raise ChannelRefusedError(problem)


def _retry_after(response: httpx.Response) -> float | None:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdigit() else None
