"""Histograms of a data set, the table of counts, and the contact sheet."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fake.people import write_picture
from fdps.analysis.contact_sheet import choose, draw_sheet
from fdps.analysis.data_plots import plot_histograms, statistics_table
from fdps.data.statistics import count
from fdps.errors import MissingDataError, UsageError
from fdps.structures import Scene, SceneSet


@pytest.fixture
def scenes(tmp_path: Path) -> SceneSet:
    path = tmp_path / "a.png"
    write_picture(path, np.full((100, 200, 3), 200, dtype=np.uint8))
    box = np.array([[20, 10, 60, 90]], dtype=np.float32)
    one = Scene("a", path, box, np.array([3], dtype=np.int64))
    nobody = Scene("b", path, box[:0], np.zeros(0, dtype=np.int64))
    return SceneSet("mine/test", (one, nobody, Scene("c", path, box, np.array([-1]))))


def test_a_histogram_counts_everything(scenes: SceneSet) -> None:
    figures = plot_histograms({"test": scenes, "none": SceneSet("mine/none", ())})
    assert list(figures) == ["boxes_per_image", "heights", "boxes_per_identity"]
    labels = [text.get_text() for text in figures["heights"].legends[0].get_texts()]
    assert labels == ["test (2)", "none (0)"]


def test_table(scenes: SceneSet) -> None:
    counted = {"train": count(scenes), "test": count(scenes)}
    table = statistics_table(counted, {"test": {"images": 6112}})
    assert table.columns == ("", "train", "test", "published")
    assert table.rows[0] == ("images", "3", "3", "6,112")
    assert table.rows[1] == ("boxes", "2", "2", "")
    assert table.rows[8] == ("heights", "80 – 80 – 80, 80.0", "80 – 80 – 80, 80.0", "")


def test_sheet_shows_boxes_where_they_are(scenes: SceneSet) -> None:
    sheet = np.asarray(draw_sheet(scenes.scenes, columns=2, width=100))  # half size
    assert sheet.shape == (2 * (50 + 20 + 12) + 12, 2 * 112 + 12, 3)
    left, top = 12, 12 + 20  # of the first picture
    assert sheet[top + 40, left + 10].tolist() != [200, 200, 200]  # left edge of the box
    assert sheet[top + 40, left + 30].tolist() != sheet[top + 40, left + 20].tolist()
    assert (sheet[top + 1 : top + 49, 112 + left + 1 : 112 + left + 99] == 200).all()  # nobody


def test_every_box_of_a_scene_is_where_it_belongs(scenes: SceneSet) -> None:
    boxes = np.array([[20, 60, 40, 90], [120, 60, 140, 90]], dtype=np.float32)
    pair = replace(scenes.scenes[0], boxes=boxes, person_ids=np.array([0, 0]))
    sheet = np.asarray(draw_sheet([pair], width=200))
    picture = sheet[12 + 20 : 12 + 120, 12:212]
    assert (picture[61:90, 18:42] == picture[61:90, 118:142]).all()
    assert (picture[62:88, 20] != 200).any(axis=1).all()


def test_choice_is_drawn_and_in_order(scenes: SceneSet) -> None:
    assert [scene.name for scene in choose(scenes, 9, 0)] == ["a", "b", "c"]
    assert len(choose(scenes, 2, 0)) == 2


def test_sheets_that_cannot_be_drawn(scenes: SceneSet) -> None:
    for shown, columns, width in ((0, 4, 99), (3, 0, 99), (3, 4, 8)):
        with pytest.raises(UsageError, match="a sheet needs"):
            draw_sheet(scenes.scenes[:shown], columns=columns, width=width)
    scenes.scenes[0].path.unlink()
    with pytest.raises(MissingDataError):
        draw_sheet(scenes.scenes)
