"""One configuration of structlog for every process: readable on a terminal, JSON lines elsewhere. Content is never logged."""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog

LogFormat = Literal["auto", "text", "json"]


def configure(level: str, format: LogFormat) -> None:
    """
    Route structlog and the standard library's loggers to standard error.

    Args:
        level: a standard level name, such as `info`.
        format: `text`, `json`, or `auto` (text on a terminal, JSON otherwise).
    """
    as_text = format == "text" or (format == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = structlog.dev.ConsoleRenderer() if as_text else structlog.processors.JSONRenderer()
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Their informational lines repeat ours for every job and request; a run skipped because one is under way is no news.
    for noisy in ("uvicorn", "uvicorn.access", "httpx", "grpc"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    # what it logs it raises too
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
