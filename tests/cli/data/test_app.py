"""``fdps data``: what it writes, prints and refuses."""

import inspect
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fdps.cli.data.app import app, synth
from fdps.data.readers import folder
from fdps.data.synthetic import PRESETS, SyntheticConfig
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


@pytest.mark.parametrize(
    ("option", "field"),
    [
        ("scenes", "n_train_scenes"),
        ("test_scenes", "n_test_scenes"),
        ("persons", "n_train_persons"),
        ("test_persons", "n_test_persons"),
    ],
)
def test_the_help_names_the_sizes_of_the_presets(option: str, field: str) -> None:
    demo, bench = (getattr(PRESETS[name], field) for name in ("demo", "synthetic-1k"))
    (described,) = synth.__annotations__[option].__metadata__
    assert f"[default: {demo}; 1k: {bench}]" in described.help


def test_defaults_are_those_of_the_library() -> None:
    given = {name: p.default for name, p in inspect.signature(synth).parameters.items()}
    config = SyntheticConfig()
    assert given["size"] == f"{config.width}x{config.height}"
    assert given["seed"] == config.seed
    assert given["preset"] == "demo"
    assert PRESETS["demo"] == config
    assert "[default: 6]" in synth.__annotations__["cameras"].__metadata__[0].help
    assert {preset.n_cameras for preset in PRESETS.values()} == {6}


@pytest.mark.long
def test_an_option_changes_a_preset_and_leaves_the_rest(tmp_path: Path) -> None:
    small = ["--persons", "3", "--test-persons", "2", "--scenes", "4", "--test-scenes", "4"]
    options = [str(tmp_path), "--preset", "synthetic-1k", *small, "--size", "96x96", "-q"]
    assert CliRunner().invoke(app, ["synth", *options]).exit_code == 0
    assert folder.read_info(tmp_path)["synthetic"] == json.loads(
        json.dumps(
            asdict(
                replace(
                    PRESETS["synthetic-1k"],
                    n_train_persons=3,
                    n_test_persons=2,
                    n_train_scenes=4,
                    n_test_scenes=4,
                    width=96,
                    height=96,
                )
            )
        )
    )


def test_the_bench_has_a_thousand_identities() -> None:
    bench = PRESETS["synthetic-1k"]
    assert (bench.n_train_persons, bench.n_train_scenes) == (1000, 8000)
    assert (bench.n_test_persons, bench.n_cameras) == (300, 6)


def test_an_unknown_preset_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["synth", str(tmp_path / "out"), "--preset", "huge"])
    assert isinstance(result.exception, UsageError)
    assert "unknown preset 'huge'" in str(result.exception)
    assert "synthetic-1k" in (result.exception.hint or "")
    assert not (tmp_path / "out").exists()
