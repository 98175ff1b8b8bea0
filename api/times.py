"""
Times in requests: RFC 3339, or relative to now. Everything is UTC.

`2026-03-01T10:00:00Z`, `2026-03-01T12:00:00+02:00` (the same moment), `2026-03-01` (its midnight, UTC), `now`, `-24h`, `-1h30m`.
A time without a zone is refused rather than guessed. A range holds `from`, not `to`. Steps (`1m`, `6h`, `1d`) are cut at
multiples of the step since 1970-01-01T00:00:00Z, so a day starts at midnight UTC and a week on a Thursday.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from api.problems import bad_value

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_DURATION = re.compile(r"(?:\d{1,9}[smhdw])+", re.ASCII)
_PART = re.compile(r"(\d+)([smhdw])", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_FINER_THAN_MICROSECONDS = re.compile(r"(\.\d{6})\d+")

TIME_FORMS = "an RFC 3339 time with a zone (2026-03-01T10:00:00Z), a date, `now`, or an age such as -24h or -1h30m"
STEP_FORMS = "a whole number of minutes, hours or days such as 1m, 15m, 1h, 1d"

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2261, 12, 31, tzinfo=UTC)
"""What the store's nanosecond times can hold, to the day."""


@dataclass(frozen=True)
class Window:
    """A range of time: `start` is in it, `end` is not."""

    start: datetime
    end: datetime


def parse_time(text: str, now: datetime, parameter: str = "time") -> datetime:
    """The moment `text` means, in UTC, to the microsecond. Raises a 400 problem."""
    moment = _parsed(text.strip(), now)
    if moment is None or not EARLIEST <= moment <= LATEST:
        raise bad_value(parameter, text, TIME_FORMS)
    return moment


def parse_duration(text: str, parameter: str = "duration") -> timedelta:
    """The length `text` means: `90s`, `15m`, `1h30m`, `2d`, `1w`. Raises a 400 problem."""
    length = _duration(text.strip())
    if not length:
        raise bad_value(parameter, text, "a duration such as 90s, 15m, 1h30m, 2d or 1w")
    return length


def parse_step(text: str, parameter: str = "step") -> timedelta:
    """A duration of whole minutes. Raises a 400 problem."""
    step = _duration(text.strip())
    if not step or step % timedelta(minutes=1):
        raise bad_value(parameter, text, STEP_FORMS)
    return step


def parse_window(start: str, end: str, now: datetime) -> Window:
    """The range `from` to `to`. Raises a 400 problem, also when nothing lies between them."""
    window = Window(parse_time(start, now, "from"), parse_time(end, now, "to"))
    if window.start >= window.end:
        raise bad_value("from", start, f"earlier than to={end}")
    return window


def rfc3339(moment: datetime) -> str:
    """A UTC time as every answer writes it, whatever knew it how finely: `2026-03-01T10:00:00.000000000Z`."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "000Z"


def _parsed(text: str, now: datetime) -> datetime | None:
    try:
        if text == "now":
            return now
        if text.startswith("-"):
            age = _duration(text[1:])
            return now - age if age else None
        if _DATE.fullmatch(text):
            day = date.fromisoformat(text)
            return datetime(day.year, day.month, day.day, tzinfo=UTC)
        # a plus sign that was not escaped arrives as a space
        text = re.sub(r" (\d\d:\d\d)$", r"+\1", text)
        if not _MOMENT.fullmatch(text):
            return None
        return datetime.fromisoformat(_FINER_THAN_MICROSECONDS.sub(r"\1", text.upper())).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _duration(text: str) -> timedelta | None:
    if not _DURATION.fullmatch(text):
        return None
    return timedelta(seconds=sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text)))
