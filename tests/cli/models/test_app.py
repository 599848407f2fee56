import dataclasses
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import save_file

from fake.cards import write_card
from fake.network import write_network
from fake.photos import unit_rows
from fake.runs import tiny_recipe
from fdps import bundled
from fdps.cli.main import main
from fdps.config import to_toml
from fdps.embedders.info import describe, list_models, verify
from fdps.errors import ModelError
from fdps.predictions import load_predictions, save_predictions
from fdps.search import Index
from fdps.search.results.calibration import from_json, to_json

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of models, empty."""
    monkeypatch.setenv("FDPS_MODELS", str(tmp_path / "models"))
    monkeypatch.delenv("FDPS_ALLOWED_LICENSES", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn scenes of people who come back."""
    root = tmp_path_factory.mktemp("drawn") / "scenes"
    sizes = ["--scenes", "1", "--persons", "2", "--test-scenes", "18", "--test-persons", "8"]
    assert main(["data", "synth", str(root), *sizes, "--cameras", "2", "--quiet"]) == 0
    return root


@pytest.fixture(scope="module")
def calibrated(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled weights in a folder of their own, with predictions and a calibration."""
    run = tmp_path_factory.mktemp("calibrated")
    weights = bundled.bundled_weights("drawn-people")
    assert weights is not None
    shutil.copy(weights, run / "weights.safetensors")
    data = ["--data", "folder", "--root", str(drawn), "--quiet"]
    assert main(["predict", str(run), *data]) == 0
    assert main(["models", "calibrate", str(run), *data, *predictions_of(run)]) == 0
    return run


def predictions_of(run: Path) -> list[str]:
    return ["--predictions", str(run / "predictions.safetensors")]


def found(capsys: Capture) -> Any:
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", bundled.NAMES)
def test_bundled_weights_are_whole_and_have_a_card(name: str) -> None:
    info, card = verify(name), bundled.bundled_card(name)
    assert (info.name, info.kind, info.licence) == (name, "network", card.licence)
    assert card.sha256.startswith(info.model_hash)
    assert info.metrics
    assert info.data
    assert info.data_licence
    assert info.place.stat().st_size <= 12 * 2**20


def test_bundled_weights_are_what_they_are_said_to_be() -> None:
    info = verify("drawn-people")
    assert (info.name, info.kind, info.licence) == ("drawn-people", "network", "Apache-2.0")
    assert info.model_hash == bundled.bundled_card("drawn-people").sha256[:16]
    assert info.metrics["synthetic-1k mAP, gallery 100"] == 0.833
    assert "drawn people only" in info.notes


def test_the_list(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    write_network(folder / "mine.safetensors", n_people=1)
    (folder / "broken.safetensors").write_bytes(b"none")
    (folder / "notes.toml").write_text("title = 'not a card'")
    write_card(folder / "two.toml", Path("nowhere"))
    run = tmp_path / "runs/train/prw-boim"
    run.mkdir(parents=True)
    shutil.copy(folder / "mine.safetensors", run / "weights.safetensors")
    recipe = to_toml(tiny_recipe(Path("data/prw"))).replace('kind = "coco"', 'kind = "prw"')
    (run / "recipe.toml").write_text(recipe)
    (run / "epochs.jsonl").write_text('{"epoch": 1, "mAP": 0.5}\n{"epoch": 2, "loss": 1}\n{"ep')
    assert main(["models", "list", "--json"]) == 0
    result = found(capsys)
    assert result["folder"] == str(folder)
    rows = {row["name"]: row for row in result["models"]}
    assert list(rows) == ["street-people", "drawn-people", "broken", "mine", "two", "prw-boim"]
    assert "is not a safetensors file" in rows["broken"]["problem"]
    assert "nowhere/yolox_nano.onnx" in rows["two"]["problem"]
    assert (rows["mine"]["licence"], rows["mine"]["problem"]) == ("unknown", "")
    assert rows["prw-boim"]["licence"] == "research-only"
    assert rows["prw-boim"]["data"] == "prw/train at data/prw"
    assert rows["prw-boim"]["metrics"] == {"validation mAP": 0.5}
    assert rows["prw-boim"]["model_hash"] == rows["mine"]["model_hash"]
    assert main(["models", "list", str(tmp_path / "nothing")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "kind", "licence", "calibrated", "place"]
    assert len(lines) == 6
    assert [model.name for model in list_models()][:2] == list(bundled.NAMES)


def test_info(capsys: Capture) -> None:
    assert main(["models", "info", "drawn-people"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Model   drawn-people (network, a9fcea30257d7b9c)"
    assert "Licence Apache-2.0" in lines
    assert lines[-1] == "Next    fdps models calibrate drawn-people --data KIND --root DIR"
    assert main(["models", "info", "drawn-people", "--json"]) == 0
    assert found(capsys)["calibrated"] is False
    assert main(["models", "info", "no-such"]) == 3


@pytest.mark.long
def test_the_card_of_a_folder_is_called_like_the_folder(
    shared_data: Path, folder: Path, capsys: Capture
) -> None:
    pytest.importorskip("onnxruntime")
    (folder / "small").mkdir()
    write_card(folder / "small/card.toml", shared_data / "models")
    assert main(["models", "verify", "small", "--json"]) == 0
    result = found(capsys)
    assert (result["name"], result["kind"], result["verified"]) == ("small", "two_step", True)
    assert (result["licence"], result["data"]) == ("Apache-2.0", "COCO; a re-ID set")
    assert result["metrics"] == {"prw_c6 mAP": 0.824}
    wrong = ("min_score = 0.3", f'sha256 = "{"0" * 64}"')
    write_card(folder / "small/card.toml", shared_data / "models", wrong)
    assert main(["models", "verify", "small"]) == 5
    assert "the card says 0000" in capsys.readouterr().err


def test_what_is_not_whole_is_refused(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = write_network(folder / "mine.safetensors", n_people=1)
    assert main(["models", "verify", "mine"]) == 0
    assert capsys.readouterr().out.startswith("Whole   mine (network, ")
    monkeypatch.setenv("FDPS_ALLOWED_LICENSES", "Apache-2.0")
    assert main(["models", "verify", "mine"]) == 5
    monkeypatch.delenv("FDPS_ALLOWED_LICENSES")
    network.write_bytes(network.read_bytes()[:-100])
    assert main(["models", "verify", "mine"]) == 5
    other = dataclasses.replace(bundled.bundled_card("drawn-people"), sha256="0" * 64)
    monkeypatch.setattr("fdps.embedders.info.bundled_card", lambda name: other)
    with pytest.raises(ModelError, match="is not the file that came with fdps"):
        verify("drawn-people")


def test_a_network_that_gives_no_embeddings_is_refused(folder: Path) -> None:
    network = write_network(folder / "mine.safetensors", n_people=1)
    with safe_open(network, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for name, tensor in tensors.items():
        if "embedding" in name and tensor.is_floating_point():
            tensor.fill_(float("nan"))
    save_file(tensors, network, metadata)
    with pytest.raises(ModelError, match="are not 16 numbers of unit length"):
        verify("mine")


@pytest.mark.long
def test_calibrating(calibrated: Path, drawn: Path, tmp_path: Path, capsys: Capture) -> None:
    calibration = from_json(
        (calibrated / "calibration.json").read_text(),
        where="file",
        model_hash=describe(calibrated).model_hash,
    )
    assert (calibration.data, calibration.n_people) == ("synthetic/test", 8)
    assert calibration.n_different >= 1000
    assert describe(calibrated).is_calibrated
    verify(calibrated)
    # Without a predictions file it is made on the way; the figures are those of the file.
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(calibrated / "weights.safetensors", run)
    data = ["--data", "folder", "--root", str(drawn)]
    assert main(["models", "calibrate", str(run), *data, "--quiet"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"Compared {calibration.n_queries} sightings of 8 people: ")
    assert lines[1] == "Careful: 8 people are few; figures may be off fivefold"
    assert lines[-1] == f"Wrote   {run / 'calibration.json'}"
    assert (run / "calibration.json").read_text() == (calibrated / "calibration.json").read_text()


def test_a_model_that_tells_people_apart_is_calibrated_so(
    calibrated: Path, drawn: Path, capsys: Capture
) -> None:
    """Embeddings replaced by ones that name the person, or chance."""
    file = calibrated / "predictions.safetensors"
    predictions = load_predictions(file)
    from fdps.data import load_scenes
    from fdps.search.results.comparisons import find_sightings

    people = find_sightings(predictions, load_scenes("folder", drawn, "test")).people
    chance = unit_rows(np.random.default_rng(0), len(people), 32)
    known = chance.copy()
    for person_id in np.unique(people[people >= 0]):
        known[people == person_id] = unit_rows(np.random.default_rng(int(person_id)), 1, 32)

    def kept(embeddings: np.ndarray) -> float:
        changed = calibrated / "changed.safetensors"
        save_predictions(
            replace(
                predictions,
                embeddings=embeddings,
                query_embeddings=unit_rows(np.random.default_rng(0), len(predictions.queries), 32),
            ),
            changed,
        )
        copy = calibrated.parent / "changed"
        copy.mkdir(exist_ok=True)
        shutil.copy(calibrated / "weights.safetensors", copy)
        words = ["models", "calibrate", str(copy), "--data", "folder", "--root", str(drawn)]
        assert main([*words, "--predictions", str(changed), "--json"]) == 0
        return float(found(capsys)["worth_a_look"]["true_matches_kept"])

    assert np.array_equal(predictions.scene, np.sort(predictions.scene))
    assert kept(known) == 1
    assert kept(chance) < 0.1


def test_predictions_of_another_model_are_refused(
    calibrated: Path, drawn: Path, folder: Path, capsys: Capture
) -> None:
    write_network(folder / "mine.safetensors", n_people=1)
    data = ["--data", "folder", "--root", str(drawn)]
    assert main(["models", "calibrate", "mine", *data, *predictions_of(calibrated)]) == 3
    assert "was made by model" in capsys.readouterr().err


def test_bundled_weights_are_calibrated_in_the_folder_of_models(
    calibrated: Path, drawn: Path, folder: Path
) -> None:
    data = ["--data", "folder", "--root", str(drawn), *predictions_of(calibrated)]
    assert main(["models", "calibrate", "drawn-people", *data]) == 0
    assert (folder / "drawn-people.calibration.json").is_file()
    assert describe("drawn-people").is_calibrated


def archive_of(run: Path, drawn: Path, out: Path, capsys: Capture) -> list[str]:
    """Index two pictures; the words of a search for the first person of one."""
    pictures = sorted((drawn / "images/test").rglob("*.*"))[:2]
    command = ["index", *map(str, pictures), "-o", str(out), "--model", str(run), "--quiet"]
    assert main(command) == 0
    capsys.readouterr()
    return ["search", str(out), "--query", str(pictures[0]), "--person", "1"]


@pytest.mark.long
def test_a_search_says_how_sure_it_is(
    calibrated: Path, drawn: Path, tmp_path: Path, capsys: Capture
) -> None:
    search = archive_of(calibrated, drawn, tmp_path / "a.fdps", capsys)
    assert main([*search, "--json"]) == 0
    result = found(capsys)
    best = result["hits"][0]
    assert (best["similarity"], best["level"]) == (pytest.approx(1, abs=1e-4), "strong")
    assert result["verdict"] == "candidates"
    marks = result["calibration"]["thresholds"]
    strong, look = marks["strong"], marks["worth_a_look"]
    n = result["n_people"]
    # Strong is 0.1 wrong ones in 10,000 people, and the archive is smaller.
    assert strong["similarity"] < 1
    assert strong["expected_wrong"] == pytest.approx(0.1 * n / 10_000, rel=0.05)
    low, high = look["expected_wrong_95"]
    assert low <= look["expected_wrong"] <= high
    assert strong["expected_wrong"] <= look["expected_wrong"]
    for hit in result["hits"]:
        is_strong, is_look = (hit["similarity"] >= row["similarity"] for row in (strong, look))
        assert hit["level"] == ("strong" if is_strong else "worth a look" if is_look else "weak")
    assert main(search) == 0
    out = capsys.readouterr().out
    assert re.search(r"rank +similarity +item +level +scene +box", out)
    assert re.search(
        rf'Reading With {n} people indexed, expect about \S+ wrong hits at "strong" and \S+ at '
        r'"worth a look"\.',
        out,
    )
    # Where a filter leaves people out, nobody can say that somebody is not there.
    assert main([*search, "--scenes", "no such", "--json"]) == 0
    assert found(capsys)["verdict"] is None
    assert main([*search, "--scenes", "no such"]) == 0
    assert "Probably not here" not in capsys.readouterr().out


@pytest.mark.long
def test_the_archive_keeps_the_calibration(
    calibrated: Path, drawn: Path, tmp_path: Path, capsys: Capture
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in ("weights.safetensors", "calibration.json"):
        shutil.copy(calibrated / name, run)
    search = archive_of(run, drawn, tmp_path / "a.fdps", capsys)
    (run / "calibration.json").unlink()
    with Index.open(tmp_path / "a.fdps") as index:
        assert index.info.model == str(run)
        assert index.calibration is not None
    assert main([*search, "--json"]) == 0
    assert found(capsys)["calibration"]["data"] == "synthetic/test"


@pytest.mark.long
def test_without_calibration_the_way_to_one_is_shown(
    calibrated: Path, drawn: Path, tmp_path: Path, capsys: Capture
) -> None:
    run, archive = tmp_path / "run", tmp_path / "a.fdps"
    run.mkdir()
    shutil.copy(calibrated / "weights.safetensors", run)
    search = archive_of(run, drawn, archive, capsys)
    assert main(search) == 0
    out = capsys.readouterr().out
    assert "Reading Not calibrated: how many of these are wrong is not known. To learn it:" in out
    assert f"fdps models calibrate {run} --data KIND --root DIR" in out
    assert main([*search, "--json"]) == 0
    result = found(capsys)
    assert (result["verdict"], result["calibration"]) == (None, None)
    assert result["hits"][0]["level"] is None
    # That of another model is none, and says so.
    text = (calibrated / "calibration.json").read_text()
    other = replace(from_json(text, where="file"), model_hash="other")
    (run / "calibration.json").write_text(to_json(other))
    assert main(search) == 0
    assert "is the calibration of model other" in capsys.readouterr().out
    assert main(["models", "verify", str(run)]) == 5
    # An archive can be told later.
    data = ["--data", "folder", "--root", str(drawn), "--archive", str(archive)]
    assert main(["models", "calibrate", str(run), *data, *predictions_of(calibrated)]) == 0
    (run / "calibration.json").unlink()
    capsys.readouterr()
    assert main([*search, "--json"]) == 0
    assert found(capsys)["verdict"] == "candidates"


def test_too_little_data(drawn: Path, tmp_path: Path, capsys: Capture) -> None:
    write_network(tmp_path / "weights.safetensors", n_people=1)
    data = ["--data", "folder", "--root", str(drawn), "--split", "train"]
    assert main(["models", "calibrate", str(tmp_path), *data, "--quiet"]) == 3
    assert "calibration needs" in capsys.readouterr().err
    assert main(["models", "calibrate", str(tmp_path)]) == 2
