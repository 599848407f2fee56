"""``fdps archive remove``, and what every verb that erases asks and says."""

import json
import sys
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from fdps.errors import UsageError
from fdps.names import printable

if TYPE_CHECKING:
    from fdps.search.sql.store import SqlStore

_SHOWN = 20

Archive = Annotated[str, typer.Argument(metavar="NAME.fdps", help="The archive.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would go; change nothing.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, nothing else.")]


def remove(
    archive: Archive,
    scenes: Annotated[
        list[str] | None,
        typer.Option("--scene", metavar="PATTERN", help="Scenes whose name fits; repeatable."),
    ] = None,
    items: Annotated[
        list[int] | None,
        typer.Option("--item", metavar="N", help="Erase this person alone; repeatable."),
    ] = None,
    source: Annotated[
        str, typer.Option(metavar="PATTERN", help="Scenes of files whose path fits.")
    ] = "",
    cameras: Annotated[
        list[str] | None,
        typer.Option("--camera", metavar="NAME", help="Scenes of this camera; repeatable."),
    ] = None,
    before: Annotated[
        str, typer.Option(metavar="TIME", help="Scenes taken before this time.")
    ] = "",
    purpose: Annotated[
        str, typer.Option(metavar="TEXT", help="The reason, noted in the audit.")
    ] = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    json_output: Json = False,
) -> None:
    """Erase scenes that fulfil all conditions, or single people; your files stay as they are."""
    from fdps.search.audit import Note
    from fdps.search.care.selection import chosen_scenes
    from fdps.search.open_store import open_store

    is_of_scenes = bool(scenes or source or cameras or before)
    if is_of_scenes == bool(items):
        raise UsageError(
            "say what to remove: people, or scenes",
            hint="either --item, or any of --scene, --source, --camera and --before",
        )
    with closing(open_store(archive)) as store:
        names = []
        if is_of_scenes:
            names = chosen_scenes(
                store, scenes=scenes or (), source=source, cameras=cameras or (), before=before
            )
        what = f"{len(names)} scenes" if is_of_scenes else f"{len(items or ())} people"
        if dry_run:
            _list(archive, names or items or (), what, json_output)
            return
        confirm(f"Erase {what} from {archive}?", yes)
        note = Note("remove", purpose)
        n_people = store.remove(scenes=names, items=items or (), note=note)
        report_erased(archive, store, n_people, len(names), json_output=json_output)


def confirm(question: str, yes: bool) -> None:
    """Ask before something is erased.

    Raises:
        UsageError: There is nobody to ask, and ``--yes`` was not given.
        Abort: The answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            f"{question} Nobody is there to answer", hint="add --yes, or see with --dry-run first"
        )
    typer.confirm(question, abort=True, err=True)


def report_erased(
    archive: str, store: "SqlStore", n_people: int, n_scenes: int, *, json_output: bool
) -> None:
    """Say what is gone, and what files may still keep of it."""
    if json_output:
        figures = {"n_people": n_people, "n_scenes": n_scenes, "log_is_empty": not store.still_kept}
        print(json.dumps({"archive": archive, **figures}))
    else:
        scenes = f" in {n_scenes} scenes" if n_scenes else ""
        print(f"Erased  {n_people} people{scenes} from {printable(archive)}")
    if store.still_kept:
        print(f"warning: {store.still_kept}", file=sys.stderr)


def _list(archive: str, chosen: Sequence[str | int], what: str, json_output: bool) -> None:
    if json_output:
        print(json.dumps({"archive": archive, "would_erase": list(chosen)}))
        return
    for one in chosen[:_SHOWN]:
        print(f"  {printable(one)}")
    if len(chosen) > _SHOWN:
        print(f"  ... {len(chosen) - _SHOWN} more; --json names each")
    print(f"Would erase {what} from {printable(archive)}. Nothing changed.")
