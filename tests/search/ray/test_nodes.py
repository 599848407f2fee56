"""Real Ray nodes fill one archive on a server, whatever becomes of the nodes meanwhile."""

import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fake.looking import NOTES, SECONDS, NotingEmbedder, index_over
from fake.photos import unit_rows, write_photos
from fake.postgres import PostgresServer
from fake.processes import pipe, running
from fake.ray_nodes import RayNodes, hiding_words, ray_nodes
from fake.videos import people_frames, write_video
from fdps.search import Index
from fdps.search.care.verify import verify
from fdps.search.open_store import discard

pytestmark = [
    pytest.mark.skipif(not find_spec("ray"), reason="ray is not installed"),
    pytest.mark.slow,  # two nodes take half a minute to start
]
TESTS = Path(__file__).resolve().parents[2]
WAIT_S = 240.0


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Where every machine notes each picture at which it looked."""
    file = tmp_path / "notes"
    file.touch()
    return file


@pytest.fixture
def environment(notes: Path) -> dict[str, str]:
    """What the processes of all machines are told."""
    paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        "PYTHONPATH": os.pathsep.join(paths),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "0123456789abcdef" * 4,
        NOTES: str(notes),
        SECONDS: "0.2",
    }


@pytest.fixture
def nodes(environment: dict[str, str]) -> Iterator[RayNodes]:
    with ray_nodes(environment) as nodes:
        yield nodes


@pytest.fixture
def where(postgres: PostgresServer) -> Iterator[str]:
    """An empty archive on a server."""
    address = f"{postgres.url()}?archive=many_nodes"
    Index.create(address, NotingEmbedder()).close()
    yield address
    discard(address)


def contents(index: Index) -> list[tuple[object, ...]]:
    (hits,) = index.store.search(unit_rows(np.random.default_rng(0), 1), top=10_000)
    return [
        (h.scene, h.box.tolist(), h.similarity, h.score, h.item, index.scene(h.scene)) for h in hits
    ]


def assert_same(where: str, sources: Path, folder: Path, skipped: dict[str, str]) -> None:
    """The archive is the one that a single process makes of the same files in a folder."""
    with Index.create(folder, NotingEmbedder()) as clean, Index.open(where) as index:
        summary = clean.add(sources)
        assert contents(index) == contents(clean)
        assert skipped == {
            str(one.path.relative_to(sources)): one.reason for one in summary.skipped
        }
    assert verify(where).faults == ()


@contextmanager
def indexing(
    nodes: RayNodes, environment: dict[str, str], where: str, sources: Path
) -> Iterator[Connection]:
    """A process that indexes over the cluster; what it tells arrives here."""
    told, telling = pipe()
    with running(index_over, nodes.address, environment, where, sources, telling):
        yield told


def next_of(told: Connection) -> Any:
    assert told.poll(WAIT_S), "the cluster stands still"
    return told.recv()


def skipped_at_the_end(told: Connection) -> dict[str, str]:
    while isinstance(news := next_of(told), int):
        pass
    assert isinstance(news, dict)
    return news


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def last_worker(notes: Path, machine: str) -> int:
    lines = [line.split() for line in notes.read_text().splitlines()]
    return [int(pid) for name, pid in lines if name == machine][-1]


def looked(notes: Path) -> Counter[str]:
    """How many pictures each machine has looked at."""
    return Counter(line.split()[0] for line in notes.read_text().splitlines())


@pytest.mark.skipif(not hiding_words(), reason="no folder can be hidden from a process here")
def test_files_that_one_machine_alone_can_read(
    nodes: RayNodes, environment: dict[str, str], where: str, notes: Path, tmp_path: Path
) -> None:
    sources = tmp_path / "in"
    for number, part in enumerate("abcd"):
        write_photos(sources / part, 12 if part == "c" else 6, seed=number)
    for part in "ab":
        write_video(sources / part / f"{part}.mp4", people_frames(20, seed=ord(part)))
    shutil.copy(sources / "a" / "001.png", sources / "b" / "copy.png")
    (sources / "b" / "torn.png").write_bytes((sources / "b" / "002.png").read_bytes()[:900])
    (sources / "b" / "empty.png").touch()
    nodes.start("one", hidden=[sources / "b", sources / "d"])
    nodes.start("two", hidden=[sources / "a", sources / "d"])
    with indexing(nodes, environment, where, sources) as told:
        skipped = skipped_at_the_end(told)
    assert set(looked(notes)) == {"one", "two"}
    unseen = {name: skipped.pop(name) for name in list(skipped) if name.startswith("d/")}
    assert len(unseen) == 6
    assert {"and every other of the cluster" in reason for reason in unseen.values()} == {True}
    shutil.rmtree(sources / "d")
    assert_same(where, sources, tmp_path / "clean.fdps", skipped)


def test_a_machine_joins_late_a_worker_is_killed_and_the_machine_is_lost(
    nodes: RayNodes, environment: dict[str, str], where: str, notes: Path, tmp_path: Path
) -> None:
    sources = tmp_path / "in"
    write_photos(sources, 250)
    write_video(sources / "100.mp4", people_frames(60))
    nodes.start("one")
    with indexing(nodes, environment, where, sources) as told:
        wait_until(lambda: looked(notes)["one"] > 2)
        nodes.start("two")
        wait_until(lambda: looked(notes)["two"] > 5)
        os.kill(last_worker(notes, "one"), signal.SIGKILL)
        n_before = looked(notes)["two"]
        wait_until(lambda: looked(notes)["two"] > n_before + 20)
        nodes.kill("two")
        skipped = skipped_at_the_end(told)
    assert skipped == {}
    assert_same(where, sources, tmp_path / "clean.fdps", skipped)
