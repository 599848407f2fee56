import time
from collections.abc import Iterator

import pytest

from fdps.errors import UsageError
from fdps.search.times import day_range, instant, later, second_of_day, zoned


@pytest.fixture(autouse=True)
def _berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-05-02T12:00:00+00:00", "2026-05-02T12:00:00Z"),
        ("2026-05-02T14:00:00", "2026-05-02T12:00:00Z"),  # summer here
        ("2026-01-02T13:00:00.250", "2026-01-02T12:00:00.250Z"),  # winter here
        ("2026-05-02", "2026-05-01T22:00:00Z"),
        ("2026-05-02T05:00-07:00", "2026-05-02T12:00:00Z"),
    ],
)
def test_one_moment_is_one_number(text: str, utc: str) -> None:
    assert instant(text) == instant(utc)


def test_the_time_of_day_is_that_of_the_place() -> None:
    assert second_of_day("2026-05-02T05:00:01-07:00") == 5 * 3600 + 1


@pytest.mark.parametrize("text", ["", "yesterday", "14:31", "2026-13-01", "0001-01-01T00:00"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="a time must be ISO 8601"):
        instant(text)
    with pytest.raises(UsageError, match="a time must be ISO 8601"):
        second_of_day(text)
    with pytest.raises(UsageError, match="a time must be ISO 8601"):
        later(text, 1.0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("08:00-17:30", (28800.0, 63000.0)),
        ("22:00 - 6:00", (79200.0, 21600.0)),
        ("00:00-24:00", (0.0, 86400.0)),
        ("23:59:30-23:59:31", (86370.0, 86371.0)),
    ],
)
def test_hours_of_the_day_are_read(text: str, seconds: tuple[float, float]) -> None:
    assert day_range(text) == seconds


@pytest.mark.parametrize("text", ["", "8-17", "08:00", "08:60-09:00", "25:00-26:00", "08:00-08:00"])
def test_other_hours_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="a time of day must be HH:MM-HH:MM"):
        day_range(text)


def test_seconds_are_added() -> None:
    assert later("2026-05-02T23:59:59", 1.5) == "2026-05-03T00:00:00.500+02:00"
    assert later("9999-12-31T23:59:59+00:00", 1e6) is None


SKIPPED_HOUR, DOUBLE_HOUR = "2026-03-29T02:30:00", "2026-10-25T02:30:00"


def test_a_clock_that_was_not_put_forward_keeps_its_hour() -> None:
    assert zoned(SKIPPED_HOUR).isoformat() == "2026-03-29T02:30:00+01:00"
    assert instant(SKIPPED_HOUR) == instant("2026-03-29T01:30:00Z")
    assert second_of_day(SKIPPED_HOUR) == 2.5 * 3600
    assert later(SKIPPED_HOUR, 90 * 60.0) == "2026-03-29T04:00:00.000+01:00"


def test_a_time_that_exists_twice_is_the_first() -> None:
    assert zoned(DOUBLE_HOUR).isoformat() == "2026-10-25T02:30:00+02:00"
    assert instant(f"{DOUBLE_HOUR}+01:00") - instant(DOUBLE_HOUR) == 3600
    assert second_of_day(f"{DOUBLE_HOUR}+01:00") == second_of_day(DOUBLE_HOUR)


@pytest.mark.parametrize(
    ("begin", "seconds", "end"),
    [
        ("2026-03-29T01:59:50", 20.0, "2026-03-29T03:00:10.000+02:00"),
        ("2026-10-25T02:59:50", 20.0, "2026-10-25T02:00:10.000+01:00"),
        ("2026-03-29T01:59:50+01:00", 20.0, "2026-03-29T02:00:10.000+01:00"),  # as it says
        ("2026-03-29T01:59:50", -20.0, "2026-03-29T01:59:30.000+01:00"),
    ],
)
def test_a_clock_that_is_put_on_meanwhile(begin: str, seconds: float, end: str) -> None:
    assert later(begin, seconds) == end


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2026-05-02T24:00", "2026-05-03T00:00:00+02:00"),
        ("2026-12-31T24:00:00.000Z", "2027-01-01T00:00:00Z"),
        ("2026-03-28T24:00:00", "2026-03-29T00:00:00+01:00"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
        ("20161231T235960Z", "2017-01-01T00:00:00Z"),
        ("2026-05-02T12:00:00+05:45", "2026-05-02T06:15:00Z"),
        ("2026-05-02T12:00:00-03:30", "2026-05-02T15:30:00Z"),
        ("1955-05-02T12:00:00", "1955-05-02T11:00:00Z"),
        ("1890-05-02T12:00:00", "1890-05-02T11:06:32Z"),  # before there were zones
    ],
)
def test_rare_times_are_what_the_standard_says(text: str, same: str) -> None:
    assert instant(text) == instant(same)


@pytest.mark.parametrize(
    "text",
    [
        "2026-05-02T24:01", "2026-05-02T24:00:01", "2026-05-02T25:00", "2026-05-02T12:60",
        "2026-05-02T12:00:61", "0000-00-00T00:00:00", "10000-01-01", "9999-12-31T24:00",
        "2026-05-02T12:00+25:00", "2026-02-29",
    ],
)  # fmt: skip
def test_what_is_on_no_clock_is_refused(text: str) -> None:
    for read in (instant, second_of_day):
        with pytest.raises(UsageError, match="a time must be ISO 8601"):
            read(text)


def test_every_minute_of_both_nights_is_read_and_keeps_its_clock() -> None:
    for day in ("2026-03-29", "2026-10-25"):
        for minute in range(24 * 60):
            text = f"{day}T{minute // 60:02}:{minute % 60:02}:00"
            assert second_of_day(text) == minute * 60
            assert zoned(text).isoformat().startswith(text)
