"""Each layout of outputs that public networks have, on networks that the test builds itself."""

import math
from pathlib import Path

import numpy as np
import pytest

from fake.layouts import write_reid, write_set, write_sized, write_yolox
from fdps.errors import ModelError
from fdps.runtime.card import card_hash, load_card, read_card
from fdps.runtime.detr import (
    RfDetrDetector,
    RfDetrSettings,
    RtDetrDetector,
    RtDetrSettings,
)
from fdps.runtime.reid import ReidNetwork, ReidSettings
from fdps.runtime.yolox import YoloxDetector, YoloxSettings

pytest.importorskip("onnxruntime")

COLOUR = (200, 100, 50)
"""Red, green and blue of a picture that looks the same at every size."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ZEROS, ONES = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
NORMALISED = [(level / 255 - m) / s for level, m, s in zip(COLOUR, MEAN, STD, strict=True)]


def flat(width: int, height: int) -> np.ndarray:
    return np.full((height, width, 3), COLOUR, dtype=np.uint8)


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


# Boxes as shares of the picture, and logits: RF-DETR.

SHARES = np.array(
    [
        [0.5, 0.5, 0.2, 0.4],
        [0.05, 0.1, 0.3, 0.4],  # beyond the border
        [0.8, 0.8, 0.1, 0.1],
        [0.3, 0.3, 0.0, 0.2],  # without a width
        [2.0, 2.0, 0.1, 0.1],  # outside
        [0.2, 0.7, np.nan, 0.1],
    ]
)
LOGITS = np.array([[0, -1, 9], [9, 1, 0], [0, -9, 0], [0, 9, 0], [0, 9, 0], [0, 9, 0]], np.float32)


def test_rf_detr_is_read(tmp_path: Path) -> None:
    """Squeezed whatever its shape, RGB as ImageNet has it; class 1 is a person."""
    path = write_set(tmp_path / "net.onnx", SHARES, LOGITS, (32, 32))
    found = RfDetrDetector(path, RfDetrSettings(min_score=0.2))
    boxes, scores = found.find(flat(200, 100))
    green = NORMALISED[1]
    assert scores.tolist() == pytest.approx([sigmoid(1 + green), sigmoid(-1 + green)], abs=1e-5)
    expected = np.array([[0, 0, 40, 30], [80, 30, 120, 70]])
    np.testing.assert_allclose(boxes, expected, atol=1e-4)
    assert boxes.dtype == scores.dtype == np.float32


@pytest.mark.parametrize("person_class", [0, 1, 2])
@pytest.mark.parametrize("colours", ["RGB", "BGR"])
def test_classes_and_colours_of_a_set(person_class: int, colours: str, tmp_path: Path) -> None:
    path = write_set(tmp_path / "net.onnx", SHARES[:1], np.zeros((1, 3)), (8, 16))
    settings = RfDetrSettings(
        person_class=person_class,
        colours=colours,  # type: ignore[arg-type]
        mean=ZEROS,
        std=ONES,
        min_score=0.0,
    )
    _, scores = RfDetrDetector(path, settings).find(flat(30, 20))
    levels = COLOUR if colours == "RGB" else COLOUR[::-1]
    assert scores[0] == pytest.approx(sigmoid(levels[person_class] / 255), abs=1e-5)


def test_logits_and_boxes_may_have_any_name_and_the_size_may_be_open(tmp_path: Path) -> None:
    """As other makers export RT-DETR and D-FINE: ``pixel_values``, ``pred_boxes``, ``logits``."""
    names = ("pixel_values", "pred_boxes", "logits")
    path = write_set(tmp_path / "net.onnx", SHARES, LOGITS, ("h", "w"), names=names)
    with pytest.raises(ModelError, match="its input may have any size"):
        RfDetrDetector(path)
    settings = RfDetrSettings(size=(24, 40), person_class=0, mean=ZEROS, std=ONES)
    boxes, scores = RfDetrDetector(path, settings).find(flat(200, 100))
    red = COLOUR[0] / 255
    assert scores.tolist() == pytest.approx([sigmoid(9 + red), sigmoid(red), sigmoid(red)])
    np.testing.assert_allclose(boxes[0], [0, 0, 40, 30], atol=1e-4)


def test_the_picture_is_smoothed_where_it_shrinks(tmp_path: Path) -> None:
    """Stripes of one pixel become grey, as in training, and not a pattern."""
    path = write_set(tmp_path / "net.onnx", SHARES[:1], np.zeros((1, 3)), (4, 4))
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[::2] = 255
    settings = RfDetrSettings(mean=ZEROS, std=ONES, min_score=0.0)
    _, scores = RfDetrDetector(path, settings).find(stripes)
    assert scores[0] == pytest.approx(sigmoid(0.5), abs=2e-3)


def test_huge_logits_are_certain_and_raise_nothing(tmp_path: Path) -> None:
    logits = np.full((2, 3), 1e30)
    logits[1] = -1e30
    path = write_set(tmp_path / "net.onnx", SHARES[[0, 2]], logits, (8, 8))
    _, scores = RfDetrDetector(path, RfDetrSettings(min_score=0.0)).find(flat(9, 9))
    assert scores.tolist() == [1, 0]


def test_nobody_is_found_in_nothing(tmp_path: Path) -> None:
    path = write_set(tmp_path / "net.onnx", SHARES, LOGITS - 1000, (8, 8))
    boxes, scores = RfDetrDetector(path).find(flat(9, 9))
    assert (boxes.shape, scores.shape) == ((0, 4), (0,))


# Boxes in pixels of the picture: RT-DETR and D-FINE.

CORNERS = np.array([[0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 1.5, 1.0], [0, 0, 1, 1], [0.4, 0.4, 0.6, 0.9]])


def test_rt_detr_is_read(tmp_path: Path) -> None:
    """It is told width and height in this order; class 0 is a person; levels are from 0 to 1."""
    scores = [-0.5, 0.1, 0.0, -0.7]
    path = write_sized(tmp_path / "net.onnx", CORNERS, [0, 0, 5, 0], scores, (16, 24))
    boxes, found = RtDetrDetector(path, RtDetrSettings(min_score=0.2)).find(flat(200, 100))
    red = COLOUR[0] / 255
    assert found.tolist() == pytest.approx([0.1 + red, -0.5 + red], abs=1e-5)
    np.testing.assert_allclose(boxes, [[100, 50, 200, 100], [20, 20, 60, 40]], atol=1e-4)


def test_another_class_may_be_the_person(tmp_path: Path) -> None:
    path = write_sized(tmp_path / "net.onnx", CORNERS, [0, 0, 5, 0], [0.0] * 4, (16, 24))
    boxes, _ = RtDetrDetector(path, RtDetrSettings(person_class=5)).find(flat(20, 10))
    np.testing.assert_allclose(boxes, [[0, 0, 20, 10]])
    boxes, _ = RtDetrDetector(path, RtDetrSettings(person_class=7)).find(flat(20, 10))
    assert boxes.shape == (0, 4)


# YOLOX of any size.


def test_yolox_is_read(tmp_path: Path) -> None:
    """Against the decoding written as a loop; the picture stays in shape, in a corner."""
    height, width, n_classes = 64, 96, 3
    cells = [(x, y, s) for s in (8, 16, 32) for y in range(height // s) for x in range(width // s)]
    raw = np.zeros((len(cells), 5 + n_classes))
    rng = np.random.default_rng(0)
    people = [40, 104, 123]
    raw[people, :4] = rng.normal(scale=0.5, size=(3, 4))
    raw[people, 4] = [0.9, 0.8, 0.7]
    raw[people, 6] = 0.9
    path = write_yolox(tmp_path / "net.onnx", raw, (height, width))
    settings = YoloxSettings(person_class=1, min_score=0.5, max_iou=1.0, letterbox=0.0, scale=0.0)
    boxes, scores = YoloxDetector(path, settings).find(flat(192, 100))
    scale = min(64 / 100, 96 / 192)
    for row, person in enumerate(people):
        x, y, stride = cells[person]
        dx, dy, w, h = raw[person, :4]
        cx, cy = (x + dx) * stride / scale, (y + dy) * stride / scale
        half_w, half_h = math.exp(w) * stride / scale / 2, math.exp(h) * stride / scale / 2
        expected = [cx - half_w, cy - half_h, cx + half_w, cy + half_h]
        np.testing.assert_allclose(
            boxes[row], np.clip(expected, 0, [192, 100, 192, 100]), rtol=1e-4
        )
    assert scores.tolist() == pytest.approx([0.81, 0.72, 0.63], abs=1e-5)


def test_yolox_sees_blue_first_and_a_grey_border(tmp_path: Path) -> None:
    raw = np.zeros(((8 * 8 + 4 * 4 + 2 * 2), 6))
    raw[:, 5] = 1e-3
    path = write_yolox(tmp_path / "net.onnx", raw, (64, 64))
    _, scores = YoloxDetector(path, YoloxSettings(min_score=0.0)).find(flat(64, 32))
    assert scores[0] == pytest.approx((COLOUR[2] + 114) / 2 * 1e-3, rel=1e-5)


# What does not fit.


def test_a_network_of_another_layout_is_refused(tmp_path: Path) -> None:
    rf = write_set(tmp_path / "rf.onnx", SHARES, LOGITS, (8, 8))
    rt = write_sized(tmp_path / "rt.onnx", CORNERS, [0] * 4, [0.0] * 4, (8, 8))
    four = write_set(tmp_path / "four.onnx", SHARES, np.zeros((6, 1)), (8, 8))
    with pytest.raises(ModelError, match="takes images and orig_target_sizes") as caught:
        RtDetrDetector(rf)
    assert "kind = 'rf_detr'" in caught.value.hint
    with pytest.raises(ModelError, match="boxes 1×Q×4 and logits 1×Q×C"):
        RfDetrDetector(rt)
    with pytest.raises(ModelError, match="with class 3 a person"):
        RfDetrDetector(rf, RfDetrSettings(person_class=3))
    with pytest.raises(ModelError, match=r"its input is \[8, 8\], not \[9, 9\]"):
        RfDetrDetector(rf, RfDetrSettings(size=(9, 9)))
    with pytest.raises(ModelError, match="the output of this YOLOX is"):
        YoloxDetector(four)
    reid = write_reid(tmp_path / "reid.onnx", (8, 4), layout="NHWC")
    with pytest.raises(ModelError, match="the picture that goes in must be 1×3×H×W"):
        RfDetrDetector(reid)


# Re-ID networks: OSNet, Youtu, and those of Intel's model zoo.


@pytest.mark.parametrize("keeps_axes", [False, True])
def test_osnet_is_read(keeps_axes: bool, tmp_path: Path) -> None:
    """1×3×256×128, RGB as ImageNet has it; Youtu's keeps the axes of its last average."""
    path = write_reid(tmp_path / "net.onnx", (256, 128), keeps_axes=keeps_axes)
    settings = ReidSettings(layout="NCHW", colours="RGB", scale=1 / 255, mean=MEAN, std=STD)
    network = ReidNetwork(path, settings)
    assert network.dim == 4
    rows = network.embed(flat(40, 90), np.array([[2, 3, 30, 80], [0, 0, 5, 5]], np.float32))
    expected = np.array([*NORMALISED, sum(NORMALISED)])
    expected /= np.linalg.norm(expected)
    np.testing.assert_allclose(rows, [expected, expected], atol=1e-4)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_networks_of_intels_model_zoo_are_read(layout: str, tmp_path: Path) -> None:
    """BGR from 0 to 255, channels first as Intel publishes them, or last as others convert them."""
    path = write_reid(tmp_path / "net.onnx", (256, 128), layout=layout)
    network = ReidNetwork(path, ReidSettings(layout=layout))  # type: ignore[arg-type]
    rows = network.embed(flat(40, 90), np.array([[2, 3, 30, 80]], np.float32))
    expected = np.array([*COLOUR[::-1], sum(COLOUR)], dtype=np.float64)
    np.testing.assert_allclose(rows[0], expected / np.linalg.norm(expected), atol=1e-5)


def test_an_output_that_is_no_row_is_refused(tmp_path: Path) -> None:
    path = write_set(tmp_path / "net.onnx", SHARES, LOGITS, (8, 8))
    with pytest.raises(ModelError, match="the output must be 1×D"):
        ReidNetwork(path, ReidSettings(layout="NCHW"))


# Cards.

CARD = """
kind = "two_step"
[detector]
{detector}
[reid]
file = "reid.onnx"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_set(tmp_path / "rf.onnx", SHARES, LOGITS, (32, 32))
    write_sized(tmp_path / "rt.onnx", CORNERS, [0] * 4, [0.0] * 4, (16, 24))
    write_reid(tmp_path / "reid.onnx", (32, 16), layout="NHWC")
    return tmp_path


@pytest.mark.parametrize(
    ("detector", "n_found"),
    [
        ('kind = "rf_detr"\nfile = "rf.onnx"', 1),
        ('kind = "rf_detr"\nfile = "rf.onnx"\nmin_score = 0.2', 2),
        ('kind = "rt_detr"\nfile = "rt.onnx"', 4),
        ('kind = "d_fine"\nfile = "rt.onnx"', 4),
    ],
)
def test_cards_of_other_detectors(detector: str, n_found: int, folder: Path) -> None:
    path = folder / "card.toml"
    path.write_text(CARD.format(detector=detector))
    embedder = load_card(path)
    found = embedder.detect(flat(200, 100))
    assert found.embeddings.shape == (n_found, 4)
    assert embedder.model_hash == card_hash(read_card(path), folder)
    assert len(load_card(path, min_score=0.99).detect(flat(200, 100))) == 0


def test_the_name_of_the_same_layout_makes_no_other_model(folder: Path) -> None:
    def hashed(detector: str) -> str:
        (folder / "card.toml").write_text(CARD.format(detector=detector))
        return card_hash(read_card(folder / "card.toml"), folder)

    plain = hashed('kind = "rt_detr"\nfile = "rt.onnx"')
    assert plain == hashed('kind = "d_fine"\nfile = "rt.onnx"')
    others = [
        hashed('kind = "rf_detr"\nfile = "rt.onnx"'),
        hashed('kind = "rt_detr"\nfile = "rt.onnx"\nmean = [0.5, 0.5, 0.5]'),
        hashed('kind = "yolox"\nfile = "rt.onnx"'),
    ]
    assert len({plain, *others}) == 4


@pytest.mark.parametrize(
    ("detector", "message", "hint"),
    [
        ('kind = "rf-detr"\nfile = "a"', "detector.kind must be one of 'yolox'", "'rf_detr'"),
        ('kind = 3\nfile = "a"', "detector.kind must be one of 'yolox'", ""),
        ('kind = "rf_detr"\nfile = "a"\nletterbox = 3', "detector.letterbox is not for", ""),
        ('kind = "yolox"\nfile = "a"\nmean = [0, 0, 0]', "detector.mean is not for", ""),
        ('kind = "rf_detr"', r"card key detector\.file is missing", ""),
        ('kind = "d_fine"\nfile = "a"\nstd = [1, 0, 1]', "detector.std must be positive", ""),
        ('kind = "d_fine"\nfile = "a"\nmin_score = 2.0', "detector.min_score must be in", ""),
    ],
)
def test_what_makes_no_sense_in_other_cards(
    detector: str, message: str, hint: str, tmp_path: Path
) -> None:
    (tmp_path / "card.toml").write_text(CARD.format(detector=detector))
    with pytest.raises(ModelError, match=message) as caught:
        read_card(tmp_path / "card.toml")
    assert hint in caught.value.hint
