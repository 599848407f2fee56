"""Sheets of candidates: what is seen, and who is not."""

import numpy as np
import pytest
from PIL import Image

from fdps.analysis.candidate_sheet import LEVEL_COLOURS, Shown, candidate_sheet
from fdps.analysis.tiles import text_block, without_bystanders
from fdps.errors import UsageError

BOX = np.array([40.0, 30.0, 70.0, 110.0], dtype=np.float32)


def noise(seed: int = 0, height: int = 120, width: int = 160) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def shown(picture: np.ndarray | str, level: str = "", caption: str = "hall/a.jpg") -> Shown:
    return Shown("1   0.87", caption, BOX, picture, level)


def test_only_the_person_stays_sharp() -> None:
    picture = noise()
    hidden = without_bystanders(picture, BOX)
    np.testing.assert_array_equal(hidden[30:110, 40:70], picture[30:110, 40:70])
    outside = np.ones((120, 160), dtype=bool)
    outside[30:110, 40:70] = False
    assert hidden[outside].std() < 0.1 * picture[outside].std()


@pytest.mark.parametrize("box", [[-20, -9, 40, 60], [100, 50, 900, 800], [5.2, 3.7, 9.9, 8.1]])
def test_boxes_at_the_border(box: list[float]) -> None:
    picture = noise()
    hidden = without_bystanders(picture, np.array(box, dtype=np.float32))
    x1, y1 = max(int(np.floor(box[0])), 0), max(int(np.floor(box[1])), 0)
    x2, y2 = min(int(np.ceil(box[2])), 160), min(int(np.ceil(box[3])), 120)
    np.testing.assert_array_equal(hidden[y1:y2, x1:x2], picture[y1:y2, x1:x2])
    assert hidden.shape == picture.shape


def test_bystanders_are_on_a_sheet_only_when_asked_for() -> None:
    picture = np.full((120, 160, 3), 200, dtype=np.uint8)
    picture[20:110, 110:112] = (255, 0, 0)  # somebody thin and red, far from the box
    blurred = np.asarray(candidate_sheet([], [shown(picture)], height_px=120)).astype(int)
    open_ = np.asarray(candidate_sheet([], [shown(picture)], height_px=120, bystanders=True))

    def n_red(sheet: np.ndarray) -> int:
        return int(((sheet[..., 0] > 220) & (sheet[..., 1] < 60)).sum())

    assert n_red(blurred) == 0
    assert n_red(open_.astype(int)) > 50


def test_frames_have_the_colour_of_the_level() -> None:
    sheets = {
        level: np.asarray(candidate_sheet([], [shown(noise(), level)], height_px=64))
        for level in LEVEL_COLOURS
    }
    for level, colour in LEVEL_COLOURS.items():
        counts = {name: int((sheet == colour).all(axis=2).sum()) for name, sheet in sheets.items()}
        assert max(counts, key=lambda name: counts[name]) == level
        assert counts[level] > 300


def test_a_missing_picture_is_told_and_does_not_stop_the_sheet() -> None:
    with_reason = candidate_sheet([], [shown("the file has changed")], height_px=64)
    without = candidate_sheet([], [shown("")], height_px=64)
    assert with_reason.size == without.size
    assert (np.asarray(with_reason) != np.asarray(without)).any()


def test_rows_and_columns() -> None:
    one = candidate_sheet([], [shown(noise())], height_px=64)
    six = candidate_sheet([shown(noise())], [shown(noise())] * 6, height_px=64, columns=3)
    assert six.width > 2.8 * one.width
    assert six.height > 2.5 * one.height


def test_panoramas_are_cut_around_the_person() -> None:
    wide = noise(width=2000)
    normal = candidate_sheet([], [shown(noise())], height_px=120)
    sheet = candidate_sheet([], [shown(wide)], height_px=120)
    assert sheet.width < normal.width + 160


def inked(block: Image.Image) -> list[np.ndarray]:
    """The inked part of every line of a text."""
    lines = np.split(np.asarray(block).min(axis=2) < 200, block.height // 22)
    return [line[:, line.any(axis=0)] for line in lines]


@pytest.mark.parametrize("text", ["recordings/2026/gate one/north.mp4#t=12.5", "0" * 90])
def test_no_letter_of_a_caption_is_cut_off(text: str) -> None:
    in_one_line = text_block(text, 2000, size_px=15)
    block = text_block(text, 120, size_px=15)
    assert in_one_line.height == 22
    assert block.width == 120
    assert len(inked(block)) > 2
    columns = sum(line.shape[1] for line in inked(block))
    assert columns == pytest.approx(inked(in_one_line)[0].shape[1], rel=0.05)


def test_a_long_name_makes_its_tile_higher() -> None:
    short, long = (
        candidate_sheet([], [shown(noise(), caption=name)], height_px=64)
        for name in ("a.jpg", "cameras/north gate/a.jpg" * 9)
    )
    assert long.width == short.width
    assert long.height > short.height + 100


def test_control_characters_of_a_name_are_written_as_escapes() -> None:
    hostile = candidate_sheet([], [shown(noise(), caption="a\n\x1b[31mb")], height_px=64)
    spelled = candidate_sheet([], [shown(noise(), caption=r"a\n\x1b[31mb")], height_px=64)
    np.testing.assert_array_equal(np.asarray(hostile), np.asarray(spelled))


def test_nobody_and_nonsense() -> None:
    assert candidate_sheet([], []).width > 100
    with pytest.raises(UsageError, match="0 and 220"):
        candidate_sheet([], [], columns=0)
    with pytest.raises(UsageError, match="3 and 5"):
        candidate_sheet([], [], height_px=5)
