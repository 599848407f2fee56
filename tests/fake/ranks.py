"""A task in several processes that talk to each other, as training on several devices does."""

import inspect
import multiprocessing
import pickle
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from torch import distributed

_CONTEXT = multiprocessing.get_context("forkserver")


def run_on_ranks(
    task: Callable[..., Any], n: int, *arguments: object, timeout_s: float = 60
) -> list[Any]:
    """Call ``task(rank, n, *arguments)`` in ``n`` processes of one gloo group, a thread in each.

    All of them are gone when this returns or raises. Warnings are errors in them, as in all tests;
    shapes are not checked.

    Args:
        task: A function of a module, so that it can be pickled.
        n: Number of processes.
        arguments: Pickled; each process gets copies of its own.
        timeout_s: Of all processes together.

    Returns:
        What each rank returned, in the order of the ranks.

    Raises:
        TimeoutError: Not all have returned in time.
        Exception: The first that a rank raised, with that rank's traceback as a note.
        ChildProcessError: A rank ended without an answer, by a signal or ``os._exit``.
    """
    deadline = time.monotonic() + timeout_s
    call = pickle.dumps((task, arguments))
    # pytest imports test modules from wherever it is started; they do so from the same folder.
    root = Path(inspect.getfile(task)).parents[task.__module__.count(".")]
    with ExitStack() as at_end:
        meeting = Path(at_end.enter_context(tempfile.TemporaryDirectory())) / "store"
        processes = []
        answers: dict[Connection, int] = {}
        for rank in range(n):
            receiver, sender = _CONTEXT.Pipe(duplex=False)
            at_end.callback(receiver.close)
            process = _CONTEXT.Process(
                target=_work, args=(rank, n, meeting, timeout_s, root, call, sender)
            )
            process.start()
            at_end.callback(process.join)
            at_end.callback(process.kill)
            sender.close()
            processes.append(process)
            answers[receiver] = rank
        results = _receive(answers, processes, deadline)
        for process in processes:
            process.join(max(0, deadline - time.monotonic()))
    return [results[rank] for rank in range(n)]


def _receive(
    answers: dict[Connection, int], processes: Sequence[BaseProcess], deadline: float
) -> dict[int, Any]:
    results: dict[int, Any] = {}
    while len(results) < len(answers):
        waiting = [answer for answer, rank in answers.items() if rank not in results]
        ready = wait(waiting, max(0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError(f"no answer from ranks {[answers[answer] for answer in waiting]}")
        errors = []
        for answer in ready:
            assert isinstance(answer, Connection)
            rank = answers[answer]
            try:
                error, results[rank] = pickle.loads(answer.recv_bytes())
            except EOFError:
                processes[rank].join()
                code = processes[rank].exitcode
                raise ChildProcessError(f"rank {rank} ended with code {code}, no answer") from None
            errors += [error] if error is not None else []
        if errors:
            raise errors[0]
    return results


def _work(
    rank: int, n: int, meeting: Path, timeout_s: float, root: Path, call: bytes, answer: Connection
) -> None:
    warnings.simplefilter("error")
    sys.path.append(str(root))
    torch.set_num_threads(1)
    try:
        task, arguments = pickle.loads(call)
        distributed.init_process_group(
            "gloo",
            init_method=meeting.as_uri(),
            rank=rank,
            world_size=n,
            timeout=timedelta(seconds=timeout_s),
        )
        message = pickle.dumps((None, task(rank, n, *arguments)))
    except BaseException as error:
        answer.send_bytes(_failure(rank, error))
        # Stay until killed: over a lost connection the others would fail as well.
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        return
    answer.send_bytes(message)
    if distributed.is_initialized():
        distributed.barrier()  # who leaves early would cut off the others
        distributed.destroy_process_group()


def _failure(rank: int, error: BaseException) -> bytes:
    """The error, pickled; those that cannot be are replaced by their name and message."""
    error.add_note(f"\nIn rank {rank}:\n{traceback.format_exc()}")
    try:
        pickle.loads(message := pickle.dumps((error, None)))
    except Exception:
        plain = RuntimeError(f"{type(error).__name__}: {error}")
        plain.__notes__ = error.__notes__
        return pickle.dumps((plain, None))
    return message
