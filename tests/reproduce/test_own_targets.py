"""The targets beyond the paper: sensitivity, gradients, robustness."""

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fake.reproduced import Events, random_predictions, tiny_bench, tiny_choice, write_predictions
from fdps.data.corruptions import CORRUPTIONS
from fdps.errors import ModelError
from fdps.evaluation import evaluate
from fdps.losses import BalancedOIMLoss, OIMLoss
from fdps.predictions import load_predictions
from fdps.reproduce.corrupted import Corrupted, corruption_of, file_of, files
from fdps.reproduce.gradients import Weights, measure, shares
from fdps.reproduce.one_run import PREDICTIONS, perform
from fdps.reproduce.reasons import CHANGES
from fdps.reproduce.reproduction import Reproduction
from fdps.reproduce.sensitivity import variants
from fdps.reproduce.targets import find_targets
from fdps.structures import Boxes, Detections, Picture


def planned(folder: Path, name: str, seeds: int = 1) -> Reproduction:
    bench = tiny_bench(folder)
    return Reproduction(find_targets(name), bench, tiny_choice(), folder / "out", seeds=seeds)


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as lines:
        return [*csv.DictReader(lines)]


def test_sensitivity_changes_one_parameter_at_a_time() -> None:
    changed = [variant.switches[-1] for variant in variants(100)]
    assert len(changed) == len(set(changed)) == 15
    assert {setting.partition("=")[0] for setting in changed} == {
        "loss.sigma",
        "loss.beta",
        "loss.temperature",
        "loss.alpha",
    }
    alphas = [float(s.partition("=")[2]) for s in changed if "alpha" in s]
    assert alphas[1] == pytest.approx(-2 * math.log(100))
    assert alphas[2] - alphas[0] == pytest.approx(math.log(4))


@pytest.mark.long
def test_a_value_that_is_the_default_is_the_run_of_table_2(tmp_path: Path) -> None:
    bench = tiny_bench(tmp_path)
    both = find_targets("table2") | find_targets("sensitivity")
    work = Reproduction(both, bench, tiny_choice(), tmp_path / "out", seeds=1)
    base = work.runs["table2"]["fdps_boim"][0]
    sigma = work.runs["sensitivity"]["fdps_boim_sigma_0.5"][0]
    assert (sigma.address, sigma.folder) == (base.address, base.folder)
    assert [order.run.address for order in work.orders()].count(base.address) == 1


@pytest.mark.long
def test_sensitivity_draws_what_it_tabulates(tmp_path: Path) -> None:
    work = planned(tmp_path, "sensitivity", seeds=2)
    write_predictions(work.orders(), work.test)
    _, problems = work.write({}, command="")
    assert problems == []
    rows = rows_of(work.out / "sensitivity.csv")
    assert len(rows) == 15
    runs = work.runs["sensitivity"]["fdps_boim_beta_0.1"]
    aps = [
        evaluate(load_predictions(run.folder / "predictions.safetensors"), work.test).search.mean_ap
        for run in runs
    ]
    (row,) = (row for row in rows if row["parameter"].startswith("β") and row["value"] == "0.1")
    assert float(row["mAP"]) == pytest.approx(100 * np.mean(aps), abs=1e-9)
    for name in ("sigma", "beta", "scale", "temperature"):
        assert (work.out / f"sensitivity_{name}.png").is_file()


def test_reasons_change_one_thing_for_both_systems(tmp_path: Path) -> None:
    work = planned(tmp_path, "reasons", seeds=2)
    runs = work.runs["reasons"]
    assert len(runs) == 11  # FDPS alone is changed by one of the six
    base, cut = (runs[key][0].recipe for key in ("fdps", "fdps_whole"))
    assert (base.train.clip, cut.train.clip) == ("parts", "whole")
    assert replace(cut.train, clip="parts", keep_last=1) == replace(base.train, keep_last=1)
    assert (base.model, base.loss) == (cut.model, cut.loss)
    assert runs["oim_base_background"][0].recipe.model.embedding_norm == "regions"
    assert runs["fdps_peak"][0].recipe.model.options == {"person_from": "peak"}


@pytest.mark.long
def test_reasons_tabulate_the_difference_of_the_systems(tmp_path: Path) -> None:
    work = planned(tmp_path, "reasons", seeds=2)
    write_predictions(work.orders(), work.test)
    lost = work.runs["reasons"]["oim_base_map"]
    _, problems = work.write({run.address: ModelError("diverged") for run in lost}, command="")
    assert len(problems) == 2
    rows = rows_of(work.out / "reasons.csv")
    assert [row["changed"] for row in rows] == [change.label for change in CHANGES]
    assert rows[-1]["FDPS mAP"] == "failed"
    aps = {
        system: [
            evaluate(load_predictions(run.folder / PREDICTIONS), work.test).search.mean_ap
            for run in work.runs["reasons"][f"{system}_whole"]
        ]
        for system in ("oim_base", "fdps")
    }
    (whole,) = (row for row in rows if "whole network" in row["changed"])
    assert float(whole["FDPS mAP"]) == pytest.approx(100 * np.mean(aps["fdps"]), abs=1e-9)
    assert float(whole["FDPS - OIM-base, mAP"]) == pytest.approx(
        100 * (np.mean(aps["fdps"]) - np.mean(aps["oim_base"])), abs=1e-9
    )
    low, high = (float(limit) for limit in whole["95 %"].split(" to "))
    assert low <= float(whole["FDPS - OIM-base, mAP"]) + 0.1
    assert high >= float(whole["FDPS - OIM-base, mAP"]) - 0.1


def coefficients_by_autograd(
    criterion: OIMLoss | BalancedOIMLoss, x: torch.Tensor, ids: torch.Tensor
) -> np.ndarray:
    """Coefficient of every row in the gradient; the rows are orthogonal, so each can be read."""
    x = x.clone().requires_grad_()
    criterion(x, ids).backward()
    assert x.grad is not None
    rows = torch.cat([criterion.memory.table.rows, criterion.memory.queue.rows]).double()
    return (x.grad * len(x) @ rows.T).numpy()


@pytest.mark.parametrize("is_balanced", [False, True])
def test_shares_are_those_of_the_gradient(is_balanced: bool) -> None:
    n, dim = 5, 12
    criterion = (
        BalancedOIMLoss(n, 3, dim, temperature=0.2, sigma=0.3, beta=0.05)
        if is_balanced
        else OIMLoss(n, 3, dim, temperature=0.2)
    )
    basis = torch.linalg.qr(torch.randn(dim, dim).double())[0]
    criterion.memory.table.rows.copy_(basis[:n])
    criterion.memory.queue.rows.copy_(basis[n : n + 3])
    if is_balanced:
        criterion.dispersion.refresh(criterion.memory.table.rows)
    x = torch.nn.functional.normalize(torch.rand(4, dim).double() @ basis + 0.2, dim=1)
    ids = torch.tensor([0, 2, 4, 1])
    found = coefficients_by_autograd(criterion, x, ids)
    w = float(criterion.dispersion.value()) if is_balanced else 1.0
    weights = Weights(0.2, w, 0.3 if is_balanced else None, 0.05)
    lut, queue = (m.rows.numpy() for m in (criterion.memory.table, criterion.memory.queue))
    got = shares(x.numpy(), ids.numpy(), lut, queue, weights)
    own = np.arange(4), ids.numpy()
    pull = -found[own]
    found[own] = 0
    # What L_neg pushes is what the softmax does not: all of the table at once, as a sum.
    whole = pull + found.sum(axis=1)
    if is_balanced:
        # The pull is that of OIM alone as long as L_neg does not touch the own row.
        softmax = pull / w
        assert got.identities + got.hard == pytest.approx(
            (found[:, :n].sum(axis=1) / whole).mean(), rel=1e-5
        )
        assert got.hard > 0
        assert np.all(softmax > 0)
    else:
        assert got.identities == pytest.approx((found[:, :n].sum(axis=1) / whole).mean(), rel=1e-5)
        assert got.nearest == pytest.approx((found[:, :n].max(axis=1) / whole).mean(), rel=1e-5)
        assert got.hard == 0
        assert got.positive == pytest.approx(0.5)
    assert got.positive == pytest.approx((pull / whole).mean(), rel=1e-5)
    assert got.queue == pytest.approx((found[:, n:].sum(axis=1) / whole).mean(), rel=1e-5)
    assert got.positive + got.identities + got.queue + got.hard == pytest.approx(1)


def test_nobody_has_no_gradient() -> None:
    with pytest.raises(ValueError, match="no labelled person"):
        shares(np.zeros((0, 2)), np.zeros(0, np.int64), np.eye(2), np.zeros((0, 2)), Weights(0.1))


@pytest.mark.slow
def test_gradients_are_measured_at_every_epoch(tmp_path: Path) -> None:
    work = planned(tmp_path, "gradients")
    for order in work.orders():
        perform(order, lambda *progress: None)
    run = work.runs["gradients"]["fdps_boim"][0]
    by_epoch = measure(run, work.bench.training())  # type: ignore[union-attr]
    assert [*by_epoch] == [1, 2]
    _, problems = work.write({}, command="")
    assert problems == []
    rows = rows_of(work.out / "gradients.csv")
    assert [row["epochs"] for row in rows] == ["1", "2", "1", "2"]
    assert (work.out / "gradients.png").is_file()


class Sees:
    """An embedder that remembers the pictures it is shown."""

    model_hash, dim = "sees", 4

    def __init__(self) -> None:
        self.pictures: list[Picture] = []

    def detect(self, image: Picture) -> Detections:
        self.pictures.append(image)
        none = np.zeros((0, 4), np.float32)
        return Detections(none, np.zeros(0, np.float32), none)

    def embed(self, image: Picture, boxes: Boxes) -> np.ndarray:
        self.pictures.append(image)
        return np.tile(np.eye(1, 4, dtype=np.float32), (len(boxes), 1))


def test_query_and_gallery_see_the_same_damage() -> None:
    eye = Sees()
    picture = np.full((20, 30, 3), 100, dtype=np.uint8)
    damaged = Corrupted(eye, "gaussian_noise", 4)
    damaged.detect(picture)
    damaged.embed(picture, np.array([[1, 1, 9, 9]], np.float32))
    first, second = eye.pictures
    assert np.array_equal(first, second)
    assert not np.array_equal(first, picture)


def test_the_name_of_a_file_tells_its_corruption() -> None:
    assert len(set(files())) == 90
    assert corruption_of(file_of("impulse_noise", 2)) == ("impulse_noise", 2)


@pytest.mark.long
def test_robustness_tabulates_every_corruption(tmp_path: Path) -> None:
    work = planned(tmp_path, "robustness")
    write_predictions(work.orders(), work.test)
    _, problems = work.write({}, command="")
    assert problems == []
    rows = rows_of(work.out / "robustness_fdps.csv")
    assert [row["corruption"] for row in rows] == [
        "none",
        *(name.replace("_", " ") for name in CORRUPTIONS),
    ]
    run = work.runs["robustness"]["fdps"][0]
    found = load_predictions(run.folder / file_of("fog", 3))
    (fog,) = (row for row in rows if row["corruption"] == "fog")
    mean_ap = evaluate(found, work.test).search.mean_ap
    assert float(fog["severity 3"]) == pytest.approx(100 * mean_ap, abs=1e-9)
    assert (work.out / "robustness.svg").is_file()


@pytest.mark.long
def test_listeners_and_predictions_of_these_tests_are_what_they_say(tmp_path: Path) -> None:
    scenes = tiny_bench(tmp_path).test()
    exact = evaluate(random_predictions(scenes, 1, noise=1e-6), scenes)
    assert exact.search.mean_ap == pytest.approx(1)
    assert Events().begun == []
