import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fake.embedder import ColourEmbedder
from fdps.errors import ArchiveError, DataError, ModelError
from fdps.search import Index
from fdps.search.results.calibration import Calibration, calibrate, from_json, to_json
from fdps.search.results.comparisons import Comparisons, Sightings, compare


def flat(rate: float, *, strong: float = 0.9, look: float = 0.5) -> Calibration:
    """A rate that falls tenfold from 0 to 1."""
    return Calibration(
        model_hash="model",
        data="set",
        data_hash="data",
        min_frame_gap=0,
        n_people=2,
        n_queries=2,
        n_same=2,
        n_different=1000,
        strong=strong,
        worth_a_look=look,
        tail_start=0.5,
        tail_shape=0.0,
        similarity=(0.0, 1.0),
        rate=(rate, rate / 10),
        low=(rate / 2, rate / 20),
        high=(rate * 2, rate / 5),
        kept=(1.0, 0.0),
        found=(1.0, 0.5),
    )


def drawn(
    rng: np.random.Generator, n_people: int, *, dim: int = 32, noise: float = 0.4
) -> Sightings:
    """People as directions drawn evenly, each seen three times with noise, alone in a scene."""
    centres = np.repeat(rng.normal(size=(n_people, dim)), 3, axis=0)
    rows = centres / np.linalg.norm(centres, axis=1, keepdims=True)
    rows += noise * rng.normal(size=rows.shape) / np.sqrt(dim)
    people = np.repeat(np.arange(n_people), 3)
    scenes = np.arange(len(people))
    return Sightings(
        embeddings=(rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32),
        people=people,
        scenes=scenes,
        shown=frozenset(zip(scenes.tolist(), people.tolist(), strict=True)),
        cameras=np.zeros(len(people), dtype=np.int64),
    )


def by_hand(rate: np.ndarray, levels: np.ndarray, n: int, same: list[float]) -> Comparisons:
    """Two groups of people, one comparison table with a given survival."""
    above = np.zeros((2, 3, len(levels)), dtype=np.int64)
    above[0, 1] = np.round(rate * n).astype(np.int64)
    compared = np.array([[0, n, 0], [0, 0, 0]])
    return Comparisons(levels, compared, above, np.array(same), np.array(same), 2, 2)


def test_expected_numbers_by_hand() -> None:
    calibration = flat(1e-2)
    expected = calibration.expected_wrong(0.5, 1000)
    assert expected.mean == pytest.approx(1000 * 1e-2 * 10**-0.5)
    assert (expected.low, expected.high) == pytest.approx((expected.mean / 2, expected.mean * 2))
    # Twice the archive, twice the wrong ones; beyond the levels their ends hold.
    assert calibration.expected_wrong(0.5, 2000).mean == pytest.approx(2 * expected.mean)
    assert calibration.expected_wrong(-0.3, 100).mean == pytest.approx(1)
    assert calibration.expected_wrong(1.0, 0).mean == 0
    assert (calibration.kept_at(0.25), calibration.found_at(0.5)) == (0.75, 0.75)


def test_the_similarity_that_few_strangers_reach() -> None:
    calibration = flat(0.1)  # to 0.01, on a scale of logarithms
    assert calibration.similarity_of_rate(10**-1.5) == pytest.approx(0.5)
    assert calibration.similarity_of_rate(0.2) == 0.0
    assert calibration.similarity_of_rate(1e-4) == 1.0


def test_levels_and_verdict_at_the_thresholds() -> None:
    calibration = flat(1e-2, strong=0.9, look=0.5)
    assert [calibration.level(s) for s in (0.9, 0.899, 0.5, 0.499, -1.0)] == [
        "strong",
        "worth a look",
        "worth a look",
        "weak",
        "weak",
    ]
    assert calibration.verdict([0.1, 0.5]) == "candidates"
    assert calibration.verdict([0.499]) == "probably_not_present"
    assert calibration.verdict([]) == "probably_not_present"


def test_an_exponential_rate_is_continued_as_it_is() -> None:
    levels = np.linspace(0, 1, 256)
    true = np.exp(-levels / 0.06)  # 1e-3 at 0.414
    cut = np.where(levels < 0.75, true, 0)  # nobody was ever more similar
    calibration = calibrate(by_hand(cut, levels, 10**9, [0.3, 0.8]), model_hash="m")
    assert calibration.tail_start == pytest.approx(0.06 * np.log(1e3), abs=1 / 255)
    assert calibration.tail_shape == pytest.approx(0, abs=0.05)
    for similarity in (0.1, 0.3, 0.5, 0.7, 0.8):
        expected = calibration.expected_wrong(similarity, 10_000).mean
        assert expected == pytest.approx(10_000 * np.exp(-similarity / 0.06), rel=0.3)
    # 0.1 and 10 wrong ones in 10,000
    assert calibration.strong == pytest.approx(0.06 * np.log(1e5), abs=0.01)
    assert calibration.worth_a_look == pytest.approx(0.06 * np.log(1e3), abs=0.01)


@pytest.mark.parametrize(
    ("same", "look"),
    [
        (np.linspace(0.5, 1.0, 101), 0.55),  # a tenth of the true matches is below
        (np.linspace(0.0, 0.5, 101), 0.06 * np.log(1e3)),  # would bring more than 10 wrong ones
        (np.linspace(0.95, 1.0, 101), 0.06 * np.log(1e5)),  # never above strong
    ],
)
def test_worth_a_look_keeps_most_unless_too_many_are_wrong(same: np.ndarray, look: float) -> None:
    levels = np.linspace(0, 1, 256)
    comparisons = by_hand(np.exp(-levels / 0.06), levels, 10**9, same.tolist())
    assert calibrate(comparisons, model_hash="m").worth_a_look == pytest.approx(look, abs=0.01)


def test_thresholds_where_everybody_looks_alike_and_where_nobody_does() -> None:
    levels = np.linspace(0, 1, 256)
    alike = calibrate(by_hand(np.ones(256), levels, 10**6, [1.0]), model_hash="m")
    assert (alike.strong, alike.worth_a_look) == (1.0, 1.0)
    assert alike.expected_wrong(1.0, 100).mean == pytest.approx(100)
    apart = np.where(levels < 0.2, 1.0, 0.0)
    never = calibrate(by_hand(apart, levels, 10**6, [0.9]), model_hash="m")
    assert 0.19 < never.worth_a_look <= never.strong < 0.3
    assert never.expected_wrong(0.5, 10**6).mean < 1e-6


def test_too_few_comparisons_are_refused() -> None:
    levels = np.linspace(0, 1, 256)
    with pytest.raises(DataError, match=r"at least 1000 comparisons of different people, .* 999"):
        calibrate(by_hand(1 - levels, levels, 999, [0.5]), model_hash="m")


def test_predictions_hold_for_people_not_seen_before() -> None:
    """R28 on a known distribution: predicted against real counts within a factor of two."""
    rng = np.random.default_rng(3)
    calibration = calibrate(compare(drawn(rng, 400)), model_hash="m")
    others = drawn(rng, 3000, noise=0.4)
    queries = drawn(rng, 300, noise=0.4).embeddings
    similarity = queries @ others.embeddings.T  # 900 searches in an archive of 9,000 strangers
    for mark, least in ((0.4, 50), (0.5, 5), (calibration.worth_a_look, 0.05)):
        counted = (similarity >= mark).sum(axis=1).mean()
        expected = calibration.expected_wrong(mark, 9000)
        assert counted > least or mark > 0.5
        assert expected.mean / 2 <= counted <= expected.mean * 2
        assert expected.low < expected.mean < expected.high
    # 1e-5 per comparison: about 80 of the 8.1 million, beyond what calibration has counted.
    counted = (similarity >= calibration.strong).mean()
    assert 0.5e-5 <= counted <= 2e-5


def test_bounds_are_wider_where_fewer_people_are_known() -> None:
    def width(n_people: int) -> float:
        calibration = calibrate(compare(drawn(np.random.default_rng(0), n_people)), model_hash="m")
        expected = calibration.expected_wrong(0.5, 1000)
        return expected.high / expected.low

    assert width(20) > 1.5 * width(200)


def test_equal_input_gives_the_same_text() -> None:
    texts = [
        to_json(calibrate(compare(drawn(np.random.default_rng(0), 50)), model_hash="m"))
        for _ in range(2)
    ]
    assert texts[0] == texts[1]


def test_round_trip() -> None:
    calibration = replace(flat(1e-2), data="café")
    assert from_json(to_json(calibration), where="file", model_hash="model") == calibration
    assert json.loads(to_json(calibration))["rules"]["archive_size"] == 10_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "holds fdps-calibration 2, expected fdps-calibration 1"),
        ({"format": "x"}, "holds x 1, expected"),
        ({"rate": [0.1]}, "is not a calibration: its curves"),
        ({"rate": [0.1, float("nan")]}, "is not a calibration: its curves"),
        ({"rate": [0.1, 2]}, "shares are not in 0..1"),
        ({"similarity": [1, 0]}, "levels do not rise"),
        ({"strong": 0.2}, "thresholds are not in order"),
        ({"strong": "high"}, "is not a calibration"),
        ({"more": 1}, "is not a calibration"),
        ({"rate": "x"}, "is not a calibration"),
    ],
)
def test_what_is_no_calibration_is_refused(change: dict[str, object], message: str) -> None:
    text = json.dumps(json.loads(to_json(flat(1e-2))) | change)
    with pytest.raises(ModelError, match=message):
        from_json(text, where="a.json")


@pytest.mark.parametrize("text", ["", "[1]", "{}", "null", '"x"', "[" * 100_000])
def test_what_is_no_json_object_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match=r"a\.json is not a calibration"):
        from_json(text, where="a.json")


def test_the_calibration_of_another_model_is_refused() -> None:
    with pytest.raises(ModelError, match="is the calibration of model model, this model is other"):
        from_json(to_json(flat(1e-2)), where="a.json", model_hash="other")


def test_an_archive_remembers_it(tmp_path: Path) -> None:
    embedder = ColourEmbedder()
    calibration = replace(flat(1e-2), model_hash=embedder.model_hash)
    with Index.create(tmp_path / "a.fdps", embedder) as index:
        assert index.calibration is None
        index.calibrate(calibration)
        index.calibrate(replace(calibration, data="newer"))
    with Index.open(tmp_path / "a.fdps") as index:
        assert index.calibration == replace(calibration, data="newer")
        with pytest.raises(ArchiveError, match="similarities between two models mean nothing"):
            index.calibrate(flat(1e-2))
