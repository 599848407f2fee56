"""Fig. 4: the people that are drawn, their places, and how alike the centres are."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba

from fake.reproduced import random_predictions
from fdps.errors import ModelError, UsageError
from fdps.predictions import Predictions
from fdps.reproduce import fig4
from fdps.reproduce.fig4 import choose_appearances, compute_tsne, plot_centres, plot_tsne
from fdps.structures import Query, Scene, SceneSet

SEEN = {4: 9, 1: 7, 8: 5, 2: 5, 6: 3}  # people, and in how many scenes


def scenes() -> SceneSet:
    """Everybody once in each of the first scenes; person 6 is never looked for, 2 and 8 are."""
    made = []
    for number in range(max(SEEN.values())):
        there = [person for person, times in SEEN.items() if number < times]
        boxes = np.array([[40 * k, 10, 40 * k + 30, 90] for k in range(len(there) + 1)], np.float32)
        ids = np.array([*there, -1])
        made.append(Scene(f"{number}.jpg", Path(f"{number}.jpg"), boxes, ids))
    queries = tuple(Query("0.jpg", made[0].boxes[k], p) for k, p in enumerate(SEEN) if p != 6)
    return SceneSet("drawn", tuple(made), queries)


def embedded(noise: float) -> tuple[SceneSet, Predictions]:
    there = scenes()
    return there, random_predictions(there, 0, noise=noise)


def test_the_people_are_those_of_queries_who_are_seen_most_often() -> None:
    there = scenes()
    everybody = np.concatenate([scene.person_ids for scene in there.scenes])
    rows, ids = choose_appearances(there, 2)
    assert sorted(set(ids.tolist())) == [1, 4]
    assert len(rows) == 9 + 7
    assert np.array_equal(everybody[rows], ids)
    assert 6 not in choose_appearances(there)[1]
    assert len(choose_appearances(SceneSet("drawn", there.scenes, ()))[0]) == 0


@pytest.mark.long
def test_equal_seeds_give_equal_layouts_and_people_lie_together() -> None:
    there, found = embedded(noise=0.05)
    rows, ids = choose_appearances(there)
    points = compute_tsne(found.embeddings[rows])
    assert np.array_equal(points, compute_tsne(found.embeddings[rows]))
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (ids[distances.argmin(axis=1)] == ids).mean() > 0.9


@pytest.mark.parametrize("n", [0, 3])
def test_too_few_appearances_are_refused(n: int) -> None:
    with pytest.raises(UsageError, match=f"at least 4 appearances, got {n}"):
        compute_tsne(np.eye(8, dtype=np.float32)[:n])


def test_a_person_has_one_colour_and_marker_under_both_losses() -> None:
    drawn = []
    for noise in (0.05, 0.9):
        there, found = embedded(noise)
        (axes,) = plot_tsne(found, there, "title").axes
        drawn.append(
            {
                one.get_label(): (
                    one.get_facecolor()[0, :3].tolist(),
                    one.get_paths()[0].vertices.tolist(),
                    len(one.get_offsets()),
                )
                for one in axes.collections
            }
        )
    assert drawn[0] == drawn[1]
    assert set(drawn[0]) == {"person 1", "person 2", "person 4", "person 8"}
    assert drawn[0]["person 4"][2] == 9
    assert len({(str(colour), str(shape)) for colour, shape, _ in drawn[0].values()}) == 4
    assert drawn[0]["person 1"][0] == pytest.approx(to_rgba("#0072b2")[:3])


def test_centres_are_compared_in_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    angles = torch.tensor([0.0, 60.0, 90.0]).deg2rad()
    rows = torch.zeros(4, 2)  # the third person was never seen in training
    rows[[0, 1, 3]] = torch.stack([angles.cos(), angles.sin()], dim=1)
    kept = type("Kept", (), {"tensors": {"oim": {"memory.table.rows": rows}}})
    monkeypatch.setattr(fig4, "newest_checkpoint", lambda run: kept)
    assert fig4.centre_similarities(tmp_path) == pytest.approx([0.5, 0.0, np.sqrt(0.75)], abs=1e-6)


def test_without_a_table_there_are_no_centres(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no checkpoint with a look-up table"):
        fig4.centre_similarities(tmp_path)


def test_the_histogram_has_shares_of_all_pairs_and_both_means() -> None:
    oim, boim = np.array([0.1, 0.1, 0.5, 0.5]), np.array([-0.2, 0.0])
    (axes,) = plot_centres(oim, boim, n_bins=7).axes
    lines = [patch for patch in axes.patches if patch.get_label().startswith(("OIM", "BOIM"))]
    assert [line.get_label() for line in lines] == ["OIM, mean 0.300", "BOIM, mean -0.100"]
    for line in lines:
        assert line.get_data().values.sum() == pytest.approx(1)
        assert line.get_data().edges[0] == -0.2
    assert lines[0].get_data().values[-1] == pytest.approx(0.5)
