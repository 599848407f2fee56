"""The process of one entrant: it opens it, and answers what the other end asks.

It imports nothing that computes before it knows the number of threads.
"""

import os
import signal
import warnings
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fdps.errors import FdpsError, ResourceError

if TYPE_CHECKING:
    from fdps.bench.entrants import Entrant, Opened
    from fdps.export.stages import Look

Verb = Literal["look", "count", "memory"]
_STDOUT, _STDERR = 1, 2


@dataclass(frozen=True)
class Failed:
    """Why an entrant has no answer.

    Args:
        error: An error that the user can mend.
    """

    error: FdpsError


def serve(link: Connection, entrant: "Entrant", threads: int) -> None:
    """Open an entrant and answer until the other end closes.

    Args:
        link: Gives pairs of a verb and a picture; takes a :class:`~fdps.export.stages.Look`, GiB,
            ``None`` once the entrant is open, or :class:`Failed`.
        entrant: Who is opened.
        threads: Number of processor threads.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the other end, which ends this
    os.environ["OMP_NUM_THREADS"] = str(threads)
    with suppress(OSError):
        os.dup2(_STDERR, _STDOUT)  # what the code of others prints is no result
    warnings.simplefilter("ignore")  # of code that nobody changes here
    with suppress(EOFError, BrokenPipeError):
        try:
            opened = entrant.open()
            link.send(None)
            while True:
                link.send(_answer(opened, *link.recv()))
        except FdpsError as error:
            link.send(Failed(error))
        except MemoryError:
            link.send(Failed(ResourceError("the memory does not suffice", hint=FEWER)))


FEWER = "measure fewer models at once, or smaller pictures"


def _answer(opened: "Opened", verb: Verb, picture: Path) -> "Look | float":
    if verb == "memory":
        from fdps.devices import peak_process_gib

        return peak_process_gib()
    return opened.look(picture) if verb == "look" else opened.count(picture)
