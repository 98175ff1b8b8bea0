"""How numbers, money and times are written for people: with units, ranges before points, no more digits than are known."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal

UNKNOWN = "—"
MINUS = "−"
_NBSP = "\u00a0"

_DURATIONS = ((60_000_000_000, "min"), (1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs"), (1, "ns"))
_AGES = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def count(value: float | None) -> str:
    """A whole number with separators: `12,345`."""
    return UNKNOWN if value is None else f"{value:,.0f}".replace("-", MINUS)


def plural(n: int, noun: str) -> str:
    """A count with its noun: `1 call`, `3 calls`."""
    return f"{count(n)} {noun}{'' if n == 1 else 's'}"


def percent(rate: float | None) -> str:
    """A rate of 0 to 1 as a percentage with about three digits: `19.8 %`, `0.43 %`."""
    if rate is None or not math.isfinite(rate):
        return UNKNOWN
    return f"{_signed_off(rate * 100, _percent_digits(rate * 100))}{_NBSP}%"


def points(difference: float | None) -> str:
    """A difference of rates in percentage points, always signed: `+2.6 pp`."""
    if difference is None or not math.isfinite(difference):
        return UNKNOWN
    return f"{_signed(difference * 100, _percent_digits(difference * 100))}{_NBSP}pp"


def points_range(lower: float | None, upper: float | None) -> str:
    """An interval of a difference of rates: `−0.9 to +1.3 pp`."""
    if lower is None or upper is None or not (math.isfinite(lower) and math.isfinite(upper)):
        return UNKNOWN
    digits = min(_percent_digits(lower * 100), _percent_digits(upper * 100))
    return f"{_signed(lower * 100, digits)} to {_signed(upper * 100, digits)}{_NBSP}pp"


def ratio(value: float | None) -> str:
    """A ratio of costs: `0.31×`."""
    return UNKNOWN if value is None or not math.isfinite(value) else f"{_three_digits(value)}×"


def ratio_range(lower: float | None, upper: float | None) -> str:
    """An interval of a ratio: `0.29 to 0.33×`."""
    if lower is None or upper is None or not (math.isfinite(lower) and math.isfinite(upper)):
        return UNKNOWN
    return f"{_three_digits(lower)} to {_three_digits(upper)}×"


def money(usd: Decimal | float | None) -> str:
    """Dollars; small amounts keep three significant digits: `$1,234.50`, `$0.00231`."""
    if usd is None:
        return UNKNOWN
    amount = float(usd)
    if amount == 0:
        return "$0"
    digits = 2 if abs(amount) >= 1 else min(9, 2 - math.floor(math.log10(abs(amount))))
    sign = MINUS if amount < 0 else ""
    return f"{sign}${abs(amount):,.{digits}f}"


def size(n_bytes: float) -> str:
    """A number of bytes in its largest fitting unit: `8 GiB`, `1.5 MiB`, `512 B`."""
    for power, unit in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
        if n_bytes >= 1024**power:
            return f"{n_bytes / 1024**power:.3g}{_NBSP}{unit}"
    return f"{n_bytes:.0f}{_NBSP}B"


def duration(nanoseconds: float | None) -> str:
    """A duration in its largest fitting unit: `1.24 s`, `340 ms`, `2 min 3 s`."""
    if nanoseconds is None:
        return UNKNOWN
    if nanoseconds >= 60_000_000_000:
        minutes, rest = divmod(round(nanoseconds / 1e9), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}{_NBSP}h {minutes}{_NBSP}min" if hours else f"{minutes}{_NBSP}min {rest}{_NBSP}s"
    for size, unit in _DURATIONS:
        if nanoseconds >= size:
            return f"{_three_digits(nanoseconds / size)}{_NBSP}{unit}"
    return f"0{_NBSP}s"


def age(span: timedelta | None) -> str:
    """A span of time in two units at most: `3 d 4 h`, `12 min`."""
    if span is None:
        return UNKNOWN
    seconds = max(0, round(span.total_seconds()))
    for position, (size, unit) in enumerate(_AGES):
        if seconds >= size:
            whole, rest = divmod(seconds, size)
            text = f"{whole}{_NBSP}{unit}"
            if position < 2 and whole < 10:
                small_size, small_unit = _AGES[position + 1]
                text += f" {rest // small_size}{_NBSP}{small_unit}" if rest // small_size else ""
            return text
    return f"0{_NBSP}s"


def ago(moment: datetime | None, now: datetime) -> str:
    """Where a moment lies from now: `3 min ago`, `in 2 h`, `just now`."""
    if moment is None:
        return UNKNOWN
    distance = now - moment
    if abs(distance) < timedelta(seconds=1):
        return "just now"
    return f"{age(distance)} ago" if distance > timedelta(0) else f"in {age(-distance)}"


def moment(value: datetime | None) -> str:
    """An absolute time in UTC: `2026-03-03 14:05:09 UTC`."""
    return UNKNOWN if value is None else f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def day(value: datetime | None) -> str:
    """A day as people write it: `3 Mar 2026`."""
    return UNKNOWN if value is None else f"{value.astimezone(UTC).day} {value.astimezone(UTC):%b %Y}"


def machine_time(value: datetime) -> str:
    """RFC 3339 with milliseconds, for `datetime` attributes and links."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def score(value: float | None) -> str:
    """A score of 0 to 1: `0.874`."""
    return UNKNOWN if value is None or not math.isfinite(value) else f"{value:.3f}"


def sentence(text: str) -> str:
    """A text with a capital at its beginning, and every name in it as it is written."""
    return text[:1].upper() + text[1:]


def _percent_digits(value: float) -> int:
    return 2 if 0 < abs(value) < 0.995 else 1


def _three_digits(value: float) -> str:
    digits = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    return f"{value:,.{digits}f}".replace("-", MINUS)


def _signed(value: float, digits: int) -> str:
    text = f"{abs(value):.{digits}f}"
    if float(text) == 0:
        return text
    return f"{MINUS if value < 0 else '+'}{text}"


def _signed_off(value: float, digits: int) -> str:
    text = f"{abs(value):.{digits}f}"
    return f"{MINUS}{text}" if value < 0 and float(text) else text
