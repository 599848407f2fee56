"""``fdps data collage``: what it writes, prints and refuses."""

import inspect
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fake.cutouts import write_cutouts, write_masked, write_places
from fdps.cli.data.app import app
from fdps.cli.data.collage import collage
from fdps.data.collage import CollageConfig
from fdps.data.readers import folder
from fdps.errors import ConfigError, MissingDataError, UsageError

FEW = ["--scenes", "3", "--val-scenes", "2", "--test-scenes", "4", "--size", "160x120"]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("material")
    write_cutouts(path / "people", 9)
    write_masked(path / "pictures", path / "masks", 9)
    (path / "masks" / "p004.png").unlink()
    write_places(path / "places", 3)
    return path


def options(material: Path) -> list[str]:
    return [
        *("--cutouts", str(material / "people")),
        *("--backgrounds", str(material / "places")),
        *FEW,
    ]


def test_it_writes_a_folder_and_names_the_next_command(tmp_path: Path, material: Path) -> None:
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["collage", str(out), *options(material), "--seed", "3"])
    assert result.exit_code == 0, result.output
    assert "9/9" in result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("Train   3 scenes, ")
    assert lines[1].startswith("Val     2 scenes, ")
    assert lines[2].startswith("Test    4 scenes, ")
    assert lines[3] == f"Wrote   {out}"
    assert lines[4] == f"Next    fdps data view {out} --split train --out out.jpg"
    expected = CollageConfig(
        n_train_scenes=3, n_val_scenes=2, n_test_scenes=4, width=160, height=120, seed=3
    )
    written = folder.read_info(out)["collage"]
    assert written == json.loads(json.dumps(asdict(expected)))


def test_json_is_one_object_and_nothing_else(tmp_path: Path, material: Path) -> None:
    result = CliRunner().invoke(
        app,
        [
            *("collage", str(tmp_path / "out"), *FEW),
            *("--cutouts", str(material / "pictures"), "--masks", str(material / "masks")),
            *("--backgrounds", str(material / "places"), "--json", "--quiet"),
        ],
    )
    assert result.stderr == ""
    summary = json.loads(result.stdout)
    test = folder.read(tmp_path / "out", "test")
    assert (summary["cutouts"], summary["different_people"], summary["left_out"]) == (8, 8, 1)
    assert summary["splits"]["test"] == {
        "scenes": 4,
        "people": test.n_boxes,
        "identities": len(test.person_ids),
        "queries": len(test.queries),
    }


def test_it_says_which_cutouts_it_leaves_out(tmp_path: Path, material: Path) -> None:
    result = CliRunner().invoke(
        app,
        [
            *("collage", str(tmp_path / "out"), *FEW),
            *("--cutouts", str(material / "pictures"), "--masks", str(material / "masks")),
            *("--backgrounds", str(material / "places")),
        ],
    )
    left_out = material / "pictures" / "p004.jpg"
    assert f"Left out: no mask (1, such as {left_out})" in result.stderr


def test_copies_of_a_picture_are_one_person(tmp_path: Path, material: Path) -> None:
    write_cutouts(tmp_path / "people", 5)
    (tmp_path / "people" / "zz.png").write_bytes((tmp_path / "people" / "p002.png").read_bytes())
    result = CliRunner().invoke(
        app,
        [
            *("collage", str(tmp_path / "out"), *FEW),
            *("--cutouts", str(tmp_path / "people")),
            *("--backgrounds", str(material / "places"), "--json"),
        ],
    )
    assert "Same picture, so one person: p002.png = zz.png" in result.stderr
    summary = json.loads(result.stdout)
    assert (summary["cutouts"], summary["different_people"]) == (6, 5)


def test_people_of_a_data_set_stay_people(tmp_path: Path, material: Path) -> None:
    CliRunner().invoke(app, ["collage", str(tmp_path / "first"), *options(material)])
    result = CliRunner().invoke(
        app,
        [
            *("collage", str(tmp_path / "second"), *FEW),
            *("--cutouts", str(material / "people")),
            *("--backgrounds-with-people", str(tmp_path / "first")),
        ],
    )
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "second" / folder.ANNOTATIONS).read_text())
    before = [row for row in content["annotations"] if not row["cutout"]]
    assert before
    assert {row["person_id"] for row in before} == {-1}


def test_no_background_says_what_to_give(tmp_path: Path, material: Path) -> None:
    result = CliRunner().invoke(
        app, ["collage", str(tmp_path / "out"), "--cutouts", str(material / "people")]
    )
    assert isinstance(result.exception, UsageError)
    assert "--backgrounds" in result.exception.hint
    assert "--backgrounds-with-people" in result.exception.hint


def test_cutouts_that_are_not_there_are_named(tmp_path: Path, material: Path) -> None:
    result = CliRunner().invoke(
        app,
        [
            *("collage", str(tmp_path / "out"), "--cutouts", str(tmp_path / "nobody")),
            *("--backgrounds", str(material / "places")),
        ],
    )
    assert isinstance(result.exception, MissingDataError)
    assert str(tmp_path / "nobody") in str(result.exception)


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("--size", "640", UsageError),
        ("--people", "two", UsageError),
        ("--people", "1.5-3", UsageError),
        ("--pieces", "3-1", ConfigError),
        ("--heights", "0.1", UsageError),
        ("--shares", "0.5,0.5", UsageError),
        ("--shares", "0,0,1", ConfigError),
        ("--light", "1.5", ConfigError),
        ("--labelled-from", "0", ConfigError),
        ("--unlabelled", "1", ConfigError),
    ],
)
def test_a_bad_value_is_an_error(
    tmp_path: Path, material: Path, option: str, value: str, error: type[Exception]
) -> None:
    arguments = ["collage", str(tmp_path / "out"), *options(material), option, value]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, error)
    assert not (tmp_path / "out").exists()


def test_the_defaults_of_the_options_are_those_of_the_settings() -> None:
    defaults = {name: p.default for name, p in inspect.signature(collage).parameters.items()}
    written = replace(
        CollageConfig(),
        n_train_scenes=defaults["scenes"],
        n_val_scenes=defaults["val_scenes"],
        n_test_scenes=defaults["test_scenes"],
        n_looks=defaults["looks"],
        crowding=defaults["crowding"],
        light=defaults["light"],
        warp=defaults["warp"],
        degrade=defaults["degrade"],
        labelled_from=defaults["labelled_from"],
        unlabelled_share=defaults["unlabelled"],
        shares=tuple(float(part) for part in defaults["shares"].split(",")),
        people_per_scene=tuple(int(part) for part in defaults["people"].split("-")),
        pieces=tuple(int(part) for part in defaults["pieces"].split("-")),
        heights=tuple(float(part) for part in defaults["heights"].split("-")),
        width=int(defaults["size"].split("x")[0]),
        height=int(defaults["size"].split("x")[1]),
        seed=defaults["seed"],
    )
    assert written == CollageConfig()
