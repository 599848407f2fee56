import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import fdps
from fake.cards import write_card
from fake.network import write_network
from fake.photos import write_photos
from fake.runs import tiny_recipe
from fdps.bundled import bundled_weights
from fdps.cli.main import main
from fdps.config import to_toml
from fdps.embedders import calibration_file, find_model, licence_of
from fdps.embedders.info import list_models
from fdps.errors import MissingDataError, ModelError, UsageError
from fdps.query import Searcher


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of models."""
    monkeypatch.setenv("FDPS_MODELS", str(tmp_path / "models"))
    monkeypatch.delenv("FDPS_ALLOWED_LICENSES", raising=False)
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.fixture
def card(shared_data: Path, tmp_path: Path) -> Path:
    pytest.importorskip("onnxruntime")
    return write_card(tmp_path / "small.toml", shared_data / "models")


@pytest.mark.long
def test_names_lead_to_the_folder_of_models(folder: Path) -> None:
    network = write_network(folder / "mine.safetensors", n_people=1)
    (folder / "run").mkdir()
    shutil.copy(network, folder / "run" / "weights.safetensors")
    (folder / "two").mkdir()
    (folder / "two" / "card.toml").touch()
    (folder / "other.toml").touch()
    assert find_model("mine") == network
    assert find_model("run") == folder / "run" / "weights.safetensors"
    assert find_model("two") == folder / "two" / "card.toml"
    assert find_model("other") == folder / "other.toml"
    assert find_model("drawn-people") == bundled_weights("drawn-people")
    assert isinstance(fdps.load("mine"), Searcher)
    with pytest.raises(MissingDataError):
        fdps.load("nothing")


def test_without_the_variable_models_lie_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    from fdps.embedders import models_folder

    monkeypatch.delenv("FDPS_MODELS")
    monkeypatch.setenv("XDG_DATA_HOME", "/share")
    assert models_folder() == Path("/share/fdps/models")
    monkeypatch.delenv("XDG_DATA_HOME")
    assert models_folder() == Path.home() / ".local/share/fdps/models"


def test_calibrations_lie_beside_their_models(folder: Path) -> None:
    assert calibration_file(Path("run/weights.safetensors")) == Path("run/calibration.json")
    assert calibration_file(Path("a/net.safetensors")) == Path("a/net.calibration.json")
    assert calibration_file(Path("a/two.toml")) == Path("a/two.calibration.json")
    bundled = folder / "drawn-people.calibration.json"
    assert calibration_file(find_model("drawn-people")) == bundled


@pytest.mark.parametrize(
    ("kind", "root", "licence"),
    [
        ("prw", "somewhere", "research-only"),
        ("coco", "data/penn_fudan", "research-only"),
        ("prw", "data/prw_c6", "research-only"),
        ("coco", "our_people", "unknown"),  # whoever trained on it knows
    ],
)
def test_a_run_carries_the_licence_of_its_data(
    kind: str, root: str, licence: str, tmp_path: Path
) -> None:
    recipe = to_toml(tiny_recipe(Path(root))).replace('kind = "coco"', f'kind = "{kind}"')
    (tmp_path / "recipe.toml").write_text(recipe)
    assert licence_of(tmp_path / "weights.safetensors") == licence


def test_licences_of_the_others(tmp_path: Path) -> None:
    assert licence_of(find_model("drawn-people")) == "Apache-2.0"
    assert licence_of(write_card(tmp_path / "a.toml", tmp_path)) == "Apache-2.0"
    assert licence_of(tmp_path / "weights.safetensors") == "unknown"
    (tmp_path / "recipe.toml").write_text("of = 'another version'")
    assert licence_of(tmp_path / "weights.safetensors") == "unknown"


def test_the_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = write_network(tmp_path / "weights.safetensors", n_people=1)
    monkeypatch.setenv("FDPS_ALLOWED_LICENSES", "MIT, apache-2.0")
    assert fdps.load("drawn-people").dim > 0
    with pytest.raises(ModelError, match=r"licence 'unknown' is not allowed here \(FDPS_ALLOWED"):
        fdps.load(network)
    assert main(["detect", str(tmp_path), "--model", str(network)]) != 0
    write_photos(tmp_path / "photos", 1)
    assert main(["detect", str(tmp_path / "photos"), "--model", str(network)]) == 5
    monkeypatch.setenv("FDPS_ALLOWED_LICENSES", "MIT,unknown")
    assert fdps.load(network).dim == 16
    monkeypatch.setenv("FDPS_ALLOWED_LICENSES", "")
    with pytest.raises(ModelError, match="is not allowed here"):
        fdps.load("drawn-people")


@pytest.mark.long
def test_a_card_serves_all_commands(
    card: Path, shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    for frame in sorted((shared_data / "prw_c6/frames").iterdir())[:60:20]:
        shutil.copy(frame, frames)
    archive = str(tmp_path / "a.fdps")
    assert main(["index", str(frames), "-o", archive, "--model", str(card), "-q"]) == 0
    assert main(["detect", str(frames), "--model", str(card), "-q", "--json"]) == 0
    out = capsys.readouterr().out.splitlines()
    found = json.loads(out[-1])
    scene = next(s for s in found["scenes"] if s["people"])
    picture, box = tmp_path / scene["scene"], scene["people"][0]["box"]
    text = ",".join(map(str, box))
    # The archive remembers the card; a raised least score is no other model.
    options = ["--query", str(picture), "--box", text, "--min-score", "0.5", "--json"]
    assert main(["search", archive, *options]) == 0
    hit = json.loads(capsys.readouterr().out)["hits"][0]
    assert hit["scene"] == scene["scene"]
    assert hit["similarity"] > 0.99
    with fdps.Index.open(archive) as index:
        assert (index.info.model, index.info.model_hash) == (str(card), found["model_hash"])
    write_card(card, shared_data / "models", ("min_score = 0.3", "min_score = 0.2"))
    assert main(["search", archive, *options]) == 6


@pytest.mark.long
def test_a_name_is_remembered_as_its_place(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = write_network(folder / "mine.safetensors", n_people=1)
    write_photos(tmp_path / "photos", 1)
    archive = tmp_path / "a.fdps"
    assert main(["index", str(tmp_path / "photos"), "-o", str(archive), "--model", "mine"]) == 0
    with fdps.Index.open(archive) as index:
        assert index.info.model == str(network)


@pytest.mark.parametrize("min_score", [float("nan"), -3.0, -1e-9, 1.01, float("inf")])
@pytest.mark.parametrize("model", ["drawn-people", "two"])
def test_a_least_score_that_is_no_score_is_refused(
    folder: Path, model: str, min_score: float
) -> None:
    write_card(folder / "two.toml", folder)
    with pytest.raises(UsageError, match=r"min_score must be in \[0, 1\], got") as refused:
        fdps.load(model, min_score=min_score)
    assert "0 keeps everybody" in refused.value.hint


@pytest.mark.parametrize("min_score", [0.0, 1.0, 0.5])
def test_limits_of_the_least_score_are_scores(min_score: float) -> None:
    assert fdps.load("drawn-people", min_score=min_score).dim > 0


@pytest.mark.parametrize("verb", ["detect", "index"])
@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--device", "banana"], "device must be cpu, cuda, "),
        (["--device", "cuda:977"], "device cuda:977 is not here: torch sees "),
        (["--min-score", "nan"], "min_score must be in [0, 1], got nan"),
        (["--min-score", "-3"], "min_score must be in [0, 1], got -3.0"),
    ],
)
def test_verbs_refuse_settings_in_one_sentence(
    verb: str,
    option: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_photos(tmp_path / "photos", 1)
    out = ["-o", str(tmp_path / "a.fdps")] if verb == "index" else []
    words = [verb, str(tmp_path / "photos"), *out, "--model", "drawn-people", *option]
    assert main(words) == 2
    assert f"error: {message}" in capsys.readouterr().err
    assert not (tmp_path / "a.fdps").exists()


def test_a_list_reads_headers_only(folder: Path) -> None:
    """A terabyte that is not there: a sparse file whose bytes nobody could read in time."""
    network = write_network(folder / "huge.safetensors", n_people=1)
    with network.open("r+b") as file:
        header = int.from_bytes(file.read(8), "little")
        values = json.loads(file.read(header))
        values["padding"] = {"dtype": "U8", "shape": [2**40], "data_offsets": [_end(values)] * 2}
        values["padding"]["data_offsets"][1] += 2**40
        text = json.dumps(values).encode()
        file.seek(0)
        file.truncate(0)
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + _end(values))
    found = {info.name: info for info in list_models()}["huge"]
    assert (found.kind, found.problem, found.model_hash) == ("network", "", "")


def _end(header: dict[str, dict[str, list[int]]]) -> int:
    """The end of the last tensor."""
    return max(row["data_offsets"][1] for name, row in header.items() if name != "__metadata__")


def test_a_run_is_research_only_if_it_began_from_what_is(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for run, root, begun in ((first, "data/prw_c6", ""), (second, "ours", str(first))):
        run.mkdir()
        (run / "recipe.toml").write_text(to_toml(tiny_recipe(Path(root), start_from=begun)))
    assert licence_of(second / "weights.safetensors") == "research-only"


def test_a_run_is_research_only_if_its_trunk_is(tmp_path: Path) -> None:
    for name, root, trunk in (("one", "data/prw_c6", "none"), ("two", "mine", "one")):
        run = tmp_path / name
        run.mkdir()
        recipe = tiny_recipe(Path(root))
        weights = trunk if trunk == "none" else str(tmp_path / trunk)
        recipe = replace(recipe, model=replace(recipe.model, backbone_weights=weights))
        (run / "recipe.toml").write_text(to_toml(recipe))
        (run / "weights.safetensors").touch()
    assert licence_of(tmp_path / "two" / "weights.safetensors") == "research-only"
    (tmp_path / "one" / "recipe.toml").write_text(to_toml(tiny_recipe(Path("mine"))))
    assert licence_of(tmp_path / "two" / "weights.safetensors") == "unknown"
