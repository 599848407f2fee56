import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fdps.errors import UsageError
from fdps.search.ingest.origins import Origins


@pytest.fixture(autouse=True)
def _berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_the_camera_is_in_the_path() -> None:
    origins = Origins(camera="other", camera_from="(?P<camera>gate|hall)[^/]*$")
    assert origins.camera_of(Path("/disk/gate/hall_2.mp4")) == "hall"
    assert origins.camera_of(Path("/disk/gate/1.jpg")) == "other"
    assert Origins().camera_of(Path("/disk/gate/1.jpg")) is None


@pytest.mark.parametrize("rule", ["(?P<camera>", "(gate|hall)", "gate"])
def test_a_rule_without_a_camera_is_refused(rule: str) -> None:
    with pytest.raises(UsageError, match="camera_from"):
        Origins(camera_from=rule)


DAY, OTHER = "2026-05-02T00:00:00.000+02:00", "2020-01-02T03:04:05.000+01:00"
MOMENT = "2026-05-02T14:31:07.000+02:00"


@pytest.mark.parametrize(
    ("time_from", "name", "noted", "expected"),
    [
        ("name:%Y%m%d_%H%M%S", "cam_20260502_143107.jpg", None, MOMENT),
        ("name:%Y%m%d_%H%M%S", "cam.jpg", None, None),
        ("name:%Y%m%d_%H%M%S", "99999999_999999 20260502_143107", None, MOMENT),
        ("name:%Y-%m-%dT%H%M%z", "2026-05-02T1231Z.jpg", None, "2026-05-02T12:31:00.000+00:00"),
        ("exif,name:%Y%m%d", "20260502.jpg", "2020-01-02T03:04:05", OTHER),
        ("name:%Y%m%d,exif", "20260502.jpg", "2020-01-02T03:04:05", DAY),
        ("exif,name:%Y%m%d", "20260502.jpg", None, DAY),
        ("exif,name:%d.%m.%Y, %H.%M.%S", "1 02.05.2026, 14.31.07.jpg", None, MOMENT),
        ("exif", "20260502.jpg", "nonsense", None),
        ("container", "20260502.jpg", "2020-01-02T03:04:05", None),  # that is for videos
        ("", "20260502.jpg", "2020-01-02T03:04:05", None),
    ],
)
def test_the_first_source_that_knows_the_time_tells_it(
    time_from: str, name: str, noted: str | None, expected: str | None
) -> None:
    origins = Origins(time_from=time_from)
    assert origins.time_of(Path("/x") / name, noted, is_video=False) == expected


def test_frames_come_later_and_videos_note_utc() -> None:
    origins, path = Origins(), Path("/x/clip.mp4")
    utc = "2026-05-02T12:31:07+00:00"
    assert origins.time_of(path, utc, is_video=True, offset_s=2.5) == (
        "2026-05-02T14:31:09.500+02:00"
    )
    apple = "2026-05-02T05:31:07-07:00"
    assert origins.time_of(path, apple, is_video=True) == "2026-05-02T05:31:07.000-07:00"
    assert origins.time_of(path, None, is_video=True) is None
    assert origins.time_of(path, utc, is_video=True, offset_s=1e18) is None


@pytest.mark.parametrize("rule", ["gps", "name:", "name:%H%M", "name:%Q%Y", "exif,gps"])
def test_other_sources_of_time_are_refused(rule: str) -> None:
    with pytest.raises(UsageError, match=r"times come from|a pattern for times"):
        Origins(time_from=rule)


def test_exif_is_read_only_where_it_is_asked_for() -> None:
    assert Origins().needs_exif
    assert not Origins(time_from="name:%Y").needs_exif


def test_a_video_goes_on_while_the_clock_is_put_forward() -> None:
    path, utc = Path("/x/clip.mp4"), "2026-03-29T00:59:50+00:00"
    times = [
        Origins().time_of(path, utc, is_video=True, offset_s=s) for s in (0.0, 9.0, 10.0, 20.0)
    ]
    assert times == [
        "2026-03-29T01:59:50.000+01:00", "2026-03-29T01:59:59.000+01:00",
        "2026-03-29T03:00:00.000+02:00", "2026-03-29T03:00:10.000+02:00",
    ]  # fmt: skip


@pytest.mark.parametrize("noted", ["0000-00-00T00:00:00", "2026-13-01T00:00:00", "10000-01-01"])
def test_what_is_no_time_leaves_it_to_the_next_source(noted: str) -> None:
    origins, path = Origins(time_from="exif,name:%Y%m%d"), Path("/x/20260502.jpg")
    assert origins.time_of(path, noted, is_video=False) == DAY
