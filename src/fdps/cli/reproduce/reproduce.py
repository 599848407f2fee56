"""``fdps reproduce``: train what is missing, score it, and write the paper's tables and figures."""

import json
import os
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fdps.cli.option_groups import grouped
from fdps.cli.progress import progress_bar, working
from fdps.cli.reproduce.options import Setting
from fdps.cli.reproduce.watching import watching
from fdps.errors import ResourceError, UsageError
from fdps.names import printable, typed

if TYPE_CHECKING:
    from fdps.errors import FdpsError
    from fdps.reproduce.bench import Bench
    from fdps.reproduce.cost import Estimate
    from fdps.reproduce.one_run import Device
    from fdps.reproduce.reproduction import Reproduction

_DEVICES: "tuple[Device, ...]" = ("cpu", "cuda", "auto")


@grouped
def reproduce(
    setting: Setting,
    target: Annotated[
        str,
        typer.Argument(
            metavar="WHAT",
            help="table1, table2, table3, fig3, fig4, fig5 or all of these; or sensitivity, "
            "gradients, reasons, swap, robustness.",
        ),
    ],
    seeds: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Trainings of each system. [default: 5 for tables 1 and 2, 3 for table 3 and "
            "fig. 5, else 1]",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="DIR", help="Folder for everything. [default: reproduced/NAME]"
        ),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(metavar="N", help="Runs at a time, each with its share of the cores."),
    ] = 1,
    device: Annotated[
        str, typer.Option(metavar="cpu|cuda|auto", help="Device to train on.")
    ] = "cpu",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell how many runs, hours and gigabytes.")
    ] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object when done.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Reproduce tables and figures of the paper: train or find runs, score them, write a page."""
    with working("Loading torch", hidden=quiet):
        from fdps.reproduce.reproduction import Machine, Reproduction, needs_data
        from fdps.reproduce.targets import find_targets

    targets = find_targets(target)
    folder = out or Path("reproduced") / (setting.data or target)
    choice, bench = setting.choice(), None
    _check_counts(seeds, jobs)
    for one in targets.values():
        one.check()
    if needs_data(targets):
        bench = setting.bench(folder)
        _draw(bench, jobs, quiet=quiet)
    with working("Reading the data", hidden=quiet):
        machine = Machine(jobs, _device(device))
        work = Reproduction(targets, bench, choice, folder, seeds=seeds, machine=machine)
    if dry_run:
        _tell_cost(work, json_output=json_output, quiet=quiet)
        return
    failed = _perform(work, quiet=quiet)
    with working("Scoring and drawing", hidden=quiet):
        page, problems = work.write(failed, command=_command())
    if json_output:
        facts = {"page": str(page), "n_runs": len(work.orders()), "problems": problems}
        print(json.dumps(facts))
    else:
        print(f"Page    {printable(page)}")
    if problems:
        raise ResourceError(
            f"{len(problems)} of what was asked for could not be made: {problems[0]}",
            hint="the page has the rest; the same command tries again what is missing",
        )


def _device(text: str) -> "Device":
    """Read ``--device``.

    Raises:
        UsageError: It is none of those that a recipe may name, or it is not there.
    """
    from fdps.devices import check_device

    for name in _DEVICES:
        if text == name:
            check_device(name)
            return name
    raise UsageError(f"--device must be one of {', '.join(_DEVICES)}, got {text!r}")


def _check_counts(seeds: int | None, jobs: int) -> None:
    """Refuse counts that make no sense, before anything is drawn."""
    for name, value in (("seeds", seeds), ("jobs", jobs)):
        if value is not None and value < 1:
            raise UsageError(f"--{name} must be at least 1, got {value}")


def _draw(bench: "Bench", jobs: int, *, quiet: bool) -> None:
    if bench.is_ready():
        return
    with progress_bar(f"Draw {bench.name}", hidden=quiet) as progress:
        bench.prepare(progress=progress, workers=max(jobs, min(os.cpu_count() or 1, 4)))


def _perform(work: "Reproduction", *, quiet: bool) -> "dict[str, FdpsError]":
    """Make the runs; say how to go on where somebody stops it."""
    from fdps.reproduce.reproduction import missing_runs

    orders = work.orders()
    left = missing_runs(orders)
    if orders and not quiet:
        print(f"Runs    {len(orders)}, of which {left} have to be made", file=sys.stderr)
    try:
        with watching(left, hidden=quiet) as listener:
            return work.perform(listener)
    except KeyboardInterrupt:
        print(f"Stopped; the same command goes on: {printable(_command())}", file=sys.stderr)
        raise


def _tell_cost(work: "Reproduction", *, json_output: bool, quiet: bool) -> None:
    with progress_bar("Trying three steps of each", hidden=quiet) as progress:
        found = work.estimate(progress)
    if json_output:
        print(json.dumps(asdict(found)))
        return
    print("\n".join(_cost_lines(found, work)))


def _cost_lines(found: "Estimate", work: "Reproduction") -> list[str]:
    left = found.n_runs - found.n_finished
    jobs, threads = work.machine.jobs, work.machine.threads
    measured = ", ".join(f"{n} kinds from {source}" for source, n in found.measured.items())
    return [
        f"Runs    {found.n_runs}: {found.n_finished} finished, {found.n_begun} begun, "
        f"{left - found.n_begun} to begin",
        f"Time    {found.hours:.2f} h with {jobs} at a time, {threads} threads each",
        f"Disk    {found.gib:.2f} GiB below {printable(typed(work.out))}",
        f"From    {measured or 'nothing is left to do'}",
    ]


def _command() -> str:
    return shlex.join(["fdps", *sys.argv[1:]])
