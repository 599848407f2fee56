"""Index over Ray Data: many machines look at files, and one writes.

First the machines read the content of all files; the process that writes the archive then plans, as
on one machine. Files that need decoding go out in small parts. Results come back in the order of
the files, so the archive is the one that a single machine would have made.

Two flows of Ray Data do the work: one reads content, the other looks at files. Each yields lists of
rows, in the order of what went in, as soon as a part of them is done. Ray Data cannot be driven
through a Ray client (``ray://``); there an actor drives it and hands the lists on.
"""

import itertools
import json
import logging
import math
import os
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from operator import itemgetter

from fdps.errors import ResourceError
from fdps.search.ingest.frames import Frame
from fdps.search.ingest.looking import Events
from fdps.search.ingest.plan import FilePlan, Planner
from fdps.search.ray.missing import Missing, MissingContents, MissingFiles
from fdps.search.ray.session import CLIENT_SCHEME, LOCAL, connected, is_loss
from fdps.search.ray.worker import LoadModel, LookingWorker, Rows, from_row, read_contents

FILES_AT_ONCE = 20_000  # files planned together, whose plans are in memory
PICTURES_PER_TASK = 16
CPUS_PER_NETWORK = 4  # torch gains little from more CPUs
TRIES = 3  # at the same file, when machines or workers are lost
FILES_PER_READING = 64
ROWS_BYTES = 1 << 20  # amount of a video that is sent before it has ended

RowLists = Generator[list[Rows], None, None]
RowStream = Generator[Rows, None, None]
Flow = Callable[..., RowLists]


@dataclass(frozen=True, slots=True)
class Shares:
    """The division of a cluster among workers.

    Args:
        n_workers: Number of processes that hold the model.
        cpus: CPUs of each worker.
        gpus: GPUs of each worker.
    """

    n_workers: int
    cpus: int
    gpus: int = 0

    @classmethod
    def of(cls, machines: Sequence[Mapping[str, float]], device: str) -> "Shares":
        """Divide a cluster: one network for each GPU, or for every four CPUs.

        Args:
            machines: Resources of each machine, as Ray counts them.
            device: Device on which the network runs.

        Raises:
            ResourceError: There is nothing to run on.

        Example:
            >>> Shares.of([{"CPU": 16.0}, {"CPU": 8.0}], "cpu")
            Shares(n_workers=6, cpus=4, gpus=0)
        """
        cpus = [int(machine.get("CPU", 0)) for machine in machines]
        if device.startswith("cuda"):
            gpus = sum(int(machine.get("GPU", 0)) for machine in machines)
            if not gpus:
                raise ResourceError("no machine of the Ray cluster has a GPU", hint="--device cpu")
            return cls(gpus, cpus=1, gpus=1)
        if not any(cpus):
            raise ResourceError("no machine of the Ray cluster has a free CPU")
        each = min(CPUS_PER_NETWORK, *(n for n in cpus if n))
        return cls(sum(n // each for n in cpus), each)


@dataclass(frozen=True, slots=True)
class Team:
    """The workers that hold the model.

    Args:
        load_model: Function that loads the model; every machine must hold the same one at its
            place.
        model_hash: Hash of the model that made the archive.
        n_decoders: Number of processes that decode, for each worker.
        batch: Number of frames that the model looks at together.
        n_workers: Largest number of workers.
        cpus: CPUs of each worker.
        gpus: GPUs of each worker.
    """

    load_model: LoadModel
    model_hash: str
    n_decoders: int
    batch: int
    n_workers: int
    cpus: int
    gpus: int


@dataclass(frozen=True, slots=True)
class RayCluster:
    """Machines that find people for an archive.

    Args:
        address: ``local`` starts Ray on this machine alone, reachable from nowhere else;
            ``auto``, ``HOST:PORT`` or ``ray://HOST:PORT`` join a cluster.
        load_model: Function that loads the model; every machine must hold the same one at its
            place.
        device: Device on which the model runs; with ``cuda`` every worker gets a GPU of its own.
    """

    address: str
    load_model: LoadModel
    device: str = "cpu"

    def look(
        self,
        files: Sequence[Frame],
        planner: Planner,
        *,
        model_hash: str,
        dim: int,
        n_decoders: int = 1,
        batch: int = 1,
    ) -> Generator[tuple[FilePlan, Events], None, None]:
        """Yield every file in order, with its plan and what it gives.

        Args:
            files: All files of the sources.
            planner: Planner of the archive.
            model_hash: Hash of the model that made the archive.
            dim: Length of an embedding.
            n_decoders: Number of processes that decode, for each network.
            batch: Number of frames that a network looks at together.

        Raises:
            ArchiveError: A machine has another model.
            ModelError: A machine cannot load the model.
            ResourceError: Ray cannot be reached, or the cluster failed.
            UsageError: Ray is not installed, or the address makes no sense.
        """
        with connected(self.address):
            team = partial(self._team, model_hash, n_decoders, batch)
            for start in range(0, len(files), FILES_AT_ONCE):
                some = files[start : start + FILES_AT_ONCE]
                plans = list(self._planned(some, planner))
                missing = MissingFiles(plans)
                flow = partial(self._looking, missing, team)
                with closing(self._lasting(flow, missing)) as rows:
                    yield from _with_their_rows(plans, rows, dim)

    def _looking(self, missing: MissingFiles, team: Callable[[], Team]) -> RowStream:
        """Let the machines that there are now look at what is missing."""
        now, left = team(), missing.plans()
        tasks = [
            [
                (number, plan.sha256, json.dumps(missing.request_of(number)))
                for number, plan in (left[k] for k in part)
            ]
            for part in parts([plan for _, plan in left], now.n_workers)
        ]
        return self._rows(seen, tasks, now)

    def _team(self, model_hash: str, n_decoders: int, batch: int) -> Team:
        import ray

        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        shares = Shares.of(machines, self.device)
        return Team(
            load_model=self.load_model,
            model_hash=model_hash,
            n_decoders=n_decoders,
            batch=batch,
            n_workers=shares.n_workers,
            cpus=shares.cpus,
            gpus=shares.gpus,
        )

    def _planned(self, files: Sequence[Frame], planner: Planner) -> Iterator[FilePlan]:
        """Yield plans in order; the machines have read the content."""
        missing = MissingContents([os.fsencode(file.path) for file in files])
        rows = self._lasting(lambda: self._rows(contents, missing.paths()), missing)
        for file, row in zip(files, rows, strict=True):
            if row["sha256"]:
                yield planner.plan_of(file, row["sha256"])
                continue
            plan = planner.plan(file)  # tells a bad file from one that the cluster does not see
            if plan.sha256:
                plan.refuse(f"{row['problem']}, on {row['machine']} and every other of the cluster")
            yield plan

    def _lasting(self, flow: Callable[[], RowStream], missing: Missing) -> RowStream:
        """Yield the rows of a flow; begin it anew with what is missing when a machine is lost.

        Args:
            flow: Begins the flow of what is missing.
            missing: Knows what is missing.
        """
        from ray.exceptions import RayError

        n_losses = 0
        while True:
            try:
                with closing(flow()) as rows:
                    for row in rows:
                        if missing.is_new(row):
                            n_losses = 0
                            yield row
                    return
            except RayError as error:
                n_losses += 1
                if self.address == LOCAL or n_losses > TRIES or not is_loss(error):
                    raise

    def _rows(self, flow: Flow, *arguments: object) -> RowStream:
        """Yield the rows of a flow. Closing them ends the flow, and so frees its workers."""
        through_a_client = self.address.startswith(CLIENT_SCHEME)
        drive = partial(through_an_actor, flow) if through_a_client else flow
        with closing(drive(*arguments)) as lists:
            for rows in lists:
                yield from rows


def parts(plans: Sequence[FilePlan], n_workers: int) -> list[list[int]]:
    """Divide files into tasks: a video each, or some pictures that follow each other.

    Args:
        plans: Plans of the files; those without a request are left out.
        n_workers: Number of workers, among whom even few pictures are shared.

    Returns:
        Indices into ``plans``.
    """
    n_pictures = sum(1 for plan in plans if plan.request and not plan.file.is_video)
    most = min(PICTURES_PER_TASK, math.ceil(n_pictures / n_workers))
    found: list[list[int]] = []
    has_room = False
    for number, plan in enumerate(plans):
        if not plan.request:
            continue
        if plan.file.is_video or not has_room:
            found.append([])
        found[-1].append(number)
        has_room = not plan.file.is_video and len(found[-1]) < most
    return found


def _with_their_rows(
    plans: Sequence[FilePlan], rows: Iterator[Rows], dim: int
) -> Iterator[tuple[FilePlan, Events]]:
    groups = itertools.groupby(rows, key=itemgetter("number"))
    for number, plan in enumerate(plans):
        if not plan.request:
            yield plan, iter(())
            continue
        found, group = next(groups, (None, iter(())))
        if found != number:
            raise ResourceError(
                f"the Ray cluster lost {plan.file.path}",
                hint="what was indexed before is safe; the same command continues",
            )
        yield plan, (from_row(row, dim) for row in group)


def contents(paths: Sequence[bytes]) -> RowLists:
    """Yield the SHA-256 of every file, or its problem where no machine can read it."""
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


def seen(parts: Sequence[Sequence[tuple[int, str, str]]], team: Team) -> RowLists:
    """Yield what all files give.

    Args:
        parts: Number, SHA-256 and request of files; each part is one task.
        team: The workers that look at them.
    """
    import pyarrow
    import ray.data

    if not parts:
        return
    with _settings():  # Ray 2.60 has no other way to forbid restarts; 2.64 drops this one
        blocks = [
            pyarrow.table({"number": numbers, "sha256": hashes, "request": requests})
            for numbers, hashes, requests in (zip(*part, strict=True) for part in parts)
        ]
        looked = ray.data.from_blocks(blocks).map_batches(
            LookingWorker,
            fn_constructor_args=(team.load_model, team.model_hash, team.n_decoders, team.batch),
            batch_size=None,
            compute=ray.data.ActorPoolStrategy(
                min_size=1,
                initial_size=min(team.n_workers, len(blocks)),
                max_size=len(blocks),  # more when machines join
            ),
            num_cpus=team.cpus,
            num_gpus=team.gpus,
            max_restarts=0,  # what is missing is begun anew instead, on the machines that are left
            max_task_retries=0,
        )
    for block in looked.iter_batches(batch_size=None, batch_format="pyarrow"):
        yield block.to_pylist()


def through_an_actor(flow: Flow, *arguments: object) -> RowLists:
    """Run a flow that is driven inside the cluster."""
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
    """Run Ray Data in the order of the files, without delay and without progress bars of its own.

    Data sets keep the settings with which they were made.
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
