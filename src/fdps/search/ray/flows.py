"""The two flows of Ray Data that index: reading content, and looking at files.

Each yields lists of rows, in the order of what went in, as soon as a part of them is done. Ray Data
cannot be driven through a Ray client (``ray://``); there an actor drives it and hands the lists on.
"""

import logging
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from fdps.search.ray.worker import LoadModel, LookingWorker, Rows, read_contents

FILES_PER_READING = 64
ROWS_BYTES = 1 << 20  # of a video so much is sent before it has ended

RowLists = Generator[list[Rows], None, None]
Flow = Callable[..., RowLists]


@dataclass(frozen=True, slots=True)
class Team:
    """The workers that hold the model.

    Args:
        load_model: Loads it; the same place must hold the same model on every machine.
        model_hash: What the archive is stamped with.
        n_decoders: Processes that decode, for each worker.
        batch: Frames that the model looks at together.
        n_workers: So many at most.
        cpus: Of each.
        gpus: Of each.
        tries: Of a part whose worker is lost.
    """

    load_model: LoadModel
    model_hash: str
    n_decoders: int
    batch: int
    n_workers: int
    cpus: int
    gpus: int
    tries: int


def contents(paths: Sequence[bytes]) -> RowLists:
    """SHA-256 or problem of every file."""
    import pyarrow
    import ray.data

    with _settings():
        blocks = [
            pyarrow.table({"path": paths[start : start + FILES_PER_READING]})
            for start in range(0, len(paths), FILES_PER_READING)
        ]
        read = ray.data.from_blocks(blocks).map_batches(read_contents, batch_size=None)
    for block in read.iter_batches(batch_size=None, batch_format="pyarrow"):
        yield block.to_pylist()


def seen(parts: Sequence[Sequence[tuple[int, str]]], team: Team) -> RowLists:
    """What all files give.

    Args:
        parts: Numbers and requests; each part is one task.
        team: Who looks at them.
    """
    import pyarrow
    import ray.data

    if not parts:
        return
    with _settings():  # Ray 2.60 has no other way to bound restarts; 2.64 drops this one
        blocks = [
            pyarrow.table({"number": numbers, "request": requests})
            for numbers, requests in (zip(*part, strict=True) for part in parts)
        ]
        looked = ray.data.from_blocks(blocks).map_batches(
            LookingWorker,
            fn_constructor_args=(team.load_model, team.model_hash, team.n_decoders, team.batch),
            batch_size=None,
            compute=ray.data.ActorPoolStrategy(size=min(team.n_workers, len(blocks))),
            num_cpus=team.cpus,
            num_gpus=team.gpus,
            max_restarts=team.tries,
            max_task_retries=team.tries,
        )
    for block in looked.iter_batches(batch_size=None, batch_format="pyarrow"):
        yield block.to_pylist()


def through_an_actor(flow: Flow, *arguments: object) -> RowLists:
    """A flow that is driven inside the cluster."""
    import ray

    driver = ray.remote(num_cpus=0)(_Driver).remote(flow, arguments)
    while (rows := ray.get(driver.more.remote())) is not None:
        yield rows


class _Driver:
    def __init__(self, flow: Flow, arguments: tuple[object, ...]) -> None:
        self._rows = flow(*arguments)

    def more(self) -> list[Rows] | None:
        return next(self._rows, None)


@contextmanager
def _settings() -> Iterator[None]:
    """Ray Data in the order of the files, soon rather than at once, and without bars of its own.

    Data sets keep the settings that they were made with.
    """
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it sets deprecated options itself
        context = ray.data.DataContext.get_current().copy()
        context.enable_progress_bars = False
        context.execution_options.preserve_order = True
        context.target_max_block_size = ROWS_BYTES
        with ray.data.DataContext.current(context):
            yield
