"""A head on features that are computed once."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from fake.cards import write_card
from fake.runs import SignalAt, last_state, write_scenes
from fake.two_step import tiny_detector, two_step_recipe
from fdps.config import Recipe
from fdps.embedders import load
from fdps.embedders.info import describe
from fdps.engine.processes import Processes, connect
from fdps.engine.tasks import features
from fdps.engine.tasks.features import FeatureTask
from fdps.engine.tasks.kept import name_of, picture_digest
from fdps.engine.train import train
from fdps.errors import ConfigError, ModelError
from fdps.models.reid import build_reid
from fdps.pictures import read_picture
from fdps.structures import SceneSet


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture
def scenes(tmp_path: Path) -> SceneSet:
    return write_scenes(tmp_path / "data")


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_detector(tmp_path_factory.mktemp("detector"))


def kept_recipe(detector: Path, **change: object) -> Recipe:
    return two_step_recipe(detector, features="kept", **change)


def kept_files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.glob("cache/features-*/*.safetensors")}


def assert_same(one: Path, other: Path) -> None:
    ours, theirs = last_state(one), last_state(other)
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []


@pytest.mark.long
def test_the_second_run_looks_at_no_picture_and_ends_with_the_same_bits(
    scenes: SceneSet, detector: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(kept_recipe(detector), scenes, tmp_path / "one")
    assert len(kept_files(tmp_path)) == len(scenes)
    monkeypatch.setattr(features, "read_picture", None)
    train(kept_recipe(detector), scenes, tmp_path / "two")
    assert_same(tmp_path / "one", tmp_path / "two")


@pytest.mark.long
def test_features_come_out_the_same_however_they_were_begun(
    scenes: SceneSet, detector: Path, tmp_path: Path
) -> None:
    train(kept_recipe(detector), scenes, tmp_path / "whole" / "run")
    few = SceneSet(scenes.name, scenes.scenes[3:])
    train(kept_recipe(detector), few, tmp_path / "parts" / "few")
    train(kept_recipe(detector), scenes, tmp_path / "parts" / "run")
    assert kept_files(tmp_path / "whole") == kept_files(tmp_path / "parts")
    assert_same(tmp_path / "whole" / "run", tmp_path / "parts" / "run")


@pytest.mark.long
def test_annotated_people_are_kept_whether_or_not_detections_are_learnt_from(
    scenes: SceneSet, detector: Path, tmp_path: Path
) -> None:
    train(kept_recipe(detector, epochs=1), scenes, tmp_path / "one")
    before = kept_files(tmp_path)
    recipe = kept_recipe(detector, epochs=1, boxes="both", match_iou=0.01)
    train(recipe, scenes, tmp_path / "two")
    after = kept_files(tmp_path)
    assert before.items() < after.items()
    task = FeatureTask(recipe, recipe.model, scenes)  # type: ignore[arg-type]
    task.prepare(tmp_path / "three", Processes(connect(recipe.train)), lambda line: None)
    features, crops = task.dataset().features, task.crops  # type: ignore[attr-defined]
    torch.manual_seed(recipe.train.seed)
    net = task.searcher(task.build(has_weights=False)[0].eval(), "")
    for row in range(len(crops)):  # each belongs to its crop
        image = read_picture(crops.scenes[int(crops.scene[row])].path)
        alone = net.embed(image, crops.boxes[row : row + 1])
        kept = net.describer.network.embed(features[row : row + 1, 0])  # type: ignore[attr-defined]
        assert np.abs(kept.numpy() - alone).max() < 1e-4


@pytest.mark.long
def test_a_changed_picture_or_box_is_noticed(
    scenes: SceneSet, detector: Path, tmp_path: Path
) -> None:
    recipe = kept_recipe(detector, epochs=1)
    train(recipe, scenes, tmp_path / "one")
    first = scenes.scenes[0]
    Image.fromarray(255 - read_picture(first.path)).save(first.path)
    train(recipe, scenes, tmp_path / "two")
    assert len(kept_files(tmp_path)) == len(scenes) + 1
    moved = replace(scenes.scenes[1], boxes=scenes.scenes[1].boxes + np.float32(1))
    other = SceneSet(scenes.name, (first, moved, *scenes.scenes[2:]))
    train(recipe, other, tmp_path / "three")
    assert len(kept_files(tmp_path)) == len(scenes) + 2


@pytest.mark.long
@pytest.mark.parametrize(
    "change", [{"crop_size": (96, 32)}, {"pooling": "max"}, {"flip": 0.0}, {"seed": 7}]
)
def test_other_crops_and_other_weights_are_computed_anew(
    change: dict[str, object], scenes: SceneSet, detector: Path, tmp_path: Path
) -> None:
    train(kept_recipe(detector, epochs=1), scenes, tmp_path / "one")
    train(kept_recipe(detector, epochs=1, **change), scenes, tmp_path / "two")
    assert len([*tmp_path.glob("cache/features-*")]) == 2


@pytest.mark.long
def test_a_cache_of_other_weights_is_refused_by_name(
    scenes: SceneSet, detector: Path, tmp_path: Path
) -> None:
    train(kept_recipe(detector, epochs=1), scenes, tmp_path / "one")
    (ours,) = tmp_path.glob("cache/features-*")
    train(kept_recipe(detector, epochs=1, seed=7), scenes, tmp_path / "other" / "two")
    (theirs,) = tmp_path.glob("other/cache/features-*")
    shutil.rmtree(ours)
    shutil.copytree(theirs, ours)
    with pytest.raises(ModelError, match=r"was made with network .*, expected ") as caught:
        train(kept_recipe(detector, epochs=1), scenes, tmp_path / "three")
    assert str(ours) in str(caught.value)


@pytest.mark.long
def test_the_head_learns_and_the_backbone_stays(
    scenes: SceneSet, detector: Path, tmp_path: Path
) -> None:
    recipe = kept_recipe(detector)
    train(recipe, scenes, tmp_path / "run")
    torch.manual_seed(recipe.train.seed)
    begun = build_reid(recipe.model, recipe.loss, 2)[0].state_dict()  # type: ignore[arg-type]
    weights = load_file(tmp_path / "run" / "weights.safetensors")
    frozen = [name for name in weights if name.startswith(("backbone.", "region_head."))]
    assert frozen
    assert all(torch.equal(weights[name], begun[name]) for name in frozen)
    head = "embedding.projections.0.weight"
    assert not torch.equal(weights[head], begun[head])


@pytest.mark.long
def test_what_was_learnt_on_features_embeds_pictures(
    scenes: SceneSet, detector: Path, tmp_path: Path
) -> None:
    train(kept_recipe(detector), scenes, tmp_path / "run")
    model, scene = load(tmp_path / "run"), scenes.scenes[0]
    rows = model.embed(read_picture(scene.path), scene.boxes)
    net = model.describer.network  # type: ignore[attr-defined]
    name = name_of(picture_digest(scene), scene.boxes.tobytes())
    (file,) = tmp_path.glob(f"cache/features-*/{name}.safetensors")
    kept = load_file(file)["features"]
    assert kept.shape[:2] == (len(scene.boxes), 2)  # the crop and its mirror image
    assert np.abs(net.embed(kept[:, 0]).numpy() - rows).max() < 1e-5


@pytest.mark.long
def test_a_stopped_run_ends_as_one_that_never_stopped(
    scenes: SceneSet, detector: Path, tmp_path: Path
) -> None:
    train(kept_recipe(detector), scenes, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(kept_recipe(detector), scenes, tmp_path / "run", stream=SignalAt(4))
    train(kept_recipe(detector), scenes, tmp_path / "run")
    assert_same(tmp_path / "whole", tmp_path / "run")


@pytest.mark.parametrize("name", ["erase", "colour_jitter", "start_from"])
def test_what_would_change_crops_or_weights_is_refused(name: str, detector: Path) -> None:
    value = "x" if name == "start_from" else 0.2
    with pytest.raises(ConfigError, match=rf"train\.{name} is .*, but model\.features is 'kept'"):
        kept_recipe(detector, **{name: value})


# --- a head on a re-ID network that stays outside


@pytest.fixture
def card(shared_data: Path, tmp_path: Path) -> Path:
    return write_card(tmp_path / "base.toml", shared_data / "models")


@pytest.mark.long
def test_a_head_on_a_re_id_file_is_a_whole_model(
    card: Path, scenes: SceneSet, detector: Path, tmp_path: Path
) -> None:
    recipe = kept_recipe(detector, backbone=f"card:{card}")
    train(recipe, scenes, tmp_path / "runs" / "run")
    run = Path(shutil.move(tmp_path / "runs" / "run", tmp_path / "moved"))
    assert (run / "features.onnx").is_file()
    model, scene = load(run), scenes.scenes[0]
    assert describe(run).model_hash == model.model_hash
    rows = model.embed(read_picture(scene.path), scene.boxes)
    assert rows.shape == (len(scene.boxes), 16)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(len(rows)), abs=1e-5)
    assert model.detect(read_picture(scene.path)).embeddings.shape == (3, 16)
    (run / "features.onnx").write_bytes(b"other")
    with pytest.raises(ModelError, match=r"features\.onnx has the SHA-256"):
        load(run)


@pytest.mark.long
def test_a_head_on_a_network_of_another_length_is_refused(
    card: Path, scenes: SceneSet, detector: Path, tmp_path: Path
) -> None:
    train(kept_recipe(detector), scenes, tmp_path / "run")
    text = card.read_text()
    start = text.index("[reid]")
    weights = tmp_path / "run" / "weights.safetensors"
    inner = text[start:].replace("[reid]", "[reid.on]").partition("[metrics]")[0]
    mixed = tmp_path / "mixed.toml"
    mixed.write_text(f'{text[:start]}[reid]\nkind = "head"\nfile = "{weights}"\n{inner}')
    with pytest.raises(ModelError, match="tensors do not fit"):
        load(mixed)
