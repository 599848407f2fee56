"""``fdps data stats`` and ``fdps data view``: look at a data set."""

from pathlib import Path
from typing import Annotated

import typer

from fdps.cli.data.check import aligned
from fdps.cli.data.write import KindOption, RootArgument, read_all
from fdps.cli.progress import working
from fdps.names import printable


def stats(
    root: RootArgument,
    kind: KindOption = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot", metavar="FOLDER", help="Write histograms (PNG) and a page (HTML) there."
        ),
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object when done.")
    ] = False,
) -> None:
    """Count images, boxes, identities, heights and queries; draw histograms."""
    import json
    from dataclasses import asdict

    with working(f"Reading {root}", hidden=json_output):
        from fdps.analysis.data_plots import statistics_table, write_data_page
        from fdps.data.statistics import PUBLISHED, count

        kind, sets = read_all(root, kind, None)
        counted = {split: count(scenes) for split, scenes in sets.items()}
        files = (
            write_data_page(plot, f"{kind} {printable(root.name)}", sets)
            if plot is not None
            else []
        )
    if json_output:
        found = {split: asdict(statistics) for split, statistics in counted.items()}
        print(json.dumps({"kind": kind, "splits": found, "files": [str(file) for file in files]}))
        return
    table = statistics_table(counted, PUBLISHED.get(kind, {}))
    for line in aligned((table.columns, *table.rows)):
        print(printable(line))
    for file in files:
        print(f"Wrote   {printable(file)}")


def view(
    root: RootArgument,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Picture to write, .jpg or .png.")
    ] = Path("sheet.jpg"),
    kind: KindOption = None,
    split: Annotated[str | None, typer.Option(help="Split to show. [default: the first]")] = None,
    scenes: Annotated[int, typer.Option(min=1, help="Scenes to show.")] = 12,
    columns: Annotated[int, typer.Option(min=1, help="Scenes in a row.")] = 4,
    width: Annotated[int, typer.Option(min=16, help="Width of a scene in pixels.")] = 320,
    seed: Annotated[int, typer.Option(help="Seed of the choice of scenes.")] = 0,
) -> None:
    """Draw a contact sheet: scenes with their boxes and identities."""
    from fdps.analysis.contact_sheet import choose, draw_sheet
    from fdps.data import load_scenes
    from fdps.data.detect_kind import kind_of, splits_of
    from fdps.durable import written_whole
    from fdps.errors import UsageError

    if out.suffix.lower() not in (".jpg", ".jpeg", ".png"):
        raise UsageError(f"--out must end in .jpg or .png, got {out}")
    with working(f"Drawing scenes of {root}"):
        kind = kind or kind_of(root)
        chosen = load_scenes(kind, root, split or splits_of(kind, root)[0])
        shown = choose(chosen, scenes, seed)
        sheet = draw_sheet(shown, columns=columns, width=width)
    out.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(out) as aside:
        sheet.save(aside, "PNG" if out.suffix.lower() == ".png" else "JPEG")
    what = f"{len(shown)} of {len(chosen):,} scenes of {printable(chosen.name)}"
    print(f"Wrote   {printable(out)}: {what}")
