import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fdps
from fake.found import perfect, query, scene
from fdps.analysis.evaluation_report import (
    figures_table,
    worst_queries,
    write_evaluation_report,
    wrong_hits_table,
)
from fdps.analysis.gallery_curve import compute_gallery_curve, plot_gallery_curve
from fdps.analysis.published import AT_100, GALLERY_SIZES, ONE_STEP, TWO_STEP
from fdps.errors import MissingDataError, PredictionsError
from fdps.evaluation import evaluate
from fdps.evaluation.breakdowns.breakdown import WrongHits
from fdps.evaluation.breakdowns.camera_pairs import camera_pairs
from fdps.predictions import Predictions, save_predictions
from fdps.structures import SceneSet

BOX = (10.0, 5.0, 30.0, 60.0)


@pytest.fixture
def scenes(tmp_path: Path) -> SceneSet:
    """Eight scenes of two cameras: person 0 in the even ones, person 1 in the odd ones."""
    made = []
    for i in range(8):
        path = tmp_path / f"{i}.png"
        Image.new("RGB", (96, 64), (30 * i, 90, 120)).save(path)
        bare = scene(path.name, [(BOX, i % 2)], "ab"[i // 4], 100 * i)
        made.append(replace(bare, path=path))
    return SceneSet("drawn/test", tuple(made), tuple(query(s, 0) for s in made))


@pytest.fixture
def blunt(scenes: SceneSet) -> Predictions:
    """Two of the eight people are taken for the other one."""
    found = perfect(scenes, 2)
    found.embeddings[[0, 5]] = found.embeddings[[5, 0]]
    return found


def test_gallery_curve_falls_and_leaves_out_what_is_too_large(
    scenes: SceneSet, blunt: Predictions
) -> None:
    curve = compute_gallery_curve(blunt, scenes, sizes=(6, 4, 7, 8), seed=3)
    assert [*curve] == [4, 6, 7]
    assert [report.options.gallery for report in curve.values()] == [4, 6, 7]
    assert all(report.options.seed == 3 for report in curve.values())
    assert curve[4].search.mean_ap > curve[7].search.mean_ap
    alone = evaluate(blunt, scenes, gallery=4, seed=3)
    assert curve[4].search.mean_ap == alone.search.mean_ap


def test_sizes_that_the_lists_do_not_have_are_left_out(
    scenes: SceneSet, blunt: Predictions
) -> None:
    listed = tuple(replace(q, gallery=("1.png", "2.png", "7.png")) for q in scenes.queries)
    curve = compute_gallery_curve(blunt, replace(scenes, queries=listed), sizes=(2, 3, 4))
    assert [*curve] == [3]


def test_predictions_of_other_data_are_an_error_not_a_gap(
    scenes: SceneSet, blunt: Predictions
) -> None:
    fewer = replace(scenes, scenes=scenes.scenes[:7], queries=scenes.queries[:7])
    with pytest.raises(PredictionsError):
        compute_gallery_curve(blunt, fewer, sizes=(4,))


def test_published_curves_are_whole_fractions_of_a_hundred_and_fall() -> None:
    for values in [*ONE_STEP.values(), *TWO_STEP.values()]:
        assert len(values) == len(GALLERY_SIZES)
        assert list(values) == sorted(values, reverse=True)
        assert 50 < min(values) < max(values) < 100
    assert ONE_STEP["NAE+"][1] == 92.1
    assert AT_100["FDPS + BOIM"] == 92.5


def test_gallery_plot_draws_the_mean_and_published_curves_only_on_demand(
    scenes: SceneSet, blunt: Predictions
) -> None:
    curve = compute_gallery_curve(blunt, scenes, sizes=(4, 7))
    (axes,) = plot_gallery_curve({"ours": curve}).axes
    (drawn,) = axes.get_lines()
    assert drawn.get_xdata().tolist() == [4, 7]
    expected = [100 * report.search.mean_ap for report in curve.values()]
    assert drawn.get_ydata().tolist() == pytest.approx(expected)
    (axes,) = plot_gallery_curve({"ours": curve}, with_published=True).axes
    assert len(axes.get_lines()) == 1 + len(ONE_STEP) + len(TWO_STEP) + len(AT_100)
    names = {text.get_text() for text in axes.texts}
    assert {*ONE_STEP, *TWO_STEP} <= names
    heights = sorted(text.xyann[1] for text in axes.texts)  # labels do not lie on each other
    assert min(np.diff(heights)) >= 2


def test_gallery_plot_of_nothing_says_so() -> None:
    (axes,) = plot_gallery_curve({}).axes
    assert [text.get_text() for text in axes.texts] == ["no data"]


def test_figures_have_their_intervals(scenes: SceneSet, blunt: Predictions) -> None:
    report = evaluate(blunt, scenes)
    rows = {row[0]: row[1:] for row in figures_table(report).rows}
    assert rows["recall of people"] == ("100.0", "")
    value, interval = rows["search mAP"]
    assert float(value) == pytest.approx(100 * report.search.mean_ap, abs=0.05)
    low, high = (float(end) for end in interval.split(" to "))
    assert low < float(value) < high
    fewer = figures_table(report, 1)  # one draw is an interval without width
    low, high = {row[0]: row[2] for row in fewer.rows}["search mAP"].split(" to ")
    assert low == high
    assert "drawn anew 1 times" in fewer.note
    nobody = SceneSet("empty", ())
    empty = figures_table(evaluate(perfect(nobody, 1), nobody))
    assert empty.rows[-1] == ("search top-10", "–", "–")


def test_wrong_hits_are_printed_in_per_cent() -> None:
    table = wrong_hits_table([WrongHits("the first hit", 1200, 0.25)])
    assert table.rows == (("the first hit", "1,200", "25.0"),)


def test_worst_queries_come_first(scenes: SceneSet, blunt: Predictions) -> None:
    result = replace(
        evaluate(blunt, scenes).search,
        average_precisions=np.array([0.5, 0.1, 1, 0.1, 1, 1, 1, 1]),
        n_relevant=np.array([3, 2, 3, 3, 3, 3, 3, 3]),
    )
    assert worst_queries(result, 3) == [3, 1, 0]
    assert len(worst_queries(result, 99)) == 8


@pytest.mark.long
def test_report_has_every_part_and_loads_nothing(
    scenes: SceneSet, blunt: Predictions, tmp_path: Path
) -> None:
    report = evaluate(blunt, scenes, min_frame_gap=10)
    path = tmp_path / "report.html"
    write_evaluation_report(
        path,
        report,
        blunt,
        scenes,
        name="blunt",
        by_size=compute_gallery_curve(blunt, scenes, sizes=(4, 7)),
        pairs=camera_pairs(blunt, scenes),
        notes={"Seed": "7"},
        n_worst=3,
    )
    raw = path.read_text(encoding="utf-8")
    loaded = re.sub(r' xmlns(:\w+)?="[^"]*"', "", raw)
    assert not re.search(r"https?://|@import|url\((?!#)|<script|<link", loaded)
    text = unescape(raw)
    assert text.count("<figcaption>") == 4
    assert text.count('class="strip"') == 3
    for part in (
        "Person search on drawn/test",
        "How often a hit is wrong",
        "By camera of the query",
        "By pair of cameras",
        "The 3 worst of 8 queries",
        "frames within 10 of the query ignored",
        "In 8 scenes 8 people are annotated; blunt made 8 detections there.",
        "<dt>Seed</dt><dd>7</dd>",
        "never proof of an identity",
    ):
        assert part in text
    assert "Published curves" not in text  # not CUHK-SYSU


@pytest.mark.long
def test_published_curves_stand_in_a_report_on_cuhk_sysu(
    scenes: SceneSet, blunt: Predictions, tmp_path: Path
) -> None:
    named = replace(scenes, name="cuhk_sysu/test")
    curve = compute_gallery_curve(blunt, named, sizes=(4,))
    report = evaluate(blunt, named)
    write_evaluation_report(tmp_path / "r.html", report, blunt, named, by_size=curve, n_worst=0)
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Published curves" in text
    assert 'class="strip"' not in text


def test_a_report_without_detections_claims_none(
    scenes: SceneSet, blunt: Predictions, tmp_path: Path
) -> None:
    report = evaluate(blunt, scenes, score_threshold=0.999999)
    none = replace(report, detection=replace(report.detection, n_detections=0))
    write_evaluation_report(tmp_path / "r.html", none, blunt, scenes, name="deaf", n_worst=0)
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "8 people are annotated; deaf made 0 detections there." in text
    assert not re.search(r"finds \d", text)


def test_report_of_nothing_is_still_a_report(tmp_path: Path) -> None:
    nobody = SceneSet("empty", ())
    found = perfect(nobody, 1)
    write_evaluation_report(tmp_path / "r.html", evaluate(found, nobody), found, nobody)
    assert "Person search on empty" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_lost_picture_is_named_and_no_report_is_left(
    scenes: SceneSet, blunt: Predictions, tmp_path: Path
) -> None:
    scenes.scenes[0].path.unlink()
    with pytest.raises(MissingDataError, match=r"0\.png"):
        write_evaluation_report(tmp_path / "r.html", evaluate(blunt, scenes), blunt, scenes)
    assert not list(tmp_path.glob("r.html*"))


@pytest.mark.long
def test_the_public_evaluate_passes_its_figures_on(
    scenes: SceneSet, blunt: Predictions, tmp_path: Path
) -> None:
    save_predictions(blunt, tmp_path / "predictions.safetensors")
    evaluation = fdps.evaluate(tmp_path, scenes, gallery=5)
    report = evaluate(blunt, scenes, gallery=5)
    assert evaluation.json() == report.json()
    assert evaluation.search.mean_ap == report.search.mean_ap
    assert evaluation.detection.recall == 1
    record = json.loads(json.dumps(evaluation.record(), allow_nan=False))
    assert {"intervals", "breakdown", "wrong_hits", "options"} <= set(record)
    assert set(record["intervals"]) == {"mAP", "top1", "top5", "top10"}
    evaluation.csv(tmp_path / "queries.csv")
    assert (tmp_path / "queries.csv").read_text().count("\n") == 9
    evaluation.html(str(tmp_path / "r.html"), name="mine", n_worst=1)
    text = unescape((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "mine" in text
    assert "By pair of cameras" in text
    with pytest.raises(MissingDataError, match="no predictions file"):
        fdps.evaluate(tmp_path / "nowhere", scenes)
