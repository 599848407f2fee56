"""``fdps export``: write a network for ONNX Runtime or OpenVINO."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fdps.cli.chosen_data import DataChoice
from fdps.cli.option_groups import grouped
from fdps.cli.progress import progress_bar, working
from fdps.errors import UsageError
from fdps.names import printable

if TYPE_CHECKING:
    from fdps.runtime.exported import Parity

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="Run folder, weights, or a name of the list.")
]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write.")]
Format = Annotated[Literal["onnx", "openvino"], typer.Option("--format", help="What will run it.")]
Int8 = Annotated[
    bool, typer.Option("--int8", help="Compute in eight bits; needs --calibrate, and tells others.")
]
Calibrate = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Pictures like yours, by which eight bits are chosen."),
]
Compared = Annotated[
    Path | None,
    typer.Option(
        "--parity", metavar="FOLDER", help="Pictures to compare on. [default: drawn scenes]"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]


@grouped
def export(
    model: Model,
    out: Out,
    data: DataChoice,
    format_: Format = "onnx",
    int8: Int8 = False,
    calibrate: Calibrate = None,
    parity: Compared = None,
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a network for ONNX Runtime or OpenVINO, and say how far it is from PyTorch.

    The folder is a model wherever a command takes one. With a data set both are searched.
    """
    if int8 != (calibrate is not None):
        raise UsageError(
            "--int8 and --calibrate FOLDER belong together",
            hint="a hundred pictures like those that will be searched are enough",
        )
    with working(f"Exporting {model}", hidden=quiet or json_output):
        from fdps.devices import n_threads
        from fdps.embedders import find_model, is_card
        from fdps.embedders.info import describe
        from fdps.export.folder import ExportOptions, export_network
        from fdps.export.pictures import drawn_pictures, pictures_in
        from fdps.export.two_step import export_two_step

        pictures, boxes = drawn_pictures() if parity is None else (pictures_in(parity), None)
        options = ExportOptions(
            runtime=format_,
            calibrate=pictures_in(calibrate) if calibrate else (),
            threads=n_threads(),
        )
        place = find_model(model)
        compared: Parity | None
        if is_card(place):
            compared = export_two_step(place, out, options, pictures, boxes)
        else:
            compared = export_network(model, out, options, pictures, boxes).parity
        hashes = describe(out).model_hash, describe(model).model_hash
    figures = _searched(model, out, data, quiet=quiet) if data.data or data.root else {}
    assert compared is not None
    if json_output:
        told = {
            "out": str(out),
            "runtime": format_,
            "precision": "int8" if int8 else "float32",
            "model_hash": hashes[0],
            "source_hash": hashes[1],
            "parity": dataclasses.asdict(compared),
            "figures": figures,
        }
        print(json.dumps(told))
        return
    print(f"Parity  {_told(compared)}")
    if hashes[0] == hashes[1]:
        print("Hash    that of the source: its archives may be continued and searched")
    else:
        print(f"Hash    {hashes[0]}, a model of its own: its archives are apart")
    for name, row in figures.items():
        print(f"Search  {name}: " + ", ".join(f"{key} {value:.3f}" for key, value in row.items()))
    print(f"Wrote   {printable(out)}")
    print(f"Next    fdps index FOLDER -o NAME.fdps --model {printable(out)}")


def _told(parity: "Parity") -> str:
    return (
        f"{parity.people} people in {parity.pictures} pictures: boxes differ by at most "
        f"{parity.largest_box_px:.2g} px, scores by {parity.largest_score:.2g}, the least cosine "
        f"is {parity.least_cosine:.6f}; {parity.unmatched} people are found by one alone"
    )


def _searched(
    model: str, out: Path, data: DataChoice, *, quiet: bool
) -> dict[str, dict[str, float]]:
    """Search a data set with the network in PyTorch and with the export."""
    from fdps.embedders import find_model, load
    from fdps.engine.validation import search_figures

    place = find_model(model)
    scenes = data.scenes(place.parent if place.with_name("recipe.toml").is_file() else None)
    rows: dict[str, Any] = {}
    with progress_bar(f"Search {scenes.name}", hidden=quiet) as progress:
        for done, (name, each) in enumerate((("pytorch", model), ("export", str(out)))):
            rows[name] = search_figures(load(each), scenes)
            progress(done + 1, 2)
    return rows
