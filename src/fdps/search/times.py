"""Times of pictures: ISO 8601 with an offset from UTC, comparable across cameras and zones.

Cameras often write the time of day without a zone. It is then taken for that of this machine; the
environment variable ``TZ`` says otherwise.

The hour on the clock is never changed. A time that exists twice, in the night in which clocks are
put back, is the first of the two. A time that does not exist, in the night in which they are put
forward, is that of a clock that was left as it was: ``02:30`` with the offset of winter. A text
with an offset means exactly that. ``24:00`` is the midnight after the day, and the second ``60``
is the one that follows, as POSIX has it.
"""

import re
from datetime import datetime, timedelta, timezone

from fdps.errors import UsageError
from fdps.names import printable

_CLOCK = r"(\d{1,2}):(\d{2})(?::(\d{2}))?"
_RANGE = re.compile(rf"{_CLOCK}\s*-\s*{_CLOCK}")
_MIDNIGHT = re.compile(r"(?<=[T ])24(?=:?00(?::?00(?:[.,]0+)?)?(?:$|Z|[+-]))")
_LEAP = re.compile(r"(?<=\d\d:\d\d:)60|(?<=[T ]\d{4})60")
_EPOCH = datetime(1970, 1, 1)
DAY_S = 24 * 3600


def zoned(text: str) -> datetime:
    """Read a time with its offset from UTC.

    Args:
        text: ISO 8601; without an offset, the time of this machine.

    Raises:
        UsageError: The text is not ISO 8601, or so far away that it has no time zone.
    """
    try:
        time = _read(text)
        if time.tzinfo:
            return time
        whole = time.replace(microsecond=0)
        # astimezone() takes the offset of summer for an hour that does not exist.
        offset = whole - _EPOCH - timedelta(seconds=whole.timestamp())
        return time.replace(tzinfo=timezone(offset))
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(
            f"a time must be ISO 8601, got {printable(repr(text))}",
            hint="such as 2026-05-02, 2026-05-02T14:31 or 2026-05-02T14:31:07+02:00",
        ) from error


def _read(text: str) -> datetime:
    at_midnight, n_midnights = _MIDNIGHT.subn("00", text)
    plain, n_leaps = _LEAP.subn("59", at_midnight)
    time = datetime.fromisoformat(plain)
    return time + timedelta(days=n_midnights, seconds=n_leaps)


def instant(text: str) -> float:
    """Return the seconds since 1970, UTC.

    Raises:
        UsageError: The text is not a time.

    Example:
        >>> instant("1970-01-01T02:00:01.5+02:00")
        1.5
    """
    return zoned(text).timestamp()


def second_of_day(text: str) -> float:
    """Return the seconds since midnight on the clock where the time was noted.

    Raises:
        UsageError: The text is not a time.

    Example:
        >>> second_of_day("2026-05-02T00:01:00.25-05:00")
        60.25
    """
    time = zoned(text)
    return time.hour * 3600 + time.minute * 60 + time.second + time.microsecond / 1e6


def day_range(text: str) -> tuple[float, float]:
    """Return the first and last second of a range ``HH:MM-HH:MM``, which may also have seconds.

    Raises:
        UsageError: The text is not such a range, or it is an empty one.

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


def shown_time(text: str) -> str:
    """Write an ISO 8601 time for people: on the clock of the camera, to the second.

    Example:
        >>> shown_time("2026-05-02T14:31:07.250+02:00")
        '2026-05-02 14:31:07'
    """
    return text[:19].replace("T", " ")


def later(text: str, seconds: float) -> str | None:
    """Return a time so much later, to the millisecond; ``None`` beyond the calendar.

    A text with an offset keeps it. One without follows the clock here, which may have been put
    forward or back meanwhile, unless the text is a time that the clock here never showed.

    Raises:
        UsageError: The text is not a time.
    """
    begin = zoned(text)
    try:
        end = begin + timedelta(seconds=seconds)
        if not _read(text).tzinfo and begin.utcoffset() == begin.astimezone().utcoffset():
            end = end.astimezone()
        return end.isoformat(timespec="milliseconds")
    except (OverflowError, ValueError, OSError):
        return None
