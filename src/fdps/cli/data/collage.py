"""``fdps data collage``: cut people out of pictures and paste them into scenes."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fdps.cli.data.drawing import Drawing
from fdps.cli.data.sizes import parse_range, parse_size
from fdps.cli.option_groups import grouped
from fdps.cli.progress import progress_bar, working
from fdps.errors import UsageError
from fdps.names import printable, shortened, typed

if TYPE_CHECKING:
    from fdps.data.collage import Background, FoundPeople

_STRENGTH = "0 none to 1 strong."


@grouped
def collage(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write.")],
    cutouts: Annotated[
        Path,
        typer.Option(
            help="Pictures of people, with a transparent background or with --masks. A picture is "
            "one person; a folder in it is one person in several pictures."
        ),
    ],
    masks: Annotated[
        Path | None,
        typer.Option(help="Masks with the names of the pictures, light where the person is."),
    ] = None,
    backgrounds: Annotated[
        Path | None, typer.Option(help="Pictures in which nobody is to be seen.")
    ] = None,
    backgrounds_with_people: Annotated[
        Path | None,
        typer.Option(help="A data set: its pictures, its people as people without identity."),
    ] = None,
    scenes: Annotated[int, typer.Option(help="Training pictures.")] = 2000,
    val_scenes: Annotated[int, typer.Option(help="Validation pictures; may be 0.")] = 200,
    test_scenes: Annotated[int, typer.Option(help="Test pictures.")] = 400,
    shares: Annotated[
        str,
        typer.Option(
            metavar="T,V,T", help="Shares of the people in training, validation and test."
        ),
    ] = "0.7,0.1,0.2",
    looks: Annotated[int, typer.Option(help="Looks, each the flaws of one camera.")] = 12,
    people: Annotated[str, typer.Option(metavar="A-B", help="People per picture.")] = "2-7",
    heights: Annotated[
        str, typer.Option(metavar="A-B", help="Heights of people, in picture heights.")
    ] = "0.13-1.0",
    pieces: Annotated[
        str, typer.Option(metavar="A-B", help="Things per picture that hide people.")
    ] = "0-3",
    crowding: Annotated[
        float, typer.Option(help="Share of people who stand beside somebody.")
    ] = 0.4,
    light: Annotated[
        float, typer.Option(help=f"Differences in light and colour, {_STRENGTH}")
    ] = 0.6,
    warp: Annotated[float, typer.Option(help=f"Changes of shape, {_STRENGTH}")] = 1.0,
    degrade: Annotated[
        float, typer.Option(help=f"Blur, noise, low resolution, compression, {_STRENGTH}")
    ] = 1.0,
    labelled_from: Annotated[
        float, typer.Option(help="Visible share below which a person has no identity.")
    ] = 0.35,
    unlabelled: Annotated[
        float, typer.Option(help="Share of the people whose identity is kept back.")
    ] = 0.1,
    size: Annotated[
        str, typer.Option(metavar="WxH", help="Size of a picture in pixels.")
    ] = "640x480",
    licence: Annotated[str, typer.Option(help="Licence of the material, to be noted.")] = "",
    *,
    drawing: Drawing,
) -> None:
    """Paste cut-out people into scenes: training, validation and test with nobody in common."""
    from fdps.data.collage import CollageConfig, find_people, join_doubles, make_collages

    width, height = parse_size(size)
    config = CollageConfig(
        n_train_scenes=scenes,
        n_val_scenes=val_scenes,
        n_test_scenes=test_scenes,
        shares=_shares(shares),
        n_looks=looks,
        people_per_scene=_whole(people, "--people"),
        unlabelled_share=unlabelled,
        heights=parse_range(heights, "--heights"),
        crowding=crowding,
        pieces=_whole(pieces, "--pieces"),
        light=light,
        warp=warp,
        degrade=degrade,
        labelled_from=labelled_from,
        kept_from=min(CollageConfig().kept_from, labelled_from),
        width=width,
        height=height,
        seed=drawing.seed,
    )
    with working("Looking at the cut-outs", hidden=drawing.quiet):
        scenery = _scenery(backgrounds, backgrounds_with_people)
        found = find_people(cutouts, masks)
        different, doubles = join_doubles(found.people)
    if not drawing.quiet:
        _say_what_is_left_out(found, doubles)
    with progress_bar("Pasting", hidden=drawing.quiet) as progress:
        make_collages(
            config,
            different,
            scenery,
            out,
            progress=progress,
            overwrite=drawing.force,
            workers=drawing.workers,
            licence=licence,
        )
    counts = {
        "cutouts": sum(len(who.cutouts) for who in different),
        "different_people": len(different),
        "left_out": len(found.skipped),
    }
    _report(out, config.splits, counts, drawing.json_output)


def _scenery(plain: Path | None, with_people: Path | None) -> "tuple[Background, ...]":
    from fdps.data.collage import backgrounds_with_people, find_backgrounds

    if plain is None and with_people is None:
        raise UsageError(
            "no backgrounds to paste people into",
            hint="give --backgrounds FOLDER, pictures in which nobody is to be seen, or "
            "--backgrounds-with-people DATA, a data set with the boxes of everybody in it",
        )
    scenery = () if plain is None else find_backgrounds(plain)
    return scenery if with_people is None else scenery + backgrounds_with_people(with_people)


def _say_what_is_left_out(found: "FoundPeople", doubles: tuple[tuple[str, str], ...]) -> None:
    from fdps.data.collage.cutouts import count_reasons

    for reason, count in count_reasons(found.skipped).items():
        first = next(path for path, why in found.skipped if why == reason)
        print(f"Left out: {reason} ({count:,}, such as {printable(first)})", file=sys.stderr)
    if doubles:
        pairs = [f"{kept} = {gone}" for kept, gone in doubles]
        print(f"Same picture, so one person: {shortened(pairs, most=8)}", file=sys.stderr)


def _shares(text: str) -> tuple[float, float, float]:
    try:
        train, val, test = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--shares must be three numbers like 0.7,0.1,0.2, got {text!r}") from None
    return train, val, test


def _whole(text: str, option: str) -> tuple[int, int]:
    least, most = parse_range(text, option)
    if least != int(least) or most != int(most):
        raise UsageError(f"{option} must be whole numbers, got {text!r}")
    return int(least), int(most)


def _report(out: Path, splits: tuple[str, ...], counts: dict[str, int], json_output: bool) -> None:
    """Read back what was written, and count it."""
    from fdps.data.readers.folder import read

    rows: dict[str, dict[str, int]] = {}
    for split in splits:
        written = read(out, split)
        rows[split] = {
            "scenes": len(written),
            "people": written.n_boxes,
            "identities": len(written.person_ids),
            "queries": len(written.queries),
        }
    if json_output:
        print(json.dumps({"root": str(out)} | counts | {"splits": rows}))
        return
    for split, row in rows.items():
        named = ", ".join(f"{count:,} {what}" for what, count in row.items() if count)
        print(f"{split.capitalize():<7} {named}")
    sheet = typed(out.with_suffix(".jpg").name)
    print(
        f"Wrote   {printable(out)}\nNext    fdps data view {typed(out)} --split train --out {sheet}"
    )
