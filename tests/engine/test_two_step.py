"""Two steps: a network on crops is trained behind a detector, by the loop of every training."""

import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fake.cards import write_card
from fake.runs import SignalAt, last_state, write_scenes
from fake.two_step import tiny_detector, tiny_pair_detector, two_step_recipe
from fdps.config import LossConfig, ModelConfig, Recipe, TrainConfig, TwoStepConfig, load_recipe
from fdps.embedders import find_model, licence_of, load
from fdps.embedders.info import describe
from fdps.engine.processes import Processes, connect
from fdps.engine.tasks import detected
from fdps.engine.tasks.crops import CropTask
from fdps.engine.train import train
from fdps.errors import ConfigError, FdpsError, MissingDataError, ModelError, UsageError
from fdps.pictures import read_picture
from fdps.runtime.card import read_card
from fdps.runtime.guided import Guidance, GuidedTwoStep, PairGuidedTwoStep
from fdps.runtime.two_step import TwoStep
from fdps.searcher import PairSearcher
from fdps.searcher import load as load_network
from fdps.structures import BACKGROUND_ID, SceneSet


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> SceneSet:
    return write_scenes(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_detector(tmp_path_factory.mktemp("detector"))


@pytest.fixture(scope="module")
def whole(scenes: SceneSet, detector: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("whole") / "runs" / "tiny"
    train(two_step_recipe(detector), scenes, run)
    return run


def picture(scenes: SceneSet) -> np.ndarray:
    return read_picture(scenes.scenes[0].path)


def log(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


# --- what a run leaves


def test_a_run_folder_has_the_card_and_the_detector_beside_the_weights(
    whole: Path, detector: Path
) -> None:
    names = {path.name for path in whole.iterdir()}
    assert {"card.toml", "detector.safetensors", "weights.safetensors", "recipe.toml"} <= names
    assert (whole / "detector.safetensors").read_bytes() == detector.read_bytes()
    assert load_recipe(whole / "recipe.toml") == two_step_recipe(detector)


def test_the_log_names_every_loss(whole: Path) -> None:
    records = log(whole)
    assert [record["step"] for record in records] == [*range(1, 7)]  # 18 crops, 8 a step, 2 epochs
    for record in records:
        assert {"reid", "identity", "triplet", "oim", "grad_trunk", "grad_heads"} <= record.keys()
        assert "rpn_score" not in record


def test_a_run_is_a_model_like_any_other(whole: Path, scenes: SceneSet) -> None:
    model = load(whole)
    assert isinstance(model, TwoStep)
    found = model.detect(picture(scenes))
    assert len(found) == 3
    assert found.embeddings.shape == (3, 16)
    assert np.linalg.norm(found.embeddings, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    again = model.embed(picture(scenes), found.boxes)
    assert np.abs(again - found.embeddings).max() < 1e-5
    info = describe(whole)
    assert (info.kind, info.model_hash) == ("two_step", model.model_hash)


def test_its_weights_alone_mean_the_whole_model(whole: Path) -> None:
    assert find_model(whole / "weights.safetensors") == whole / "card.toml"
    assert load(whole / "weights.safetensors").model_hash == load(whole).model_hash


def test_a_run_may_move_and_lose_its_detector_elsewhere(
    whole: Path, scenes: SceneSet, tmp_path: Path
) -> None:
    moved = Path(shutil.copytree(whole, tmp_path / "moved"))
    assert load(moved).model_hash == load(whole).model_hash
    (moved / "detector.safetensors").unlink()
    with pytest.raises(MissingDataError, match=r"no network at .*moved/detector\.safetensors"):
        load(moved)


def test_the_memory_and_the_classifier_stay_in_the_checkpoint(whole: Path) -> None:
    from safetensors.torch import load_file

    names = load_file(whole / "weights.safetensors").keys()
    assert not [name for name in names if "classifier" in name or "memory" in name]
    assert "model/classifier.weight" in last_state(whole)


def test_the_licence_is_that_of_both_parts(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert licence_of(whole / "card.toml") == "unknown"
    monkeypatch.setenv("FDPS_ALLOWED_LICENSES", "MIT")
    with pytest.raises(ModelError, match="licence 'unknown' is not allowed"):
        load(whole)


@pytest.mark.long
def test_everything_that_is_to_learn_does(whole: Path, scenes: SceneSet, detector: Path) -> None:
    recipe = two_step_recipe(detector)
    run = whole.parent / "still"
    recipe = replace(recipe, train=replace(recipe.train, lr=1e-12, weight_decay=0.0))
    train(recipe, scenes, run)
    still, moved = last_state(run), last_state(whole)
    names = [k for k in moved if k.startswith("model/") and moved[k].is_floating_point()]
    same = {k for k in names if torch.equal(still[k], moved[k])}
    assert all("backbone.stages.0" in name or "running" in name for name in same), same
    assert not torch.equal(
        still["model/embedding.projections.0.weight"], moved["model/embedding.projections.0.weight"]
    )


# --- stopped and continued


@pytest.mark.long
@pytest.mark.parametrize(("after", "boxes"), [(2, "annotated"), (4, "both")])
def test_a_stopped_run_ends_as_one_that_never_stopped(
    after: int, boxes: str, scenes: SceneSet, detector: Path, tmp_path: Path
) -> None:
    recipe = two_step_recipe(detector, boxes=boxes, match_iou=0.01)
    train(recipe, scenes, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(recipe, scenes, tmp_path / "run", stream=SignalAt(after))
    train(recipe, scenes, tmp_path / "run")
    ours, theirs = last_state(tmp_path / "run"), last_state(tmp_path / "whole")
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []
    weights = [(tmp_path / k / "weights.safetensors").read_bytes() for k in ("run", "whole")]
    assert weights[0] == weights[1]


def test_other_crops_do_not_continue_a_run(
    whole: Path, scenes: SceneSet, detector: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    with pytest.raises(UsageError, match=r"another recipe: model\.boxes is 'both' here"):
        train(two_step_recipe(detector, boxes="both"), scenes, run)
    (first, *rest) = scenes.scenes
    shifted = replace(first, boxes=first.boxes + np.float32(1))
    with pytest.raises(UsageError, match="other data"):
        train(two_step_recipe(detector), SceneSet(scenes.name, (shifted, *rest)), run)


# --- detected boxes


@pytest.mark.long
def test_what_was_detected_is_not_detected_again(
    scenes: SceneSet, detector: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = two_step_recipe(detector, boxes="both", match_iou=0.01, epochs=1)
    train(recipe, scenes, tmp_path / "one")
    kept = [*tmp_path.glob("cache/detected-*/*.safetensors")]
    assert len(kept) == 1
    monkeypatch.setattr(detected, "read_picture", None)  # which looking would need
    train(recipe, scenes, tmp_path / "two")
    states = [last_state(tmp_path / name) for name in ("one", "two")]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_detections_that_show_nobody_teach_nothing(
    scenes: SceneSet, detector: Path, tmp_path: Path
) -> None:
    recipe = two_step_recipe(detector, boxes="detected", match_iou=1.0)
    with pytest.raises(FdpsError, match="finds nobody who is annotated") as caught:
        train(recipe, scenes, tmp_path / "run")
    assert "model.match_iou" in caught.value.hint


# --- any detector with any re-ID network


@pytest.fixture(scope="module")
def onnx(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_card(tmp_path_factory.mktemp("card") / "base.toml", shared_data / "models")


@pytest.mark.long
def test_the_detector_of_a_card_may_be_behind_a_network_of_ours(
    onnx: Path, scenes: SceneSet, tmp_path: Path
) -> None:
    train(two_step_recipe(onnx, epochs=1, detector_score=0.05), scenes, tmp_path / "run")
    assert (tmp_path / "run" / "detector.onnx").is_file()
    model = load(tmp_path / "run")
    assert isinstance(model, TwoStep)
    assert model.min_score == 0.05
    boxes = scenes.scenes[0].boxes
    assert model.embed(picture(scenes), boxes).shape == (len(boxes), 16)


@pytest.mark.long
def test_our_detector_may_stand_before_a_re_id_file(
    onnx: Path, detector: Path, scenes: SceneSet
) -> None:
    text = onnx.read_text()
    start, end = text.index("[detector]"), text.index("[reid]")
    ours = f'[detector]\nkind = "network"\nfile = "{detector}"\n\n'
    card = onnx.with_name("mixed.toml")
    card.write_text(text[:start] + ours + text[end:])
    model = load(card)
    found = model.detect(picture(scenes))
    plain = load_network(detector).detect(picture(scenes))
    assert np.array_equal(found.boxes, plain.boxes)
    assert np.array_equal(found.scores, plain.scores)
    assert found.embeddings.shape == (3, 256)
    assert len(load(card, min_score=0.999).detect(picture(scenes))) == 0


# --- systems of the literature


@pytest.mark.long
def test_clsa_trains_and_searches(scenes: SceneSet, detector: Path, tmp_path: Path) -> None:
    recipe = two_step_recipe(
        detector, system="clsa", options={"channels": 8}, embedding_dim=12, epochs=1
    )
    train(recipe, scenes, tmp_path / "run")
    assert all(record["alignment"] >= 0 for record in log(tmp_path / "run"))
    assert load(tmp_path / "run").detect(picture(scenes)).embeddings.shape == (3, 12)


@pytest.mark.long
def test_rdlr_trains_on_both_kinds_of_boxes_and_searches(
    scenes: SceneSet, detector: Path, tmp_path: Path
) -> None:
    recipe = two_step_recipe(
        detector, system="rdlr", options={"largest_move": 0.3}, boxes="both", epochs=1
    )
    train(recipe, scenes, tmp_path / "run")
    assert all(record["proxy"] >= 0 for record in log(tmp_path / "run"))
    loaded = load(tmp_path / "run")
    assert loaded.detect(picture(scenes)).embeddings.shape == (3, recipe.model.embedding_dim)
    # People of one colour look alike through any window: what moves it, test_rdlr.py tells.


@pytest.mark.long
def test_tcts_is_pairwise_and_keeps_who_looks_like_the_query(
    scenes: SceneSet, detector: Path, tmp_path: Path
) -> None:
    recipe = two_step_recipe(
        detector, system="tcts", options={"least_likeness": 0.9}, boxes="both", epochs=1
    )
    train(recipe, scenes, tmp_path / "run")
    model = load(tmp_path / "run")
    assert isinstance(model, GuidedTwoStep)
    assert describe(tmp_path / "run").model_hash == model.model_hash
    image = picture(scenes)
    found = model.detect(image)
    assert len(found) == 3  # without a query it is the plain pair
    pair = model.compare(model.sought(image, found.boxes[0]), model.begun(image))
    own = load_network(detector).detect(image).embeddings
    kept = own @ load_network(detector).embed(image, found.boxes[:1])[0] >= 0.9
    assert np.array_equal(pair.boxes, found.boxes[kept])


@pytest.mark.long
def test_igpn_lets_its_detector_look_for_the_query(scenes: SceneSet, tmp_path: Path) -> None:
    weights = tiny_pair_detector(tmp_path)
    recipe = two_step_recipe(weights, system="igpn", options={"least_likeness": 0.5}, epochs=1)
    train(recipe, scenes, run := tmp_path / "run")
    model = load(run)
    assert isinstance(model, PairGuidedTwoStep)
    assert read_card(run / "card.toml").guidance == Guidance(0.5, "pairs")
    assert describe(run).model_hash == model.model_hash
    image, other = picture(scenes), read_picture(scenes.scenes[1].path)
    box = scenes.scenes[0].boxes[0]
    found = model.compare(model.sought(image, box), model.begun(other))
    looker = load_network(weights)
    assert isinstance(looker, PairSearcher)
    wanted = looker.compare(looker.sought(image, box), looker.begun(other))
    kept = wanted.similarities >= 0.5
    assert np.array_equal(found.boxes, wanted.boxes[kept])
    assert len(wanted) > 0
    own = model.embed(image, box[None])[0]
    alike = [float(row @ own) for row in model.embed(other, wanted.boxes[kept])]
    assert found.similarities == pytest.approx(alike, abs=1e-5)


def test_igpn_needs_a_detector_that_looks_at_pairs(
    scenes: SceneSet, detector: Path, onnx: Path, tmp_path: Path
) -> None:
    for finds in (detector, onnx):
        with pytest.raises(ConfigError, match=r"sees each picture alone") as refused:
            train(two_step_recipe(finds, system="igpn"), scenes, tmp_path / "run")
        assert str(finds) in str(refused.value)
        assert "igpn_detector" in refused.value.hint


def test_tcts_learns_from_what_shows_nobody(
    scenes: SceneSet, detector: Path, tmp_path: Path
) -> None:
    for name, boxes in (("annotated", "annotated"), ("both", "both")):
        recipe = two_step_recipe(detector, system="tcts", boxes=boxes, match_iou=0.9, epochs=1)
        task = CropTask(recipe, recipe.model, scenes)  # type: ignore[arg-type]
        task.prepare(tmp_path / name, Processes(connect(recipe.train)), lambda line: None)
        has_nobody = bool((task.crops.person_ids == BACKGROUND_ID).any())
        assert has_nobody == (boxes == "both")


@pytest.mark.long
def test_tcts_needs_a_detector_that_tells_people_apart(
    onnx: Path, scenes: SceneSet, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="asks the detector whom people look like"):
        train(two_step_recipe(onnx, system="tcts"), scenes, tmp_path / "run")
    card = tmp_path / "card.toml"
    card.write_text(onnx.read_text().replace("[metrics]", "[guidance]\n\n[metrics]", 1))
    with pytest.raises(ModelError, match="asks the detector whom people look like"):
        load(card)


# --- people of a pixel


@pytest.mark.long
@pytest.mark.parametrize(("side", "system"), [(1.0, "plain"), (0.2, "rdlr"), (1.0, "tcts")])
def test_crops_of_a_pixel_are_learnt_from_and_told_of(
    side: float, system: str, scenes: SceneSet, detector: Path, tmp_path: Path
) -> None:
    first = scenes.scenes[0]
    corner = np.array([[95.5, 71.5], [10, 5], [40, 70]], np.float32)
    small = replace(first, boxes=np.concatenate([corner, corner + np.float32(side)], axis=1))
    some = SceneSet("small", (small, *scenes.scenes[1:]))
    boxes = "annotated" if system == "plain" else "both"
    recipe = two_step_recipe(detector, system=system, boxes=boxes, epochs=1)
    train(recipe, some, tmp_path / "run", stream=(said := io.StringIO()))
    assert "Small   3 of 18 people are less than 4 pixels wide or high" in said.getvalue()
    assert str(first.path) in said.getvalue()
    for record in log(tmp_path / "run"):
        assert np.isfinite([v for v in record.values() if isinstance(v, float)]).all()
    rows = load(tmp_path / "run").embed(read_picture(first.path), small.boxes[1:])
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(2), abs=1e-5)


# --- what cannot be


def changed(recipe: Recipe, **sections: dict[str, Any]) -> Recipe:
    return replace(
        recipe,
        **{name: replace(getattr(recipe, name), **values) for name, values in sections.items()},
    )


def test_a_detector_that_is_not_there(scenes: SceneSet, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"no weights at .*nothing\.safetensors"):
        train(two_step_recipe(tmp_path / "nothing.safetensors"), scenes, tmp_path / "run")


def test_a_re_id_network_finds_nobody(whole: Path, scenes: SceneSet, tmp_path: Path) -> None:
    half = tmp_path / "half.safetensors"
    shutil.copyfile(whole / "weights.safetensors", half)
    with pytest.raises(ModelError, match="second half of a two-step model") as caught:
        train(two_step_recipe(half), scenes, tmp_path / "run")
    assert str(half) in str(caught.value)


def test_a_network_that_finds_people_is_none_on_crops(
    onnx: Path, detector: Path, tmp_path: Path
) -> None:
    text = onnx.read_text()
    card = tmp_path / "card.toml"
    card.write_text(
        f'{text[: text.index("[reid]")]}[reid]\nkind = "network"\nfile = "{detector}"\n'
    )
    with pytest.raises(ModelError, match="expected one that embeds people") as caught:
        load(card)
    assert str(detector) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("size = [416, 416]", "size = [416, 416]\nperson_class = 90"), "class 90 a person"),
        (("size = [416, 416]", "size = [320, 320]"), r"its input is .*416.*, not \[320, 320\]"),
    ],
)
def test_a_detector_without_people_and_of_another_size(
    change: tuple[str, str], words: str, onnx: Path, scenes: SceneSet, tmp_path: Path
) -> None:
    card = tmp_path / "card.toml"
    card.write_text(onnx.read_text().replace(*change, 1))
    with pytest.raises(ModelError, match=words) as caught:
        train(two_step_recipe(card), scenes, tmp_path / "run")
    assert "yolox_nano.onnx" in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_a_re_id_network_of_another_input_size(onnx: Path, tmp_path: Path) -> None:
    card = tmp_path / "card.toml"
    card.write_text(onnx.read_text().replace("size = [256, 128]", "size = [128, 64]", 1))
    with pytest.raises(ModelError, match=r"its input is .*256.*, not \[128, 64\]") as caught:
        load(card)
    assert "person_reid_retail_0248.onnx" in str(caught.value)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"detector": ""}, "model.detector must name what finds people"),
        ({"crop_size": (100, 64)}, r"model.crop_size must be multiples of 32, got \[100, 64\]"),
        ({"crop_size": (0, 32)}, "model.crop_size must be at least 32"),
        ({"backbone": "resnet5"}, "model.backbone must be one of"),
        ({"backbone": "card:a.toml"}, "whose network is not trained"),
        ({"system": "plane"}, "model.system must be one of plain, clsa, rdlr, igpn, tcts"),
        ({"match_iou": 0.0}, "model.match_iou must be above 0"),
        ({"detector_score": 1.5}, "model.detector_score must be in 0..1"),
    ],
)
def test_settings_that_make_no_sense(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        TwoStepConfig(**{"detector": "x", **values})


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (lambda: Recipe(loss=LossConfig(triplet_weight=1.0)), "loss.triplet_weight is 1.0, which"),
        (
            lambda: Recipe(model=TwoStepConfig(detector="x"), train=TrainConfig(mosaic=0.5)),
            "train.mosaic is 0.5, which is not for model.kind = 'two_step'",
        ),
        (lambda: TrainConfig(sampling="people", batch_size=6), "a multiple of train.per_person"),
    ],
)
def test_what_belongs_to_the_other_kind(recipe: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        recipe()


def test_the_kind_chooses_the_section(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text('[model]\nkind = "two_step"\ndetector = "runs/x"\ncrop_size = [128, 64]\n')
    assert load_recipe(file).model == TwoStepConfig(detector="runs/x", crop_size=(128, 64))
    file.write_text('[model]\nkind = "two_step"\n')
    with pytest.raises(ConfigError, match=r"recipe key model\.detector is missing"):
        load_recipe(file)
    file.write_text('[model]\nkind = "two_steps"\n')
    with pytest.raises(
        ConfigError, match=r"must be one of 'one_step', 'two_step', got 'two_steps'"
    ):
        load_recipe(file)
    file.write_text("[model]\nshort_side = [64]\n")
    assert isinstance(load_recipe(file).model, ModelConfig)
