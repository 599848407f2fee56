import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from fake.runs import tiny_recipe, write_scenes
from fake.two_step import tiny_detector, two_step_recipe
from fdps.cli.doctor import checks as doctor_checks
from fdps.cli.doctor import machine as doctor_machine
from fdps.cli.doctor import recipe as doctor_recipe
from fdps.cli.doctor.checks import findings, packages
from fdps.cli.doctor.machine import GIB, disk, memory, memory_gib
from fdps.cli.main import main
from fdps.config import to_toml


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe file; its scenes are beside it."""
    folder = tmp_path_factory.mktemp("recipe")
    write_scenes(folder / "data")
    (folder / "tiny.toml").write_text(to_toml(tiny_recipe(folder / "data")))
    return folder / "tiny.toml"


def estimated(capsys: pytest.CaptureFixture[str], *options: str, code: int = 0) -> dict[str, Any]:
    assert main(["doctor", *options, "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


# The environment


def test_every_line_says_how_things_stand(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = lines[: lines.index("")]
    assert {line[:7].strip() for line in table} <= {"ok", "note", ""}
    named = {line[9:].split("  ")[0] for line in table}
    expected = {"Python", "torch", "torchvision", "CPU", "memory", "JPEG", "disk", "network"}
    assert expected <= named
    assert lines[lines.index("") + 1].startswith("no problems, ")


def test_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    found = estimated(capsys)
    assert found["usable"] is True
    rows = {row["name"]: row for row in found["findings"]}
    assert rows["torch"] == {
        "name": "torch",
        "status": "ok",
        "found": metadata.version("torch"),
        "remedy": "",
    }


def test_a_torch_that_does_not_load_is_a_finding_and_no_crash() -> None:
    block = "import sys; sys.modules['torch'] = None"
    code = f"{block}; from fdps.cli.main import main; sys.exit(main(['doctor']))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 7
    assert ended.stderr in ("", "Looking at packages and devices\n")
    lines = ended.stdout.splitlines()
    (at,) = [k for k, line in enumerate(lines) if line.startswith("problem  torch ")]
    assert "does not load" in lines[at]
    assert lines[at + 1].strip().startswith("pip install 'torch>=")


@pytest.mark.parametrize(
    ("installed", "problem"),
    [
        ("2.9.1", "2.9.1 is older than "),  # not 2.91
        ("1.99", "1.99 is older than "),
        (None, "not installed"),
    ],
)
def test_an_old_torch_is_a_problem(
    installed: str | None, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name != "torch":
            return real(name)
        if installed is None:
            raise metadata.PackageNotFoundError(name)
        return installed

    monkeypatch.setattr(doctor_checks.metadata, "version", version)
    (found,) = [finding for finding in packages() if finding.name == "torch"]
    assert found.status == "problem"
    assert found.found.startswith(problem)
    assert found.remedy.startswith("pip install 'torch>=2.")


@pytest.mark.parametrize("installed", ["2.15.0+cu130", "10.0", "2.11", "2.12.0a0"])
def test_a_torch_that_is_new_enough_is_none(
    installed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_checks.metadata, "version", lambda name: installed)
    assert not [f for f in packages() if f.name == "torch" and f.status != "ok"]


def test_extras_say_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name == "simplejpeg":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(doctor_checks.metadata, "version", version)
    found = {finding.name: finding for finding in doctor_checks.extras()}
    assert not {"dev", "docs"} & found.keys()
    assert found["fast"].found == "simplejpeg: not installed"
    assert found["fast"].remedy == "pip install 'fdps[fast]'"


@pytest.mark.parametrize(
    ("little", "none", "status"), [(0.0, 0.0, "ok"), (1e9, 0.0, "note"), (1e9, 1e9, "problem")]
)
def test_a_full_disk_is_a_problem(
    little: float, none: float, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_machine, "LITTLE_DISK_GIB", little)
    monkeypatch.setattr(doctor_machine, "NO_DISK_GIB", none)
    (found,) = disk(tmp_path)
    assert found.status == status
    assert str(tmp_path) in found.found


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="only Linux tells")
def test_memory_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_machine, "CONTAINER", tmp_path)
    machine = memory_gib()
    (tmp_path / "memory.current").write_text(f"{GIB // 2}\n")
    (tmp_path / "memory.stat").write_text(f"anon 1\ninactive_file {GIB // 4}\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert machine is not None
    assert memory_gib() == pytest.approx(machine, rel=0.2)  # no limit
    (tmp_path / "memory.max").write_text(f"{GIB}\n")
    assert memory_gib() == (1.0, 0.75)
    (found,) = memory()
    assert (found.status, found.found) == ("note", "0.8 of 1.0 GiB available")


def test_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    findings(tmp_path)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    "options", [["--root", "x"], ["--set", "train.epochs=1"], ["--scenes", "3"]]
)
def test_options_of_a_training_need_a_recipe(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", *options]) == 2
    assert "--recipe FILE" in capsys.readouterr().err


# A training


@pytest.fixture(scope="module")
def tried(recipe: Path) -> subprocess.CompletedProcess[str]:
    """What the command of a user says."""
    command = [sys.executable, "-m", "fdps", "doctor", "--recipe", str(recipe)]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_training_is_tried(recipe: Path, tried: subprocess.CompletedProcess[str]) -> None:
    assert tried.returncode == 0, tried.stderr
    assert f"Recipe  {recipe}, 32-true on cpu\nScenes  6, 2 in a step\n" in tried.stdout
    assert "for an epoch of 3 steps\n" in tried.stdout
    assert "for 2 epochs\n" in tried.stdout
    assert tried.stdout.endswith("\nIt fits.\n")


def test_a_trial_shows_what_it_does(recipe: Path, tried: subprocess.CompletedProcess[str]) -> None:
    shown = tried.stderr.splitlines()
    assert shown[0] == f"Trial   three steps of {recipe}"
    assert [line[:7] for line in shown if line.startswith("step ")] == [
        "step 1/",
        "step 2/",
        "step 3/",
    ]


@pytest.mark.long
def test_the_trial_as_json(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scenes(tmp_path / "more", n_scenes=8)
    options = ["--root", str(tmp_path / "more"), "--set", "train.batch_size=3"]
    found = estimated(capsys, "--recipe", str(recipe), *options)
    assert (found["n_scenes"], found["steps_per_epoch"], found["missing"]) == (8, 3, "")
    step_s, n_checkpoints = found["trial"]["step_s"], 2 + 1  # two are kept, one is written
    assert found["epoch_s"] == pytest.approx(3 * step_s)
    assert found["run_s"] == pytest.approx(2 * 3 * step_s)
    weights = found["trial"]["checkpoint_gib"]
    assert found["disk_gib"] == pytest.approx((n_checkpoints + 1) * weights)
    assert found["fits"] is True


@pytest.mark.long
def test_data_that_are_not_there_are_no_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.toml"
    path.write_text(to_toml(tiny_recipe(tmp_path / "nowhere")))
    assert main(["doctor", "--recipe", str(path), "--scenes", "100"]) == 0
    out = capsys.readouterr().out
    tried = "tried on drawn pictures of 1920×1080"
    assert f"Data    no data at {tmp_path / 'nowhere'}: {tried}\n" in out
    assert "for an epoch of 50 steps" in out


@pytest.mark.long
def test_a_recipe_without_data_is_tried_per_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.toml"
    recipe = tiny_recipe()
    recipe = replace(recipe, loss=replace(recipe.loss, teacher_weight=1.0))  # nor has it a teacher
    path.write_text(to_toml(recipe))
    assert main(["doctor", "--recipe", str(path)]) == 0
    out = capsys.readouterr().out
    assert "Data    the recipe names no training scenes: tried" in out
    assert "--scenes N tells the time of an epoch" in out


@pytest.mark.long
@pytest.mark.parametrize(
    ("free", "memory", "words"),
    [
        (1000, 100.0, "There is too little room"),
        (10 * GIB, 0.01, "There is too little memory"),  # it ran, but only by swapping
    ],
)
def test_what_does_not_fit_is_7(
    free: int,
    memory: float,
    words: str,
    recipe: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real(path)._replace(free=free))
    monkeypatch.setattr(doctor_recipe, "memory_gib", lambda: (100.0, memory))
    assert main(["doctor", "--recipe", str(recipe)]) == 7
    assert words in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (lambda path: path.unlink(), 3, "no recipe at"),
        (lambda path: path.write_text("[train]\nepoch = 3\n"), 2, "did you mean train.epochs?"),
        (lambda path: path.write_text('[[data.train]]\nkind = "x"\nroot = "."\n'), 2, "kind"),
    ],
)
def test_a_recipe_that_cannot_be_used(
    change: Callable[[Path], object],
    code: int,
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "r.toml"
    path.write_text("")
    change(path)
    assert main(["doctor", "--recipe", str(path)]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.004, "0.00 s"),
        (59.9, "59.90 s"),
        (60.0, "1.0 min"),
        (5400.0, "1.5 h"),
        (200000.0, "2.3 days"),
    ],
)
def test_durations_in_their_largest_unit(seconds: float, words: str) -> None:
    assert doctor_recipe._duration(seconds) == words


@pytest.mark.long
def test_a_two_step_recipe_counts_people_and_the_features_it_keeps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scenes(tmp_path / "data")  # three people in each of six scenes
    detector = tiny_detector(tmp_path)
    path = tmp_path / "kept.toml"
    path.write_text(to_toml(two_step_recipe(detector, tmp_path / "data", features="kept")))
    assert main(["doctor", "--recipe", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["n_scenes"], found["n_items"], found["steps_per_epoch"]) == (6, 18, 3)
    least = 18 * 2 * 1280 * 4  # crops and mirror images, numbers of MobileNetV2, bytes
    assert least <= found["features_gib"] * 2**30 < 1.1 * least
    assert not [*tmp_path.rglob("features-*")]
    assert main(["doctor", "--recipe", str(path), "--set", "model.boxes=both"]) == 0
    assert "Scenes  6, 36 people cut out, 8 in a step" in capsys.readouterr().out
