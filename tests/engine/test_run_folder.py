import dataclasses
import json
import os
import signal
import subprocess
import sys
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fake.runs import tiny_recipe
from fdps.config import (
    MACHINE_FIELDS,
    DataConfig,
    LossConfig,
    Recipe,
    Source,
    TrainConfig,
    TwoStepConfig,
    load_recipe,
)
from fdps.engine.run_folder import (
    _BIT_CHANGING,
    ENVIRONMENT_FILE,
    LOCK_FILE,
    RECIPE_FILE,
    changes,
    check_continuable,
    only_writer,
    write_recipe,
)
from fdps.engine.run_log import environment
from fdps.errors import ConfigError, ModelError, ResourceError, UsageError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
DATA = DataConfig(
    train=(Source("coco", "here"), Source("prw", "there")),
    test=Source("coco", "here", "test"),
    validation=Source("coco", "here", "val"),
)
TINY = tiny_recipe(batch_size=4)
RECIPE = replace(
    TINY,
    data=DATA,
    model=replace(TINY.model, background_iou=0.1),
    train=replace(TINY.train, validate_every=1),
)
FIELDS = [
    (section, field.name)
    for section in ("model", "loss", "train")
    for field in dataclasses.fields(getattr(RECIPE, section))
    # The kind decides over the other fields, and two losses belong to the other kind.
    if field.name not in ("kind", "identity_weight", "triplet_weight")
]


OWN: dict[str, Any] = {
    "backbone": "timm:resnet18",
    "system": "oim",
    "options": {"parts": 3},
    "rpn_test_nms_iou": 0.5,
}
"""Values of fields of which a rule would make none."""


def another(section: str, name: str) -> Recipe:
    """The recipe with another value in one field, of the same type and in its range."""
    config = getattr(RECIPE, section)
    value = getattr(config, name)
    choices = typing.get_args(typing.get_type_hints(type(config))[name])
    if isinstance(value, bool):
        new: Any = not value
    elif name in OWN:
        new = OWN[name]
    elif isinstance(value, str):
        is_place = name in ("backbone_weights", "start_from")
        new = "elsewhere" if is_place else next(c for c in choices if c != value)
    elif isinstance(value, tuple):
        new = (*value[:-1], value[-1] + 1 if isinstance(value[-1], int) else value[-1] / 2)
    elif isinstance(value, float):
        new = value / 2 or 0.5
    else:
        new = -2.0 if value is None else value + 1
    return replace(RECIPE, **{section: replace(config, **{name: new})})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run that has begun."""
    (tmp_path / "run").mkdir()
    write_recipe(tmp_path / "run", RECIPE, {})
    return tmp_path / "run"


@pytest.mark.parametrize(("section", "name"), FIELDS)
def test_a_run_goes_on_with_another_machine_and_no_other_science(
    section: str, name: str, run: Path
) -> None:
    recipe = another(section, name)
    if section == "train" and name in MACHINE_FIELDS:
        check_continuable(run, recipe)
        return
    new, old = (getattr(getattr(r, section), name) for r in (recipe, RECIPE))
    assert new != old
    with pytest.raises(UsageError) as caught:
        check_continuable(run, recipe)
    told = f"{section}.{name} is {new!r} here and {old!r} there"
    if name == "options":  # each of them is a field
        told = "model.options.parts is 3 here and None there"
    assert str(caught.value) == f"{run} holds a run of another recipe: {told}"
    assert caught.value.hint == (
        f"choose another run folder, or remove this one; see {run / RECIPE_FILE}"
    )


def test_two_steps_go_on_with_their_detector_wherever_it_lies(tmp_path: Path) -> None:
    model = TwoStepConfig(detector="here")
    recipe = replace(RECIPE, model=model, loss=LossConfig(identity_weight=1.0))
    write_recipe(tmp_path, recipe, {})
    # Its hash is a part of that of the data.
    check_continuable(tmp_path, replace(recipe, model=replace(model, detector="elsewhere")))
    for section, change in (("model", {"boxes": "both"}), ("loss", {"identity_weight": 0.5})):
        other = replace(recipe, **{section: replace(getattr(recipe, section), **change)})
        with pytest.raises(UsageError, match=rf"{section}\.{next(iter(change))} is "):
            check_continuable(tmp_path, other)
    with pytest.raises(UsageError, match=r"model\.kind is 'one_step' here and 'two_step' there"):
        check_continuable(tmp_path, RECIPE)


def test_machine_fields_are_fields() -> None:
    assert {*MACHINE_FIELDS} < {field.name for field in dataclasses.fields(TrainConfig)}


def test_several_differences_are_all_named(run: Path) -> None:
    other = replace(RECIPE, train=replace(RECIPE.train, lr=0.5, seed=9, workers=7))
    with pytest.raises(UsageError) as caught:
        check_continuable(run, other)
    assert str(caught.value).endswith("train.lr is 0.5 here and 0.003 there")
    assert caught.value.hint.splitlines()[0] == "train.seed is 9 here and 1 there"
    assert len(caught.value.hint.splitlines()) == 2


@pytest.mark.parametrize(
    "data",
    [
        replace(DATA, train=(Source("coco", "/moved"), Source("prw", "/elsewhere"))),
        replace(DATA, test=None),
        replace(DATA, validation=Source("prw", "x")),
    ],
    ids=["roots", "test", "validation"],
)
def test_data_may_move(data: DataConfig, run: Path) -> None:
    check_continuable(run, replace(RECIPE, data=data))


@pytest.mark.parametrize(
    "sources",
    [
        (Source("coco", "here"),),
        (Source("prw", "there"), Source("coco", "here")),
        (Source("coco", "here"), Source("mot", "there")),
        (Source("coco", "here", "test"), Source("prw", "there")),
        (*DATA.train, Source("prw", "there")),
    ],
    ids=["fewer", "another order", "another kind", "another split", "more"],
)
def test_other_data_are_another_run(sources: tuple[Source, ...], run: Path) -> None:
    with pytest.raises(UsageError, match=r"data\.train is \[.*\] here and \[.*\] there"):
        check_continuable(run, replace(RECIPE, data=replace(DATA, train=sources)))


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_goes_on_with_itself(path: Path, tmp_path: Path) -> None:
    recipe = load_recipe(path)
    write_recipe(tmp_path, recipe, {})
    assert load_recipe(tmp_path / RECIPE_FILE) == recipe
    check_continuable(tmp_path, recipe)


def test_a_folder_without_a_run_is_free(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    check_continuable(tmp_path, RECIPE)
    check_continuable(tmp_path / "absent", RECIPE)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_raises_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(UsageError, match="run is not a folder") as caught:
        check_continuable(tmp_path / "run", RECIPE)
    assert caught.value.hint == "choose another run folder"


def test_raises_a_run_of_an_older_version(run: Path) -> None:
    (run / "checkpoint.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match=r"an older fdps, which kept checkpoint\.safetensors"):
        check_continuable(run, RECIPE)


def test_raises_a_recipe_that_cannot_be_read(run: Path) -> None:
    (run / RECIPE_FILE).write_text("[train]\nlearning_speed = 1\n")
    with pytest.raises(ConfigError, match=r"unknown recipe key train\.learning_speed"):
        check_continuable(run, RECIPE)


def test_what_makes_a_run_is_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for torch in ("1", "2"):  # the latest session counts
        write_recipe(tmp_path, RECIPE, {"torch": torch, "cores": 2})
    assert load_recipe(tmp_path / RECIPE_FILE) == RECIPE
    assert json.loads((tmp_path / ENVIRONMENT_FILE).read_text()) == {
        "torch": "2",
        "cores": 2,
        "folder": str(tmp_path),
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == [ENVIRONMENT_FILE, RECIPE_FILE]


def test_changes_are_those_that_reach_the_last_bits() -> None:
    before = {"torch": "2.14", "gpu": "A", "threads": 2, "commit": "a", "workers": 2, "gone": 1}
    now = {"threads": 4, "torch": "2.15", "gpu": "A", "commit": "b", "workers": 0, "new": 1}
    assert changes(before, now) == ["torch 2.15 instead of 2.14", "threads 4 instead of 2"]
    assert changes(before, before) == []
    assert changes({}, now) == changes(before, {}) == []  # nothing to compare with


def test_everything_that_changes_bits_is_kept_with_a_checkpoint() -> None:
    assert {*_BIT_CHANGING} <= {*environment(), *MACHINE_FIELDS, "device", "processes"}


HOLD = """
import sys
from pathlib import Path
from fdps.engine.run_folder import only_writer

with only_writer(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_by_another(run: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds a folder until it is told or killed."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", HOLD, str(run)]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_folder_has_one_writer_among_all_processes(is_killed: bool, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "new"  # made if need be
    with held_by_another(run) as other:
        for _ in range(2):
            with (
                pytest.raises(ResourceError, match=f"new is being trained by process {other.pid}$"),
                only_writer(run),
            ):
                pytest.fail("two writers")
        if is_killed:
            other.send_signal(signal.SIGKILL)
            other.wait()
        else:
            other.communicate("")
        with only_writer(run):
            assert (run / LOCK_FILE).read_text() == f"{os.getpid()}\n"


FORK = """
import os
import sys
import time
from pathlib import Path
from fdps.engine.run_folder import only_writer

with only_writer(Path(sys.argv[1])):
    if os.fork() == 0:
        print(os.getpid(), flush=True)
    time.sleep(60)
"""


def test_a_process_that_reads_does_not_hold_the_folder_on(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FORK, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as training:
        assert training.stdout is not None
        reading = int(training.stdout.readline())
        try:
            with pytest.raises(ResourceError), only_writer(tmp_path):
                pytest.fail("two writers")
            training.kill()
            training.wait()
            os.kill(reading, 0)  # is still there
            with only_writer(tmp_path):
                pass
        finally:
            os.kill(reading, signal.SIGKILL)


def test_a_folder_is_held_within_one_process_too(tmp_path: Path) -> None:
    def train_twice() -> None:
        with only_writer(tmp_path), only_writer(tmp_path):
            pytest.fail("two writers")

    with pytest.raises(ResourceError) as caught:
        train_twice()
    assert f"process {os.getpid()}" in str(caught.value)
    assert caught.value.hint == "wait until it has ended, or choose another run folder"
    with only_writer(tmp_path / "other"), only_writer(tmp_path):
        pass


def test_an_error_lets_the_folder_go(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), only_writer(tmp_path):
        raise ZeroDivisionError
    with only_writer(tmp_path):
        pass


def test_a_shorter_process_id_replaces_a_longer_one(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_text("123456789012\n")
    with only_writer(tmp_path):
        assert (tmp_path / LOCK_FILE).read_text() == f"{os.getpid()}\n"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    run = tmp_path / "file" / "run"
    refused = pytest.raises(ResourceError, match="cannot be made: Not a directory")
    with refused as caught, only_writer(run):
        pytest.fail("there is no folder")
    assert str(run) in str(caught.value)
    assert "elsewhere" in caught.value.hint
