"""The ports of a process, tried before anything is opened on them."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from spanwise.settings import Role, Settings
from storage.errors import PermanentError


class PortError(PermanentError):
    """A port that `serve` was told to open cannot be had."""

    def __init__(self, port: Port, cause: OSError) -> None:
        self.port = port
        if cause.errno == errno.EADDRINUSE:
            super().__init__(f"{port.address} is in use; stop what listens there or give {port.option}")
        else:
            why = cause.strerror if isinstance(cause, socket.gaierror) else os.strerror(cause.errno or 0)
            super().__init__(f"cannot listen on {port.address}: {why}; give another --host or {port.option}")


@dataclass(frozen=True)
class Port:
    """One port; `setting` is its name in the settings, 0 asks the system for a free one."""

    setting: str
    host: str
    number: int

    @property
    def option(self) -> str:
        return f"--{self.setting.replace('_', '-')}"

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.number}" if ":" in self.host else f"{self.host}:{self.number}"

    def try_it(self) -> None:
        """Bind it and let it go again. Raises `PortError`."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            socket.create_server((self.host, self.number), family=family).close()
        except OSError as error:
            raise PortError(self, error) from error


def ports(settings: Settings, host: str) -> Iterator[Port]:
    """The ports a process of these settings opens on `host`."""
    names = ("otlp_grpc_port", "otlp_http_port", "http_port") if Role.COLLECTOR in settings.role else ("http_port",)
    for name in names:
        yield Port(name, host, getattr(settings, name))
