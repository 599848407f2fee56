"""What a verb loads: only verbs that run a network load torch, and none loads what it does not use.

Counted in modules, not in seconds, so that a busy machine changes nothing.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fake.cards import write_card
from fake.network import write_network
from fake.photos import write_photos
from fdps.bundled import bundled_weights
from fdps.cli.main import main

LARGE = {"torch", "torchvision", "scipy.stats", "sklearn", "matplotlib", "ray", "psycopg"}
WITHOUT_NETWORK = {
    "--help": 450,
    "--version": 450,
    "models list": 800,
    "models list --available": 800,
    "models info drawn-people": 800,
    "models info two.toml": 800,
    "archive info a.fdps": 800,
    "archive verify a.fdps": 800,
    "archive audit a.fdps": 800,
    "archive retention a.fdps": 800,
    "archive compact a.fdps": 800,
    "archive remove a.fdps --item 1 --dry-run": 800,
    "archive forget a.fdps --item 1 --dry-run --out look": 850,
    "search a.fdps --item 1": 850,
    "search a.fdps --item 1 --json": 850,
    "data check scenes": 800,
    "data stats scenes": 800,
    "data view scenes --out sheet.jpg": 800,
    "data convert scenes converted": 800,
    "data split scenes divided --parts train=0.5,test=0.5": 800,
    "evaluate --predictions run/predictions.safetensors --data folder --root scenes": 1300,
    "compare run other --data folder --root scenes": 1300,
}
"""Each verb that runs no network, and how many modules it may load."""

CODE = """
import json, sys
from fdps.cli.main import main
code = main(sys.argv[1:])
print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every verb has something to do."""
    root = tmp_path_factory.mktemp("loaded")
    sizes = ["--scenes", "1", "--persons", "2", "--test-scenes", "4", "--test-persons", "2"]
    assert main(["data", "synth", str(root / "scenes"), *sizes, "--quiet"]) == 0
    weights = bundled_weights("drawn-people")
    assert weights is not None
    (root / "run").mkdir()
    shutil.copy(weights, root / "run/weights.safetensors")
    data = ["--data", "folder", "--root", str(root / "scenes")]
    assert main(["predict", str(root / "run"), *data, "--quiet"]) == 0
    shutil.copytree(root / "run", root / "other")
    network = write_network(root / "weights.safetensors", n_people=2)
    write_photos(root / "photos", 2)
    words = ["index", str(root / "photos"), "-o", str(root / "a.fdps"), "--model", str(network)]
    assert main([*words, "--quiet"]) == 0
    for name in ("detector.onnx", "reid.onnx"):
        (root / name).touch()
    card = '[detector]\nfile = "detector.onnx"\n[reid]\nfile = "reid.onnx"\n'
    (root / "two.toml").write_text(f'kind = "two_step"\n{card}')
    return root


def loaded(words: list[str], folder: Path) -> tuple[int, set[str], str]:
    """Exit code, modules and output of a verb in a process of its own."""
    command = [sys.executable, "-c", CODE, *words]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    code, modules = json.loads(ended.stderr.splitlines()[-1])
    return code, set(modules), ended.stdout + ended.stderr


@pytest.mark.long
@pytest.mark.parametrize("words", WITHOUT_NETWORK)
def test_a_verb_without_a_network_loads_no_torch(words: str, folder: Path) -> None:
    code, modules, shown = loaded(words.split(), folder)
    assert code == 0, shown[-2000:]
    assert not LARGE & modules
    assert len(modules) <= WITHOUT_NETWORK[words]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "sign"),
    [
        ("doctor", "Looking at packages and devices"),  # whether torch loads is what it tells
        ("models verify weights.safetensors", "Loading weights.safetensors"),
        (
            "models calibrate weights.safetensors --data folder --root scenes",
            "Loading weights.safetensors",
        ),
        ("train recipe.toml --out trained", "Loading torch"),
    ],
)
def test_a_verb_that_loads_torch_says_first_what_it_does(
    words: str, sign: str, folder: Path
) -> None:
    """The trainings and calibrations end with an error: two people are too few."""
    (folder / "recipe.toml").write_text("""
name = "none"
data = { train = [{ kind = "folder", root = "nowhere" }] }
""")
    _, modules, shown = loaded(words.split(), folder)
    assert "torch" in modules
    assert sign in shown.splitlines()


@pytest.mark.long
@pytest.mark.parametrize("verb", ["detect", "index", "models verify"])
def test_a_card_needs_onnx_runtime_and_no_torch(
    verb: str, shared_data: Path, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    write_card(tmp_path / "two.toml", shared_data / "models")
    write_photos(tmp_path / "photos", 1)
    words = {
        "detect": ["detect", "photos", "--model", "two.toml", "--quiet"],
        "index": ["index", "photos", "-o", "b.fdps", "--model", "two.toml", "--quiet"],
        "models verify": ["models", "verify", "two.toml"],
    }
    code, modules, shown = loaded(words[verb], tmp_path)
    assert code == 0, shown[-2000:]
    assert "onnxruntime" in modules
    assert not LARGE & modules


@pytest.mark.long
def test_a_verb_with_a_network_does_load_torch(folder: Path) -> None:
    """The probe sees what it looks for."""
    code, modules, _ = loaded(["detect", "photos", "--model", "weights.safetensors"], folder)
    assert code == 0
    assert "torch" in modules
