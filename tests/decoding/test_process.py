"""A decoder may hang, die or lie; the file is named with the reason, and the next one is read."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fake.people import write_picture
from fake.photos import write_photos
from fdps.decoding.limits import Limits
from fdps.decoding.messages import DecodedFrame, Ending
from fdps.decoding.pool import Decoders
from fdps.errors import ResourceError

POSIX = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")

IMPOSTOR = """
import json, os, signal, struct, sys, time
def say(header, body=b""):
    text = json.dumps(header).encode()
    sys.stdout.buffer.write(struct.pack(">I", len(text)) + text + body); sys.stdout.flush()
def hear():
    (length,) = struct.unpack(">I", sys.stdin.buffer.read(4))
    return json.loads(sys.stdin.buffer.read(length))
say({"kind": "ready"})
while True:
    what = hear()["path"]
    if what == "good": say({"kind": "frame", "width": 1, "height": 1}, b"abc"); say({"kind": "end"})
    if what == "sleeps": time.sleep(1000)
    if what == "is killed": os.kill(os.getpid(), signal.SIGKILL)
    if what == "crashes": os.kill(os.getpid(), signal.SIGSEGV)
    if what == "ends": sys.exit()
    if what == "half": say({"kind": "frame", "width": 5, "height": 5}, b"abc"); sys.exit()
    if what == "huge": say({"kind": "frame", "width": 1 << 20, "height": 1 << 20})
    if what == "negative": say({"kind": "frame", "width": -1, "height": -1})
    if what == "text": sys.stdout.write("Traceback (most recent call last):"); sys.stdout.flush()
    if what == "list": say([1]); time.sleep(1000)
    if what == "dawdles":
        for _ in range(8): say({"kind": "alive"}); time.sleep(0.3)
        say({"kind": "end"})
"""


def outcome(decoders: Decoders, path: object, **request: object) -> tuple[int, str]:
    """Number of pictures, and the problem."""
    events = list(decoders.submit({"do": "picture", "path": str(path), **request}))
    assert isinstance(events[-1], Ending)
    return len(events) - 1, events[-1].problem


@pytest.fixture
def impostors() -> Iterator[Decoders]:
    command = [sys.executable, "-c", IMPOSTOR]
    with Decoders(limits=Limits(seconds=1.0), command=command) as decoders:
        yield decoders


@pytest.mark.long
@POSIX
@pytest.mark.parametrize(
    ("what", "problem"),
    [
        ("sleeps", "decoding took longer than 1 s"),
        ("is killed", "the decoder was ended by SIGKILL"),
        ("crashes", "the decoder was ended by SIGSEGV"),
        ("ends", "the decoder failed: the decoder ended"),
        ("half", "the decoder failed: the decoder ended"),
        ("huge", "the decoder failed: a picture of 1048576×1048576"),
        ("negative", "the decoder failed: a picture of -1×-1"),
        ("text", "the decoder failed: a header of"),
        ("list", "the decoder failed: a header that is no object"),
    ],
)
def test_whatever_a_decoder_does_the_next_file_is_read(
    impostors: Decoders, what: str, problem: str
) -> None:
    begun = time.monotonic()
    n_pictures, found = outcome(impostors, what)
    assert (n_pictures, found[: len(problem)]) == (0, problem)
    assert outcome(impostors, "good") == (1, "")
    assert time.monotonic() - begun < 5


@pytest.mark.long
def test_time_counts_from_the_last_sign_of_life(impostors: Decoders) -> None:
    assert outcome(impostors, "dawdles") == (0, "")


@pytest.mark.long
def test_slow_users_are_not_blamed_on_the_decoder(impostors: Decoders) -> None:
    jobs = [impostors.submit({"do": "picture", "path": "good"}) for _ in range(8)]
    time.sleep(1.5)
    assert all(len(list(job)) == 2 for job in jobs)


def test_a_decoder_that_cannot_start_is_an_error() -> None:
    with (
        Decoders(command=[sys.executable, "-c", "raise SystemExit(3)"]) as decoders,
        pytest.raises(ResourceError, match="cannot start a decoder"),
    ):
        outcome(decoders, "any")


def test_pictures_come_as_they_are(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, size=(37, 53, 3), dtype=np.uint8)
    write_picture(tmp_path / "p.png", image)
    odd = tmp_path / os.fsdecode(b"caf\xe9 \xe2\x82\xac.png")
    (tmp_path / "p.png").rename(odd)
    with Decoders() as decoders:
        frame, ending = decoders.submit({"do": "picture", "path": str(odd)})
    assert isinstance(frame, DecodedFrame)
    assert np.array_equal(frame.image, image)
    assert frame.image.flags.writeable
    assert ending == Ending()


@pytest.mark.long
def test_files_keep_their_order_whoever_is_faster(tmp_path: Path) -> None:
    write_photos(tmp_path, 12)
    (tmp_path / "005.png").write_bytes(b"torn")
    with Decoders(3) as decoders:
        jobs = [
            decoders.submit({"do": "picture", "path": str(p)}) for p in sorted(tmp_path.iterdir())
        ]
        outcomes = [list(job) for job in jobs]
    assert [len(events) for events in outcomes] == [2] * 5 + [1] + [2] * 6
    assert "not a picture" in outcomes[5][0].problem


@pytest.mark.long
@POSIX
def test_a_decoder_that_is_killed_or_stopped_is_replaced(tmp_path: Path) -> None:
    write_photos(tmp_path, 2)
    with Decoders(limits=Limits(seconds=1.0)) as decoders:
        (worker,) = decoders.workers
        assert outcome(decoders, tmp_path / "000.png") == (1, "")
        first = worker.pid
        assert first
        os.kill(first, signal.SIGKILL)  # idle
        time.sleep(0.1)
        assert outcome(decoders, tmp_path / "001.png") == (1, "")
        second = worker.pid
        assert second not in (None, first)
        os.kill(second, signal.SIGSTOP)  # hangs, as far as anybody can see
        assert outcome(decoders, tmp_path / "000.png") == (0, "decoding took longer than 1 s")
        assert outcome(decoders, tmp_path / "001.png") == (1, "")


@pytest.mark.long
@POSIX
def test_a_decoder_killed_at_work_loses_that_file_alone(tmp_path: Path) -> None:
    image = np.zeros((6000, 6000, 3), dtype=np.uint8)
    write_picture(tmp_path / "large.png", image)
    write_photos(tmp_path / "p", 3)
    with Decoders() as decoders:
        assert outcome(decoders, tmp_path / "p/000.png") == (1, "")
        pid = decoders.workers[0].pid
        assert pid
        killer = threading.Timer(0.1, os.kill, (pid, signal.SIGKILL))
        killer.start()
        assert outcome(decoders, tmp_path / "large.png") == (0, "the decoder was ended by SIGKILL")
        killer.join()
        assert outcome(decoders, tmp_path / "p/001.png") == (1, "")


@pytest.mark.long
@POSIX
def test_memory_is_limited(tmp_path: Path) -> None:
    write_picture(tmp_path / "large.png", np.zeros((6000, 6000, 3), dtype=np.uint8))
    write_photos(tmp_path / "p", 1)
    with Decoders(limits=Limits(memory=500_000_000)) as decoders:
        n_pictures, problem = outcome(decoders, tmp_path / "large.png")
        assert n_pictures == 0
        assert "memory" in problem
        assert outcome(decoders, tmp_path / "p/000.png") == (1, "")


@pytest.mark.long
@POSIX
def test_a_pipe_is_no_picture(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "pipe.mp4")
    with Decoders(limits=Limits(seconds=1.0)) as decoders:
        assert outcome(decoders, tmp_path / "pipe.png")[0] == 0
        video = {"do": "video", "every": "1s"}
        assert outcome(decoders, tmp_path / "pipe.mp4", **video) == (
            0,
            "decoding took longer than 1 s",
        )


def test_closing_ends_everything_at_once(tmp_path: Path) -> None:
    write_photos(tmp_path, 10)
    begun = time.monotonic()
    with Decoders(2) as decoders:
        for path in tmp_path.iterdir():
            decoders.submit({"do": "picture", "path": str(path)})
        time.sleep(0.3)
    assert time.monotonic() - begun < 3
    assert all(worker.pid is None for worker in decoders.workers)
    assert not any(thread.is_alive() for thread in decoders._threads)
