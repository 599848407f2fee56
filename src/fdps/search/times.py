"""Times of pictures: ISO 8601 with an offset from UTC, comparable across cameras and zones.

Cameras often write the time of day without a zone. It is then taken for that of this machine; the
environment variable ``TZ`` says otherwise.
"""

import re
from datetime import datetime, timedelta

from fdps.errors import UsageError

_CLOCK = r"(\d{1,2}):(\d{2})(?::(\d{2}))?"
_RANGE = re.compile(rf"{_CLOCK}\s*-\s*{_CLOCK}")
DAY_S = 24 * 3600


def zoned(text: str) -> datetime:
    """A time with its offset from UTC.

    Args:
        text: ISO 8601; without an offset, the time of this machine.

    Raises:
        UsageError: It is not ISO 8601, or so far away that it has no time zone.
    """
    try:
        time = datetime.fromisoformat(text)
        return time if time.tzinfo else time.astimezone()
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(
            f"a time must be ISO 8601, got {text!r}",
            hint="such as 2026-05-02, 2026-05-02T14:31 or 2026-05-02T14:31:07+02:00",
        ) from error


def instant(text: str) -> float:
    """Seconds since 1970, UTC.

    Raises:
        UsageError: The text is not a time.

    Example:
        >>> instant("1970-01-01T02:00:01.5+02:00")
        1.5
    """
    return zoned(text).timestamp()


def second_of_day(text: str) -> float:
    """Seconds since midnight where the time was noted.

    Raises:
        UsageError: The text is not a time.

    Example:
        >>> second_of_day("2026-05-02T00:01:00.25-05:00")
        60.25
    """
    time = zoned(text)
    return time.hour * 3600 + time.minute * 60 + time.second + time.microsecond / 1e6


def day_range(text: str) -> tuple[float, float]:
    """First and last second of ``HH:MM-HH:MM``, or with seconds.

    Raises:
        UsageError: It is not such a range, or an empty one.

    Example:
        >>> day_range("22:00-06:30")
        (79200.0, 23400.0)
    """
    match = _RANGE.fullmatch(text.strip())
    if match:
        groups = [int(group or 0) for group in match.groups()]
        start, end = (h * 3600.0 + m * 60 + s for h, m, s in (groups[:3], groups[3:]))
        are_clocks = all(m < 60 and s < 60 for _, m, s in (groups[:3], groups[3:]))
        if are_clocks and start < DAY_S and 0 <= end <= DAY_S and start != end:
            return start, end
    raise UsageError(f"a time of day must be HH:MM-HH:MM, got {text!r}", hint="such as 22:00-06:00")


def later(text: str, seconds: float) -> str | None:
    """A time so much later, to the millisecond; ``None`` beyond the calendar.

    Raises:
        UsageError: The text is not a time.
    """
    try:
        return (zoned(text) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")
    except (OverflowError, ValueError):
        return None
