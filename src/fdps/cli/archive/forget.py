"""``fdps archive forget``: erase a person for good."""

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fdps.cli.archive.erase import Archive, DryRun, Json, Yes, confirm, report_erased
from fdps.cli.archive.sheet import draw_sheet
from fdps.cli.archive_model import ModelChoice
from fdps.cli.folders import make_folder
from fdps.cli.option_groups import grouped
from fdps.cli.search.question import Choice, described, query_person
from fdps.errors import UsageError
from fdps.names import printable

if TYPE_CHECKING:
    import numpy as np

    from fdps.search import Index
    from fdps.search.care.forget import ToForget


@grouped
def forget(
    archive: Archive,
    model: ModelChoice,
    like: Annotated[
        Path | None, typer.Option(metavar="PICTURE", help="Picture that shows the person.")
    ] = None,
    box: Annotated[
        str | None, typer.Option(metavar="X1,Y1,X2,Y2", help="Box around the person, in pixels.")
    ] = None,
    point: Annotated[str | None, typer.Option(metavar="X,Y", help="A pixel on the person.")] = None,
    person: Annotated[
        int | None, typer.Option(metavar="N", help="Person N of those found.")
    ] = None,
    min_similarity: Annotated[
        float | None, typer.Option(help="With --like: everybody at least so similar.")
    ] = None,
    items: Annotated[
        list[int] | None, typer.Option("--item", metavar="N", help="Erase this person; repeatable.")
    ] = None,
    ids_file: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Erase the people in its column item.")
    ] = None,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="The reason, noted in the audit.")
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="Folder for lists and sheet. [default: runs/forget/TIME]",
        ),
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    json_output: Json = False,
) -> None:
    """Erase somebody for good: from every file of the archive, and from what is indexed again.

    Look with --dry-run first; its list, people.csv, can be edited and given as --ids-file.
    """
    from fdps.search import Index
    from fdps.search.care.forget import candidates_of_items, read_items, write_candidates

    if [like is not None, bool(items), ids_file is not None].count(True) != 1:
        raise UsageError("say whom to forget", hint="one of --like, --item and --ids-file")
    if (like is None) != (min_similarity is None):
        raise UsageError("--like and --min-similarity belong together")
    with Index.open(archive, purpose=reason or "forget") as index:
        if like is not None and min_similarity is not None:
            searcher = model.load_for(archive, index.info)
            wanted = query_person(searcher, Choice(like, box, point, person))
            index.asked = [str(like)]
            found = _alike(index, wanted.embedding, min_similarity)
        else:
            found = candidates_of_items(index.store, items or read_items(_given(ids_file)))
        if not json_output:
            _show(found)
        if found:
            folder = out or Path("runs/forget", datetime.now().strftime("%Y-%m-%d_%H%M%S"))
            make_folder(folder)
            n_files = write_candidates(index.store, found, folder)
            draw_sheet(index, found, folder / "sheet.jpg")
            if not json_output:
                names = "sheet.jpg, people.csv, originals.csv"
                print(f"Saved   {printable(folder)}: {names}; {n_files} files show them")
        if dry_run or not found:
            _say_dry(archive, found, json_output)
            return
        confirm(f"Erase {len(found)} people from {archive} for good?", yes)
        n_people = _erase(index, [one.item for one in found], reason)
        report_erased(archive, index.store, n_people, 0, json_output=json_output)
    if not json_output:
        print(f"Note    the files were not touched; {printable(folder)}/originals.csv names them")


def _erase(index: "Index", items: list[int], reason: str) -> int:
    """Erase people from the archive, and from the cases in its folder."""
    from fdps.serve.cases.forgetting import forget_everywhere
    from fdps.serve.cases.store import cases_in

    with cases_in(index.folder) as cases:
        n_people, _ = forget_everywhere(index.store, cases, items, reason=reason)
    return n_people


def _alike(index: "Index", embedding: "np.ndarray", min_similarity: float) -> "list[ToForget]":
    from fdps.search.care.forget import candidates_of_hits

    if len(index) == 0:
        return []
    hits = index.search(embedding, len(index), min_similarity=min_similarity)
    return candidates_of_hits(hits)


def _given(path: Path | None) -> Path:
    assert path is not None
    return path


def _show(found: "list[ToForget]") -> None:
    if found:
        print("    item  similarity  scene  box")
    for one in found:
        similarity = "—" if one.similarity is None else f"{one.similarity:.3f}"
        box = described(list(one.box))
        print(f"  {one.item:>6}  {similarity:>10}  {printable(one.scene)}  {box}")


def _say_dry(archive: str, found: "list[ToForget]", json_output: bool) -> None:
    if json_output:
        rows = [asdict(one) for one in found]
        print(json.dumps({"archive": archive, "would_forget": rows}))
        return
    what = f"{len(found)} people in {len({one.scene for one in found})} scenes"
    print(f"Would erase {what} of {printable(archive)}. Nothing changed.")
