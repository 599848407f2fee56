import time
from collections.abc import Iterator

import pytest

from fdps.errors import UsageError
from fdps.search.times import day_range, instant, later, second_of_day


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
