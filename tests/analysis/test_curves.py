import numpy as np
import pytest
from matplotlib.figure import Figure

from fdps.analysis.curves import (
    PairSimilarities,
    compute_similarities,
    plot_cmc,
    plot_precision_recall,
    plot_similarities,
    plot_training,
)
from fdps.errors import PredictionsError
from fdps.predictions import Predictions
from fdps.structures import UNLABELLED, Query, Scene, SceneSet

NOTHING = np.zeros(0)


def lines(figure):
    (axes,) = figure.axes
    return {line.get_label(): line.get_xydata() for line in axes.get_lines()}


def texts(figure):
    (axes,) = figure.axes
    return [text.get_text() for text in axes.texts]


def test_similarities_are_split_by_identity(tmp_path):
    boxes = np.array([[0, 0, 10, 20], [30, 0, 40, 20], [60, 0, 70, 20]], np.float32)
    ids = np.array([7, 8, UNLABELLED], np.int64)
    scenes = tuple(Scene(name, tmp_path / name, boxes, ids) for name in ("a", "b"))
    query = Query("a", boxes[0], person_id=7)
    # All are found in each scene; in the second also nobody, and one with a low score.
    found = [(0, box, 1.0, 1.0) for box in boxes]
    found += [(1, boxes[0], 1.0, 0.8), (1, boxes[1], 1.0, 0.6), (1, boxes[2], 1.0, 0.0)]
    found += [(1, boxes[1] + 100, 1.0, 0.28), (1, boxes[1] + 1, 0.4, 0.96)]
    predictions = Predictions(
        scenes=("a", "b"),
        boxes=np.array([box for _, box, _, _ in found], np.float32),
        scores=np.array([score for _, _, score, _ in found], np.float32),
        embeddings=np.array([[s, (1 - s * s) ** 0.5] for _, _, _, s in found], np.float32),
        scene=np.array([scene for scene, _, _, _ in found], np.int64),
        queries=(query,),
        query_embeddings=np.array([[1, 0]], np.float32),
    )
    pairs = compute_similarities(predictions, SceneSet("test", scenes, (query,)))
    np.testing.assert_allclose(pairs.same, [0.8], rtol=1e-6)
    np.testing.assert_allclose(pairs.different, [0.6], rtol=1e-6)


def test_precision_recall_starts_at_recall_zero():
    precision, recall = np.array([1.0, 0.5]), np.array([0.2, 0.4])
    figure = plot_precision_recall({"fdps": (precision, recall)})
    np.testing.assert_allclose(lines(figure)["fdps"], [[0, 1.0], [0.2, 1.0], [0.4, 0.5]])


def test_cmc_starts_at_rank_one():
    figure = plot_cmc({"ours": np.array([0.5, 0.75]), "colour": np.array([0.1, 0.2])})
    assert set(lines(figure)) == {"ours", "colour"}
    np.testing.assert_allclose(lines(figure)["ours"], [[1, 0.5], [2, 0.75]])


def test_systems_differ_in_colour_and_in_line_style():
    (axes,) = plot_cmc({str(i): np.ones(2) for i in range(4)}).axes
    drawn = axes.get_lines()
    assert len({line.get_color() for line in drawn}) == 4
    assert len({line.get_linestyle() for line in drawn}) == 4


def test_training_smooths_and_draws_the_losses_alone():
    records = [
        {"step": 0, "reid": 3.0, "lr": 0.1},
        {"step": 1, "reid": 1.0, "box": 2.0, "lr": 0.1},
        {"step": 2, "reid": 2.0, "box": 4.0, "lr": 0.1},
    ]
    drawn = lines(plot_training(records, smooth=3))
    assert set(drawn) == {"box", "reid"}
    np.testing.assert_allclose(drawn["reid"], [[0, 2.0], [1, 2.0], [2, 1.5]])
    np.testing.assert_allclose(drawn["box"][:, 0], [1, 2])


def test_losses_of_zero_are_drawn(tmp_path):
    figure = plot_training([{"step": step, "reid": 0.0} for step in range(3)])
    assert figure.axes[0].get_yscale() == "linear"
    figure.savefig(tmp_path / "zero.svg")


def test_similarity_histogram_names_the_number_of_pairs():
    figure = plot_similarities(PairSimilarities(np.array([0.9]), np.linspace(0, 0.5, 1200)))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["same person (1)", "other people (1,200)"]


@pytest.mark.parametrize(
    "figure",
    [
        lambda: plot_precision_recall({}),
        lambda: plot_precision_recall({"ours": (NOTHING, NOTHING)}),
        lambda: plot_cmc({}),
        lambda: plot_training([]),
        lambda: plot_similarities(PairSimilarities(NOTHING, NOTHING)),
    ],
)
def test_empty_input_is_said(figure, tmp_path):
    drawn = figure()
    assert isinstance(drawn, Figure)
    assert texts(drawn) == ["no data"]
    drawn.savefig(tmp_path / "empty.svg")


def test_one_similarity_is_enough_for_a_histogram(tmp_path):
    plot_similarities(PairSimilarities(np.array([0.5]), NOTHING)).savefig(tmp_path / "one.svg")


def test_predictions_of_other_scenes_are_refused():
    nobody = np.zeros((0, 4), np.float32)
    predictions = Predictions(
        scenes=("elsewhere",),
        boxes=nobody,
        scores=nobody[:, 0],
        embeddings=nobody,
        scene=np.zeros(0, np.int64),
        queries=(),
        query_embeddings=nobody,
    )
    with pytest.raises(PredictionsError, match="elsewhere"):
        compute_similarities(predictions, SceneSet("test", ()))
