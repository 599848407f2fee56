"""``fdps archive copy``: move house, from a folder to a server or back."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from fdps.cli.archive.erase import Json
from fdps.cli.progress import progress_bar
from fdps.names import printable


def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="The archive.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="A folder or address that is free.")],
    json_output: Json = False,
) -> None:
    """Copy an archive to another place, such as a server, with all that it knows.

    Nobody can write into it meanwhile; who searches is not disturbed. The same command goes on
    after an interruption. The copy is compared with the seals before it gets its name.
    """
    from fdps.search.care.copying import copy_archive

    with progress_bar(f"Copy {source}", hidden=json_output) as tell:
        copied = copy_archive(source, target, progress=tell)
    if json_output:
        print(json.dumps({"archive": target, **asdict(copied)}))
        return
    print(f"Copied  {copied.n_people} people in {copied.n_scenes} scenes to {printable(target)}")
    print(f"Note    {printable(source)} is as it was; remove it if it is no longer needed")
