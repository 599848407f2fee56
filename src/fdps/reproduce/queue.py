"""Make many runs, several at a time, each in a process of its own.

A process of its own gives back all its memory and decides over its threads. It belongs to another
group than its parent, so that Ctrl-C reaches the parent alone, which then asks every child to stop
between two steps.
"""

import os
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from typing import Any, Protocol, runtime_checkable

from fdps.errors import FdpsError, ResourceError, TrainingDiverged
from fdps.reproduce.one_run import Order, perform

_POLL_S = 0.2
_PATIENCE_S = 120.0  # for a step and a checkpoint of the largest network

Perform = Callable[[Order, Callable[[str, int, int], None]], None]


@runtime_checkable
class Listener(Protocol):
    """Follows the runs, from one process."""

    def begin(self, order: Order) -> None:
        """A run has begun or goes on."""

    def advance(self, order: Order, stage: str, done: int, total: int) -> None:
        """So much of a stage, ``train`` or ``predict``, is done."""

    def end(self, order: Order, error: FdpsError | None) -> None:
        """A run is finished, or has failed."""


@dataclass
class _Child:
    order: Order
    process: Any
    answers: Connection


def perform_all(
    orders: Sequence[Order], jobs: int, listener: Listener, *, work: Perform = perform
) -> dict[str, FdpsError]:
    """Make all runs, so many at a time; a run waits for the one that it begins from.

    A run that fails does not stop the others, but those that begin from it.

    Args:
        orders: Runs, each after the one that it begins from.
        jobs: Processes at a time, at least 1.
        listener: Told about everything.
        work: What a process does; can be pickled.

    Returns:
        Why runs have failed, by address.

    Raises:
        KeyboardInterrupt: Somebody asked to stop; every run that was being made has a checkpoint.
    """
    waiting, children = list(orders), dict[Connection, _Child]()
    unfinished = {order.run.address for order in orders}
    failed: dict[str, FdpsError] = {}
    try:
        while waiting or children:
            while len(children) < jobs and (order := _next(waiting, unfinished, failed)):
                waiting.remove(order)
                if (error := _blocked(order, failed)) is not None:
                    failed[order.run.address] = error
                    listener.end(order, error)
                    continue
                child = _started(order, work)
                children[child.answers] = child
                listener.begin(order)
            for answers in connection.wait([*children], timeout=_POLL_S):
                child = children[answers]  # type: ignore[index]
                if not _heard(child, listener, failed):
                    continue
                del children[child.answers]
                unfinished.discard(child.order.run.address)
    except BaseException:
        _stop([*children.values()])
        raise
    return failed


def _next(
    waiting: Sequence[Order], unfinished: set[str], failed: dict[str, FdpsError]
) -> Order | None:
    """Choose the first run that need not wait for another one."""
    for order in waiting:
        before = order.run.begins_from
        if before is None or before.address not in unfinished or before.address in failed:
            return order
    return None


def _blocked(order: Order, failed: dict[str, FdpsError]) -> FdpsError | None:
    before = order.run.begins_from
    if before is None or before.address not in failed:
        return None
    return ResourceError(f"it begins from {before.folder}, which has failed")


def _started(order: Order, work: Perform) -> _Child:
    context = get_context("spawn")
    answers, answer = context.Pipe(duplex=False)
    process = context.Process(
        target=_child, args=(answer, order, work), name=f"fdps {order.run.recipe.name}"
    )
    process.start()
    answer.close()
    return _Child(order, process, answers)


def _heard(child: _Child, listener: Listener, failed: dict[str, FdpsError]) -> bool:
    """Take one message of a child; tell whether it was the last one."""
    try:
        message = child.answers.recv()
    except EOFError:
        child.process.join()
        message = _ended(child.process.exitcode or 0)
    if isinstance(message, tuple):
        listener.advance(child.order, *message)
        return False
    if isinstance(message, FdpsError):
        failed[child.order.run.address] = message
    child.process.join()
    listener.end(child.order, message)
    return True


def _ended(exit_code: int) -> FdpsError:
    if exit_code == -signal.SIGKILL:
        return ResourceError(
            "the process of the run was killed by the system, which does so when memory runs out",
            hint="run fewer at a time: --jobs 1",
        )
    return ResourceError(
        f"the process of the run ended with {exit_code} and no answer",
        hint="its messages are above",
    )


def _stop(children: Sequence[_Child]) -> None:
    """Ask all children to stop, and wait until they have; a second Ctrl-C ends them at once."""
    for child in children:
        child.process.terminate()
    try:
        for child in children:
            child.process.join(_PATIENCE_S)
    finally:
        for child in children:
            child.process.kill()
            child.process.join()


def _child(answer: Connection, order: Order, work: Perform) -> None:
    """Make a run; this is what runs in a process of its own."""
    import torch

    with suppress(OSError, AttributeError):
        os.setpgid(0, 0)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGTERM, _interrupt)
    torch.set_num_threads(order.threads)
    try:
        work(order, lambda *progress: tell_parent(answer, progress))
        answer.send(None)
    except KeyboardInterrupt:
        pass
    except TrainingDiverged as error:  # it is made of a step and losses, which are not sent
        answer.send(ResourceError(str(error), hint=error.hint))
    except FdpsError as error:
        answer.send(error)


def tell_parent(answer: Connection, progress: tuple[str, int, int]) -> None:
    """Send progress to the parent.

    If the parent is gone, nobody listens: :func:`_end_with_parent` stops the run after its step,
    with a checkpoint, and an error here would come before that.
    """
    with suppress(BrokenPipeError):
        answer.send(progress)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt(number)


def _end_with_parent() -> None:
    """Stop as if asked to as soon as the parent is gone, however it ended."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
