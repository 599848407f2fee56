"""``fdps data label``: a model writes boxes and embeddings, and nobody has to annotate."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fdps.cli.archive_model import DEVICE_HELP, warn_of_limits
from fdps.cli.data.check import KIND_HELP
from fdps.cli.data.write import read_all
from fdps.cli.option_groups import grouped
from fdps.cli.progress import progress_bar, working
from fdps.errors import UsageError
from fdps.names import printable, stored, typed

if TYPE_CHECKING:
    from fdps.labelling import Labelled
    from fdps.query import Searcher
    from fdps.structures import SceneSet

INCOMPLETE = 4
INFO_FILE = "fdps.toml"
_SHOWN = 5


@dataclass(frozen=True)
class Boxes:
    """The options about what becomes of a detection."""

    sure: Annotated[float, typer.Option(help="Boxes of this score or more are people.")] = 0.5
    doubtful: Annotated[
        float,
        typer.Option(
            help="Boxes from this score on are marked to be ignored: training takes them neither "
            "for people nor for background. Those below are dropped."
        ),
    ] = 0.2
    every: Annotated[
        str,
        typer.Option(
            metavar="STEP", help="Frames of videos to look at: 0.5s, 500ms, 10f, keyframes."
        ),
    ] = "0.5s"
    embeddings: Annotated[
        Literal["float16", "float32"], typer.Option(help="Numbers that embeddings are stored as.")
    ] = "float16"


@dataclass(frozen=True)
class GivenBoxes:
    """The options that name a data set whose boxes and identities stay."""

    root: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="A data set, instead of pictures: its boxes and identities stay, and only the "
            "embeddings are added.",
        ),
    ] = None
    data: Annotated[str | None, typer.Option(metavar="KIND", help=KIND_HELP)] = None
    per_identity: Annotated[
        bool,
        typer.Option(
            "--per-identity",
            help="With --root: everybody of an identity gets the mean of its embeddings.",
        ),
    ] = False


@grouped
def label(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write.")],
    teacher: Annotated[
        Path,
        typer.Option(metavar="CARD|RUN|WEIGHTS", help="Card, run folder, weights, or name."),
    ],
    boxes: Boxes,
    given: GivenBoxes,
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SOURCE]...", help="Pictures, videos, folders, patterns, @lists."),
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(
            help="Name of the split of the pictures [default: train]; with --root, splits to read "
            "[default: all of them]."
        ),
    ] = None,
    licence: Annotated[str, typer.Option(help="Licence of the pictures, to be noted.")] = "",
    device: Annotated[str, typer.Option(help=DEVICE_HELP)] = "cpu",
    force: Annotated[
        bool, typer.Option("--force", help="Write into a folder that holds something else.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 4 if a file was skipped.")
    ] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object when done.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Let a model write boxes and embeddings of everybody, for another to learn from.

    The same command goes on after an interruption. Train with loss.teacher_weight.
    """
    if bool(sources) == (given.root is not None):
        raise UsageError(
            "give pictures and videos, or --root of a data set that has boxes, and not both"
        )
    if given.per_identity and given.root is None:
        raise UsageError("--per-identity needs the identities of a data set: give --root")
    _check_out(out, force=force)
    is_hidden = quiet or json_output
    try:
        if given.root is not None:
            result = _embed(given, teacher, out, split, boxes, licence, device, quiet=is_hidden)
        else:
            result = _find(sources or [], teacher, out, split, boxes, licence, device, is_hidden)
    except KeyboardInterrupt:
        print("Interrupted; the same command continues where it was", file=sys.stderr)
        raise
    _report(out, result, json_output=json_output)
    if strict and result.skipped:
        raise typer.Exit(INCOMPLETE)


def _find(
    sources: list[str],
    teacher: Path,
    out: Path,
    split: list[str] | None,
    boxes: Boxes,
    licence: str,
    device: str,
    is_hidden: bool,
) -> "Labelled":
    from fdps.labelling import LabelRules, label_pictures
    from fdps.search import find_pictures

    if split is not None and len(split) > 1:
        raise UsageError(f"pictures become one split, got {len(split)} names")
    rules = LabelRules(**vars(boxes))
    found = find_pictures(sources, videos=True)
    searcher = _load(teacher, boxes.doubtful, device, is_hidden=is_hidden)
    with progress_bar(f"Label {out}", hidden=is_hidden) as progress:
        return label_pictures(
            searcher,
            found,
            out,
            rules=rules,
            name=printable(out.resolve().name),
            split=split[0] if split else "train",
            licence=licence,
            about=_about(teacher),
            progress=progress,
        )


def _embed(
    given: GivenBoxes,
    teacher: Path,
    out: Path,
    split: list[str] | None,
    boxes: Boxes,
    licence: str,
    device: str,
    *,
    quiet: bool,
) -> "Labelled":
    from fdps.labelling import embed_dataset

    assert given.root is not None
    with working(f"Reading {given.root}", hidden=quiet):
        sets: dict[str, SceneSet] = read_all(given.root, given.data, split)[1]
    searcher = _load(teacher, None, device, is_hidden=quiet)
    with progress_bar(f"Embed {out}", hidden=quiet) as progress:
        return embed_dataset(
            searcher,
            sets,
            out,
            name=printable(out.resolve().name),
            licence=licence,
            per_identity=given.per_identity,
            dtype=boxes.embeddings,
            about=_about(teacher),
            progress=progress,
        )


def _load(teacher: Path, min_score: float | None, device: str, *, is_hidden: bool) -> "Searcher":
    from fdps.embedders import load

    with working(f"Loading {teacher}", hidden=is_hidden):
        searcher = load(teacher, min_score=min_score, device=device)
    warn_of_limits(searcher.model_hash)
    return searcher


def _about(teacher: Path) -> dict[str, str]:
    from fdps.embedders.info import describe

    info = describe(teacher)
    return {"model": printable(info.name), "licence": info.licence}


def _check_out(out: Path, *, force: bool) -> None:
    from fdps.labelling import has_shards

    if force or not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"{out} is a file, and a folder is to be written")
    if (out / INFO_FILE).exists() or (any(out.iterdir()) and not has_shards(out)):
        raise UsageError(
            f"{out} holds something already", hint="name another folder, or add --force"
        )


def _report(out: Path, result: "Labelled", *, json_output: bool) -> None:
    if json_output:
        figures = {
            "root": str(out),
            "n_scenes": result.n_scenes,
            "n_people": result.n_people,
            "n_ignored": result.n_ignored,
            "n_known": result.n_known,
            "skipped": [
                {"file": stored(file.path), "reason": file.reason} for file in result.skipped
            ],
        }
        print(json.dumps(figures))
        return
    for file in result.skipped[:_SHOWN]:
        print(f"Skipped {printable(file.path)}: {printable(file.reason)}")
    if len(result.skipped) > _SHOWN:
        print(
            f"Skipped {len(result.skipped)} files in all; {printable(out)}/skipped.csv names each"
        )
    doubtful = f", {result.n_ignored:,} doubtful ones to be ignored" if result.n_ignored else ""
    print(f"Found   {result.n_people:,} people in {result.n_scenes:,} pictures{doubtful}")
    print(f"Wrote   {printable(out)}")
    print(f"Next    fdps train RECIPE --root {typed(out)} --set loss.teacher_weight=1")
