"""Videos go into an archive frame by frame, once, wherever the work was interrupted."""

import csv
import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fake.embedder import ColourEmbedder
from fake.photos import unit_rows, write_photos
from fake.processes import index_photos, pipe, running
from fake.videos import people_frames, write_video
from fdps.errors import DataError, MissingDataError, UsageError
from fdps.pictures import read_picture
from fdps.search import Index, find_pictures

N_FRAMES = 30


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_video(
        tmp_path / "in/gate_20260502_143107.mp4", people_frames(N_FRAMES), keyframe_every=10
    )


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index.create(tmp_path / "event.fdps", ColourEmbedder()) as index:
        yield index


def contents(index: Index) -> list[tuple[object, ...]]:
    query = unit_rows(np.random.default_rng(0), 1)
    (hits,) = index.store.search(query, top=10_000)
    tracks = [(a.similarity, a.items) for a in index.search_appearances(query[0], 10_000)]
    return [(h.scene, h.box.tolist(), h.similarity, h.score, h.item) for h in hits] + tracks


def scenes(index: Index) -> list[str]:
    """In the order in which they came."""
    folder = index._store.folder
    assert folder
    with closing(sqlite3.connect(folder / "index.sqlite")) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM scenes ORDER BY id")]


def skipped_file(index_folder: Path) -> dict[str, str]:
    with (index_folder / "skipped.csv").open(newline="", encoding="utf-8") as file:
        return {Path(row["file"]).name: row["reason"] for row in csv.DictReader(file)}


def test_every_sampled_frame_is_a_scene(index: Index, clip: Path) -> None:
    summary = index.add(
        clip, every="1s", camera_from="(?P<camera>gate|hall)", time_from="name:%Y%m%d_%H%M%S"
    )
    assert (summary.n_files, summary.n_added, summary.n_known) == (1, 3, 0)
    assert scenes(index) == [f"in/{clip.name}@00:00:0{n}.000" for n in range(3)]
    scene = index.scene(f"in/{clip.name}@00:00:02.000")
    assert scene
    assert (scene.frame, scene.offset_s, scene.camera) == (20, 2.0, "gate")
    assert (scene.width, scene.height, scene.path) == (160, 120, str(clip))
    assert scene.time
    assert scene.time.startswith("2026-05-02T14:31:09.000")
    query = unit_rows(np.random.default_rng(0), 1)[0]
    hits = index.search(query, after="2026-05-02T14:31:08", before="2026-05-02T14:31:09")
    assert {hit.scene for hit in hits} == {f"in/{clip.name}@00:00:01.000"}
    assert len(index.search(query, time_of_day="14:00-15:00", source="*/in/*.mp4")) == len(index)
    assert index.search(query, time_of_day="15:00-14:00") == []
    assert index.search(query, source="*.jpg") == []


@pytest.mark.long
def test_a_video_is_known_by_its_content_and_by_how_it_was_sampled(
    index: Index, clip: Path, tmp_path: Path
) -> None:
    index.add(clip, every="1s")
    before = contents(index)
    assert index.add(clip, every="1s").n_known == 1
    assert contents(index) == before
    denser = index.add(clip, every="0.5s")  # the frames between, no frame twice
    assert (denser.n_added, denser.n_known) == (3, 0)
    assert index.n_scenes == 6
    keyframes = index.add(clip, every="keyframes")
    assert (keyframes.n_added, keyframes.n_known) == (0, 1)
    shutil.copy(clip, tmp_path / "in/copy.mp4")
    (twin,) = index.add(tmp_path / "in", every="1s").skipped
    assert (twin.path.name, twin.reason) == (
        "copy.mp4",
        f"same content as in/{clip.name}@00:00:00.000",
    )
    assert index.n_scenes == 6


@pytest.mark.long
def test_a_changed_video_replaces_all_its_frames(index: Index, clip: Path) -> None:
    index.add(clip, every="0.5s")
    write_video(clip, people_frames(8, seed=5))
    summary = index.add(clip, every="0.5s")
    assert (summary.n_added, summary.n_replaced, index.n_scenes) == (2, 2, 2)


def test_all_looks_again(index: Index, clip: Path, tmp_path: Path) -> None:
    write_photos(tmp_path / "in", 2)
    index.add(tmp_path / "in", every="1s")
    n_people = len(index)
    summary = index.add(tmp_path / "in", every="2s", again=True, camera="hall")
    assert (summary.n_added, summary.n_replaced, summary.n_known) == (4, 4, 0)
    assert index.n_scenes == 4
    assert len(index) < n_people
    scene = index.scene("in/000.png")
    assert scene
    assert scene.camera == "hall"


@pytest.mark.long
def test_a_removed_frame_comes_back(index: Index, clip: Path) -> None:
    index.add(clip, every="1s")
    index.remove(scenes=[scenes(index)[1]])
    assert index.add(clip, every="1s").n_added == 1
    assert index.n_scenes == 3


@pytest.mark.long
def test_a_torn_video_gives_what_can_be_read_and_is_named(index: Index, tmp_path: Path) -> None:
    whole = write_video(
        tmp_path / "in/clip.mp4", people_frames(60), options={"movflags": "+faststart"}
    ).read_bytes()
    (tmp_path / "in/clip.mp4").write_bytes(whole[: len(whole) // 2])
    for n_known in (0, 1):  # the second time nothing is new, and it is named again
        summary = index.add(tmp_path / "in", every="1f")
        assert 10 < index.n_scenes < 50
        assert (summary.n_known, bool(summary.n_added)) == (n_known, not n_known)
        reason = skipped_file(tmp_path / "event.fdps")["clip.mp4"]
        assert reason.startswith("it ends after")
        assert f"{index.n_scenes} frames of it are in the archive" in reason
    (tmp_path / "in/clip.mp4").write_bytes(whole)
    assert index.add(tmp_path / "in", every="1f").n_added == 60
    assert index.n_scenes == 60
    assert skipped_file(tmp_path / "event.fdps") == {}


def test_progress_foresees_the_frames(index: Index, clip: Path, tmp_path: Path) -> None:
    write_photos(tmp_path / "in", 1)
    seen: list[tuple[int, int]] = []
    index.add(tmp_path / "in", every="0.5s", progress=lambda *pair: seen.append(pair))
    assert seen[-1] == (7, 7)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert {total for _, total in seen[2:]} == {7}


def test_frames_of_one_name_and_moment_are_told_apart(index: Index, tmp_path: Path) -> None:
    for seed, folder in enumerate("ab"):
        write_video(tmp_path / folder / "in/clip.mkv", people_frames(2, seed=seed))
    index.add([tmp_path / "a/in", tmp_path / "b/in"], every="1f")
    names = scenes(index)
    assert names[:2] == ["in/clip.mkv@00:00:00.000", "in/clip.mkv@00:00:00.100"]
    assert [name[-13:] for name in names[2:]] == ["@00:00:00.000", "@00:00:00.100"]
    assert names[2].startswith("in/clip.mkv#")


def test_pictures_tell_when_they_were_taken(index: Index, tmp_path: Path) -> None:
    write_photos(tmp_path / "in", 3, suffix=".jpg")
    for number, (taken, offset) in enumerate(
        [
            ("2026:05:02 14:31:07", "+02:00"),
            ("2026:05:02 14:31:08", ""),
            ("    :  :     :  :  ", ""),
        ]
    ):
        path = tmp_path / f"in/{number:03}.jpg"
        exif = Image.Exif()
        exif.get_ifd(0x8769).update(
            {0x9003: taken, 0x9291: "25", **({0x9011: offset} if offset else {})}
        )
        with Image.open(path) as picture:
            picture.save(path, exif=exif)
    index.add(tmp_path / "in")
    times = [scene.time for name in scenes(index) if (scene := index.scene(name))]
    assert times[0] == "2026-05-02T14:31:07.250+02:00"
    assert times[1]
    assert times[1].startswith("2026-05-02T14:31:08.250")
    assert times[2] is None


def test_lists_name_sources(tmp_path: Path, index: Index, clip: Path) -> None:
    write_photos(tmp_path / "in", 3)
    (tmp_path / "in/list.txt").write_text(f"000.png\n\n# no\n{clip}\nmissing.png\n")
    (tmp_path / "in/list.csv").write_text("n,file\n1,001.png\n")
    (tmp_path / "odd").write_text("in/00?.png\n")
    found = find_pictures(tmp_path / "in/list.txt", videos=True)
    assert [frame.path.name for frame in found.frames] == ["000.png", clip.name]
    assert [(file.path.name, file.reason) for file in found.skipped] == [
        ("missing.png", "no such file or folder")
    ]
    assert [f.path.name for f in find_pictures(tmp_path / "in/list.csv").frames] == ["001.png"]
    assert len(find_pictures(f"@{tmp_path / 'odd'}").frames) == 3
    with pytest.raises(MissingDataError, match="no list at"):
        find_pictures(f"@{tmp_path / 'none'}")
    (tmp_path / "in/list.csv").write_text("a,b\n1,001.png\n")
    with pytest.raises(DataError, match="has no column of files, it has a, b"):
        find_pictures(tmp_path / "in/list.csv")


def test_a_list_of_skipped_files_can_be_tried_again(index: Index, tmp_path: Path) -> None:
    write_photos(tmp_path / "in", 2)
    whole = (tmp_path / "in/001.png").read_bytes()
    (tmp_path / "in/001.png").write_bytes(b"torn")
    index.add(tmp_path / "in")
    (tmp_path / "in/001.png").write_bytes(whole)
    assert index.add(tmp_path / "event.fdps/skipped.csv").n_added == 1


@pytest.mark.skipif(os.name != "posix", reason="pipes with names")
def test_a_pipe_is_named_and_not_waited_for(index: Index, tmp_path: Path) -> None:
    write_photos(tmp_path / "in", 1)
    os.mkfifo(tmp_path / "in/pipe.png")
    os.mkfifo(tmp_path / "in/pipe.mp4")
    summary = index.add(tmp_path / "in")
    assert {file.reason for file in summary.skipped} == {"cannot be read: not a regular file"}
    assert summary.n_added == 1


@pytest.mark.long
def test_several_decoders_give_the_same_archive(tmp_path: Path) -> None:
    write_photos(tmp_path / "in", 10)
    for number in range(2):
        write_video(tmp_path / f"in/{number}.mp4", people_frames(12, seed=number))
    (tmp_path / "in/torn.png").write_bytes(b"torn")
    shutil.copy(tmp_path / "in/000.png", tmp_path / "in/000 copy.png")  # decoded at the same time
    archives = []
    for workers in (1, 3):
        with Index.create(tmp_path / f"{workers}.fdps", ColourEmbedder()) as index:
            summary = index.add(tmp_path / "in", every="0.2s", workers=workers)
            assert len(summary.skipped) == 2
            archives.append(contents(index))
    assert archives[0] == archives[1]


def test_there_is_at_least_one_decoder(index: Index, clip: Path) -> None:
    with pytest.raises(UsageError, match="workers must be at least 1"):
        index.add(clip, workers=0)


@pytest.mark.long
def test_killed_in_a_video_it_continues_at_the_frame(tmp_path: Path) -> None:
    folder, videos = tmp_path / "event.fdps", tmp_path / "in"
    for number in range(2):
        write_video(videos / f"{number}.mp4", people_frames(80, seed=number))
    with Index.create(tmp_path / "clean.fdps", ColourEmbedder()) as clean:
        clean.add(videos)  # every 0.5 s
        expected = contents(clean)
    assert clean_scenes(tmp_path / "clean.fdps") == 32
    n_met_at_work = 0
    for n_reports in (5, 9):
        told, tell = pipe()
        with running(index_photos, folder, videos, tell) as process:
            for _ in range(n_reports):
                assert told.poll(20)
                told.recv()
            assert process.pid
            os.kill(process.pid, signal.SIGKILL)
            process.join()
        n_met_at_work += clean_scenes(folder) < 32
        time.sleep(0.05)
    assert n_met_at_work == 2
    with Index.open(folder, ColourEmbedder()) as index:
        n_before = index.n_scenes
        assert n_before >= 5
        assert index.add(videos).n_added == 32 - n_before
        assert contents(index) == expected


def clean_scenes(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "index.sqlite")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        (n_scenes,) = connection.execute("SELECT count(*) FROM scenes").fetchone()
        return int(n_scenes)


def test_pictures_of_phones(index: Index, tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    write_photos(tmp_path / "in", 1)
    image = read_picture(tmp_path / "in/000.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = Image.fromarray(np.ascontiguousarray(np.rot90(image)))
    pillow_heif.from_pillow(turned).save(
        tmp_path / "in/phone.heic", quality=95, exif=exif.tobytes()
    )
    summary = index.add(tmp_path / "in")
    assert (summary.n_added, summary.skipped) == (2, ())
    scene = index.scene("in/phone.heic")
    assert scene
    assert (scene.width, scene.height) == (160, 120)
    found = read_picture(tmp_path / "in/phone.heic").astype(int)
    assert np.abs(found - image).mean() < 12
