"""The swap test: readings that are known, and the target from end to end."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score, roc_auc_score

from fake.reproduced import tiny_bench, tiny_choice
from fdps.boxes import iou
from fdps.config import ModelConfig
from fdps.models import build_model
from fdps.models.box_coder import decode
from fdps.models.decomposition import Marginals
from fdps.reproduce.bench import evenly_spread
from fdps.reproduce.one_run import perform
from fdps.reproduce.reproduction import Reproduction
from fdps.reproduce.swap import (
    DELTAS,
    FIGURES,
    RIDGES,
    Read,
    area_under_curve,
    draw_regions,
    measure,
    nearest_is_same,
    r_squared,
    read,
    region_marginals,
    ridge,
)
from fdps.reproduce.targets import find_targets

RNG = np.random.default_rng(0)


def test_ridge_is_that_of_scikit_learn_at_the_best_strength_on_every_fifth_row() -> None:
    inputs, asked = RNG.normal(2, 3, (60, 20)), RNG.normal(2, 3, (9, 20))
    targets = inputs[:, :2] ** 2 + RNG.normal(size=(60, 2))
    scaled, wanted = ((rows - inputs.mean(0)) / inputs.std(0) for rows in (inputs, asked))
    held = np.arange(60) % 5 == 4

    def fitted(rows: np.ndarray, strength: float, to: np.ndarray) -> np.ndarray:
        # scikit-learn takes the mean of its inputs away, which the dual here does not.
        alpha = strength * float(np.square(scaled[rows]).sum())
        plain = Ridge(alpha=alpha, fit_intercept=False)
        mean = targets[rows].mean(0)
        return plain.fit(scaled[rows], targets[rows] - mean).predict(to) + mean

    errors = [np.square(fitted(~held, s, scaled[held]) - targets[held]).sum() for s in RIDGES]
    best = RIDGES[int(np.argmin(errors))]
    expected = fitted(np.ones(60, dtype=bool), best, wanted)
    np.testing.assert_allclose(ridge(inputs, targets, asked), expected, rtol=1e-9)


def test_a_linear_target_is_read_and_an_unrelated_one_is_not() -> None:
    inputs, asked = RNG.normal(size=(400, 6)), RNG.normal(size=(200, 6))
    weights = RNG.normal(size=(6, 1))
    predicted = ridge(
        inputs, np.concatenate([inputs @ weights, RNG.normal(size=(400, 1))], axis=1), asked
    )
    true = np.concatenate([asked @ weights, RNG.normal(size=(200, 1))], axis=1)
    linear, unrelated = r_squared(true, predicted)
    assert linear > 0.999
    assert unrelated < 0.1


def test_an_input_that_never_changes_does_no_harm() -> None:
    inputs = np.concatenate([RNG.normal(size=(50, 3)), np.full((50, 1), 7.0)], axis=1)
    assert np.isfinite(ridge(inputs, inputs[:, :1], inputs)).all()


def test_r_squared_and_area_are_those_of_scikit_learn() -> None:
    true, predicted = RNG.normal(size=(30, 2)), RNG.normal(size=(30, 2))
    expected = r2_score(true, predicted, multioutput="raw_values")
    np.testing.assert_allclose(r_squared(true, predicted), expected)
    labels, scores = RNG.integers(0, 2, 40) == 1, RNG.integers(0, 8, 40).astype(float)
    assert area_under_curve(scores, labels) == pytest.approx(roc_auc_score(labels, scores))
    assert np.isnan(area_under_curve(scores, np.ones(40, dtype=bool)))


def test_the_nearest_neighbour_is_sought_in_other_scenes() -> None:
    descriptors = np.array([[1, 0], [0.9, 0.1], [0, 1], [1, 0.05], [-1, -1]], dtype=float)
    ids = np.array([0, 1, 1, 0, 2])
    # The first two are in one scene; person 2 is in no other scene and does not count.
    scenes = np.array([0, 0, 1, 2, 3])
    # 0 finds 3 (same), 3 finds 0 (same), 1 finds 3 (other), 2 finds 1 (same: cosine of the rest).
    centred = descriptors - descriptors.mean(axis=0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    expected = []
    for row in range(4):
        others = [k for k in range(5) if scenes[k] != scenes[row]]
        nearest = max(others, key=lambda k: float(unit[row] @ unit[k]))
        expected.append(ids[nearest] == ids[row])
    assert nearest_is_same(descriptors, ids, scenes) == np.mean(expected)
    alone = nearest_is_same(descriptors[:1], ids[:1], scenes[:1])
    assert np.isnan(alone)


def test_regions_near_people_overlap_them_and_background_does_not(tmp_path: Path) -> None:
    scenes = tiny_bench(tmp_path).test()
    for scene in scenes.scenes:
        drawn = draw_regions(scene, (96, 144), np.random.default_rng(3))
        sides = drawn.boxes[:, 2:] - drawn.boxes[:, :2]
        assert (sides > 0).all()
        assert (drawn.boxes >= 0).all()
        assert (drawn.boxes[:, 2:] <= (144, 96)).all()
        assert np.count_nonzero(drawn.is_person) == 3 * len(scene.boxes)
        overlap = iou(drawn.boxes, scene.boxes)
        assert (overlap[~drawn.is_person] < 0.1).all()
        assert (overlap[drawn.is_person].max(axis=1) > 0.1).all()


def test_the_deltas_lead_from_the_regions_to_the_annotated_boxes(tmp_path: Path) -> None:
    scenes = evenly_spread(tiny_bench(tmp_path).test(), 3)
    net = build_model(small_model()).eval()
    found = read(net, scenes, seed=5)
    rng = np.random.default_rng(5)
    drawn = [draw_regions(scene, (96, 144), rng) for scene in scenes.scenes if len(scene.boxes)]
    regions = torch.from_numpy(np.concatenate([one.boxes for one in drawn]))
    wanted = np.concatenate([one.wanted for one in drawn])
    led = decode(torch.from_numpy(found.deltas).float(), regions, (1.0, 1.0, 1.0, 1.0))
    np.testing.assert_allclose(led.numpy(), wanted, atol=1e-3)


def test_descriptors_are_those_of_the_regions_of_the_network(tmp_path: Path) -> None:
    picture = RNG.integers(0, 255, (96, 144, 3), dtype=np.uint8)
    boxes = np.array([[10, 10, 60, 90], [0, 0, 144, 96]], dtype=np.float32)
    net = build_model(small_model()).eval()
    found = region_marginals(net, picture, boxes)
    with torch.inference_mode():
        image = torch.from_numpy(picture).permute(2, 0, 1).float() / 255
        (embedded,) = net.embed([image], [torch.from_numpy(boxes)])
        by_peak = net.roi_heads.heads.embedding([found.peak])
    np.testing.assert_allclose(by_peak.numpy(), embedded.numpy(), atol=1e-5)


def small_model() -> ModelConfig:
    return ModelConfig(
        system="fdps",
        backbone="mobilenet_v2",
        backbone_weights="none",
        short_side=(64,),
        long_side=96,
        region_size=(8, 4),
        embedding_dim=16,
    )


def test_rows_that_hold_the_vertical_deltas_are_found_out() -> None:
    def made(n: int, seed: int) -> Read:
        rng = np.random.default_rng(seed)
        deltas, noise = rng.normal(size=(n, 4)), rng.normal(size=(n, 4))
        is_person = np.arange(n) % 2 == 0
        ids = rng.integers(0, 5, n)
        values = {
            "rows": np.concatenate([deltas[:, [1, 3]], noise[:, :2]], axis=1),
            "cols": np.concatenate([deltas[:, [0, 2]], noise[:, :2]], axis=1),
            "mean": np.concatenate([2.0 * is_person[:, None] + 0.1 * noise[:, :1], noise], axis=1),
            "peak": np.concatenate([np.eye(5)[ids], 0.01 * noise], axis=1),
        }
        as_float = {name: rows.astype(np.float32) for name, rows in values.items()}
        return Read(as_float, deltas, is_person, as_float, ids, np.arange(n))

    found = measure(made(300, 1), made(200, 2))
    best = {name: max(found, key=lambda part: found[part][name]) for name in FIGURES}
    assert best == {
        **dict.fromkeys(("dy", "dh"), "rows"),
        **dict.fromkeys(("dx", "dw"), "cols"),
        "person": "mean",
        "identity": "peak",
    }
    assert found["rows"]["dy"] > 0.99
    assert found["rows"]["dx"] < 0.2
    assert found["peak"]["identity"] == 1


@pytest.mark.long
def test_the_target_is_made_from_trained_runs(tmp_path: Path) -> None:
    work = Reproduction(
        find_targets("swap"), tiny_bench(tmp_path), tiny_choice(), tmp_path / "out", seeds=1
    )
    for order in work.orders():
        perform(order, lambda *progress: None)
    _, problems = work.write({}, command="")
    assert problems == []
    with (work.out / "swap.csv").open(newline="") as lines:
        rows = [*csv.DictReader(lines)]
    assert [row["read from"] for row in rows] == 2 * [*Marginals._fields]
    for row in rows:
        assert all(float(row[f"{name}, R²"]) <= 100 for name in DELTAS)
        assert 0 <= float(row["person, AUC"]) <= 100
    assert (work.out / "swap_fdps.png").is_file()


def test_a_part_is_spread_over_the_whole_set(tmp_path: Path) -> None:
    scenes = tiny_bench(tmp_path).test()
    names = [scene.name for scene in scenes.scenes]
    assert [scene.name for scene in evenly_spread(scenes, 4).scenes] == names[::2]
    assert [scene.name for scene in evenly_spread(scenes, 99).scenes] == names
    assert len(evenly_spread(replace(scenes, scenes=(), queries=()), 4)) == 0
