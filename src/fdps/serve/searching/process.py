"""The process that compares the embeddings of one archive.

Of all threads of a process, Python lets one compute at a time. Comparing embeddings and reading the
people who were found is a third of what a search costs, so a process of its own does it, while the
service talks with clients on another core. It alone holds the embeddings in memory.
"""

import logging
import signal
from collections.abc import Sequence
from dataclasses import fields
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from operator import attrgetter
from typing import Any

import numpy as np

from fdps.errors import ResourceError
from fdps.serve.garbage import look_for_cycles_less_often
from fdps.serve.opened import Opened
from fdps.serve.searching.calls import Call, answer_calls
from fdps.structures import Hit, SceneRecord

log = logging.getLogger("fdps.serve")

_END_S = 5.0
_RECORD = attrgetter(*(field.name for field in fields(SceneRecord)))


def _packed_hit(hit: Hit) -> tuple[Any, ...]:
    return _hit, (
        hit.scene,
        *hit.box.tolist(),
        hit.similarity,
        hit.score,
        hit.item,
        hit.record,
    )


def _hit(
    scene: str,
    x1: float,
    y1: float,
    x2: float,
    y2: float,
    similarity: float,
    score: float,
    item: int,
    record: SceneRecord | None,
) -> Hit:
    box = np.array((x1, y1, x2, y2), dtype=np.float32)
    return Hit(scene, box, similarity, score, item, record)


# A frozen dataclass with slots and an array of four numbers are slow to unpack by default: that was
# a fifth of what a search costs the service, which has hundreds of hits to unpack at a time.
ForkingPickler.register(Hit, _packed_hit)
ForkingPickler.register(SceneRecord, lambda record: (SceneRecord, _RECORD(record)))


class SearchProcess:
    """The process of an archive, which is started when it is first needed; for one thread.

    Args:
        place: Folder or address of the archive.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._running: tuple[BaseProcess, Connection] | None = None

    def __call__(self, calls: Sequence[Call]) -> list[Any]:
        """Answer calls as :func:`answer_calls` does.

        Raises:
            ResourceError: The system ended the process; the next call starts another one.
            MissingDataError: The archive has gone.
            ArchiveError: The archive is damaged.
        """
        _, link = self._running = self._running or self._start()
        try:
            link.send(calls)
            told = link.recv()
        except (EOFError, OSError):
            raise self._ended() from None
        if isinstance(told, Exception):
            raise told
        answers: list[Any] = told
        return answers

    def close(self) -> None:
        """End the process. Closing twice is allowed."""
        if self._running is None:
            return
        (process, link), self._running = self._running, None
        link.close()  # at this end of its work it ends
        process.join(_END_S)
        if process.is_alive():
            process.kill()
            process.join()

    def _start(self) -> tuple[BaseProcess, Connection]:
        context = get_context("spawn")
        link, other = context.Pipe()
        process = context.Process(
            target=_serve, args=(other, self._place), name="fdps serve: search", daemon=True
        )
        process.start()
        other.close()  # so that the end of the process is the end of the connection
        return process, link

    def _ended(self) -> ResourceError:
        assert self._running is not None
        process, _ = self._running
        process.join(_END_S)
        code = process.exitcode
        self.close()
        log.error("the process that searches %s ended with %s", self._place, code)
        return ResourceError(
            "the process that searches this archive was ended",
            hint="ask again: another one starts. The system ends processes when memory runs out",
        )


def _serve(link: Connection, place: str) -> None:
    """Answer until the other end is closed, or its process has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which ends this
    look_for_cycles_less_often()
    opened = Opened(place)
    try:
        while True:
            calls: Sequence[Call] = link.recv()
            try:
                told: Any = answer_calls(opened.index(), calls)
            except Exception as error:
                told = error
            link.send(told)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass
    finally:
        opened.close()
