import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fdps
from fake.network import write_network
from fake.people import draw_scene, write_picture
from fdps.errors import MissingDataError, ModelError, PictureError, UsageError
from fdps.query import pixels_of
from fdps.searcher import PersonSearcher, load, weights_file
from fdps.structures import Detections, Embedder, Picture


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with a network that finds four people in every picture."""
    folder = tmp_path_factory.mktemp("run")
    write_network(folder / "weights.safetensors", n_people=4)
    return folder


@pytest.fixture(scope="module")
def searcher(weights: Path) -> PersonSearcher:
    return load(weights)


@pytest.fixture(scope="module")
def picture() -> Picture:
    return draw_scene(np.random.default_rng(0), [1, 2])[0]


@pytest.fixture(scope="module")
def found(searcher: PersonSearcher, picture: Picture) -> Detections:
    return searcher.detect(picture)


def test_it_keeps_the_promises_of_an_embedder(searcher: PersonSearcher) -> None:
    assert isinstance(searcher, Embedder)
    assert searcher.dim == 16
    assert len(searcher.model_hash) == 16


def test_people_are_found_best_first_inside_the_picture(found: Detections) -> None:
    assert len(found) == 4
    assert (np.diff(found.scores) <= 0).all()
    assert (found.boxes[:, :2] < found.boxes[:, 2:]).all()
    assert (found.boxes >= 0).all()
    assert (found.boxes <= [160, 120, 160, 120]).all()
    np.testing.assert_allclose(np.linalg.norm(found.embeddings, axis=1), 1, rtol=1e-6)


def test_a_file_is_as_good_as_its_pixels(
    searcher: PersonSearcher, picture: Picture, found: Detections, tmp_path: Path
) -> None:
    write_picture(tmp_path / "p.png", picture)
    for path in (tmp_path / "p.png", str(tmp_path / "p.png")):
        again = searcher.detect(path)
        assert np.array_equal(again.boxes, found.boxes)
        assert np.array_equal(again.embeddings, found.embeddings)


def test_arrays_of_other_libraries_are_taken_as_they_are(
    searcher: PersonSearcher, picture: Picture, found: Detections
) -> None:
    read_only = np.asarray(Image.fromarray(picture))
    assert not read_only.flags.writeable
    bgr = picture[..., ::-1].copy()
    for same in (read_only, bgr[..., ::-1]):
        assert np.array_equal(searcher.detect(same).embeddings, found.embeddings)


def test_given_people_are_embedded_in_order(searcher: PersonSearcher, picture: Picture) -> None:
    boxes = np.array([[10, 10, 60, 100], [80, 20, 150, 110]], np.float32)
    both = searcher.embed(picture, boxes)
    assert both.shape == (2, 16)
    np.testing.assert_allclose(np.linalg.norm(both, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(searcher.embed(picture, boxes[::-1].copy()), both[::-1], atol=1e-5)


def test_nobody_given_is_nobody_embedded(searcher: PersonSearcher, picture: Picture) -> None:
    assert searcher.embed(picture, np.zeros((0, 4), np.float32)).shape == (0, 16)


def test_a_box_across_the_border_counts_as_far_as_it_is_inside(
    searcher: PersonSearcher, picture: Picture
) -> None:
    across = np.array([[-30, 10, 60, 500]], np.float32)
    inside = np.array([[0, 10, 60, 120]], np.float32)
    assert np.array_equal(searcher.embed(picture, across), searcher.embed(picture, inside))


@pytest.mark.parametrize(
    "box",
    [
        (200, 10, 250, 60),  # beside the picture
        (60, 10, 10, 60),  # x2 before x1
        (10, 10, 60, 10),  # without height
        (float("nan"), 10, 60, 60),
    ],
)
def test_a_box_without_area_in_the_picture_is_refused(
    box: tuple[float, float, float, float], searcher: PersonSearcher, picture: Picture
) -> None:
    boxes = np.array([[10, 10, 60, 60], box], np.float32)
    with pytest.raises(UsageError, match=r"no area inside the picture \(160×120\)") as caught:
        searcher.embed(picture, boxes)
    assert str(boxes[1].tolist()) in str(caught.value)
    with pytest.raises(UsageError):
        searcher.query(picture, box=tuple(boxes[1].tolist()))


def test_a_query_can_be_drawn(searcher: PersonSearcher, picture: Picture) -> None:
    query = searcher.query(picture, box=(10.0, 10.0, 60.0, 100.0))
    assert (query.box.tolist(), query.score) == ([10, 10, 60, 100], 1.0)
    assert np.array_equal(query.embedding, searcher.embed(picture, query.box[None])[0])


def test_a_point_chooses_the_smallest_person_around_it(
    searcher: PersonSearcher, picture: Picture, found: Detections
) -> None:
    areas = np.prod(found.boxes[:, 2:] - found.boxes[:, :2], axis=1)
    smallest = int(areas.argmin())
    x, y = (found.boxes[smallest, :2] + found.boxes[smallest, 2:]).tolist()
    query = searcher.query(picture, point=(x / 2, y / 2))
    assert np.array_equal(query.box, found.boxes[smallest])
    assert query.score == float(found.scores[smallest])
    assert np.array_equal(query.embedding, found.embeddings[smallest])


def test_a_point_on_nobody(searcher: PersonSearcher, picture: Picture) -> None:
    with pytest.raises(UsageError, match=r"nobody found at point \(-5, 3\)") as caught:
        searcher.query(picture, point=(-5.0, 3.0))
    assert "box=" in caught.value.hint


def test_of_several_people_one_must_be_chosen(searcher: PersonSearcher, picture: Picture) -> None:
    with pytest.raises(UsageError, match="4 people found, none chosen") as caught:
        searcher.query(picture)
    assert "point=" in caught.value.hint


def test_the_only_person_need_not_be_chosen(
    weights: Path, picture: Picture, found: Detections, tmp_path: Path
) -> None:
    alone = load(write_network(tmp_path / "one.safetensors", n_people=1))
    query = alone.query(picture)
    assert np.array_equal(query.box, found.boxes[0])


def test_the_least_score_can_be_raised_above_that_of_the_recipe(
    weights: Path, picture: Picture
) -> None:
    strict = load(weights, min_score=1.0)
    found = strict.detect(picture)
    assert (found.boxes.shape, found.scores.shape, found.embeddings.shape) == (
        (0, 4),
        (0,),
        (0, 16),
    )
    with pytest.raises(UsageError, match="nobody found in the query picture"):
        strict.query(picture)


def test_run_folder_and_file_are_the_same_network(weights: Path, searcher: PersonSearcher) -> None:
    assert load(weights / "weights.safetensors").model_hash == searcher.model_hash
    assert fdps.load(str(weights)).model_hash == searcher.model_hash


@pytest.mark.parametrize("name", ["nothing", "nothing.safetensors", "."])
def test_weights_that_are_not_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no weights at"):
        load(tmp_path / name)


def test_a_file_that_holds_no_weights(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(b"PK\x03\x04")
    with pytest.raises(ModelError, match="not a safetensors file"):
        load(tmp_path / "w.pth")


def test_a_picture_that_is_none(searcher: PersonSearcher, tmp_path: Path) -> None:
    (tmp_path / "p.png").write_text("a letter")
    with pytest.raises(PictureError, match=r"p\.png"):
        searcher.detect(tmp_path / "p.png")
    with pytest.raises(MissingDataError, match=r"gone\.png"):
        searcher.query(tmp_path / "gone.png")


def test_a_query_is_read_only(searcher: PersonSearcher, picture: Picture) -> None:
    query = searcher.query(picture, box=(10.0, 10.0, 60.0, 100.0))
    with pytest.raises(AttributeError):
        query.score = 0.5  # type: ignore[misc]
    assert replace(query, score=0.5).score == 0.5


def test_bundled_weights_have_a_name_and_a_file_called_so_comes_first(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bundled = weights_file("drawn-people")
    assert bundled.is_file()
    assert bundled.stat().st_size <= 16 * 2**20
    mine = Path(shutil.copy(weights_file(weights), "drawn-people"))
    assert weights_file("drawn-people") == mine
    assert weights_file("drawn-animals") == Path("drawn-animals")


def test_a_picture_may_be_an_array_one_of_pillow_or_a_file(
    searcher: PersonSearcher, picture: Picture, found: Detections, tmp_path: Path
) -> None:
    write_picture(tmp_path / "a.png", picture)
    transparent = Image.fromarray(picture).convert("RGBA")
    for given in (Image.fromarray(picture), transparent, str(tmp_path / "a.png")):
        np.testing.assert_array_equal(searcher.detect(given).boxes, found.boxes)
    on_its_side = Image.fromarray(np.rot90(picture).copy())
    on_its_side.getexif()[0x0112] = 6  # turn it clockwise to show it
    np.testing.assert_array_equal(searcher.detect(on_its_side).boxes, found.boxes)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((90, 60), np.uint8),  # grey
        np.zeros((90, 60, 4), np.uint8),  # with transparency
        np.zeros((3, 90, 60), np.uint8),  # colours first
        np.zeros((90, 60, 3), np.float32),  # from 0 to 1
        np.zeros((0, 60, 3), np.uint8),
    ],
)
def test_an_array_that_is_no_picture_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(UsageError, match=r"must have shape \(height, width, 3\) and type uint8"):
        pixels_of(wrong)


def test_what_is_no_picture_at_all_is_refused() -> None:
    with pytest.raises(UsageError, match="got bytes"):
        pixels_of(b"JFIF")
