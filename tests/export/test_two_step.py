"""A two-step model in files that need no torch."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from fake.cards import write_card
from fake.runs import write_scenes
from fake.two_step import tiny_detector, two_step_recipe
from fdps.embedders import load
from fdps.engine.train import train
from fdps.errors import UsageError
from fdps.export.folder import ExportOptions
from fdps.export.two_step import export_two_step
from fdps.pictures import read_picture
from fdps.structures import SceneSet

pytest.importorskip("onnx")
ONNX = ExportOptions(runtime="onnx")


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
def run(scenes: SceneSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train(two_step_recipe(tiny_detector(folder), epochs=1), scenes, folder / "run")
    return folder / "run"


def pictures(scenes: SceneSet) -> list[np.ndarray]:
    return [read_picture(scene.path) for scene in scenes.scenes[:2]]


def boxes(scenes: SceneSet) -> list[np.ndarray]:
    return [scene.boxes for scene in scenes.scenes[:2]]


@pytest.mark.long
def test_both_halves_say_what_they_say_in_pytorch(
    run: Path, scenes: SceneSet, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    parity = export_two_step(run / "card.toml", out, ONNX, pictures(scenes), boxes(scenes))
    assert parity.holds
    assert parity.least_cosine > 0.99999
    assert {path.name for path in out.iterdir()} == {"card.toml", "reid.onnx", "detector"}
    ours, theirs = (load(each).detect(pictures(scenes)[0]) for each in (out, run))
    assert np.abs(ours.boxes - theirs.boxes).max() < 0.01
    assert (ours.embeddings * theirs.embeddings).sum(axis=1) == pytest.approx(np.ones(3), abs=1e-5)


@pytest.mark.long
def test_a_window_that_follows_the_crop_is_exported(scenes: SceneSet, tmp_path: Path) -> None:
    recipe = two_step_recipe(tiny_detector(tmp_path), system="rdlr", epochs=1)
    train(recipe, scenes, tmp_path / "run")
    card = tmp_path / "run" / "card.toml"
    parity = export_two_step(card, tmp_path / "out", ONNX, pictures(scenes), boxes(scenes))
    assert parity.least_cosine > 0.9999


@pytest.mark.long
def test_the_export_needs_no_torch(run: Path, scenes: SceneSet, tmp_path: Path) -> None:
    export_two_step(run / "card.toml", tmp_path / "out", ONNX, pictures(scenes))
    code = (
        "import sys; sys.modules['torch'] = None; from fdps.embedders import load; "
        f"print(len(load({str(tmp_path / 'out')!r}).detect({str(scenes.scenes[0].path)!r})))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "3\n"), ended.stderr


@pytest.mark.long
def test_an_export_is_replaced_and_nothing_else_is(
    run: Path, scenes: SceneSet, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for _ in range(2):
        export_two_step(run / "card.toml", out, ONNX, pictures(scenes))
    (out / "card.toml").unlink()
    with pytest.raises(UsageError, match="is there already, and is no export"):
        export_two_step(run / "card.toml", out, ONNX, pictures(scenes))


@pytest.mark.long
def test_the_detector_of_a_card_goes_along(
    shared_data: Path, scenes: SceneSet, tmp_path: Path
) -> None:
    card = write_card(tmp_path / "base.toml", shared_data / "models")
    train(two_step_recipe(card, epochs=1), scenes, tmp_path / "run")
    out = tmp_path / "out"
    parity = export_two_step(
        tmp_path / "run" / "card.toml", out, ONNX, pictures(scenes), boxes(scenes)
    )
    assert parity.least_cosine > 0.99999
    assert (out / "detector.onnx").is_file()


def test_what_cannot_be_exported(
    shared_data: Path, run: Path, scenes: SceneSet, tmp_path: Path
) -> None:
    card = write_card(tmp_path / "base.toml", shared_data / "models")
    with pytest.raises(UsageError, match="no network on crops that fdps has trained"):
        export_two_step(card, tmp_path / "out", ONNX, pictures(scenes))
    with pytest.raises(UsageError, match="to ONNX in float32 alone"):
        export_two_step(
            run / "card.toml",
            tmp_path / "out",
            ExportOptions(runtime="openvino"),
            pictures(scenes),
        )
    assert not (tmp_path / "out").exists()
