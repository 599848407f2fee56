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

from fake.coco import write_coco
from fake.runs import tiny_recipe, write_scenes
from fdps.cli.doctor import checks as doctor_checks
from fdps.cli.doctor import machine as doctor_machine
from fdps.cli.doctor import recipe as doctor_recipe
from fdps.cli.doctor.checks import findings, packages
from fdps.cli.doctor.machine import GIB, disk, memory, memory_gib
from fdps.cli.main import main
from fdps.config import DataConfig, Source, to_toml
from fdps.engine import trial


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "REPEATED_S", 0.0)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe file; its scenes are beside it."""
    folder = tmp_path_factory.mktemp("recipe")
    write_scenes(folder / "data")
    (folder / "tiny.toml").write_text(to_toml(tiny_recipe(folder / "data")))
    return folder / "tiny.toml"


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than Python and torch take."""
    monkeypatch.setattr(doctor_recipe, "available_gib", lambda recipe: 0.5)


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
    assert ended.stderr == ""
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


def test_a_training_is_estimated(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--recipe", str(recipe)]) == 0
    out = capsys.readouterr().out
    assert f"Recipe  {recipe}, 32-true on cpu\n" in out
    known = "6 scenes, 2 identities, pictures of 96×72, trained on as 96×64"
    assert f"Data    {known}\nBatch   2 pictures\n" in out
    assert "for an epoch of 3 steps\n" in out
    assert "for 2 epochs\n" in out
    assert out.endswith("\nIt fits.\n")


def test_the_estimate_as_json(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = estimated(capsys, "--recipe", str(recipe))
    assert found.keys() == {"recipe", "data", "estimate", "disk_free_gib"}
    assert found["data"] == {
        "n_scenes": 6,
        "n_persons": 2,
        "width": 96,
        "height": 72,
        "n_sizes": 1,
        "missing": "",
    }
    estimate = found["estimate"]
    assert estimate["total_gib"] == pytest.approx(sum(estimate["memory"].values()))
    assert estimate["run_s"] == pytest.approx(2 * 3 * estimate["step_s"])
    assert (estimate["fits"], estimate["changes"]) == (True, [])


def test_settings_count(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--set", "train.batch_size=3", "--set", "train.accumulate=2"]
    found = estimated(capsys, "--recipe", str(recipe), *options)["estimate"]
    assert (found["micro_batch"], found["steps_per_epoch"]) == (2, 2)


def test_another_folder_can_be_given(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scenes(tmp_path / "more", n_scenes=8)
    found = estimated(capsys, "--recipe", str(recipe), "--root", str(tmp_path / "more"))
    assert found["data"]["n_scenes"] == 8


def test_the_most_common_size_counts(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_coco(tmp_path / "more", n_images=2, person_ids=(1,), size=(300, 200))
    sources = (Source("coco", str(recipe.parent / "data")), Source("coco", str(tmp_path / "more")))
    path = tmp_path / "r.toml"
    path.write_text(to_toml(replace(tiny_recipe(), data=DataConfig(train=sources))))
    data = estimated(capsys, "--recipe", str(path))["data"]
    assert (data["width"], data["height"], data["n_sizes"]) == (96, 72, 2)
    assert (data["n_scenes"], data["n_persons"]) == (6 + 2, 2 + 1)
    assert main(["doctor", "--recipe", str(path)]) == 0
    assert "the most common size; a batch is padded" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("scenes", "words"),
    [
        ([], "--scenes N tells the time of an epoch"),
        (["--scenes", "100"], "for an epoch of 50 steps"),
    ],
)
def test_data_that_are_not_there_are_no_error(
    scenes: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.toml"
    path.write_text(to_toml(tiny_recipe(tmp_path / "nowhere")))
    assert main(["doctor", "--recipe", str(path), *scenes]) == 0
    out = capsys.readouterr().out
    assert f"Data    no data at {tmp_path / 'nowhere'}\n        assumed: " in out
    assert "pictures of 1920×1080, trained on as 96×" in out
    assert words in out


def test_a_recipe_without_data_is_estimated_per_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.toml"
    path.write_text(to_toml(tiny_recipe()))
    found = estimated(capsys, "--recipe", str(path))
    assert found["data"]["missing"] == "the recipe names no training scenes"
    assert found["estimate"]["epoch_s"] is None


@pytest.mark.usefixtures("little_memory")
def test_too_little_memory_is_7_and_says_what_to_change(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--recipe", str(recipe)]) == 7
    out = capsys.readouterr().out
    assert "of 0.50 available\n" in out
    after = out.partition("The memory does not suffice. Change, in this order")[2]
    rows = [line for line in after.splitlines() if " GiB  --set " in line]
    assert rows[0].endswith("--set train.accumulate=2")
    assert rows[-1].count("--set") == 5
    assert "a smaller model.backbone needs less" in after
    estimate = estimated(capsys, "--recipe", str(recipe), code=7)["estimate"]
    assert estimate["fits"] is False
    assert len(estimate["changes"]) == len(rows)


def test_too_little_disk_is_7(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real(path)._replace(free=1000))
    assert main(["doctor", "--recipe", str(recipe)]) == 7
    assert "The disk has too little room" in capsys.readouterr().out


def test_what_fits_by_little_is_said(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    total = estimated(capsys, "--recipe", str(recipe))["estimate"]["total_gib"]
    monkeypatch.setattr(doctor_recipe, "available_gib", lambda recipe: total * 1.1)
    assert main(["doctor", "--recipe", str(recipe)]) == 0
    assert "It fits by little" in capsys.readouterr().out


@pytest.mark.parametrize(("threshold", "is_said"), [(0.0, False), (1.1, True)])
def test_a_busy_machine_is_said(
    threshold: float,
    is_said: bool,
    recipe: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(doctor_recipe, "QUIET", threshold)
    assert main(["doctor", "--recipe", str(recipe)]) == 0
    assert ("of its cores, other programs run" in capsys.readouterr().out) == is_said


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
