"""``fdps data``: what it writes, prints and refuses."""

import inspect
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fdps.cli.data import app, synth
from fdps.data import folder
from fdps.data.synthetic import SyntheticConfig
from fdps.errors import ConfigError, UsageError

FEW = ["--scenes", "3", "--test-scenes", "4", "--persons", "4", "--test-persons", "2"]
SMALL = [*FEW, "--cameras", "2", "--size", "160x120", "--seed", "3"]


def test_synth_writes_a_folder_and_names_the_next_command(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["synth", str(tmp_path / "out"), *SMALL])
    assert result.exit_code == 0, result.output
    assert "7/7" in result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("Train   3 scenes, ")
    assert lines[1].startswith("Test    4 scenes, ")
    assert lines[2] == f"Wrote   {tmp_path / 'out'}"
    assert lines[3] == f"Next    fdps train configs/synthetic.toml --root {tmp_path / 'out'}"
    assert folder.read_info(tmp_path / "out")["synthetic"]["seed"] == 3


def test_json_is_one_object_and_nothing_else(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["synth", str(tmp_path), *SMALL, "--json", "--quiet"])
    assert result.stderr == ""
    summary = json.loads(result.stdout)
    test = folder.read(tmp_path, "test")
    assert summary["root"] == str(tmp_path)
    assert summary["test"] == {
        "scenes": 4,
        "people": test.n_boxes,
        "identities": len(test.person_ids),
        "queries": len(test.queries),
    }


def test_a_foreign_folder_needs_force(tmp_path: Path) -> None:
    (tmp_path / "holiday.txt").write_text("sun")
    refused = CliRunner().invoke(app, ["synth", str(tmp_path), *SMALL])
    assert isinstance(refused.exception, UsageError)
    assert "--force" in refused.exception.hint
    forced = CliRunner().invoke(app, ["synth", str(tmp_path), *SMALL, "--force"])
    assert forced.exit_code == 0, forced.output
    assert (tmp_path / "holiday.txt").exists()


@pytest.mark.parametrize("size", ["480", "x320", "480x320x3", "480x-1", "axb"])
def test_a_bad_size_is_named(tmp_path: Path, size: str) -> None:
    result = CliRunner().invoke(app, ["synth", str(tmp_path / "out"), "--size", size])
    assert isinstance(result.exception, UsageError)
    assert repr(size) in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_a_value_out_of_range_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["synth", str(tmp_path / "out"), "--cameras", "0"])
    assert isinstance(result.exception, ConfigError)


def test_defaults_are_those_of_the_library() -> None:
    given = {name: p.default for name, p in inspect.signature(synth).parameters.items()}
    config = SyntheticConfig()
    assert given["scenes"] == config.n_train_scenes
    assert given["test_scenes"] == config.n_test_scenes
    assert given["persons"] == config.n_train_persons
    assert given["test_persons"] == config.n_test_persons
    assert given["cameras"] == config.n_cameras
    assert given["size"] == f"{config.width}x{config.height}"
    assert given["seed"] == config.seed
