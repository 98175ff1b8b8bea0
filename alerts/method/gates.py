"""A gate's three answers."""

from __future__ import annotations

from collections.abc import Iterable

from alerts.verdict import Outcome


def against_limit(bounds: tuple[float, float] | None, limit: float, *, paged: bool = False) -> Outcome:
    """
    Whether a rise stays below a limit.

    Args:
        bounds: one-sided any-time bounds, lower and upper; None while collecting.
        paged: the stream has enough evidence of harm to page.
    """
    if paged or (bounds is not None and bounds[0] > limit):
        return Outcome.FAIL
    if bounds is not None and bounds[1] < limit:
        return Outcome.PASS
    return Outcome.UNDETERMINED


def all_of(outcomes: Iterable[Outcome]) -> Outcome:
    """Fail if any check fails; pass only if every check passes, so that no correction for their number is needed."""
    seen = list(outcomes)
    if Outcome.FAIL in seen:
        return Outcome.FAIL
    return Outcome.PASS if seen and all(o is Outcome.PASS for o in seen) else Outcome.UNDETERMINED
