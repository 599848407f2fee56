"""The process of an archive: its answers, its errors, and what happens when it ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from fake.photos import unit_rows
from fake.stores import DIM, Archive, Place
from fdps.errors import MissingDataError, ResourceError, UsageError
from fdps.search import Index
from fdps.search.store import EVERYBODY
from fdps.serve.searching.calls import N_FINE, Call
from fdps.serve.searching.process import SearchProcess
from fdps.structures import Hit

ROW = unit_rows(np.random.default_rng(2), 1, DIM)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    with Archive.filled(Place(tmp_path_factory.mktemp("archives"))) as archive:
        yield archive


def child_of(pid: int) -> int:
    """The search process below a process; the test fails if there is none."""
    for name in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, name.read_text().split()):
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                return child
    pytest.fail("there is no such process")


def fields_of(hit: Hit) -> tuple[object, ...]:
    """All that a hit says."""
    assert hit.box.dtype == np.float32
    return (hit.scene, hit.box.tolist(), hit.similarity, hit.score, hit.item, hit.record)


def test_every_kind_of_call_is_answered_in_the_order_of_the_calls(archive: Archive) -> None:
    kinds = ("spread", "people", "appearances", "people and spread", "people")
    with closing(SearchProcess(str(archive.where))) as process:
        told = process([Call(kind, ROW, 2 + n, EVERYBODY) for n, kind in enumerate(kinds)])
    with Index.open(archive.where) as index:
        hits = index.search(list(ROW), 6)
        n_people = len(index)
    items = [hit.item for hit in hits]
    assert [hit.item for hit in told[1]] == items[:3]
    assert [one.best.item for one in told[2]][:1] == items[:1]
    assert [hit.item for hit in told[3][0]] == items[:5]
    assert [fields_of(hit) for hit in told[4]] == [fields_of(hit) for hit in hits]
    for counts in (told[0], told[3][1]):
        assert counts.shape == (N_FINE,)
        assert counts.sum() == n_people


def test_an_error_of_one_call_comes_back_beside_the_other_answers(archive: Archive) -> None:
    with closing(SearchProcess(str(archive.where))) as process:
        good, bad = process(
            [Call("people", ROW, 1, EVERYBODY), Call("spread", 0 * ROW, 1, EVERYBODY)]
        )
    assert len(good) == 1
    assert isinstance(bad, UsageError)
    assert "unit length" in str(bad)


def test_an_archive_that_is_not_there_is_an_error_of_its_own_kind(tmp_path: Path) -> None:
    with (
        closing(SearchProcess(str(tmp_path / "none.fdps"))) as process,
        pytest.raises(MissingDataError, match=r"none\.fdps") as raised,
    ):
        process([Call("people", ROW, 1, EVERYBODY)])
    assert raised.value.hint


def test_after_it_was_killed_the_next_call_starts_another(archive: Archive) -> None:
    with closing(SearchProcess(str(archive.where))) as process:
        before = process([Call("people", ROW, 3, EVERYBODY)])
        os.kill(child_of(os.getpid()), signal.SIGKILL)
        with pytest.raises(ResourceError, match="was ended") as raised:
            process([Call("people", ROW, 3, EVERYBODY)])
        assert "ask again" in raised.value.hint
        after = process([Call("people", ROW, 3, EVERYBODY)])
    assert [hit.item for hit in after[0]] == [hit.item for hit in before[0]]


def test_it_ends_with_whoever_asks_even_if_that_is_killed(archive: Archive) -> None:
    asks = (
        "import sys, time, numpy as np\n"
        "from fdps.search.store import EVERYBODY\n"
        "from fdps.serve.searching.calls import Call\n"
        "from fdps.serve.searching.process import SearchProcess\n"
        "row = np.eye(1, int(sys.argv[2]), dtype=np.float32)\n"
        "SearchProcess(sys.argv[1])([Call('people', row, 1, EVERYBODY)])\n"
        "print('asked', flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", asks, str(archive.where), str(DIM)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as asker:
        assert asker.stdout
        assert asker.stdout.readline() == "asked\n"
        child = child_of(asker.pid)
        asker.kill()
    until = time.monotonic() + 10
    while Path(f"/proc/{child}/cmdline").exists() and is_running(child):
        assert time.monotonic() < until, "it has outlived the process that it worked for"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    """Whether it does more than wait for somebody to ask how it ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_closing_twice_or_before_the_first_call_is_allowed(archive: Archive) -> None:
    process = SearchProcess(str(archive.where))
    process.close()
    process([Call("people", ROW, 1, EVERYBODY)])
    process.close()
    process.close()
