import numpy as np
import pytest

from fdps.errors import UsageError
from fdps.runtime.guided import Guidance, GuidedTwoStep
from fdps.structures import Boxes, Detections, PairEmbedder, Picture

BOXES = np.array([[0, 0, 10, 20], [20, 0, 30, 20], [40, 0, 50, 20]], dtype=np.float32)
SCORES = np.array([0.9, 0.8, 0.7], dtype=np.float32)


class Part:
    """Embeds by a table of directions: one row for each column of the picture's three people."""

    def __init__(self, degrees: list[float], name: str) -> None:
        radians = np.radians(degrees)
        self.rows = np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)
        self.model_hash, self.dim = name, 2

    def embed(self, image: Picture, boxes: Boxes) -> np.ndarray:
        return self.rows[(boxes[:, 0] // 20).astype(int)]

    def detect(self, image: Picture) -> Detections:
        return Detections(BOXES, SCORES, self.rows)

    def find(self, image: Picture) -> tuple[Boxes, np.ndarray]:
        return BOXES, SCORES


@pytest.fixture
def image() -> Picture:
    return np.zeros((30, 60, 3), np.uint8)


def guided(least: float) -> GuidedTwoStep:
    return GuidedTwoStep(Part([0, 50, 100], "detector"), Part([0, 80, 10], "reid"), Guidance(least))


@pytest.mark.parametrize(
    ("least", "kept"), [(-1.0, [0, 1, 2]), (0.0, [0, 1]), (0.7, [0]), (1.0, [0])]
)
def test_the_detector_decides_who_is_compared_and_re_id_how_alike(
    least: float, kept: list[int], image: Picture
) -> None:
    model = guided(least)
    assert isinstance(model, PairEmbedder)
    found = model.compare(model.sought(image, BOXES[0]), model.begun(image))
    assert np.array_equal(found.boxes, BOXES[kept])
    assert np.array_equal(found.scores, SCORES[kept])
    expected = np.cos(np.radians([0, 80, 10]))[kept]
    assert found.similarities == pytest.approx(expected, abs=1e-6)


def test_nobody_looks_like_the_query(image: Picture) -> None:
    model = guided(0.99)
    sought = model.sought(image, BOXES[0])
    begun = model.begun(image)
    away = begun._replace(by_detector=-begun.by_detector)
    found = model.compare(sought, away)
    assert (len(found), found.similarities.shape) == (0, (0,))


def test_without_a_query_it_is_the_plain_pair(image: Picture) -> None:
    found = guided(0.99).detect(image)
    assert len(found) == 3
    assert np.array_equal(found.embeddings, Part([0, 80, 10], "").rows)


def test_guidance_makes_another_model() -> None:
    assert guided(0.1).model_hash != guided(0.2).model_hash
    assert guided(0.1).model_hash == guided(0.1).model_hash


def test_a_query_outside_the_picture_is_refused(image: Picture) -> None:
    with pytest.raises(UsageError, match="no area inside the picture"):
        guided(0.0).sought(image, np.array([70, 0, 80, 9], np.float32))
