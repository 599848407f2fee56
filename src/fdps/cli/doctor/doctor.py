"""``fdps doctor``: look at the machine, and tell what a training takes before it starts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fdps.cli.chosen_data import Roots
from fdps.cli.doctor.checks import findings
from fdps.cli.progress import working
from fdps.errors import UsageError
from fdps.names import printable

if TYPE_CHECKING:
    from fdps.cli.doctor.machine import Finding

NO_RESOURCES = 7  # the exit code of ResourceError


def doctor(
    recipe: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Take three steps of a training by this recipe."),
    ] = None,
    roots: Roots = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Change a field; repeatable."),
    ] = None,
    scenes: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Number of training scenes, where the data are not there yet."
        ),
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object when done.")
    ] = False,
) -> None:
    """Check the environment, or try a training for its memory and time; ends with 7 if it fails."""
    if recipe is not None:
        from fdps.cli.doctor.recipe import report

        is_fine = report(recipe, roots or [], settings or [], scenes, json_output=json_output)
    elif roots or settings or scenes is not None:
        raise UsageError(
            "--root, --set and --scenes tell about a training", hint="name it: --recipe FILE"
        )
    else:
        with working("Looking at packages and devices", hidden=json_output):
            found = findings(Path.cwd())
        is_fine = _report(found, json_output=json_output)
    if not is_fine:
        raise typer.Exit(NO_RESOURCES)


def _report(found: "list[Finding]", *, json_output: bool) -> bool:
    """Print the findings; whether fdps can run."""
    import json
    from dataclasses import asdict

    counts = {
        status: sum(finding.status == status for finding in found) for status in ("problem", "note")
    }
    if json_output:
        rows = [asdict(finding) for finding in found]
        print(json.dumps({"usable": not counts["problem"], "findings": rows}))
        return not counts["problem"]
    width = max(len(finding.name) for finding in found)
    for finding in found:
        print(f"{finding.status:7}  {finding.name:{width}}  {printable(finding.found)}")
        if finding.remedy:
            print(f"{'':7}  {'':{width}}  {printable(finding.remedy)}")
    print(f"\n{_counted(counts['problem'], 'problem')}, {_counted(counts['note'], 'note')}")
    if not counts["problem"]:
        print("Next    fdps demo, or fdps doctor --recipe FILE before a training")
    return not counts["problem"]


def _counted(n: int, noun: str) -> str:
    return f"{n or 'no'} {noun}{'' if n == 1 else 's'}"
