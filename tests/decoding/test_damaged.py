"""Damaged files and bombs: each is named, nothing hangs, nothing crashes."""

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fake.damage import HEADS, damaged
from fake.hostile_files import BOMBS, example_pictures, example_videos
from fdps.decoding.messages import DecodedFrame, Ending
from fdps.decoding.pool import Decoders

N_PICTURES, N_VIDEOS = 1000, 100
PER_FILE_S = 10.0


@pytest.fixture
def decoders() -> Iterator[Decoders]:
    with Decoders(2) as decoders:
        yield decoders


def decode_all(decoders: Decoders, requests: list[dict[str, object]]) -> tuple[int, int]:
    """Numbers of files with pictures and without; each has one ending, in time."""
    jobs = [decoders.submit(request) for request in requests]
    n_read = n_refused = 0
    for request, job in zip(requests, jobs, strict=True):
        begun = time.monotonic()
        *frames, ending = list(job)
        assert time.monotonic() - begun < PER_FILE_S + 2, request
        assert isinstance(ending, Ending)
        assert frames or ending.problem, request
        assert not ending.problem.startswith(("the decoder", "decoding took")), (request, ending)
        n_read, n_refused = n_read + bool(frames), n_refused + (not frames)
    return n_read, n_refused


@pytest.mark.slow
def test_damaged_pictures_are_named(decoders: Decoders, tmp_path: Path) -> None:
    rng, originals = random.Random(0), list(example_pictures().items())
    requests: list[dict[str, object]] = []
    for number in range(N_PICTURES):
        name, content = originals[number % len(originals)]
        kind, torn = damaged(content, rng, HEADS)
        path = tmp_path / f"{number:04} {kind} {name}"
        path.write_bytes(torn)
        requests.append({"do": "picture", "path": str(path), "wants_time": True})
    n_read, n_refused = decode_all(decoders, requests)
    assert n_read + n_refused == N_PICTURES
    assert n_refused > N_PICTURES // 3


@pytest.mark.slow
def test_damaged_videos_are_named(decoders: Decoders, tmp_path: Path) -> None:
    originals = sorted(example_videos(tmp_path / "whole"))
    rng, requests = random.Random(1), []
    for number in range(N_VIDEOS):
        original = originals[number % len(originals)]
        kind, torn = damaged(original.read_bytes(), rng, HEADS)
        path = tmp_path / f"{number:04} {kind} {original.name}"
        path.write_bytes(torn)
        requests.append({"do": "video", "path": str(path), "every": "0.1s"})
    n_read, n_refused = decode_all(decoders, requests)
    assert n_read + n_refused == N_VIDEOS
    assert min(n_read, n_refused) > N_VIDEOS // 10


@pytest.fixture(scope="module")
def one_decoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Decoders]:
    """At work already: starting it is not what is timed."""
    path = tmp_path_factory.mktemp("warm") / "warm.png"
    path.write_bytes(example_pictures()["3.png"])
    with Decoders(1) as decoders:
        frame, _ = decoders.submit({"do": "picture", "path": str(path)})
        assert isinstance(frame, DecodedFrame)
        yield decoders


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(BOMBS))
def test_bombs_are_refused_at_once(one_decoder: Decoders, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(BOMBS[name]())
    worker, seconds = one_decoder.workers[0].pid, []
    for _ in range(3):  # other processes may be in the way
        begun = time.monotonic()
        (ending,) = one_decoder.submit(
            {"do": "picture", "wants_time": True, "path": str(tmp_path / name)}
        )
        seconds.append(time.monotonic() - begun)
        assert isinstance(ending, Ending)
        assert ending.problem
    assert min(seconds) < 1
    assert one_decoder.workers[0].pid == worker, "it died of it"


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
def test_the_child_cannot_use_more_memory_or_write_files(
    decoders: Decoders, tmp_path: Path
) -> None:
    (tmp_path / "warm.png").write_bytes(example_pictures()["3.png"])
    list(decoders.submit({"do": "picture", "path": str(tmp_path / "warm.png")}))
    (pid,) = (worker.pid for worker in decoders.workers if worker.pid)
    limits = Path(f"/proc/{pid}/limits")
    if not limits.exists():
        pytest.skip("no /proc")
    rows = {line[:26].strip(): line[26:].split()[:2] for line in limits.read_text().splitlines()}
    assert rows["Max address space"] == ["1500000000", "1500000000"]
    assert rows["Max file size"] == ["0", "0"]
