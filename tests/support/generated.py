"""Random traces: small trees of every kind of span, with failures, fallbacks, mirrors, evaluators, copies and broken links."""

from __future__ import annotations

import random
from datetime import timedelta
from decimal import Decimal
from typing import Any

from tests.support.traces import T0, span

_KINDS = ["llm"] * 6 + ["other", "chain", "agent", "tool", "attempt", "evaluator", "embedding"]


def trace(rng: random.Random, trace_id: str) -> list[dict[str, Any]]:
    """Up to nine spans; times on a grid of half seconds so that ties and touching ends happen."""
    names = [f"{n:02d}" for n in range(rng.randint(1, 9))]
    rng.shuffle(names)
    return [_span(rng, trace_id, names, at) for at in range(len(names))]


def _span(rng: random.Random, trace_id: str, names: list[str], at: int) -> dict[str, Any]:
    kind = rng.choice(_KINDS)
    is_raw = kind == "other" and rng.random() < 0.3
    has_usage = rng.random() < (0.7 if kind in ("llm", "attempt") or is_raw else 0.2)
    start = rng.randint(0, 20) / 2
    parent = rng.choice(names[:at]) if at and rng.random() < 0.9 else rng.choice(["", "", "gone", *names[:2]])
    return span(
        names[at],
        parent,
        start,
        start + rng.choice([0, 0.5, 1, 3, 70]),
        trace_id=trace_id,
        name="raw_gen_ai_request" if is_raw else f"{kind} {at}",
        kind=kind,
        operation=rng.choice(["", "invoke_agent"]) if kind == "agent" else "",
        status=rng.choice(["ok", "unset", "unset", "error", "timeout", "cancelled"]),
        http_status=rng.choice([None, None, 429, 504]),
        error_type=rng.choice(["", "", "", "RateLimitError", "APITimeoutError", "ValueError"]),
        request_model=rng.choice(["", "s", "t"]) if kind in ("llm", "attempt") else "",
        model_route=rng.choice(["", "", "", "student", "teacher"]),
        cohort=rng.choice(["", "", "vip"]),
        session_id=rng.choice(["", "", "s1"]),
        mirror_role=rng.choice([""] * 12 + ["shadow", "primary", "none"]),
        call_group=rng.choice(["", "", "", "g"]) if kind == "llm" else "",
        tokens=(rng.choice([1, 5, 9, None]), rng.choice([0, 2, 7])) if has_usage else (None, None),
        cost=rng.choice(["0", "0.25"]) if has_usage and rng.random() < 0.3 else None,
        ttft_ns=rng.choice([None, 5]),
        content_hash=rng.randint(0, 3),
    )


def with_copies(rng: random.Random, spans: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Some spans once more: as they are, or an earlier version that ended sooner."""
    copies = []
    for row in spans:
        if rng.random() < 0.15:
            copies.append(dict(row))
        if rng.random() < 0.1:
            early = row | {"end_time": T0 - timedelta(seconds=1), "input_tokens": 999, "reported_cost_usd": Decimal(999)}
            copies.append(early)
    return spans + copies
