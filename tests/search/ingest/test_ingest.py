"""Pictures go into an archive once, whatever happens on the way."""

import csv
import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from fake.embedder import ColourEmbedder
from fake.network import write_network
from fake.people import write_picture
from fake.photos import unit_rows, write_photos
from fake.processes import index_photos, pipe, running
from fake.videos import grey_steps, people_frames, write_video
from fdps.errors import ArchiveError, DataError, UsageError
from fdps.pictures import read_picture
from fdps.search import Filters, Index, IngestOptions, find_pictures
from fdps.searcher import load

N_PHOTOS = 12


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_photos(tmp_path / "photos", N_PHOTOS)
    return tmp_path / "photos"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index.create(tmp_path / "event.fdps", ColourEmbedder()) as index:
        yield index


def contents(index: Index) -> list[tuple[object, ...]]:
    """Everything a search can tell, in the order of one query."""
    (hits,) = index.store.search(unit_rows(np.random.default_rng(0), 1), top=10_000)
    return [(h.scene, h.box.tolist(), h.similarity, h.score, h.item) for h in hits]


def skipped_file(index_folder: Path) -> dict[str, str]:
    with (index_folder / "skipped.csv").open(newline="", encoding="utf-8") as file:
        return {Path(row["file"]).name: row["reason"] for row in csv.DictReader(file)}


@pytest.mark.long
def test_the_archive_holds_what_the_embedder_finds(index: Index, photos: Path) -> None:
    embedder, n_people = ColourEmbedder(), 0
    summary = index.add(photos)
    for path in sorted(photos.iterdir()):
        people = embedder.detect(read_picture(path))
        n_people += len(people)
        for box, embedding in zip(people.boxes, people.embeddings, strict=True):
            hits = index.search(embedding, top=5)
            assert hits[0].similarity == pytest.approx(1, abs=1e-6)
            assert (f"photos/{path.name}", box.tolist()) in [
                (hit.scene, hit.box.tolist()) for hit in hits if hit.similarity > 1 - 1e-6
            ]
    assert n_people > N_PHOTOS
    assert (summary.n_files, summary.n_added, summary.n_people) == (N_PHOTOS, N_PHOTOS, n_people)
    assert (len(index), index.n_scenes) == (n_people, N_PHOTOS)
    record = index.scene("photos/000.png")
    assert record
    assert (record.path, record.width, record.height) == (str(photos / "000.png"), 160, 120)


def test_the_same_call_again_changes_nothing(index: Index, photos: Path) -> None:
    index.add(photos)
    before = contents(index)
    summary = index.add([photos, str(photos / "*.png")])
    assert (summary.n_files, summary.n_added, summary.n_known) == (N_PHOTOS, 0, N_PHOTOS)
    assert contents(index) == before


@pytest.mark.long
def test_only_new_pictures_are_looked_at(index: Index, photos: Path) -> None:
    index.add(find_pictures(photos / "00*.png"))
    summary = index.add(photos)
    assert (summary.n_added, summary.n_known) == (N_PHOTOS - 10, 10)


def test_a_picture_of_nobody_is_remembered(index: Index, tmp_path: Path) -> None:
    write_picture(tmp_path / "p/wall.png", np.full((40, 40, 3), 90, dtype=np.uint8))
    assert index.add(tmp_path / "p").n_added == 1
    assert index.add(tmp_path / "p").n_known == 1
    assert (len(index), index.n_scenes) == (0, 1)


def test_the_camera_is_kept(index: Index, photos: Path) -> None:
    index.add(photos / "000.png", camera="gate")
    index.add(photos / "001.png", camera="hall")
    embedding = unit_rows(np.random.default_rng(0), 1)[0]
    assert {h.scene for h in index.search(embedding, cameras=["gate"])} == {"photos/000.png"}
    assert len(index.search(embedding, cameras=["gate", "hall"])) == len(index)
    both = Filters(("gate",), scenes="photos/001.png")
    assert index.search(embedding, filters=both) == []
    (one, *_) = index.search(embedding, filters=both, cameras=["hall"])
    assert one.scene == "photos/001.png"


def test_files_that_are_not_indexed_are_named(index: Index, photos: Path, tmp_path: Path) -> None:
    whole = (photos / "000.png").read_bytes()
    (photos / "torn.png").write_bytes(whole[: len(whole) // 2])
    (photos / "empty.jpg").touch()
    (photos / "clip.mp4").touch()
    summary = index.add(photos)
    assert summary.n_files == N_PHOTOS + 3
    assert summary.n_added == N_PHOTOS
    reasons = {file.path.name: file.reason for file in summary.skipped}
    assert set(reasons) == {"torn.png", "empty.jpg", "clip.mp4"}
    assert all(reasons.values())
    assert skipped_file(tmp_path / "event.fdps") == reasons


@pytest.mark.long
def test_the_list_of_skipped_files_follows_the_files(
    index: Index, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/torn.jpg").touch()
    (photos / "late.png").touch()
    index.add([photos, tmp_path / "other"])
    shutil.copy(photos / "000.png", tmp_path / "other/twin.png")
    write_photos(tmp_path / "new", 1, seed=5)
    shutil.move(tmp_path / "new/000.png", photos / "late.png")
    index.add(photos)  # late.png has arrived; other/ is not looked at
    assert set(skipped_file(tmp_path / "event.fdps")) == {"torn.jpg"}


def test_the_same_content_is_indexed_once(index: Index, photos: Path, tmp_path: Path) -> None:
    shutil.copy(photos / "003.png", photos / "copy of 003.png")
    shutil.copy(photos / "003.png", photos / "0031 another copy.png")  # planned before it is there
    for _ in range(2):
        summary = index.add(photos)
        reasons = [file.reason for file in summary.skipped]
        assert reasons == ["same content as photos/003.png"] * 2
    assert index.n_scenes == N_PHOTOS


@pytest.mark.long
def test_a_changed_file_replaces_its_scene(index: Index, photos: Path) -> None:
    index.add(photos)
    write_photos(photos.parent / "new", 1, seed=5)
    shutil.copy(photos.parent / "new/000.png", photos / "003.png")
    summary = index.add(photos)
    assert (summary.n_added, summary.n_replaced, summary.n_known) == (1, 1, N_PHOTOS - 1)
    assert index.n_scenes == N_PHOTOS
    (person, *_) = ColourEmbedder().detect(read_picture(photos / "003.png")).embeddings
    assert "photos/003.png" in [
        hit.scene for hit in index.search(person) if hit.similarity > 1 - 1e-6
    ]


def test_pictures_of_one_name_are_told_apart(index: Index, tmp_path: Path) -> None:
    write_photos(tmp_path / "a/photos", 1, seed=1)
    write_photos(tmp_path / "b/photos", 1, seed=2)
    index.add([tmp_path / "a/photos", tmp_path / "b/photos"])
    scenes = {hit.scene for hit in index.search(unit_rows(np.random.default_rng(0), 1)[0])}
    first, second = sorted(scenes)
    record = index.scene(second)
    assert record
    assert (first, second) == ("photos/000.png", f"photos/000.png#{record.sha256[:8]}")
    assert index.add([tmp_path / "a/photos", tmp_path / "b/photos"]).n_known == 2


@pytest.mark.long
def test_removed_scenes_come_back_and_removed_people_do_not(index: Index, photos: Path) -> None:
    index.add(photos)
    n_people = len(index)
    hit = index.search(unit_rows(np.random.default_rng(0), 1)[0], top=1)[0]
    index.remove(items=[hit.item])
    assert index.add(photos).n_added == 0
    assert len(index) == n_people - 1
    index.remove(scenes=[hit.scene])
    assert index.add(photos).n_added == 1
    assert len(index) == n_people


def test_another_model_is_refused(index: Index, photos: Path, tmp_path: Path) -> None:
    index.add(photos)
    before = contents(index)
    with pytest.raises(ArchiveError, match="similarities between two models mean nothing"):
        Index.open(tmp_path / "event.fdps", ColourEmbedder("other"))
    assert contents(index) == before


def test_adding_needs_a_model(index: Index, photos: Path, tmp_path: Path) -> None:
    with (
        Index.open(tmp_path / "event.fdps") as opened,
        pytest.raises(UsageError, match="adding pictures needs the model"),
    ):
        opened.add(photos)


def test_a_model_may_come_later(index: Index, photos: Path, tmp_path: Path) -> None:
    index.close()
    with Index.open(tmp_path / "event.fdps") as opened:
        with pytest.raises(ArchiveError, match="similarities between two models mean nothing"):
            opened.use(ColourEmbedder("other"))
        opened.use(ColourEmbedder())
        assert opened.add(photos, options=IngestOptions.parse(camera="gate")).n_added == N_PHOTOS
        scene = opened.scene("photos/000.png")
    assert scene
    assert scene.camera == "gate"


def test_rules_are_given_once(index: Index, photos: Path) -> None:
    with pytest.raises(UsageError, match="camera is given beside options"):
        index.add(photos, options=IngestOptions(), camera="gate")


def test_an_empty_folder_is_refused(index: Index, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match="no pictures found"):
        index.add(tmp_path / "nothing")


def test_a_file_that_cannot_be_opened_is_named(index: Index, photos: Path) -> None:
    (photos / "dangling.png").symlink_to("nowhere.png")
    (skipped,) = index.add(photos).skipped
    assert (skipped.path.name, skipped.reason) == (
        "dangling.png",
        "cannot be read: No such file or directory",
    )


def test_progress_counts_every_file(index: Index, photos: Path) -> None:
    (photos / "list.txt").touch()
    seen: list[tuple[int, int]] = []
    index.add(photos, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, N_PHOTOS + 1) for done in range(2, N_PHOTOS + 2)]


def test_an_interruption_keeps_what_was_added(index: Index, photos: Path, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    (photos / "001.png").write_bytes(b"torn")
    with pytest.raises(KeyboardInterrupt):
        index.add(photos, progress=interrupt)
    assert index.n_scenes == 4
    assert set(skipped_file(tmp_path / "event.fdps")) == {"001.png"}
    assert index.add(photos).n_added == N_PHOTOS - 5


@pytest.mark.long
def test_killed_at_any_moment_it_continues_where_it_was(tmp_path: Path) -> None:
    photos, folder = tmp_path / "photos", tmp_path / "event.fdps"
    write_photos(photos, 40)
    with Index.create(tmp_path / "clean.fdps", ColourEmbedder()) as clean:
        clean.add(photos)
        expected = contents(clean)
    rng = random.Random(0)
    n_done, n_kills = 0, 0
    for n_reports in (0, 1, 3, 2, 4):
        told, tell = pipe()
        with running(index_photos, folder, photos, tell) as process:
            n_awaited = n_done + n_reports  # pictures that are known are reported at once
            while n_awaited and process.is_alive():
                if told.poll(0.01):
                    n_awaited -= bool(told.recv())
            process.join(timeout=rng.uniform(0, 0.02))
            n_kills += process.is_alive()
        if not (folder / "index.sqlite").exists():
            continue  # killed before there was an archive
        with closing(sqlite3.connect(folder / "index.sqlite")) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        with Index.open(folder) as index:
            assert index.n_scenes >= min(n_done + n_reports, 40), (
                "a scene that was reported is lost"
            )
            n_done = index.n_scenes
    assert n_kills >= 2, "it was never met at work"
    with Index.open(folder, ColourEmbedder()) as index:
        index.add(photos)
        assert contents(index) == expected


@pytest.mark.long
@pytest.mark.parametrize("batch", [2, 3, 64])
def test_looking_at_several_frames_together_changes_nothing(tmp_path: Path, batch: int) -> None:
    write_photos(tmp_path / "in/a", 5)
    (tmp_path / "in/a/002.png").write_bytes(b"no picture")
    write_video(tmp_path / "in/b.mp4", people_frames(7))  # of the size of the pictures
    write_video(tmp_path / "in/c.mp4", grey_steps(3, (320, 240)))
    write_photos(tmp_path / "in/d", 2, seed=3)
    shutil.copy(tmp_path / "in/a/001.png", tmp_path / "in/d/twin.png")
    searcher = load(write_network(tmp_path / "weights.safetensors", n_people=2))
    archives = {}
    for size in (1, batch):
        with Index.create(tmp_path / f"{size}.fdps", searcher) as index:
            summary = index.add(tmp_path / "in", every="1f", batch=size)
            scenes = [f"in/a/00{k}.png" for k in (0, 1, 3, 4)]
            scenes += [f"in/b.mp4@00:00:00.{k}00" for k in range(7)]
            people = [index.people_in(name) for name in scenes]
            archives[size] = (summary, index.n_scenes, people)
    (plain, n_plain, alone), (batched, n_batched, together) = archives.values()
    assert (batched, n_batched) == (plain, n_plain) == (plain, 4 + 7 + 3 + 2)
    assert [file.path.name for file in batched.skipped] == ["002.png", "twin.png"]
    assert all(len(people) == 2 for people in alone)
    for one, other in zip(alone, together, strict=True):
        for mine, theirs in zip(one, other, strict=True):
            assert (mine.item, mine.scene) == (theirs.item, theirs.scene)
            np.testing.assert_allclose(mine.box, theirs.box, atol=1e-3)
            np.testing.assert_allclose(mine.embedding, theirs.embedding, atol=1e-5)


def test_a_batch_is_of_one_at_least(index: Index, photos: Path) -> None:
    with pytest.raises(UsageError, match="batch must be at least 1, got 0"):
        index.add(photos, batch=0)


class Choosy(ColourEmbedder):
    """An embedder that tells below which score it leaves people out."""

    def __init__(self, min_score: float) -> None:
        super().__init__()
        self.min_score = min_score


def test_an_archive_holds_to_its_least_score(tmp_path: Path, photos: Path) -> None:
    place = tmp_path / "choosy.fdps"
    with Index.create(place, Choosy(0.5)) as index:
        index.add(photos / "000.png")
    with Index.open(place, Choosy(0.01)) as index, pytest.raises(UsageError) as caught:
        index.add(photos)
    assert "leaves out detections below 0.5, and here below 0.01" in str(caught.value)
    assert "--min-score 0.5" in caught.value.hint
    with Index.open(place, Choosy(0.5)) as index:
        assert index.add(photos).n_added == N_PHOTOS - 1


@pytest.mark.long
def test_an_archive_from_before_takes_any_least_score(index: Index, photos: Path) -> None:
    index.add(photos / "000.png")  # by an embedder that does not tell it
    with Index.open(index.folder or "", Choosy(0.3)) as other:
        assert other.add(photos).n_added == N_PHOTOS - 1
