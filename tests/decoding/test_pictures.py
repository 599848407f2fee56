"""When a picture was taken, as cameras write it."""

from pathlib import Path

import pytest
from PIL import Image

from fdps.decoding.pictures import picture_time

TAKEN, OFFSET, FRACTION = 0x9003, 0x9011, 0x9291


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "heic"])
@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({TAKEN: "2026:05:02 14:31:07"}, "2026-05-02T14:31:07"),
        ({TAKEN: "2026:05:02 14:31:07", OFFSET: "+05:45"}, "2026-05-02T14:31:07+05:45"),
        ({TAKEN: "2026:05:02 14:31:07", OFFSET: "Z"}, "2026-05-02T14:31:07Z"),
        ({TAKEN: "2026:05:02 14:31:07", OFFSET: "   :  "}, "2026-05-02T14:31:07"),
        ({TAKEN: "2026:05:02 14:31:07", OFFSET: "+99:00"}, "2026-05-02T14:31:07"),
        ({TAKEN: "2026:05:02 14:31:07", FRACTION: "5"}, "2026-05-02T14:31:07.500000"),
        (
            {TAKEN: "2026:05:02 14:31:07", FRACTION: "123456789", OFFSET: "-03:30"},
            "2026-05-02T14:31:07.123456-03:30",
        ),
        ({TAKEN: "2026:05:02 14:31:07", FRACTION: "x"}, "2026-05-02T14:31:07"),
        ({TAKEN: "2016:12:31 23:59:60"}, "2016-12-31T23:59:60"),
        ({TAKEN: "0000:00:00 00:00:00"}, None),
        ({TAKEN: "    :  :     :  :  "}, None),
        ({TAKEN: "yesterday"}, None),
        ({}, None),
    ],
)
def test_the_time_is_read(
    tmp_path: Path, suffix: str, tags: dict[int, str], expected: str | None
) -> None:
    if suffix == "heic":
        pytest.importorskip("pillow_heif")
    exif = Image.Exif()
    exif[0x010F] = "camera"
    exif.get_ifd(0x8769).update(tags)
    path = tmp_path / f"a.{suffix}"
    Image.new("RGB", (64, 64)).save(path, exif=exif.tobytes())
    assert picture_time(path) == expected


def test_a_file_that_is_no_picture_has_no_time(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    assert picture_time(tmp_path / "a.jpg") is None
