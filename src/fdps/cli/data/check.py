"""``fdps data check``: read a data set to the end and list what is wrong with it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fdps.cli.progress import working
from fdps.names import printable

if TYPE_CHECKING:
    from fdps.data.check import SplitReport

KIND_HELP = "Kind of data set. [default: told from the files]"
MOST_SHOWN = 100
_FAULTY = 3  # the exit code of DataError


def check(
    root: Annotated[Path, typer.Argument(metavar="ROOT", help="Folder, or JSON or XML file.")],
    kind: Annotated[str | None, typer.Option("--data", help=KIND_HELP)] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(help="Split to read; repeatable. [default: all of them]"),
    ] = None,
    decode: Annotated[
        bool, typer.Option("--decode", help="Decode every picture, not only its header.")
    ] = False,
    all_lists: Annotated[
        bool, typer.Option("--all-lists", help="Read gallery lists of 2000 and more entries too.")
    ] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object when done.")
    ] = False,
) -> None:
    """List every fault of a data set and print its counts; ends with 3 if there are faults."""
    import json
    from dataclasses import asdict

    with working(f"Checking {root}", hidden=json_output):
        from fdps.data.check import check as check_splits
        from fdps.data.detect_kind import kind_of, splits_of

        kind = kind or kind_of(root)
        splits = tuple(split or splits_of(kind, root))
        reports = check_splits(kind, root, splits, decode=decode, all_lists=all_lists)
    if json_output:
        found = {report.split: asdict(report) for report in reports}
        print(json.dumps({"kind": kind, "root": str(root), "splits": found}))
    else:
        _print(kind, root, reports)
    if any(report.faults for report in reports):
        raise typer.Exit(_FAULTY)


def _print(kind: str, root: Path, reports: "list[SplitReport]") -> None:
    from fdps.analysis.data_plots import statistics_table

    table = statistics_table(
        {report.split: report.statistics for report in reports},
        {report.split: report.published for report in reports},
    )
    print(f"{kind} {printable(root)}\n")
    for line in aligned((table.columns, *table.rows)):
        print(printable(line))
    for report in reports:
        if report.notes:
            print(f"\nNotes on {printable(report.split)}: read all the same")
            for note in report.notes:
                print(f"  {printable(note)}")
    n_faults = sum(len(report.faults) for report in reports)
    for report in reports:
        if report.faults:
            print(f"\nFaults in {printable(report.split)}")
        for fault in report.faults[:MOST_SHOWN]:
            print(f"  {printable(fault.message)}\n      {printable(fault.hint)}")
        if len(report.faults) > MOST_SHOWN:
            print(f"  ... {len(report.faults) - MOST_SHOWN} more; --json has all")
    print(f"\n{n_faults} faults" if n_faults else "\nNo fault")


def aligned(rows: "tuple[tuple[str, ...], ...]") -> list[str]:
    """Rows of equal length as lines, the first column left, the others right."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if k == 0 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
