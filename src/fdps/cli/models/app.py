"""``fdps models``: which models there are, what is known about them, how sure their answers are."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fdps.cli.models.calibrate import calibrate
from fdps.cli.models.convert import convert
from fdps.cli.models.download import download, show_available
from fdps.cli.models.regions import regions
from fdps.cli.progress import working
from fdps.names import printable, typed

if TYPE_CHECKING:
    from fdps.embedders.info import ModelInfo

RUNS = Path("runs/train")

app = typer.Typer(name="models", no_args_is_help=True, add_completion=False)

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="Run folder, weights, card, or a name of the list.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, nothing else.")]


@app.callback()
def models() -> None:
    """List, fetch and check models; calibrate how sure their answers are."""


@app.command(name="list")
def list_(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FOLDER", help="More folders. [default: runs/train]"),
    ] = None,
    available: Annotated[
        bool, typer.Option("--available", help="List public models that download brings instead.")
    ] = False,
    json_output: Json = False,
) -> None:
    """List bundled models, those of the models folder (FDPS_MODELS), and runs."""
    if available:
        show_available(json_output=json_output)
        return
    from fdps.embedders import models_folder
    from fdps.embedders.info import list_models

    found = list_models(folders or [RUNS])
    if json_output:
        figures = {"folder": str(models_folder()), "models": [_figures(info) for info in found]}
        print(json.dumps(figures))
        return
    names = [printable(info.name) for info in found]
    width = max(map(len, names))
    print(f"{'name':<{width}}  {'kind':<8}  {'licence':<13}  {'calibrated':<10}  place")
    for name, info in zip(names, found, strict=True):
        calibrated = "yes" if info.is_calibrated else "no"
        row = f"{name:<{width}}  {info.kind:<8}  {printable(info.licence):<13}  {calibrated:<10}"
        print(f"{row}  {printable(info.problem or info.place)}")


@app.command(name="info")
def info_(model: Model, json_output: Json = False) -> None:
    """Show licence, data, figures and hash of a model."""
    from fdps.embedders.info import describe

    info = describe(model)
    if json_output:
        print(json.dumps(_figures(info)))
        return
    print(f"Model   {printable(info.name)} ({info.kind}, {info.model_hash})")
    print(f"Place   {printable(info.place)}")
    print(f"Licence {printable(info.licence)}")
    print(f"Data    {printable(info.data or 'unknown')}")
    if info.data_licence:
        print(f"Terms   {printable(info.data_licence)}")
    for name, value in info.metrics.items():
        print(f"Figure  {printable(name)} {value:g}")
    if info.notes:
        print(f"Note    {printable(info.notes)}")
    if not info.is_calibrated:
        print(f"Next    fdps models calibrate {typed(model)} --data KIND --root DIR")


@app.command()
def verify(model: Model, json_output: Json = False) -> None:
    """Read every byte of a model, compare pinned hashes, load it and let it look at a picture."""
    with working(f"Loading {model}", hidden=json_output):
        from fdps.embedders.info import verify as verify_model

        info = verify_model(model)
    if json_output:
        print(json.dumps(_figures(info) | {"verified": True}))
        return
    about = f"({info.kind}, {info.model_hash}) at {printable(info.place)}"
    print(f"Whole   {printable(info.name)} {about}")


app.command()(download)
app.command()(calibrate)
app.command()(convert)
app.command()(regions)


def _figures(info: "ModelInfo") -> dict[str, Any]:
    return {
        "name": info.name,
        "kind": info.kind,
        "place": str(info.place),
        "licence": info.licence,
        "data": info.data,
        "data_licence": info.data_licence,
        "metrics": dict(info.metrics),
        "model_hash": info.model_hash,
        "notes": info.notes,
        "calibrated": info.is_calibrated,
        "problem": info.problem,
    }
