import io
import json
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fake.runs import SignalAt, last_state, rewrite_checkpoint, tiny_recipe, write_scenes
from fdps.config import LossConfig, Recipe, load_recipe
from fdps.devices import bf16_instructions
from fdps.engine.step import weighted_sum
from fdps.engine.train import train
from fdps.errors import (
    AnnotationError,
    FdpsError,
    MissingDataError,
    ModelError,
    PictureError,
    TrainingDiverged,
    UsageError,
)
from fdps.models import build_model
from fdps.models.weights import load_weights
from fdps.structures import UNLABELLED, Scene, SceneSet, empty_boxes

LOSSES = ("rpn_score", "rpn_box", "person", "box", "reid")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums of several threads have no fixed order, and two runs must be equal to the last bit."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> SceneSet:
    return write_scenes(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def whole(scenes: SceneSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of a run that was never stopped; its status lines are in ``shown``."""
    run, stream = tmp_path_factory.mktemp("whole") / "runs" / "tiny", io.StringIO()
    train(tiny_recipe(), scenes, run, stream=stream)
    (run.parent / "shown").write_text(stream.getvalue())
    return run


def stopped(recipe: Recipe, scenes: SceneSet, run: Path, *, after: int) -> Path:
    """Train until a step was taken, then stop by Ctrl-C."""
    with pytest.raises(KeyboardInterrupt) as caught:
        train(recipe, scenes, run, stream=SignalAt(after))
    assert caught.value.args == (signal.SIGINT,)
    return run


def log(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def assert_same_state(run: Path, other: Path) -> None:
    """Weights, table, queue, pointer, momentum and random numbers, bit by bit."""
    ours, theirs = last_state(run), last_state(other)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    weights = [(folder / "weights.safetensors").read_bytes() for folder in (run, other)]
    assert weights[0] == weights[1]


# --- what a run leaves


@pytest.mark.long
@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
def test_half_precision_without_its_instructions_is_said_to_be_slow(
    precision: str, scenes: SceneSet, tmp_path: Path
) -> None:
    recipe, stream = tiny_recipe(), SignalAt(1)
    recipe = replace(recipe, train=replace(recipe.train, precision=precision))
    with pytest.raises(KeyboardInterrupt):
        train(recipe, scenes, tmp_path / "run", stream=stream)
    is_slow = precision == "bf16-mixed" and not bf16_instructions()
    assert ("has no bf16 instructions" in stream.getvalue()) == is_slow


def test_a_run_folder_is_complete(whole: Path) -> None:
    checkpoints = ["ckpt/e001s00003", "ckpt/e002s00006"]
    parts = ["model.safetensors", "oim.safetensors", "optim.safetensors", "state.json"]
    assert sorted(files(whole)) == [
        ".lock",
        *(f"{folder}/{part}" for folder in checkpoints for part in parts),
        "ckpt/latest",
        "environment.json",
        "epochs.jsonl",
        "log.jsonl",
        "recipe.toml",
        "weights.safetensors",
    ]
    assert load_recipe(whole / "recipe.toml") == tiny_recipe()
    assert "torch" in json.loads((whole / "environment.json").read_text())


def test_the_log_names_every_loss(whole: Path) -> None:
    records = log(whole)
    assert [record["step"] for record in records] == [1, 2, 3, 4, 5, 6]
    assert [record["epoch"] for record in records] == [0.333, 0.667, 1.0, 1.333, 1.667, 2.0]
    for record in records:
        assert {*LOSSES, "oim", "w", "negative", "n_hard", "people"} <= set(record)
        assert {"grad_trunk", "grad_rpn", "grad_heads", "images_per_s", "seconds"} <= set(record)
        assert record["reid"] == pytest.approx(record["w"] * record["oim"] + record["negative"])
    rates = [record["lr"] for record in records]
    # warm-up over 1.5 steps, then the milestone after the first epoch
    assert rates == pytest.approx([3e-6, 0.003 * (0.001 + 0.999 / 1.5), 0.003, 3e-4, 3e-4, 3e-4])


def test_the_status_line_says_what_a_waiting_person_wants_to_know(whole: Path) -> None:
    shown = (whole.parent / "shown").read_text().splitlines()
    steps = [line for line in shown if line.startswith("step ")]
    assert [line.split("  ")[0] for line in steps] == [f"step {k}/6" for k in range(1, 7)]
    for line in steps:
        assert all(f"  {name} " in line for name in (*LOSSES, "lr", "left"))
        assert " images/s " in line


def test_everything_learns_but_the_frozen_stage(
    whole: Path,
) -> None:
    recipe = tiny_recipe()
    torch.manual_seed(recipe.train.seed)  # as a training begins
    untrained = build_model(recipe.model).state_dict()
    net, _ = load_weights(whole / "weights.safetensors")
    still = {k for k, v in net.named_parameters() if torch.equal(v, untrained[k])}
    assert still == {f"backbone.stages.0.{k}" for k, _ in net.backbone.stages[0].named_parameters()}
    remembered = last_state(whole)
    assert remembered["oim/memory.table.rows"].norm(dim=1).tolist() == pytest.approx([1, 1])
    assert remembered["oim/memory.queue.rows"].norm(dim=1).max().item() == pytest.approx(1)


@pytest.mark.long
def test_equal_seeds_are_equal_runs(whole: Path, scenes: SceneSet, tmp_path: Path) -> None:
    train(tiny_recipe(), scenes, tmp_path)
    assert_same_state(tmp_path, whole)


def test_what_is_minimised_is_the_weighted_sum() -> None:
    weights = LossConfig(box_weight=10.0, reid_weight=0.5)
    losses = {"rpn_box": torch.tensor(1.0), "box": torch.tensor(2.0), "reid": torch.tensor(4.0)}
    assert weighted_sum(losses, weights).item() == 1 + 20 + 2
    assert weighted_sum(losses, weights, reid_ramp=0.25).item() == 1 + 20 + 0.5
    losses["instance_reid"] = torch.tensor(8.0)  # comes with its weight, and is ramped as well
    assert weighted_sum(losses, weights, reid_ramp=0.25).item() == 1 + 20 + 0.5 + 2


# --- stopped and continued


@pytest.mark.long
@pytest.mark.parametrize("after", [3, 4, 6])  # an epoch is over; in the middle of one; all is done
def test_a_stopped_run_ends_as_one_that_never_stopped(
    after: int, whole: Path, scenes: SceneSet, tmp_path: Path
) -> None:
    stopped(tiny_recipe(), scenes, tmp_path, after=after)
    assert not (tmp_path / "weights.safetensors").exists()
    assert len(log(tmp_path)) == after
    train(tiny_recipe(), scenes, tmp_path)
    assert_same_state(tmp_path, whole)
    assert [record["step"] for record in log(tmp_path)] == [1, 2, 3, 4, 5, 6]


@pytest.mark.long
def test_reading_processes_change_nothing(whole: Path, scenes: SceneSet, tmp_path: Path) -> None:
    recipe = tiny_recipe(workers=2)
    stopped(recipe, scenes, tmp_path, after=4)
    train(recipe, scenes, tmp_path)
    assert_same_state(tmp_path, whole)


def test_a_finished_run_has_nothing_left_to_do(
    whole: Path, scenes: SceneSet, tmp_path: Path
) -> None:
    run = copy_of(whole, tmp_path)
    stream = io.StringIO()
    assert train(tiny_recipe(), scenes, run, stream=stream) == run / "weights.safetensors"
    assert stream.getvalue() == f"Continue at step 6, from {run / 'ckpt' / 'e002s00006'}\n"
    assert_same_state(run, whole)


def copy_of(run: Path, to: Path) -> Path:
    return Path(shutil.copytree(run, to / "copy"))


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (
            # every one of them
            lambda run: [p.write_bytes(b"no") for p in run.glob("ckpt/*/model.safetensors")],
            ModelError,
            "no checkpoint of .* can be used: .*model.safetensors has changed",
        ),
        (
            # of a run whose network looks the same to the recipe, but has other tensors
            lambda run: rewrite_checkpoint(run, "model", {"x": torch.zeros(1)}),
            ModelError,
            "not a checkpoint of this run",
        ),
        (
            lambda run: (run / "checkpoint.safetensors").write_bytes(b"before there were folders"),
            ModelError,
            "older fdps",
        ),
        (
            lambda run: (run / "recipe.toml").write_text("[train]\nlr = 0.5\n"),
            UsageError,
            "another recipe",
        ),
    ],
)
def test_a_folder_that_cannot_be_continued_stays_as_it_is(
    spoil: Callable[[Path], object],
    error: type[FdpsError],
    words: str,
    whole: Path,
    scenes: SceneSet,
    tmp_path: Path,
) -> None:
    run = copy_of(whole, tmp_path)
    spoil(run)
    before = files(run)
    with pytest.raises(error, match=words) as caught:
        train(tiny_recipe(), scenes, run)
    assert caught.value.hint
    assert files(run) == before


def test_other_data_are_refused(whole: Path, tmp_path: Path, scenes: SceneSet) -> None:
    one = [np.minimum(scene.person_ids, 0) for scene in scenes.scenes]
    fewer = [replace(s, person_ids=ids) for s, ids in zip(scenes.scenes, one, strict=True)]
    with pytest.raises(UsageError, match="trained on other data"):
        train(tiny_recipe(), SceneSet("fewer", tuple(fewer)), copy_of(whole, tmp_path))


def test_a_file_is_no_run_folder(scenes: SceneSet, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("precious")
    with pytest.raises(UsageError, match="is not a folder"):
        train(tiny_recipe(), scenes, tmp_path / "run")
    assert (tmp_path / "run").read_text() == "precious"


# --- divergence


def test_a_learning_rate_out_of_this_world(scenes: SceneSet, tmp_path: Path) -> None:
    recipe = tiny_recipe(lr=1e6, warmup_epochs=0.0, epochs=20, milestones=())
    with pytest.raises(TrainingDiverged, match=r"diverged at step \d+: \w+") as caught:
        train(recipe, scenes, tmp_path)
    assert "lower train.lr" in caught.value.hint
    assert not (tmp_path / "weights.safetensors").exists()
    if (tmp_path / "ckpt").exists():
        assert all(bool(tensor.isfinite().all()) for tensor in last_state(tmp_path).values())


def poisoned(run: Path, name: str, value: float) -> None:
    """Put one value into a tensor of the newest checkpoint."""
    tensors = load_file(next(run.glob("ckpt/*/model.safetensors")))
    tensors[name].view(-1)[0] = value
    rewrite_checkpoint(run, "model", tensors)


@pytest.mark.long
@pytest.mark.parametrize(
    ("tensor", "value", "named"),
    [
        # the loss that it belongs to
        ("rpn.head.cls_logits.bias", float("nan"), "step 4: rpn_score=nan"),
        ("roi_heads.heads.person.bias", float("inf"), "step 4: person=nan"),
        # finite losses, but a gradient as steep as the next weight is high
        ("rpn.head.cls_logits.weight", 3e38, "step 4: "),
        # running statistics touch no loss in training, and every detection afterwards
        (
            "roi_heads.heads.box_norm.running_var",
            float("inf"),
            r"step 6: roi_heads\.heads\.box_norm\.running_var=inf",
        ),
    ],
)
def test_the_last_good_checkpoint_outlives_a_divergence(
    tensor: str, value: float, named: str, scenes: SceneSet, tmp_path: Path
) -> None:
    stopped(tiny_recipe(), scenes, tmp_path, after=4)
    poisoned(tmp_path, tensor, value)
    before = files(tmp_path / "ckpt")
    with pytest.raises(TrainingDiverged, match=named):
        train(tiny_recipe(), scenes, tmp_path)
    assert files(tmp_path / "ckpt") == before
    assert not (tmp_path / "weights.safetensors").exists()


# --- scenes that teach little, or nothing


def unlabelled(scene: Scene) -> Scene:
    return replace(scene, person_ids=np.full_like(scene.person_ids, UNLABELLED))


def deserted(scene: Scene) -> Scene:
    return replace(scene, boxes=empty_boxes(), person_ids=np.zeros(0, np.int64))


def alone(scene: Scene) -> Scene:
    return replace(scene, boxes=scene.boxes[:1], person_ids=scene.person_ids[:1])


@pytest.mark.long
@pytest.mark.parametrize("loss", ["oim", "boim"])
def test_batches_without_labelled_people_are_trained_on(
    loss: str, scenes: SceneSet, tmp_path: Path
) -> None:
    first, second, third, fourth, *_ = scenes.scenes
    few = SceneSet("few", (first, unlabelled(second), deserted(third), alone(fourth)))
    recipe = tiny_recipe(batch_size=1)
    recipe = replace(recipe, loss=replace(recipe.loss, name=loss))
    net, _ = load_weights(train(recipe, few, tmp_path))
    assert all(bool(tensor.isfinite().all()) for tensor in net.state_dict().values())
    records = log(tmp_path)
    assert len(records) == 8
    assert min(record["people"] for record in records) == 0
    assert sorted(record["oim"] == 0 for record in records) == 4 * [False] + 4 * [True]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda scenes: (), "0 scenes and no labelled person"),
        (lambda scenes: map(unlabelled, scenes), "6 scenes and no labelled person"),
        (lambda scenes: map(deserted, scenes), "6 scenes and no labelled person"),
        (
            lambda scenes: [replace(s, person_ids=s.person_ids + 3) for s in scenes],
            r"must be 0\.\.2, got 2\.\.4",
        ),
    ],
)
def test_scenes_that_teach_nobody(
    change: Callable[[tuple[Scene, ...]], Iterator[Scene]],
    words: str,
    scenes: SceneSet,
    tmp_path: Path,
) -> None:
    changed = SceneSet("changed", tuple(change(scenes.scenes)))
    with pytest.raises(AnnotationError, match=words):
        train(tiny_recipe(), changed, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("is_there", [True, False])
def test_a_picture_that_cannot_be_read_is_named(
    workers: int, is_there: bool, scenes: SceneSet, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    if is_there:
        broken.write_bytes(b"\xff\xd8 no picture")
    spoilt = SceneSet("spoilt", (replace(scenes.scenes[0], path=broken), *scenes.scenes[1:]))
    with pytest.raises(PictureError if is_there else MissingDataError) as caught:
        train(tiny_recipe(workers=workers), spoilt, tmp_path / "run")
    expected = (
        f"{broken} is not a picture that fdps reads" if is_there else f"no picture at {broken}"
    )
    assert str(caught.value) == expected
    assert ("JPEG" in caught.value.hint) == is_there


def test_a_machine_without_gpu_says_so(scenes: SceneSet, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has one")
    with pytest.raises(UsageError, match="device cuda is not here: torch sees no GPU") as caught:
        train(tiny_recipe(device="cuda"), scenes, tmp_path / "run")
    assert "choose cpu" in caught.value.hint
    assert not (tmp_path / "run").exists()
