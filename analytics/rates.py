"""The rates of one call: exact integers, so that a sum of costs does not depend on the order of adding."""

from __future__ import annotations

from dataclasses import dataclass

FEMTO = 10**15
"""Femto-dollars in a dollar."""


@dataclass(frozen=True)
class Rates:
    """
    1e-15 USD per token of each class, the classes disjoint: `input` is what is neither cached nor audio, `output` what is
    neither reasoning nor audio. `request` is per call, `femto_per_ns` per nanosecond of the call. `source` is '' when no price
    is known. Without `needs_usage` the cost is known even when the token counts are not.
    """

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    audio_input: int = 0
    output: int = 0
    reasoning: int = 0
    audio_output: int = 0
    request: int = 0
    femto_per_ns: float = 0.0
    needs_usage: bool = True
    source: str = ""
