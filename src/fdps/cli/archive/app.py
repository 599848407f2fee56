"""``fdps archive``: what is in an archive, is it whole, who did what with it."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from fdps.cli.archive.contents import print_contents
from fdps.cli.archive.copy import copy
from fdps.cli.archive.erase import remove
from fdps.cli.archive.forget import forget
from fdps.cli.archive.retention import retention
from fdps.names import printable, shortened

_NAMED = 3  # of a long list in the details of an entry; --json has all
DAMAGED = 6  # the exit code of ArchiveError

app = typer.Typer(name="archive", no_args_is_help=True, add_completion=False)

Archive = Annotated[str, typer.Argument(metavar="NAME.fdps", help="The archive.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, nothing else.")]


@app.callback()
def archive() -> None:
    """Look after an archive, and after the people in it."""


@app.command(name="info")
def info_(archive: Archive, json_output: Json = False) -> None:
    """Show what is in an archive, how large it is, and how long it keeps it."""
    from fdps.search import Index
    from fdps.search.care.info import describe

    with Index.open(archive) as index:
        info, is_calibrated = describe(index.store), index.calibration is not None
    if json_output:
        print(json.dumps({"archive": archive, "calibrated": is_calibrated, **asdict(info)}))
    else:
        print_contents(archive, info, is_calibrated)


Expect = Annotated[
    str, typer.Option(metavar="HEAD", help="Head of the audit that was noted earlier.")
]


@app.command()
def verify(archive: Archive, expect: Expect = "", json_output: Json = False) -> None:
    """Read every byte of an archive and name what is wrong; ends with 6 if anything is."""
    from fdps.search.care.verify import verify as verify_archive

    found = verify_archive(archive, expect=expect)
    if json_output:
        print(json.dumps({"archive": archive, **asdict(found)}))
    else:
        for fault in found.faults:
            print(f"Fault   {printable(fault)}")
        for note in found.notes:
            print(f"Note    {printable(note)}")
        counts = f"{found.n_people} people in {found.n_scenes} scenes"
        print(f"{'Damaged' if found.faults else 'Whole  '} {printable(archive)}: {counts}")
        if found.faults:
            print("Next    restore it from a backup, or index the pictures again")
    if found.faults:
        raise typer.Exit(DAMAGED)


@app.command()
def audit(
    archive: Archive,
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, help="Number of entries, the newest.")
    ] = 20,
    expect: Expect = "",
    json_output: Json = False,
) -> None:
    """List who did what with an archive, newest last; ends with 6 if the list was changed."""
    from fdps.search.audit import entries, faults, kept_head
    from fdps.search.open_store import open_store

    with open_store(archive) as store, store.reading() as database:
        listed = entries(database, last=limit)
        found = faults(database, expect=expect)
        n_entries, head = kept_head(database)
    if json_output:
        rows = [asdict(entry) for entry in listed]  # details as they are hashed: a text of JSON
        print(json.dumps({"entries": rows, "n_entries": n_entries, "head": head, "faults": found}))
    else:
        for entry in listed:
            purpose = f' "{printable(entry.purpose)}"' if entry.purpose else ""
            print(f"{entry.seq:>5}  {entry.time[:19]}  {entry.who}  {entry.action}{purpose}")
            print(f"       {_in_brief(entry.details)}")
        for fault in found:
            print(f"Fault   {fault}")
        print(f"Head    {head} of {n_entries} entries{'' if found else ', none changed'}")
        if not found:
            print("Next    keep the head elsewhere; later: fdps archive audit NAME --expect HEAD")
    if found:
        raise typer.Exit(DAMAGED)


def _in_brief(details: str) -> str:
    """The details of an entry in one line: of long lists the first names and the count."""
    values = json.loads(details)
    brief = {
        key: f"{shortened(value, most=_NAMED)} ({len(value)} in all)"
        if isinstance(value, list) and len(value) > _NAMED
        else value
        for key, value in values.items()
    }
    return printable(json.dumps(brief, ensure_ascii=False))


@app.command()
def compact(archive: Archive, json_output: Json = False) -> None:
    """Give the room of what was removed back to the disk."""
    from fdps.search.care.compaction import compact as compact_archive
    from fdps.search.open_store import open_store

    with open_store(archive) as store:
        sizes = compact_archive(store)
    if json_output:
        print(json.dumps({"archive": archive, **asdict(sizes)}))
        return
    won = (sizes.before - sizes.after) / 1e6
    print(
        f"Compact {printable(archive)}: {sizes.after / 1e6:.1f} MB, {won:.1f} MB less than before"
    )


app.command()(copy)
app.command()(remove)
app.command()(forget)
app.command()(retention)
