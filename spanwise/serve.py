"""One process: the rooms its roles ask for, composed, started, watched over and stopped in order."""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import threading
import uuid
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
import uvicorn

import spanwise
from alerts.alerter import Alerter
from analytics.jobs import Jobs
from api.app import create_app
from api.auth import KeyAuthenticator, is_loopback
from api.background import BackgroundJobs
from api.desk import Desk
from api.services import Services
from collector.service import Collector, Endpoints
from spanwise import endpoints
from spanwise.clock import CompletedClock, Completion, EventClock
from spanwise.opening import open_store
from spanwise.ports import ports
from spanwise.runner import Runner
from spanwise.schedule import Schedule, Tick
from spanwise.settings import Role, Settings, masked
from spanwise.upkeep import BACKUPS, Upkeep
from storage.clock import Clock, WallClock
from storage.job_runs import JobState
from storage.leases import Lease
from storage.retention import apply as apply_retention
from storage.retention import strip_content

log = structlog.get_logger(__name__)

# A third of a lease's length: two renewals may fail before another process takes over.
_LEASE_RENEWAL = timedelta(seconds=10)
# An answer takes its turn at the interpreter some twenty times. While spans arrive as fast as they can, a dozen threads take
# turns too: with Python's 5 ms each, what takes 6 ms by itself takes most of a second.
_TURN_SECONDS = 0.0005
# Messages that failed are tried again between two ticks of the alerter.
_DELIVER_EVERY = timedelta(seconds=5)


@dataclass
class _WebServer:
    """Uvicorn on a socket of ours, in a thread of its own."""

    server: uvicorn.Server
    socket: socket.socket
    thread: threading.Thread

    @property
    def port(self) -> int:
        port: int = self.socket.getsockname()[1]
        return port


class Process:
    """
    The rooms of one process.

    `start` returns once every door is open; `stop` closes the doors, drains what was accepted, and closes the store.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._roles = frozenset(settings.role)
        self._wall = WallClock()
        self._store = open_store(settings)
        self._clock: Clock = self._wall
        evidence: Clock = CompletedClock(self._store, self._wall)
        if settings.clock == "event":
            evidence = self._clock = EventClock(self._store, self._wall, timedelta(seconds=3 * settings.job_interval))
        self._authenticator = KeyAuthenticator(
            self._store,
            self._wall,
            cache_seconds=settings.api.key_cache_seconds,
            failures_per_minute=settings.api.failures_per_minute,
        )
        self._host = self._bindable_host()
        self._collector = self._make_collector()
        self._jobs = Jobs(self._store, settings.analytics, self._clock, settings.price, replays_history=settings.clock == "event")
        self._alerter = Alerter(
            self._store,
            settings.alerts,
            evidence,
            rollouts=settings.rollout,
            wall=self._wall,
            public_url=lambda: str(self.endpoints.get("api", "")),
            replays_history=settings.clock == "event",
            maturity=settings.analytics.maturity,
        )
        silence = timedelta(minutes=settings.collector.spool.absent_minutes)
        self._completion = Completion(self._store, self._collector.pending if self._collector else Counter, silence)
        self._lease = Lease(self._store, "analytics", f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}")
        # an embedded engine has one process, which needs nobody's leave
        self._is_active = self._store.is_embedded
        self._schedule = Schedule(self._ticks())
        flush = self._collector.flush if self._collector else lambda: None
        upkeep = Upkeep(self._store, settings.data_dir / BACKUPS, self._schedule.paused, flush)
        self._background = BackgroundJobs(Runner(self._store, self._jobs, upkeep))
        self._web: _WebServer | None = None
        self.endpoints: dict[str, str | int] = {}

    def start(self) -> None:
        """
        Open every door and begin the schedule. Afterwards `endpoints.json` in the data directory says where they are.

        Raises:
            PortError: something else listens where a door should be; nothing was begun.
        """
        for port in ports(self._settings, self._host):
            port.try_it()
        if Role.ANALYTICS in self._roles:
            apply_retention(self._store, self._settings.storage.retention)
        otlp = self._collector.start() if self._collector else None
        self._schedule.start()
        self._web = self._open_web(otlp)
        self._announce(otlp)

    def stop(self) -> None:
        endpoints.withdraw(self._settings.data_dir)
        self._jobs.stop()
        if self._web is not None:
            self._web.server.should_exit = True
            self._web.thread.join()
            self._web.socket.close()
        self._background.stop()
        self._schedule.stop()
        self._alerter.close()
        if self._is_active and not self._store.is_embedded:
            self._lease.release()
        if self._collector:
            self._collector.stop()
        self._store.close()
        log.info("stopped")

    def _bindable_host(self) -> str:
        host = self._settings.host
        if host == "localhost" or is_loopback(host) or self._authenticator.keys_exist:
            return host
        log.warning(
            "loopback_only",
            asked=host,
            why="no API key exists yet",
            fix="spanwise key create --scope admin NAME, and with its secret in SPANWISE_API_KEY the others",
        )
        return "127.0.0.1"

    def _make_collector(self) -> Collector | None:
        if not self._roles & {Role.COLLECTOR, Role.API}:
            return None
        receivers = Role.COLLECTOR in self._roles
        return Collector(
            self._settings.collector,
            self._store,
            self._settings.data_dir / "spool",
            self._wall,
            self._authenticator,
            host=self._host if receivers else None,
            grpc_port=self._settings.otlp_grpc_port,
            http_port=self._settings.otlp_http_port,
        )

    def _ticks(self) -> list[Tick]:
        interval = timedelta(seconds=self._settings.job_interval)
        ticks = []
        if Role.ANALYTICS in self._roles:
            ticks.append(Tick("analytics", self._analyse, interval))
            if not self._store.is_embedded:
                ticks.append(Tick("lease", self._renew, _LEASE_RENEWAL))
            ticks.append(Tick("retention", self._strip, timedelta(hours=6), delay=timedelta(minutes=10)))
        if Role.ALERTS in self._roles:
            ticks.append(Tick("alerts", self._alerter.evaluate, interval, delay=interval / 2))
            ticks.append(Tick("deliver", self._alerter.deliver, min(interval, _DELIVER_EVERY)))
        return ticks

    def _analyse(self) -> None:
        """One round of the jobs; what it completed is what the alerter may judge."""
        if not self._is_active:
            return
        upto = self._completion.begin()
        if all(self._jobs.run(kind).state is JobState.DONE for kind in ("assemble", "rollup")):
            self._completion.record(upto)
        # hours and days are for readers; no verdict waits for them
        self._jobs.run("merge")

    def _renew(self) -> None:
        self._is_active = self._lease.hold()

    def _standing(self) -> dict[str, str]:
        """Which roles are at work here, and which wait for another process to stop."""
        is_active = {Role.ANALYTICS: self._is_active, Role.ALERTS: self._alerter.is_active}
        return {role.value: "active" if is_active.get(role, True) else "standby" for role in sorted(self._roles)}

    def _strip(self) -> None:
        strip_content(self._store, self._settings.storage.retention)

    def _open_web(self, otlp: Endpoints | None) -> _WebServer:
        settings = self._settings
        reads = self._store.limited(settings.api.query_limits())
        services = Services(
            store=self._store,
            clock=self._clock,
            config=settings.api,
            authenticator=self._authenticator,
            alerts=Desk(reads, self._alerter, self._clock, keep_seconds=settings.api.keep_seconds),
            prices=self._jobs.price_book,
            collector=self._collector,
            jobs=self._background if Role.ANALYTICS in self._roles else None,
            standing=self._standing,
            roles=frozenset(role.value for role in self._roles),
            evaluators=settings.analytics.evaluation,
            settings=masked(settings),
            otlp_http=otlp.otlp_http if otlp else f"http://127.0.0.1:{settings.otlp_http_port}",
            version=spanwise.__version__,
            started_at=datetime.now(UTC),
        )
        listener = socket.create_server((self._host, settings.http_port), backlog=512)
        config = uvicorn.Config(
            create_app(services),
            log_config=None,
            access_log=False,
            ssl_certfile=settings.api.tls_certificate_file,
            ssl_keyfile=str(settings.api.tls_key_file) if settings.api.tls_key_file else None,
            timeout_graceful_shutdown=10,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="api", daemon=True)
        thread.start()
        return _WebServer(server, listener, thread)

    def _announce(self, otlp: Endpoints | None) -> None:
        host = f"[{self._host}]" if ":" in self._host else self._host
        if otlp is not None:
            self.endpoints |= {"otlp_grpc": otlp.otlp_grpc, "otlp_http": otlp.otlp_http}
        if self._web is not None:
            scheme = "https" if self._settings.api.tls_certificate_file else "http"
            self.endpoints["api"] = f"{scheme}://{host}:{self._web.port}"
        self.endpoints["pid"] = os.getpid()
        endpoints.announce(self._settings.data_dir, self.endpoints)
        log.info("ready", **self.endpoints)


def serve(settings: Settings) -> None:
    """Run a process until SIGTERM or SIGINT, then stop it in order."""
    wish = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: wish.set())
    sys.setswitchinterval(_TURN_SECONDS)
    process = Process(settings)
    try:
        process.start()
        # what was imported stays: looking through it for garbage stops every thread for a tenth of a second
        gc.collect()
        gc.freeze()
        # woken now and then: a signal that comes just before this thread falls asleep would not be handled until it wakes
        while not wish.wait(0.5):
            pass
        log.info("stopping", why="signal")
    finally:
        process.stop()
