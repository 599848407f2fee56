"""What other processes do to an archive while a test looks on.

They start in a fraction of a second, because the server that forks them has loaded the package.
"""

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np

from fake.embedder import ColourEmbedder
from fake.photos import random_people
from fdps.search import Index, SceneRecord, SqliteStore
from fdps.search.database import Database
from fdps.search.open_store import open_store
from fdps.search.sql import store as sql_store
from fdps.search.sqlite.schema import writer_lock

_CONTEXT = multiprocessing.get_context("forkserver")


@contextmanager
def running(task: Callable[..., None], *arguments: object) -> Iterator[BaseProcess]:
    """A process at work; it is killed at the end if it has not ended by itself."""
    process = _CONTEXT.Process(target=task, args=arguments)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def pipe() -> tuple[Connection, Connection]:
    """Receiving and sending end, for the tasks below."""
    return _CONTEXT.Pipe(duplex=False)


def index_until_linking(
    folder: Path, videos: Path, is_in_transaction: bool, reached: Connection
) -> None:
    """Index a video; tell when its people are linked, before or after the commit, and wait."""

    def wait(*_: object) -> None:
        reached.send("here")
        threading.Event().wait()

    if is_in_transaction:
        link_video = sql_store.link_video

        def link_and_wait(database: Database, sha256: str, dim: int) -> None:
            link_video(database, sha256, dim)
            assert database.execute("SELECT count(*) FROM tracks").fetchone() != (0,)
            wait()

        sql_store.link_video = link_and_wait
    else:
        SqliteStore.finish = wait  # type: ignore[method-assign]
    with Index.create(folder, ColourEmbedder()) as index:
        index.add(videos)


def hold_the_lock(folder: Path, held: Connection) -> None:
    """Tell when the lock is held, then hold it for ever."""
    with writer_lock(folder):
        held.send(True)
        threading.Event().wait()


def add_scenes_of_three(folder: Path, n_scenes: int) -> None:
    """Scenes ``new/0``, ``new/1`` ... with three people each."""
    with SqliteStore(folder) as store:
        for number in range(n_scenes):
            record = SceneRecord(f"new/{number}", f"/new/{number}", f"new {number}", 9, 9)
            store.add(record, random_people(np.random.default_rng(number), 3))


def index_photos(folder: Path, photos: Path, one_done: Connection) -> None:
    """Create or continue an archive; tell after every picture."""
    embedder = ColourEmbedder()
    is_new = not (folder / "index.sqlite").exists()
    with (Index.create if is_new else Index.open)(folder, embedder) as index:
        index.add(photos, progress=lambda done, total: one_done.send(done))


def add_scenes_of_three_to(where: str, n_scenes: int, one_done: Connection) -> None:
    """The same scenes into any archive, under one lock; tell after each, then wait for ever."""
    with open_store(where) as store, store.writing():
        for number in range(n_scenes):
            record = SceneRecord(f"new/{number}", f"/new/{number}", f"new {number}", 9, 9)
            store.add(record, random_people(np.random.default_rng(number), 3))
            one_done.send(number)
        threading.Event().wait()
