"""What a machine of a cluster does, and how its work is divided; here without Ray."""

import json
import shutil
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from fake.embedder import ColourEmbedder
from fake.photos import random_people, write_photos
from fdps.decoding.messages import Ending
from fdps.embedders import load
from fdps.errors import ArchiveError, ModelError, ResourceError, UsageError
from fdps.search import Frame, Index, RayCluster
from fdps.search.ingest.looking import SeenFrame
from fdps.search.ingest.plan import FilePlan, content_hash
from fdps.search.ray.cluster import PICTURES_PER_TASK, Shares, parts
from fdps.search.ray.session import check_address, connected
from fdps.search.ray.worker import LookingWorker, from_row, read_contents, to_row


def only_row(batch: dict[str, object]) -> dict[str, object]:
    return {name: column[0] for name, column in batch.items()}  # type: ignore[index]


@pytest.mark.parametrize("n_people", [0, 3])
def test_what_was_seen_survives_the_journey(n_people: int) -> None:
    people = random_people(np.random.default_rng(0), n_people)
    sent = SeenFrame(160, 120, people, "2026-05-02T14:31:07+02:00", 20, 2.0000001, None)
    seen = from_row(only_row(to_row(7, sent)), dim=6)
    assert isinstance(seen, SeenFrame)
    for name in ("width", "height", "time", "frame", "offset_s", "duration_s"):
        assert getattr(seen, name) == getattr(sent, name)
    for name in ("boxes", "scores", "embeddings"):
        found, expected = getattr(seen.people, name), getattr(people, name)
        assert found.dtype == np.float32
        assert np.array_equal(found, expected)
        assert found.shape == expected.shape
    assert from_row(only_row(to_row(7, Ending("torn, caf\udce9"))), 6) == Ending("torn, caf\udce9")


def requests(folder: Path) -> dict[str, object]:
    paths = sorted(folder.iterdir())
    asked = [json.dumps({"do": "picture", "path": str(path)}) for path in paths]
    hashes = [content_hash(path) for path in paths]
    return {"number": np.arange(len(paths)) + 5, "sha256": hashes, "request": asked}


def test_a_worker_reports_people_and_problems(tmp_path: Path) -> None:
    write_photos(tmp_path, 2)
    (tmp_path / "torn.png").write_bytes(b"torn")
    worker = LookingWorker(ColourEmbedder, ColourEmbedder().model_hash, 1)
    rows = [only_row(batch) for batch in worker(requests(tmp_path))]
    worker._decoders.close()
    assert [row["number"] for row in rows] == [5, 5, 6, 6, 7]
    events = [from_row(row, 6) for row in rows]
    assert [isinstance(event, Ending) for event in events] == [False, True, False, True, True]
    assert isinstance(events[0], SeenFrame)
    assert len(events[0].people) > 0
    assert events[-1] == Ending(f"{tmp_path / 'torn.png'} is not a picture that fdps reads")


def test_a_file_that_is_another_one_by_now_is_not_looked_at(tmp_path: Path) -> None:
    write_photos(tmp_path, 2)
    asked = requests(tmp_path)
    shutil.copy(tmp_path / "001.png", tmp_path / "000.png")
    worker = LookingWorker(ColourEmbedder, ColourEmbedder().model_hash, 1)
    rows = [only_row(batch) for batch in worker(asked)]
    worker._decoders.close()
    assert [row["number"] for row in rows] == [5, 6, 6]
    ending = from_row(rows[0], 6)
    assert isinstance(ending, Ending)
    assert ending.problem.endswith("no machine has this content at this path")


def test_another_model_on_a_machine_is_refused(tmp_path: Path) -> None:
    write_photos(tmp_path, 2)
    worker = LookingWorker(partial(ColourEmbedder, "other"), ColourEmbedder().model_hash, 1)
    (row,) = [only_row(batch) for batch in worker(requests(tmp_path))]
    with pytest.raises(ArchiveError, match="has another model there") as caught:
        from_row(row, 6)
    assert "at the same place everywhere" in caught.value.hint


def test_a_model_that_a_machine_does_not_have_is_named(tmp_path: Path) -> None:
    write_photos(tmp_path, 1)
    worker = LookingWorker(partial(load, tmp_path / "none.safetensors"), "0" * 64, 1)
    (row,) = [only_row(batch) for batch in worker(requests(tmp_path))]
    with pytest.raises(ModelError, match=r"none\.safetensors"):
        from_row(row, 6)


def test_content_is_read_or_the_problem_named(tmp_path: Path) -> None:
    write_photos(tmp_path, 1)
    odd = Path(shutil.move(tmp_path / "000.png", tmp_path / "caf\udce9.png"))
    paths = [str(path).encode(errors="surrogateescape") for path in (odd, tmp_path / "none.png")]
    rows = read_contents({"path": paths})
    assert rows["sha256"] == [content_hash(odd), ""]
    assert rows["problem"] == ["", "cannot be read: No such file or directory"]
    assert len(set(rows["machine"])) == 1


def plans(kinds: str) -> list[FilePlan]:
    """``p`` for a picture, ``v`` for a video, a dot for what is not decoded."""
    return [
        FilePlan(
            Frame("a", Path("/a"), is_video=kind == "v"), request=None if kind == "." else {"do": 1}
        )
        for kind in kinds
    ]


@pytest.mark.parametrize(
    ("kinds", "n_workers", "expected"),
    [
        ("", 1, []),
        ("...", 1, []),
        ("pp.p", 1, [[0, 1, 3]]),
        ("pppp", 3, [[0, 1], [2, 3]]),
        ("ppvvp", 1, [[0, 1], [2], [3], [4]]),
        ("vv", 4, [[0], [1]]),
        ("p" * (PICTURES_PER_TASK + 1), 1, [[*range(PICTURES_PER_TASK)], [PICTURES_PER_TASK]]),
    ],
)
def test_a_task_is_a_video_or_some_pictures(
    kinds: str, n_workers: int, expected: list[list[int]]
) -> None:
    assert parts(plans(kinds), n_workers) == expected


def test_a_cluster_is_divided_into_networks() -> None:
    small = [{"CPU": 2.0, "memory": 1e9}]
    assert Shares.of(small, "cpu") == Shares(n_workers=1, cpus=2)
    assert Shares.of([*small, {"CPU": 16.0}, {"memory": 1e9}], "cpu") == Shares(9, cpus=2)
    gpus = [{"CPU": 16.0, "GPU": 2.0}, {"CPU": 16.0, "GPU": 1.0}, *small]
    assert Shares.of(gpus, "cuda") == Shares(n_workers=3, cpus=1, gpus=1)
    with pytest.raises(ResourceError, match="has a GPU"):
        Shares.of(small, "cuda")
    with pytest.raises(ResourceError, match="has a free CPU"):
        Shares.of([{"memory": 1e9}], "cpu")


@pytest.mark.parametrize("address", ["", "here", "host:", ":1", "http://host:1", "a b:1", "ray://"])
def test_addresses_that_name_no_cluster_are_refused(address: str) -> None:
    with pytest.raises(UsageError, match="no address of a Ray cluster"):
        check_address(address)


@pytest.mark.parametrize("address", ["local", "auto", "head:6379", "ray://head:10001", "[::1]:1"])
def test_addresses_of_clusters(address: str) -> None:
    check_address(address)


@pytest.mark.skipif(not find_spec("ray"), reason="ray is not installed")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*")
@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9", "127.0.0.1:99999"])
def test_a_cluster_that_does_not_answer_is_named_soon(address: str) -> None:
    with pytest.raises(ResourceError, match=f"cannot reach Ray at {address}"), connected(address):
        pass


def test_ray_has_to_be_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_photos(tmp_path / "photos", 1)
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        Index.create(tmp_path / "a.fdps", ColourEmbedder()) as index,
        pytest.raises(UsageError, match="needs Ray") as caught,
    ):
        index.add(tmp_path / "photos", cluster=RayCluster("local", ColourEmbedder))
    assert "fdps[ray]" in caught.value.hint
