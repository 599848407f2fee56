import json
import shutil
from dataclasses import fields
from inspect import signature
from pathlib import Path

import pytest

from fake.network import write_network
from fake.photos import write_photos
from fake.videos import people_frames, write_video
from fdps.bundled import bundled_card
from fdps.cli.index import report as index_report
from fdps.cli.index.options import Rules
from fdps.cli.main import main
from fdps.search import Index, IngestOptions, Store
from fdps.search.ingest.ingest import IngestRules
from fdps.search.open_store import open_store

PEOPLE = 2


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp("run") / "weights.safetensors", n_people=PEOPLE)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_photos(tmp_path / "photos", 3)
    return tmp_path / "photos"


def index(*arguments: object) -> int:
    return main(["index", *map(str, arguments), "--quiet"])


@pytest.mark.long
def test_an_archive_is_built_and_the_next_command_named(
    network: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = tmp_path / "event.fdps"
    (photos / "clip.mp4").touch()
    assert index(photos, "-o", archive, "--model", network) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Added   3 pictures with 6 people",
        f"Skipped {photos / 'clip.mp4'}: the file is empty",
        f"Archive {archive}: 6 people in 3 pictures",
        f"Next    fdps search {archive} --query PICTURE",
    ]
    with Index.open(archive) as opened:
        assert (len(opened), opened.info.model) == (6, str(network))


@pytest.mark.long
def test_it_continues_with_the_model_of_the_archive(
    network: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = tmp_path / "event.fdps"
    assert index(photos / "000.png", "-o", archive, "--model", network.parent) == 0
    capsys.readouterr()
    assert index(photos, "-o", archive, "--camera", "gate", "--json") == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures == {
        "archive": str(archive),
        "n_files": 3,
        "n_moved": 0,
        "n_added": 2,
        "n_replaced": 0,
        "n_known": 1,
        "n_people_added": 4,
        "skipped": [],
        "n_scenes": 3,
        "n_people": 6,
    }
    with Index.open(archive) as opened:
        first, last = opened.scene("photos/000.png"), opened.scene("photos/002.png")
        assert first
        assert last
        assert (first.camera, last.camera) == (None, "gate")


@pytest.mark.long
def test_strict_ends_with_4_if_a_file_was_skipped(
    network: Path, photos: Path, tmp_path: Path
) -> None:
    command = (photos, "-o", tmp_path / "event.fdps", "--model", network, "--strict")
    assert index(*command) == 0
    (photos / "torn.png").write_bytes(b"torn")
    assert index(*command) == 4


@pytest.mark.long
def test_another_model_is_refused(
    network: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = tmp_path / "event.fdps"
    assert index(photos, "-o", archive, "--model", network) == 0
    other = write_network(tmp_path / "other.safetensors", n_people=PEOPLE, seed=1)
    assert index(photos, "-o", archive, "--model", other) == 6
    error = capsys.readouterr().err
    assert f"{archive} was built with {network}" in error
    assert "index the pictures into a new archive" in error


@pytest.mark.long
def test_bundled_weights_are_remembered_by_name(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = tmp_path / "event.fdps"
    assert index(photos, "-o", archive, "--model", "drawn-people") == 0
    with Index.open(archive) as opened:
        assert opened.info.model == "drawn-people"
    assert index(photos, "-o", archive) == 0  # nothing new, and the model is still there
    assert "3 files were in the archive already" in capsys.readouterr().out


@pytest.mark.long
def test_a_model_that_was_moved_has_to_be_named(
    network: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = tmp_path / "event.fdps"
    here = Path(shutil.copy(network, tmp_path / "here.safetensors"))
    assert index(photos, "-o", archive, "--model", here) == 0
    there = here.rename(tmp_path / "there.safetensors")
    assert index(photos, "-o", archive) == 3
    assert f"no longer at {here}" in capsys.readouterr().err
    assert index(photos, "-o", archive, "--model", there) == 0


@pytest.mark.long
def test_a_new_archive_is_made_by_the_network_for_photographs(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert index(photos, "-o", tmp_path / "event.fdps") == 0
    assert "Warning" not in capsys.readouterr().err
    with Index.open(tmp_path / "event.fdps") as opened:
        assert opened.info.model == "street-people"
        assert bundled_card("street-people").sha256.startswith(opened.info.model_hash)


def test_archives_elsewhere_are_not_supported(photos: Path, network: Path) -> None:
    assert index(photos, "-o", "qdrant://host:6333/people", "--model", network) == 2


def test_nothing_is_created_for_an_empty_folder(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert index(tmp_path / "empty", "-o", tmp_path / "a.fdps", "--model", network) == 3
    assert "no pictures found" in capsys.readouterr().err
    assert not (tmp_path / "a.fdps").exists()


def test_a_folder_of_unreadable_pictures_is_an_error(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p/torn.png").write_bytes(b"torn")
    assert index(tmp_path / "p", "-o", tmp_path / "a.fdps", "--model", network, "--json") == 3
    out, err = capsys.readouterr()
    assert not out
    assert "none of 1 files could be indexed" in err
    assert "torn.png" in err


@pytest.mark.long
def test_many_skipped_files_are_counted(
    network: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(7):
        (photos / f"{number}.txt").touch()
    assert index(photos, "-o", tmp_path / "a.fdps", "--model", network) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Skipped")]
    assert len(lines) == index_report._SHOWN + 1
    assert lines[-1] == f"Skipped 7 files in all; {tmp_path / 'a.fdps'}/skipped.csv names each"


@pytest.mark.long
def test_videos_cameras_and_times(
    network: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = tmp_path / "event.fdps"
    write_video(photos / "gate_20260502_143107.mp4", people_frames(20))
    command = [
        *(photos, "-o", archive, "--model", network, "--every", "1s", "--workers", 2),
        *("--camera-from", "(?P<camera>gate|hall)_", "--time-from", "exif,name:%Y%m%d_%H%M%S"),
    ]
    assert index(*command, "--json") == 0
    assert json.loads(capsys.readouterr().out)["n_added"] == 5
    with Index.open(archive) as opened:
        scene = opened.scene("photos/gate_20260502_143107.mp4@00:00:01.000")
    assert scene
    assert scene.time
    assert (scene.camera, scene.time[:19], scene.offset_s) == ("gate", "2026-05-02T14:31:08", 1.0)
    assert index(*command, "--json") == 0
    assert json.loads(capsys.readouterr().out)["n_known"] == 4
    assert index(*command, "--all", "--json") == 0
    assert json.loads(capsys.readouterr().out)["n_replaced"] == 5


@pytest.mark.parametrize(
    "option",
    [("--every", "often"), ("--camera-from", "gate"), ("--time-from", "gps"), ("--ray", "there")],
)
def test_rules_that_make_no_sense_are_refused(
    option: tuple[str, str], network: Path, photos: Path, tmp_path: Path
) -> None:
    assert index(photos, "-o", tmp_path / "a.fdps", "--model", network, *option) == 2
    assert not (tmp_path / "a.fdps").exists()


@pytest.mark.long
def test_the_archive_is_opened_once(
    network: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []

    def noted(path: object) -> Store:
        opened.append(path)
        return open_store(str(path))

    monkeypatch.setattr("fdps.search.index.open_store", noted)
    archive = tmp_path / "event.fdps"
    for n_times in (1, 2):  # the first finds nothing to open
        assert index(photos, "-o", archive, "--model", network) == 0
        assert len(opened) == n_times


def test_options_and_rules_agree() -> None:
    rules = {field.name: field.default for field in fields(Rules)}
    asked = signature(IngestOptions.parse).parameters
    assert rules == {name: parameter.default for name, parameter in asked.items()}
    assert set(rules) == set(IngestRules.__annotations__)
    assert Rules().parsed() == IngestOptions()
