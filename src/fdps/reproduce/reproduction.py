"""A reproduction from its beginning to its page: plan, train, score, write."""

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fdps import __version__
from fdps.analysis.report import versions
from fdps.engine.run_log import environment
from fdps.errors import FdpsError, UsageError
from fdps.predictions import data_hash
from fdps.reproduce.bench import Bench
from fdps.reproduce.cost import Estimate, estimate
from fdps.reproduce.one_run import Device, Order, is_finished, read_done
from fdps.reproduce.plan import Choice, PlannedRun, Planner, in_order
from fdps.reproduce.queue import Listener, perform_all
from fdps.reproduce.report import write_sections
from fdps.reproduce.scores import Scores
from fdps.reproduce.section import Section
from fdps.reproduce.targets import Target
from fdps.structures import SceneSet


@dataclass(frozen=True)
class Machine:
    """How the runs are computed.

    Args:
        jobs: Processes at a time, at least 1.
        device: Device of every run.
    """

    jobs: int = 1
    device: Device = "cpu"

    @property
    def threads(self) -> int:
        """Threads of each process: the cores that this process may use, shared."""
        has_affinity = hasattr(os, "sched_getaffinity")
        n_cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
        return max(1, n_cores // self.jobs)


class Reproduction:
    """The runs and the files of some targets on one data set.

    Args:
        targets: By name, at least one.
        bench: The data, ready to be read; ``None`` if no target trains anything.
        choice: What the runs have in common.
        out: Folder for everything.
        seeds: Seeds of every system; ``None`` takes what each target asks for.
        machine: How the runs are computed.

    Raises:
        UsageError: ``seeds`` or ``jobs`` is below 1, a target needs data and there are none, or
            there are no recipes of this budget.
        FdpsError: The data cannot be read.
    """

    def __init__(
        self,
        targets: Mapping[str, Target],
        bench: Bench | None,
        choice: Choice,
        out: Path,
        *,
        seeds: int | None = None,
        machine: Machine | None = None,
    ) -> None:
        self.machine = machine or Machine()
        for name, value in (("seeds", seeds), ("jobs", self.machine.jobs)):
            if value is not None and value < 1:
                raise UsageError(f"--{name} must be at least 1, got {value}")
        for target in targets.values():
            target.check()
        self.targets, self.bench, self.choice, self.out = targets, bench, choice, out
        self.training, self.test = SceneSet("none", ()), SceneSet("none", ())
        self.runs: dict[str, dict[str, list[PlannedRun]]] = {name: {} for name in targets}
        if bench is not None:
            self.training, self.test = bench.training(), bench.test()
            self._plan(Planner(bench, choice, out, self.training), seeds)

    def _plan(self, planner: Planner, seeds: int | None) -> None:
        for name, target in self.targets.items():
            n_seeds = target.n_seeds if seeds is None else seeds
            self.runs[name] = {
                variant.key: [planner.run(variant, seed) for seed in range(n_seeds)]
                for variant in target.variants(len(self.training.person_ids))
            }

    def orders(self) -> list[Order]:
        """List all runs, each once, the first seeds first and after what they begin from."""
        if self.bench is None:
            return []
        files: dict[str, set[str]] = {}
        runs = []
        for name, by_variant in self.runs.items():
            for run in (run for seeds in by_variant.values() for run in seeds):
                files.setdefault(run.address, set()).update(self.targets[name].files)
                runs.append(run)
        test = data_hash(self.test)
        return [
            Order(
                run,
                self.bench,
                self.machine.device,
                self.machine.threads,
                tuple(sorted(files.get(run.address, ()), reverse=True)),
                test,
            )
            for run in in_order(sorted(runs, key=lambda run: run.seed))
        ]

    def estimate(self, progress: Callable[[int, int], None] = lambda done, total: None) -> Estimate:
        """Tell what is left to do, and what it takes (:func:`fdps.reproduce.cost.estimate`)."""
        orders, n_test = self.orders(), len(self.test)
        return estimate(orders, self.training, n_test, self.machine.jobs, self.out, progress)

    def perform(self, listener: Listener) -> dict[str, FdpsError]:
        """Make what is not finished; return why runs have failed, by address.

        Raises:
            KeyboardInterrupt: Somebody asked to stop; the same call goes on where it was.
        """
        left = [order for order in self.orders() if not is_finished(order)]
        if left:
            (self.out / "runs").mkdir(parents=True, exist_ok=True)
        return perform_all(left, self.machine.jobs, listener)

    def write(self, failed: Mapping[str, FdpsError], *, command: str) -> tuple[Path, list[str]]:
        """Score the runs, and write tables, figures and the page.

        Args:
            failed: Why runs have failed, by address.
            command: The command, for the page.

        Returns:
            The page, and what could not be made.
        """
        sections: dict[str, Section] = {}
        problems = [
            f"{order.run.folder.name}: {failed[order.run.address]}"
            for order in self.orders()
            if order.run.address in failed
        ]
        bench = self.bench or Bench("none", "", Path(), Path())
        scores = Scores(bench, self.test, failed)
        for name, target in self.targets.items():
            try:
                sections[name] = target.make(scores, self.runs[name])
            except FdpsError as error:
                problems.append(f"{target.title}: {error}")
        data = f" on {bench.name}" if self.bench else ""
        page = write_sections(
            sections,
            self.out,
            title=f"The tables and figures of the FDPS paper{data}",
            summary=self._summary(),
            notes={"Command": command, **self._notes()},
            problems=problems,
        )
        return page, problems

    def _summary(self) -> str:
        if self.bench is None:
            return "Computed from the formulas of the paper; nothing was trained."
        orders = self.orders()
        small = (
            " Small recipes: differences tell of this data set and this budget, not of the paper's."
        )
        return (
            f"{len(orders)} trained networks, {len(self.training)} training and {len(self.test)} "
            f"test scenes.{small if self.choice.budget == 'small' else ''}"
        )

    def _notes(self) -> dict[str, str]:
        machine = environment()
        notes = {
            "Budget": self.choice.budget,
            "Changed": ", ".join(self.choice.settings) or "nothing",
            "Machine": f"{machine['cores']} cores, {platform.machine()} {machine['gpu']}".strip(),
            "Commit": str(machine["commit"] or "unknown"),
            "Versions": f"fdps {__version__}, {versions()}",
        }
        if self.bench is not None:
            notes["Data"] = f"{self.training.name}, {self.test.name}, hash {data_hash(self.test)}"
            notes["Runs"] = f"{self.machine.jobs} at a time, {self.machine.threads} threads each"
            notes["Hours"] = self._hours()
        return notes

    def _hours(self) -> str:
        """Tell how long the runs took, however many sessions that was, each by itself."""
        done = [read_done(order.run.folder) for order in self.orders()]
        train, predict = (
            sum(facts.get(name, 0.0) for facts in done) / 3600
            for name in ("train_seconds", "predict_seconds")
        )
        return f"{train:.1f} of training and {predict:.1f} of predicting, summed over the runs"


def needs_data(targets: Mapping[str, Target]) -> bool:
    """Tell whether any of the targets trains something."""
    return any(target.variants(1) for target in targets.values())


def missing_runs(orders: Sequence[Order]) -> int:
    """Count the runs with something left to do."""
    return sum(not is_finished(order) for order in orders)
