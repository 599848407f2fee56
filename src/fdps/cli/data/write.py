"""``fdps data convert`` and ``fdps data split``: write a data set anew."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fdps.cli.data.check import KIND_HELP
from fdps.cli.progress import working
from fdps.errors import UsageError
from fdps.names import printable, typed

if TYPE_CHECKING:
    from fdps.structures import SceneSet

RootArgument = Annotated[Path, typer.Argument(metavar="ROOT", help="Folder, or JSON or XML file.")]
OutArgument = Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write, new or empty.")]
KindOption = Annotated[str | None, typer.Option("--data", help=KIND_HELP)]
FormatOption = Annotated[str, typer.Option("--to", help="folder or coco.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object when done.")]


def convert(
    root: RootArgument,
    out: OutArgument,
    to: FormatOption = "folder",
    kind: KindOption = None,
    split: Annotated[
        list[str] | None, typer.Option(help="Split to read; repeatable. [default: all of them]")
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Write a data set, with its pictures, in our folder format or as COCO JSON."""
    _check_target(to, out)
    with working(f"Converting {root}", hidden=json_output):
        kind, sets = read_all(root, kind, split)
        _write(to, out, sets, name=printable(root.resolve().stem), notes=f"converted from {kind}")
    _report(out, sets, json_output)


def split(
    root: RootArgument,
    out: OutArgument,
    by: Annotated[str, typer.Option(help="person: nobody is in two parts.")] = "person",
    parts: Annotated[
        str, typer.Option(metavar="NAME=SHARE,...", help="Parts and their shares of the people.")
    ] = "train=0.6,val=0.1,test=0.3",
    of: Annotated[
        str | None,
        typer.Option("--of", help="Split to divide. [default: all, taken as different people]"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal parts.")] = 0,
    to: FormatOption = "folder",
    kind: KindOption = None,
    json_output: JsonOption = False,
) -> None:
    """Divide the people of a data set into parts that share nobody."""
    from dataclasses import replace

    from fdps.data.identities import concatenate
    from fdps.data.parsing.query_list import by_rule
    from fdps.data.split_people import split_by_person

    if by != "person":
        raise UsageError(f"--by must be person, got {by!r}")
    shares = _shares(parts)
    _check_target(to, out)
    with working(f"Dividing {root}", hidden=json_output):
        kind, sets = read_all(root, kind, [of] if of else None)
        whole = concatenate(list(sets.values()), f"{kind}/all") if len(sets) > 1 else _only(sets)
        division = split_by_person(replace(whole, queries=(), query_lists={}), shares, seed)
        divided = {
            name: part if name == "train" else replace(part, queries=tuple(by_rule(part)))
            for name, part in division.parts.items()
        }
        name, notes = printable(root.resolve().stem), f"divided by person, seed {seed}"
        _write(to, out, divided, name=name, notes=notes)
    _report(out, divided, json_output, n_unnamed=division.n_unnamed)


def read_all(
    root: Path, kind: str | None, splits: list[str] | None
) -> "tuple[str, dict[str, SceneSet]]":
    """Read the named splits of a data set, or all of them; and the kind that it is."""
    from fdps.data import load_scenes
    from fdps.data.detect_kind import kind_of, splits_of

    kind = kind or kind_of(root)
    return kind, {name: load_scenes(kind, root, name) for name in splits or splits_of(kind, root)}


def _only(sets: "dict[str, SceneSet]") -> "SceneSet":
    (scenes,) = sets.values()
    return scenes


def _shares(text: str) -> dict[str, float]:
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, _, share = part.partition("=")
        try:
            shares[name.strip()] = float(share)
        except ValueError:
            raise UsageError(
                f"--parts must be like train=0.6,val=0.1,test=0.3, got {text!r}"
            ) from None
    return shares


def _check_target(to: str, out: Path) -> None:
    if to not in ("folder", "coco"):
        raise UsageError(f"--to must be folder or coco, got {to!r}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is not an empty folder", hint="name one that does not exist yet")


def _write(to: str, out: Path, sets: "dict[str, SceneSet]", *, name: str, notes: str) -> None:
    from fdps.data.readers.coco_writer import write_coco
    from fdps.data.readers.folder import write_folder

    if to == "folder":
        write_folder(out, sets, name=name, notes=notes)
    else:
        write_coco(out, sets)


def _report(
    out: Path, sets: "dict[str, SceneSet]", json_output: bool, *, n_unnamed: int | None = None
) -> None:
    import json

    counts = {
        name: {
            "images": len(scenes),
            "boxes": scenes.n_boxes,
            "identities": len(scenes.person_ids),
            "queries": len(scenes.queries),
        }
        for name, scenes in sets.items()
    }
    lost = {} if n_unnamed is None else {"unnamed_boxes": n_unnamed}
    if json_output:
        print(json.dumps({"root": str(out), "splits": counts} | lost))
        return
    for name, row in counts.items():
        print(
            f"{printable(name):<7} "
            + ", ".join(f"{number:,} {what}" for what, number in row.items())
        )
    if n_unnamed:
        print(f"{n_unnamed:,} boxes lost their identity: their person is in another part")
    print(f"Wrote   {printable(out)}\nNext    fdps data check {typed(out)}")
