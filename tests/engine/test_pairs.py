"""The loop over queries and pictures, with networks that need it and with one that does not."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fake.coco import write_coco
from fake.embedder import ColourEmbedder
from fake.tiny import CONFIG, N_PERSONS, picture, target
from fdps.config import LossConfig
from fdps.data import load_scenes
from fdps.engine import pairs as loop
from fdps.engine.pairs import InnerProducts, as_pairwise, choose_sought, predict_pairs
from fdps.engine.predict import predict
from fdps.errors import MissingDataError, UsageError
from fdps.evaluation import EvaluationOptions, evaluate_with
from fdps.evaluation.pairwise.pairs import evaluate_pairs
from fdps.evaluation.pairwise.pairs_file import PairPredictions, load_pairs, save_pairs
from fdps.models import build_system
from fdps.pictures import read_picture
from fdps.searcher import PersonSearcher, searcher_of
from fdps.structures import Compared, Query, SceneSet


def everybody(scenes: SceneSet) -> SceneSet:
    """Look for everybody with an identity, in every scene."""
    queries = [
        Query(scene.name, box, int(person_id))
        for scene in scenes.scenes
        for box, person_id in zip(scene.boxes, scene.person_ids, strict=True)
        if person_id >= 0
    ]
    return replace(scenes, queries=tuple(queries), query_lists={"mini": lambda: queries[7:1:-2]})


@pytest.fixture
def scenes(tmp_path: Path) -> SceneSet:
    write_coco(tmp_path, n_images=6, person_ids=(4, 9, -1))
    return everybody(load_scenes("coco", tmp_path, "test"))


def network(system: str, **options: Any) -> PersonSearcher:
    """A network whose maps differ from picture to picture, though nobody trained it."""
    torch.manual_seed(2)
    config = replace(CONFIG, system=system, options=options)
    net, criterion = build_system(config, LossConfig(queue_size=4), N_PERSONS)
    with torch.no_grad():
        for norm in net.modules():
            if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
                norm.momentum = 1.0
        person = target((5, 5, 30, 60, 0), (40, 8, 62, 60, 2))
        net.train()([picture(), picture()], [person, person], criterion)
    return searcher_of(net.eval(), "tiny")


class Counting(InnerProducts):
    """Notes what it is asked for."""

    def __init__(self) -> None:
        super().__init__(ColourEmbedder())
        self.n_sought = self.n_begun = self.n_compared = 0

    def sought(self, image: np.ndarray, box: np.ndarray) -> Any:
        self.n_sought += 1
        return super().sought(image, box)

    def begun(self, image: np.ndarray) -> Any:
        self.n_begun += 1
        return super().begun(image)

    def compare(self, sought: Any, begun: Any) -> Compared:
        self.n_compared += 1
        return super().compare(sought, begun)


@pytest.mark.long
@pytest.mark.parametrize("options", [{}, {"protocol": "strict"}, {"min_frame_gap": 350}], ids=str)
@pytest.mark.parametrize("kind", ["colours", "oim_base"])
def test_a_plain_network_has_in_pairs_the_figures_that_it_has_without(
    scenes: SceneSet, kind: str, options: dict[str, Any]
) -> None:
    embedder = ColourEmbedder() if kind == "colours" else network("oim_base")
    chosen = EvaluationOptions(score_threshold=0.0, **options)
    plain = evaluate_with(chosen, predict(embedder, scenes), scenes)
    pairs = predict_pairs(as_pairwise(embedder), scenes, choose_sought(scenes))
    report = evaluate_pairs(pairs, scenes, chosen)
    assert len(report.search) == len(scenes.queries)
    for name in ("average_precisions", "first_matches", "n_relevant"):
        ours, theirs = getattr(report.search, name), getattr(plain.search, name)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)
    assert report.json()["search"] == pytest.approx(plain.json()["search"], abs=1e-9)
    assert report.json()["detection"] == plain.json()["detection"]


@pytest.mark.long
def test_a_pair_wise_network_finds_what_it_finds_pair_by_pair(scenes: SceneSet) -> None:
    searcher = network("qeeps", excited_stages=2)
    chosen = choose_sought(scenes, subset="mini")
    pairs = predict_pairs(as_pairwise(searcher), scenes, chosen)
    assert pairs.queries.tolist() == [3, 5, 7]
    for place, query in enumerate(chosen.queries):
        sought = searcher.sought(picture_of(scenes, query.scene), query.box)
        for row, scene in enumerate(scenes.scenes):
            here = (pairs.query == place) & (pairs.scene == row)
            assert pairs.compared[place, row] == (scene.name != query.scene)
            if scene.name == query.scene:
                assert not here.any()
                continue
            found = searcher.compare(sought, searcher.begun(read_picture(scene.path)))
            assert np.array_equal(pairs.boxes[here], found.boxes)
            assert np.array_equal(pairs.similarities[here], found.similarities)
    alone = searcher.detect(read_picture(scenes.scenes[2].path))
    assert np.array_equal(pairs.plain_boxes[pairs.plain_scene == 2], alone.boxes)
    report = evaluate_pairs(pairs, scenes, EvaluationOptions(subset="mini", score_threshold=0.0))
    assert len(report.search) == 3
    assert report.n_pairs == 15
    assert report.seconds_per_pair > 0


def picture_of(scenes: SceneSet, name: str) -> np.ndarray:
    return read_picture(next(scene.path for scene in scenes.scenes if scene.name == name))


def test_what_pairs_share_is_computed_once(
    scenes: SceneSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting()
    predict_pairs(counting, scenes, choose_sought(scenes))
    assert (counting.n_sought, counting.n_begun, counting.n_compared) == (12, 6, 60)
    monkeypatch.setattr(loop, "QUERIES_AT_ONCE", 5)
    counting = Counting()
    pairs = predict_pairs(counting, scenes, choose_sought(scenes))
    # The last two queries are both in the last scene, which is in no gallery of theirs.
    assert (counting.n_sought, counting.n_begun, counting.n_compared) == (12, 17, 60)
    assert np.bincount(pairs.plain_scene).sum() == len(pairs.plain_boxes)
    assert pairs.n_pairs == 60


def test_progress_counts_pictures(scenes: SceneSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SCENES_PER_PART", 4)
    monkeypatch.setattr(loop, "QUERIES_AT_ONCE", 8)
    told: list[tuple[int, int]] = []
    predict_pairs(Counting(), scenes, choose_sought(scenes), lambda *done: told.append(done))
    assert told == [(4, 12), (6, 12), (10, 12), (12, 12)]


def test_a_gallery_list_is_all_that_is_searched(scenes: SceneSet) -> None:
    names = (scenes.scenes[4].name, scenes.scenes[0].name)
    listed = replace(scenes, queries=(replace(scenes.queries[0], gallery=names),))
    pairs = predict_pairs(Counting(), listed, choose_sought(listed))
    assert np.flatnonzero(pairs.compared[0]).tolist() == [0, 4]


class Interrupted(Counting):
    """Is stopped in the middle."""

    def compare(self, sought: Any, begun: Any) -> Compared:
        if self.n_compared == 40:
            raise KeyboardInterrupt
        return super().compare(sought, begun)


def rows(pairs: PairPredictions) -> Sequence[tuple[float, ...]]:
    table = np.column_stack(
        [pairs.query, pairs.scene, pairs.boxes, pairs.scores, pairs.similarities]
    )
    return sorted(map(tuple, table.tolist()))


def test_who_is_interrupted_goes_on(
    scenes: SceneSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SCENES_PER_PART", 2)
    monkeypatch.setattr(loop, "QUERIES_AT_ONCE", 8)
    chosen, kept = choose_sought(scenes), tmp_path / "parts"
    with pytest.raises(KeyboardInterrupt):
        predict_pairs(Interrupted(), scenes, chosen, kept=kept)
    assert len(list(kept.iterdir())) == 3  # all pictures for the first eight queries
    counting = Counting()
    pairs = predict_pairs(counting, scenes, chosen, kept=kept)
    assert (counting.n_sought, counting.n_begun, counting.n_compared) == (4, 6, 60 - 40)
    assert len(list(kept.iterdir())) == 6  # until the caller has written the result
    whole = predict_pairs(Counting(), scenes, chosen)
    assert rows(pairs) == rows(whole)
    assert np.array_equal(pairs.compared, whole.compared)
    assert len(pairs.plain_boxes) == len(whole.plain_boxes)


@pytest.mark.parametrize("change", ["model", "queries", "galleries", "damage"])
def test_parts_of_something_else_are_computed_again(
    scenes: SceneSet, tmp_path: Path, change: str
) -> None:
    chosen, kept = choose_sought(scenes), tmp_path / "parts"
    part = predict_pairs(Counting(), scenes, chosen)
    file = kept / "00000-000000.safetensors"
    save_pairs(part, file)
    if change == "model":
        save_pairs(replace(part, model_hash="other"), file)
    elif change == "queries":
        chosen = choose_sought(scenes, n_queries=11)
    elif change == "galleries":
        names = (scenes.scenes[0].name,)
        chosen = replace(
            chosen, queries=tuple(replace(query, gallery=names) for query in chosen.queries)
        )
    else:
        file.write_bytes(file.read_bytes()[:-9])
    counting = Counting()
    predict_pairs(counting, scenes, chosen, kept=kept)
    assert counting.n_begun > 0


def test_a_part_that_fits_is_taken(scenes: SceneSet, tmp_path: Path) -> None:
    chosen, kept = choose_sought(scenes), tmp_path / "parts"
    save_pairs(predict_pairs(Counting(), scenes, chosen), kept / "00000-000000.safetensors")
    counting = Counting()
    predict_pairs(counting, scenes, chosen, kept=kept)
    assert counting.n_begun == counting.n_sought == 0


@pytest.mark.long
def test_nobody_found_and_no_scene(tmp_path: Path, scenes: SceneSet) -> None:
    searcher = network("qeeps")
    searcher = searcher_of(searcher._model, "tiny", min_score=1.0)
    pairs = predict_pairs(as_pairwise(searcher), scenes, choose_sought(scenes, n_queries=2))
    assert pairs.boxes.shape == (0, 4)
    save_pairs(pairs, tmp_path / "pairs.safetensors")
    report = evaluate_pairs(load_pairs(tmp_path / "pairs.safetensors"), scenes)
    assert report.search.mean_ap == 0


def test_a_picture_that_is_not_there_is_named(scenes: SceneSet, tmp_path: Path) -> None:
    gone = replace(scenes.scenes[3], path=tmp_path / "gone.jpg")
    some = replace(scenes, scenes=(*scenes.scenes[:3], gone, *scenes.scenes[4:]))
    with pytest.raises(MissingDataError, match=r"gone\.jpg"):
        predict_pairs(Counting(), some, choose_sought(scenes))


# Choosing


def test_queries_are_drawn_by_seed_without_repeats(scenes: SceneSet) -> None:
    drawn = [tuple(choose_sought(scenes, n_queries=5, seed=k).rows.tolist()) for k in range(6)]
    assert all(len(set(some)) == 5 and list(some) == sorted(some) for some in drawn)
    assert len(set(drawn)) > 1
    assert choose_sought(scenes, n_queries=5, seed=2).rows.tolist() == list(drawn[2])
    chosen = choose_sought(scenes, n_queries=99)
    assert chosen.rows.tolist() == list(range(12))
    assert chosen.queries == scenes.queries


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"subset": "mini", "n_queries": 3}, "exclude each other"),
        ({"n_queries": 0}, "at least 1, got 0"),
        ({"subset": "occlusion"}, "no subset of queries 'occlusion'"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused(
    scenes: SceneSet, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        choose_sought(scenes, **options)


def test_a_set_without_queries_has_no_pairs() -> None:
    with pytest.raises(UsageError, match="none has no queries"):
        choose_sought(SceneSet("none", ()))
