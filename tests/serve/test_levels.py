"""Levels of candidates: one picture compared with one sighting, however many pictures there are."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from fake.photos import unit_rows
from fake.served import BEARER, served
from fdps.search import Index
from fdps.search.results.calibration import Calibration
from fdps.search.results.claims import most_alike

LEVELS = Calibration(
    *("", "counted", "", 0, 9, 9, 9, 999, 0.95, 0.6, 0.95, 0.0),
    *((-1.0, 1.0), (1.0, 1e-6), (1.0, 1e-6), (1.0, 1e-6), (1.0, 0.5), (1.0, 0.5)),
)


@pytest.fixture
def calibrated(archive: Path) -> Iterator[TestClient]:
    with Index.open(archive) as index:
        index.calibrate(replace(LEVELS, model_hash=index.info.model_hash))
    with served(archive) as client:
        client.headers.update(BEARER)
        yield client


def found(client: TestClient, **body: Any) -> dict[str, Any]:
    answer = client.post("/api/v1/search", json={"top": 500, **body})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.mark.parametrize(
    "body",
    [
        {"like": ["item:1"]},
        {"like": ["item:1", "item:9"]},
        {"like": ["item:1"], "unlike": ["item:3"]},
        {"like": ["item:1", "item:9", "item:14"], "unlike": ["item:3"], "group": "appearance"},
        {"like": ["item:1"], "rerank": "expansion"},
    ],
    ids=["one picture", "confirmed", "rejected", "appearances", "re-ranked"],
)
def test_a_level_compares_with_the_one_picture_that_a_candidate_is_most_like(
    calibrated: TestClient, archive: Path, body: dict[str, Any]
) -> None:
    answer = found(calibrated, **body)
    with Index.open(archive) as index:
        pictures = [index.person(int(name[5:])).embedding for name in body["like"]]
        for hit in answer["hits"]:
            best = max(float(picture @ index.person(hit["item"]).embedding) for picture in pictures)
            assert hit["level"] == LEVELS.level(best), hit
    assert len({hit["level"] for hit in answer["hits"]}) > 1


def test_several_pictures_bring_as_many_times_the_wrong_candidates(
    calibrated: TestClient,
) -> None:
    one = found(calibrated, like=["item:1"])
    three = found(calibrated, like=["item:1", "item:9", "item:14"])
    for level in ("strong", "worth_a_look"):
        assert three["expected_wrong"][level] == pytest.approx(3 * one["expected_wrong"][level])
    assert one["marks"] == {"strong": 0.95, "worth_a_look": 0.6}
    assert three["marks"] is None  # the slider has the scale of a mean
    assert "3 pictures of the person, expect at most about" in three["reading"]
    assert "the one picture of the person that it is most like" in three["reading"]


def test_a_reading_says_what_the_order_and_the_levels_go_by(calibrated: TestClient) -> None:
    reranked = found(calibrated, like=["item:1"], rerank="expansion")["reading"]
    assert "the level of a candidate goes by its similarity" in reranked
    assert "all pictures" not in reranked
    with_another = found(calibrated, like=["item:1"], unlike=["item:3"], rerank="expansion")
    assert "the one picture of the person that it is most like" in with_another["reading"]


def test_the_best_of_several_pictures_counts() -> None:
    rows = unit_rows(np.random.default_rng(0), 5, 8)
    likeness = most_alike([rows[0], rows[1]], [*rows])
    for row, value in zip(rows, likeness, strict=True):
        assert value == pytest.approx(max(row @ rows[0], row @ rows[1]), abs=1e-6)
    assert likeness[:2] == pytest.approx([1, 1])
    assert most_alike([rows[0]], []).shape == (0,)
