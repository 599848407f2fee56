import numpy as np
import pytest

from fdps.errors import ModelError, UsageError
from fdps.runtime.guided import Guidance, GuidedTwoStep, PairGuidedTwoStep, guided
from fdps.structures import Boxes, Compared, Detections, PairEmbedder, Picture

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


def by_embeddings(least: float) -> GuidedTwoStep:
    return GuidedTwoStep(Part([0, 50, 100], "detector"), Part([0, 80, 10], "reid"), Guidance(least))


@pytest.mark.parametrize(
    ("least", "kept"), [(-1.0, [0, 1, 2]), (0.0, [0, 1]), (0.7, [0]), (1.0, [0])]
)
def test_the_detector_decides_who_is_compared_and_re_id_how_alike(
    least: float, kept: list[int], image: Picture
) -> None:
    model = by_embeddings(least)
    assert isinstance(model, PairEmbedder)
    found = model.compare(model.sought(image, BOXES[0]), model.begun(image))
    assert np.array_equal(found.boxes, BOXES[kept])
    assert np.array_equal(found.scores, SCORES[kept])
    expected = np.cos(np.radians([0, 80, 10]))[kept]
    assert found.similarities == pytest.approx(expected, abs=1e-6)


def test_nobody_looks_like_the_query(image: Picture) -> None:
    model = by_embeddings(0.99)
    sought = model.sought(image, BOXES[0])
    begun = model.begun(image)
    away = begun._replace(by_detector=-begun.by_detector)
    found = model.compare(sought, away)
    assert (len(found), found.similarities.shape) == (0, (0,))


def test_without_a_query_it_is_the_plain_pair(image: Picture) -> None:
    found = by_embeddings(0.99).detect(image)
    assert len(found) == 3
    assert np.array_equal(found.embeddings, Part([0, 80, 10], "").rows)


def test_guidance_makes_another_model() -> None:
    assert by_embeddings(0.1).model_hash != by_embeddings(0.2).model_hash
    assert by_embeddings(0.1).model_hash == by_embeddings(0.1).model_hash


def test_a_query_outside_the_picture_is_refused(image: Picture) -> None:
    with pytest.raises(UsageError, match="no area inside the picture"):
        by_embeddings(0.0).sought(image, np.array([70, 0, 80, 9], np.float32))


# --- a detector that looks at pairs


class Looker:
    """Finds who stands left of the query again, most surely; who is sought moves the boxes."""

    model_hash = "looker"

    def find(self, image: Picture) -> tuple[Boxes, np.ndarray]:
        return BOXES, SCORES

    def sought(self, image: Picture, box: np.ndarray) -> np.ndarray:
        return box

    def begun(self, image: Picture) -> int:
        return image.shape[1]

    def compare(self, sought: np.ndarray, begun: int) -> Compared:
        assert begun == 60
        moved = BOXES + np.array([0, 0, 1, 1], np.float32)
        likeness = 1 - np.abs(BOXES[:, 0] - sought[0]) / begun
        return Compared(moved, SCORES, likeness.astype(np.float32))


def by_pairs(least: float) -> PairGuidedTwoStep:
    model = guided(Looker(), Part([0, 80, 10], "reid"), Guidance(least, "pairs"))
    assert isinstance(model, PairGuidedTwoStep)
    return model


@pytest.mark.parametrize(
    ("least", "kept"), [(0.0, [0, 1, 2]), (0.5, [0, 1]), (0.9, [0]), (1.1, [])]
)
def test_a_look_at_the_pair_decides_who_is_described(
    least: float, kept: list[int], image: Picture
) -> None:
    model = by_pairs(least)
    assert isinstance(model, PairEmbedder)
    described = []
    embed = model.describer.embed

    def noted(pixels: Picture, boxes: Boxes) -> np.ndarray:
        described.append(boxes)
        return embed(pixels, boxes)

    model.describer.embed = noted  # type: ignore[method-assign]
    sought, begun = model.sought(image, BOXES[0]), model.begun(image)
    described.clear()
    found = model.compare(sought, begun)
    assert np.array_equal(found.boxes, (BOXES + np.array([0, 0, 1, 1], np.float32))[kept])
    assert [len(boxes) for boxes in described] == [len(kept)]  # nobody else is looked at
    assert found.similarities == pytest.approx(np.cos(np.radians([0, 80, 10]))[kept], abs=1e-6)


def test_who_is_sought_is_cut_to_the_picture(image: Picture) -> None:
    sought = by_pairs(0.0).sought(image, np.array([-5, 0, 10, 99], np.float32))
    assert sought.by_detector.tolist() == [0, 0, 10, 30]
    with pytest.raises(UsageError, match="no area inside the picture"):
        by_pairs(0.0).sought(image, np.array([70, 0, 80, 9], np.float32))


def test_without_a_query_a_pair_that_looks_is_the_plain_one(image: Picture) -> None:
    assert len(by_pairs(0.99).detect(image)) == 3


def test_what_guides_makes_another_model() -> None:
    hashes = {by_pairs(least).model_hash for least in (0.1, 0.1, 0.2)}
    plain = GuidedTwoStep(Part([0], "looker"), Part([0], "reid"), Guidance(0.1)).model_hash
    assert len(hashes | {plain}) == 3


@pytest.mark.parametrize(
    ("part", "by", "words"),
    [
        (Looker(), "embeddings", "asks the detector whom people look like"),
        (Part([0], "detector"), "pairs", "this one sees each picture alone"),
    ],
)
def test_a_detector_that_cannot_tell_is_refused(part: object, by: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        guided(part, Part([0], "reid"), Guidance(0.1, by))  # type: ignore[arg-type]
