"""``fdps demo MY_PICTURES``: from somebody's own pictures to a report, and what stops it."""

import json
import os
import select
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from fake.commands import ELSEWHERE, read_all
from fake.network import write_network
from fake.people import write_picture
from fake.photos import write_photos
from fake.videos import people_frames, write_video
from fdps.cli.demo.own import default_out
from fdps.cli.main import main
from fdps.data import load_scenes
from fdps.data.synthetic import SyntheticConfig, draw_dataset
from fdps.evaluation.matching import mutual_matches
from fdps.search import Index

PEOPLE = 2


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp("run") / "weights.safetensors", n_people=PEOPLE)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_photos(tmp_path / "photos", 3)
    return tmp_path / "photos"


def demo(*words: object) -> int:
    return main(["demo", *map(str, words), "--quiet"])


@pytest.mark.long
def test_the_bundled_weights_find_drawn_people_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = SyntheticConfig(seed=1, n_train_scenes=1, n_test_scenes=14, n_test_persons=5)
    draw_dataset(config, tmp_path / "scenes")
    scenes = load_scenes("folder", tmp_path / "scenes", "test")
    pictures = tmp_path / "scenes" / "images" / "test"
    before = read_all(pictures)
    options = ("--json", "--people", 3, "--model", "drawn-people")
    assert demo(pictures, "-o", tmp_path / "out", *options) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["report"] == str(tmp_path / "out" / "report.html")
    assert (found["n_scenes"], len(found["people"]), found["calibration"]) == (14, 3, None)
    assert found["n_people"] <= found["n_appearances"] == found["n_sightings"]
    assert read_all(pictures) == before

    truth = {f"test/{Path(scene.name).name}": scene for scene in scenes.scenes}
    with Index.open(tmp_path / "out" / "people.fdps") as archive:
        for person in found["people"]:
            ids = []
            for appearance in person["appearances"]:
                (item,) = appearance["items"]
                sighting = archive.person(item)
                scene = truth[sighting.scene]
                (row,) = mutual_matches(sighting.box[None], scene.boxes).tolist()
                ids.append(int(scene.person_ids[row]) if row >= 0 else -1)
            assert person["n_scenes"] == len(ids) >= 3
            assert max(map(ids.count, ids)) / len(ids) >= 0.8


@pytest.mark.long
def test_it_ends_with_the_next_command_and_goes_on_where_it_was(
    network: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    write_video(tmp_path / "clip.mp4", people_frames(4))
    (photos / "torn.jpg").write_bytes(b"torn")
    monkeypatch.chdir(tmp_path)
    words = ("photos", "clip.mp4", "--every", "2f", "--model", network)
    assert demo(*words) == 0
    shown = capsys.readouterr().out
    assert f"Skipped {photos / 'torn.jpg'}: " in shown
    assert "This model is not calibrated" in shown
    assert "Report  demo-photos/report.html" in shown
    page = Path("demo-photos/report.html").read_text(encoding="utf-8")
    assert "The people of photos, clip.mp4" in page
    assert "5 pictures (of a video, one every 2f) were looked at" in page
    (command,) = [line for line in shown.splitlines() if line.startswith("Next")]
    assert main(command.split()[2:]) == 0  # as it is printed

    capsys.readouterr()
    (photos / "000.png").unlink()
    assert demo("photos", "clip.mp4", "--every", "2f", "--json") == 0  # of the model it remembers
    again = json.loads(capsys.readouterr().out)
    assert again["n_scenes"] == 4  # whoever was on the picture that is gone has gone with it
    assert [Path(file["file"]).name for file in again["skipped"]] == ["torn.jpg"]


@pytest.mark.long
def test_another_model_starts_over_and_a_foreign_archive_is_left_alone(
    network: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert demo(photos, "-o", out, "--model", network) == 0
    other = write_network(tmp_path / "other.safetensors", n_people=PEOPLE, seed=1)
    for options in (("--model", other), ("--model", other, "--min-score", "0.01")):
        capsys.readouterr()
        assert demo(photos, "-o", out, *options, "--json") == 0
        shown = capsys.readouterr()
        assert "was made with another model or score" in shown.err
        assert json.loads(shown.out)["n_scenes"] == 3
    with Index.open(out / "people.fdps") as archive:
        assert archive.info.model == str(other)

    mine = tmp_path / "mine"
    mine.mkdir()
    assert main(["index", str(photos), "-o", f"{mine}/people.fdps", "--model", str(network)]) == 0
    before = read_all(mine)
    for arguments in ((photos, "-o", mine, "--model", network), ("-o", mine)):
        assert demo(*arguments) == 2
        assert "is an archive that fdps demo did not make" in capsys.readouterr().err
        assert read_all(mine).keys() == before.keys()


@pytest.mark.parametrize("out", ["photos", "photos/demo", "photos/../photos/a/b"])
def test_nothing_is_written_into_the_pictures(
    photos: Path, tmp_path: Path, out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_all(tmp_path)
    assert demo(photos, "-o", tmp_path / out) == 2
    error = capsys.readouterr().err
    assert f"which is within {photos}; your pictures are only read" in error
    assert f"--out {tmp_path}/demo-photos" in error
    assert read_all(tmp_path) == before


@pytest.mark.parametrize("link", ["photos/inside", "elsewhere"])
def test_a_link_into_the_pictures_does_not_help(photos: Path, tmp_path: Path, link: str) -> None:
    (tmp_path / "elsewhere").symlink_to(photos)
    assert demo(photos, "-o", tmp_path / link / "demo") == 2


@pytest.mark.long
def test_what_cannot_be_compared_is_refused(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*words: object) -> str:
        assert demo(*words, "-o", tmp_path / "out") == 3
        return capsys.readouterr().err

    (tmp_path / "empty").mkdir()
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "a.jpg").write_bytes(b"torn")
    video = write_video(tmp_path / "clip.mp4", people_frames(4))
    video.write_bytes(video.read_bytes()[:200])
    assert "no such file or folder" in told(tmp_path / "nothing.mp4")
    assert "the folder is empty" in told(tmp_path / "empty")
    assert not (tmp_path / "out").exists()
    error = told(tmp_path / "torn", video, "--model", network)
    assert "none of 2 files could be indexed" in error
    assert f"{tmp_path / 'torn' / 'a.jpg'}: is not a picture" in error
    assert f"{video}: " in error

    write_photos(tmp_path / "photos", 1)
    error = told(tmp_path / "photos", "--model", network, "--min-score", "1")
    assert "nobody was found in 1 picture\n" in error
    alone = write_network(tmp_path / "alone.safetensors", n_people=1)
    error = told(tmp_path / "photos", "--model", alone)
    assert "one person was found, once, in 1 picture; there is nobody to compare" in error


@pytest.mark.long
def test_one_person_in_two_pictures_is_a_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = write_network(tmp_path / "alone.safetensors", n_people=1)
    write_photos(tmp_path / "photos", 1)
    rng = np.random.default_rng(5)
    write_picture(
        tmp_path / "photos" / "b.png", rng.integers(0, 256, (120, 160, 3), dtype=np.uint8)
    )
    assert demo(tmp_path / "photos", "-o", tmp_path / "out", "--model", alone) == 0
    assert "nobody was side by side in one picture" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["photos", "--quick"], "--quick is for drawn scenes"),
        (["photos", "--seed", "2"], "--seed is for drawn scenes"),
        (["--people", "2"], "--people is for pictures of your own"),
        (["--model", "runs/x"], "--model is for pictures of your own"),
        (["photos", "--every", "never"], "'never'"),
    ],
)
def test_options_of_the_other_demo_are_refused(
    photos: Path, tmp_path: Path, words: list[str], message: str, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert demo(*words) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("demo*"))


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("holiday.mp4", "demo-holiday"),
        ("photos", "demo-photos"),
        ("@list.txt", "demo-list"),
        ("/", "demo-pictures"),
        ("a b/c.d", "demo-c.d"),
    ],
)
def test_the_folder_is_named_after_the_first_source(
    photos: Path, tmp_path: Path, source: str, name: str, monkeypatch
) -> None:
    (tmp_path / "a b" / "c.d").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert default_out([source, "other.mp4"]) == Path(name)


@pytest.mark.slow
def test_it_says_at_once_what_it_does_and_goes_on_after_ctrl_c(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photos(tmp_path / "photos", 40)
    words = ["demo", str(tmp_path / "photos"), "-o", str(tmp_path / "out"), "--model", str(network)]
    archive = tmp_path / "out" / "people.fdps"
    with subprocess.Popen(
        [*ELSEWHERE, *words], stderr=subprocess.PIPE, env=os.environ | {"PYTHONUNBUFFERED": "1"}
    ) as process:
        assert process.stderr is not None
        assert select.select([process.stderr], [], [], 60)[0]
        assert process.stderr.readline() == "Find …\n".encode()
        deadline = time.monotonic() + 120
        while n_scenes(archive) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert b"the same command continues where it was" in process.stderr.read()
        assert process.wait() == 130
    n_before = n_scenes(archive)
    assert 2 <= n_before < 40
    assert main([*words, "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["n_scenes"] == 40
    with Index.open(archive) as index:
        assert index.scene("photos/000.png") is not None


def n_scenes(archive: Path) -> int:
    """Number of pictures in an archive; 0 while there is none."""
    from fdps.errors import FdpsError

    try:
        with Index.open(archive) as index:
            return index.n_scenes
    except FdpsError:
        return 0
