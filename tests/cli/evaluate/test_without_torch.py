"""Figures come from files: no network runs, so torch is not loaded."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fake.coco import write_coco
from fake.found import perfect
from fdps.data import load_scenes
from fdps.predictions import save_predictions

HEAVY = ("torch", "torchvision", "lightning_fabric", "scipy.optimize", "scipy.stats")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("figures")
    write_coco(folder / "data")
    found = perfect(load_scenes("coco", folder / "data", "test"), 10)
    for name in ("a", "b"):
        save_predictions(found, folder / f"{name}.safetensors")
    return folder


def loaded(*arguments: str) -> dict[str, object]:
    """What a command prints as JSON, and which heavy modules it has loaded."""
    code = (
        f"import sys; from fdps.cli.main import main; code = main({list(arguments)!r});"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr);"
        "sys.exit(code)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    printed: dict[str, object] = json.loads(ended.stdout)
    return printed | {"loaded": ended.stderr.splitlines()[-1]}


@pytest.mark.long
def test_evaluate_loads_no_torch(folder: Path) -> None:
    data = ("--data", "coco", "--root", str(folder / "data"))
    reports = ("--out", str(folder / "r.json"), "--csv", str(folder / "r.csv"))
    found = loaded(
        "evaluate", "--predictions", str(folder / "a.safetensors"), *data, *reports, "--json"
    )
    assert found["search"]["mAP"] == 1  # type: ignore[index]
    assert found["loaded"] == "[]"


@pytest.mark.long
def test_compare_loads_no_torch(folder: Path) -> None:
    runs = (str(folder / "a.safetensors"), str(folder / "b.safetensors"))
    found = loaded("compare", *runs, "--data", "coco", "--root", str(folder / "data"), "--json")
    assert found["n_queries"] == 2
    assert found["loaded"] == "[]"


@pytest.mark.parametrize("module", ["fdps.evaluation", "fdps.predictions", "fdps.data"])
def test_modules_that_read_and_measure_load_no_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
