"""Evaluations and feedback, in every form that arrives over OTLP, read into rows of `evaluation_records`."""

from __future__ import annotations

from collector.evaluations import plain
from collector.evaluations.attributes import from_spans
from collector.evaluations.genai import from_events, from_logs
from collector.evaluations.shapes import CANDIDATE_KEYS, CANDIDATE_SPANS, EVENT_NAME, EVENTS, LOG_RECORDS

__all__ = [
    "CANDIDATE_KEYS",
    "CANDIDATE_SPANS",
    "EVENTS",
    "EVENT_NAME",
    "LOG_RECORDS",
    "from_events",
    "from_logs",
    "from_spans",
    "plain",
]
