from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fake.commands import CallAt, interrupt, read_all, train
from fake.runs import tiny_recipe, write_scenes
from fdps.cli.main import main
from fdps.cli.train import run_watch
from fdps.cli.train.run_watch import RunWatch, watched
from fdps.cli.train.samples import SampleSheets
from fdps.config import Recipe, to_toml
from fdps.models import build_model
from fdps.searcher import PersonSearcher
from fdps.structures import SceneSet

pytestmark = pytest.mark.usefixtures("one_thread")


def page_of(run: Path) -> str:
    return (run / "index.html").read_text()


# --- the page says where the run stands


@pytest.mark.long
def test_the_page_follows_a_run_to_its_end(recipe: Path, tmp_path: Path) -> None:
    run, pages = tmp_path / "run", []
    with redirect_stderr(CallAt(4, lambda: pages.append(page_of(run)))):
        assert train(recipe, run) == 0
    (during,) = pages
    assert "<title>run: running</title>" in during
    assert 'http-equiv="refresh"' in during
    assert "3 of 6" in during  # as of the end of the first epoch
    after = page_of(run)
    assert "<title>run: finished</title>" in after
    assert 'http-equiv="refresh"' not in after
    assert "6 of 6" in after


@pytest.mark.long
def test_the_page_says_stopped_until_the_run_goes_on(recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    interrupt(recipe, run, at=2)
    assert "<title>run: stopped</title>" in page_of(run)
    assert 'http-equiv="refresh"' not in page_of(run)
    assert "2 of 6" in page_of(run)
    assert main(["resume", str(run), "--quiet"]) == 0
    assert "<title>run: finished</title>" in page_of(run)


@pytest.mark.long
def test_the_page_says_stopped_after_an_error(tmp_path: Path) -> None:
    write_scenes(tmp_path / "data")
    picture = tmp_path / "data" / "images" / "0003.jpg"
    picture.write_bytes(picture.read_bytes()[:700])  # the header is whole, the body is not
    (tmp_path / "tiny.toml").write_text(to_toml(tiny_recipe(tmp_path / "data")))
    assert train(tmp_path / "tiny.toml", tmp_path / "run", "--quiet") == 3
    assert "<title>run: stopped</title>" in page_of(tmp_path / "run")


@pytest.mark.long
def test_quiet_is_quiet_on_the_stream_alone(recipe: Path, tmp_path: Path) -> None:
    assert train(recipe, tmp_path / "run", "--set", "train.epochs=1", "--quiet") == 0
    assert "3 of 3" in page_of(tmp_path / "run")


@pytest.mark.parametrize(
    ("setting", "code"),
    [
        ("model.backbone_weights=gone.safetensors", 3),  # found out when the network is built
        ("model.norm=sync", 2),  # with micro-batches that are too small for it
    ],
)
def test_an_error_before_the_start_leaves_no_page(
    setting: str, code: int, recipe: Path, tmp_path: Path
) -> None:
    options = ["--set", setting, "--set", "train.batch_size=4", "--set", "train.accumulate=3"]
    assert train(recipe, tmp_path / "run", *options) == code
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_a_refused_run_keeps_its_page(recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    interrupt(recipe, run, at=1)
    before = read_all(run)
    assert train(recipe, run, "--set", "train.lr=0.5") == 2
    assert read_all(run) == before


def test_a_page_is_written_while_an_epoch_lasts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def follow(watch: RunWatch, step: int) -> str:
        record = {"step": step, "epoch": step / 9, "seconds": float(step), "box": 0.5}
        (tmp_path / "log.jsonl").write_text(str(record).replace("'", '"') + "\n")
        watch.step(record)
        return page_of(tmp_path)

    with watched(tmp_path) as watch:
        watch.begin(0, 9)
        first = page_of(tmp_path)
        assert "0 of 9" in first
        assert follow(watch, 1) == first  # one was written a moment ago
        monkeypatch.setattr(run_watch, "_PAGE_EVERY_S", 0.0)
        assert "2 of 9" in follow(watch, 2)
    assert "<title>" + tmp_path.name + ": stopped</title>" in page_of(tmp_path)


def test_who_was_never_told_to_begin_writes_nothing(tmp_path: Path) -> None:
    with watched(tmp_path / "run"):
        pass
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_all_values_become_scalars_over_all_sessions(recipe: Path, tmp_path: Path) -> None:
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = tmp_path / "run"
    interrupt(recipe, run, at=2)
    assert main(["resume", str(run), "--quiet"]) == 0
    events = reading.EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    steps = {tag: [e.step for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert steps["train/reid"] == [1, 2, 3, 4, 5, 6]
    assert steps["epoch/reid"] == [3, 6]


# --- what is drawn after every epoch


@pytest.mark.long
def test_a_sheet_is_drawn_after_every_epoch(recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert train(recipe, run, "--quiet") == 0
    assert sorted(path.name for path in (run / "samples").iterdir()) == ["e001.jpg", "e002.jpg"]
    assert '<img src="samples/e002.jpg"' in page_of(run)
    assert '<a href="samples/e001.jpg">' in page_of(run)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> SceneSet:
    return write_scenes(tmp_path_factory.mktemp("data"), n_scenes=9)


def look(recipe: Recipe, run: Path, shown: SceneSet) -> np.ndarray:
    """The sheet that is drawn."""
    torch.manual_seed(1)
    net = build_model(recipe.model).eval()
    assert SampleSheets(run, shown)(PersonSearcher(net, "epoch 7"), 7) == {}
    return np.asarray(Image.open(run / "samples" / "e007.jpg"))


def test_few_scenes_are_drawn_from_all_over_the_set(scenes: SceneSet, tmp_path: Path) -> None:
    rows = {0, 1, 3, 4, 6, 7}  # six of nine
    mixed = [
        scene if row in rows else replace(scene, path=Path("gone.jpg"))
        for row, scene in enumerate(scenes.scenes)
    ]
    whole = look(tiny_recipe(), tmp_path / "a", SceneSet("mixed", tuple(mixed)))
    single = look(tiny_recipe(), tmp_path / "b", SceneSet("one", scenes.scenes[:1]))
    assert single.size < whole.size  # it stands there once
