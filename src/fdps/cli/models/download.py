"""``fdps models download``: bring a public model here, checked byte for byte."""

import dataclasses
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fdps.cli.progress import byte_bar
from fdps.names import printable

if TYPE_CHECKING:
    from fdps.downloads.catalogue import PublicModel


def download(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A name that models list --available shows.")
    ],
    carried: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            metavar="FILE|FOLDER",
            help="Take files that were carried here, ask no server; repeatable.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace another model of that name.")
    ] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, nothing else.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Bring a public model into the folder of models (FDPS_MODELS), so that it works by name.

    Every byte is checked against the SHA-256 that fdps ships; anything else is removed. What was
    interrupted goes on where it ended. This is the one command that fetches something.
    """
    try:
        with byte_bar(f"Bringing {name}", hidden=quiet or json_output) as progress:
            from fdps.downloads.catalogue import public_model, read_catalogue
            from fdps.downloads.install import install

            model = public_model(name, read_catalogue())
            installed = install(model, carried=carried or (), force=force, progress=progress)
    except KeyboardInterrupt:
        print("Stopped; the same command goes on where it ended", file=sys.stderr)
        raise
    if json_output:
        told = figures(model) | {
            "place": str(installed.place),
            "brought": list(installed.brought),
            "installed": True,
        }
        print(json.dumps(told))
        return
    brought = ", ".join(installed.brought)
    print(f"Brought {brought}" if brought else "Here    all files are here and whole")
    print(f"Licence {model.card.licence}; training data {model.card.data_licence}")
    print(f"Wrote   {printable(installed.place)}")
    if find_spec("onnxruntime") is None:
        print("Needs   pip install 'fdps[runtime]'")
    print(f"Next    fdps index FOLDER -o NAME.fdps --model {name}")


def show_available(*, json_output: bool) -> None:
    """Print the list of public models."""
    from fdps.downloads.catalogue import read_catalogue
    from fdps.downloads.install import is_installed

    models = read_catalogue().values()
    if json_output:
        rows = [figures(model) | {"installed": is_installed(model)} for model in models]
        print(json.dumps({"available": rows}))
        return
    width = max(len(model.name) for model in models)
    print(f"{'name':<{width}}  {'MB':>5}  {'here':<4}  {'licence':<13}  training data")
    for model in models:
        here = "yes" if is_installed(model) else "no"
        row = f"{model.name:<{width}}  {model.size / 1e6:>5.1f}  {here:<4}"
        print(f"{row}  {model.card.licence:<13}  {model.card.data_licence}")


def figures(model: "PublicModel") -> dict[str, Any]:
    """Return what is told of a public model."""
    return {
        "name": model.name,
        "licence": model.card.licence,
        "data": model.card.data,
        "data_licence": model.card.data_licence,
        "notes": model.card.notes,
        "bytes": model.size,
        "files": [dataclasses.asdict(file) for file in model.files],
    }
