"""The answer of ``fdps search``: a table, JSON, CSV, COCO, MOT, or a folder with all of these."""

import io
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fdps.cli.folders import make_folder
from fdps.cli.search.hits_table import appearance_rows, show_appearances, show_hits
from fdps.cli.search.options import Format
from fdps.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

    from fdps.analysis.candidate_sheet import Shown
    from fdps.cli.reading import Reading
    from fdps.cli.search.question import Asked
    from fdps.search import Appearance, Index
    from fdps.search.results.candidates import Candidate

SHEET = "sheet.jpg"
_FILES: dict[str, Format] = {
    "results.json": "json",
    "results.csv": "csv",
    "results.coco.json": "coco",
    "results.mot.txt": "mot",
}


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """The answer to one search.

    Args:
        archive: The archive, as the user named it.
        index: The open archive.
        asked: The pictures and people that the search looked for.
        found: Candidates, best first.
        reading: Levels and verdict that may be claimed about them.
        appearances: The appearances, where the search was for these; ``found`` is then the best
            sighting of each.
    """

    archive: str
    index: "Index"
    asked: "Sequence[Asked]"
    found: "Sequence[Candidate]"
    reading: "Reading"
    appearances: "Sequence[Appearance] | None" = None

    def show(self) -> None:
        """Print the answer for people."""
        from fdps.search.results.candidates import NO_PROOF

        for asked in self.asked:
            print(f"{'Unlike ' if asked.is_unlike else 'Query  '} {asked}")
        n_people = self.reading.n_people
        print(f"Archive {self.archive}: {n_people} people in {self.index.n_scenes} pictures")
        if not self.found:
            nobody = self.reading.nobody
            print(f"Nobody  in the archive fits{f': {nobody}' if nobody else ''}")
        elif self.appearances is None:
            show_hits(self.found)
        else:
            show_appearances(self.appearances, self.reading.levels)
        print("\n".join(self.reading.lines([candidate.hit for candidate in self.found])))
        print(f"Note    {NO_PROOF}")

    def text(self, format_: Format) -> str:
        """Write the answer in one of the formats for programs.

        Raises:
            UsageError: The format cannot hold the answer.
        """
        from fdps.search.results.candidates import as_coco, as_csv, as_mot

        if format_ == "csv":
            return as_csv(self.found)
        if format_ == "mot":
            return as_mot(self.found)
        figures = self._figures() if format_ == "json" else as_coco(self.found)
        return json.dumps(figures, ensure_ascii=False) + "\n"

    def save(self, folder: Path, *, bystanders: bool) -> list[Path]:
        """Write the answer in every format that can hold it, with a contact sheet.

        Args:
            folder: Folder to write to, made if it does not exist; files of an earlier answer are
                replaced.
            bystanders: Whether to show other people on the sheet.

        Raises:
            ResourceError: The folder cannot be made.
        """
        from fdps.durable import write_file

        make_folder(folder)
        contents: dict[str, bytes] = {}
        for name, format_ in _FILES.items():
            with suppress(UsageError):  # hits in pictures have no MOT
                contents[name] = self.text(format_).encode("utf-8", "surrogateescape")
        sheet = io.BytesIO()
        self._draw(bystanders).save(sheet, "JPEG", quality=88)
        contents[SHEET] = sheet.getvalue()
        for name, content in contents.items():
            write_file(folder / name, content)
        return [folder / name for name in contents]

    def _figures(self) -> dict[str, Any]:
        from fdps.search.results.candidates import NO_PROOF, as_json

        in_a_row = {}
        if self.appearances is not None:
            in_a_row["appearances"] = appearance_rows(self.appearances, self.reading.levels)
        return {
            "archive": self.archive,
            "n_people": self.reading.n_people,
            "n_scenes": self.index.n_scenes,
            "queries": [asked.figures() for asked in self.asked],
            **(in_a_row or {"hits": as_json(self.found)}),
            "note": NO_PROOF,
        } | self.reading.figures([candidate.hit for candidate in self.found])

    def _draw(self, bystanders: bool) -> "Image":
        from fdps.analysis.candidate_sheet import candidate_sheet, shown_candidate
        from fdps.search.care.scene_pictures import scene_pictures

        named = [getattr(asked.person, "scene", "") for asked in self.asked]
        scenes = [c.scene for c in self.found] + [self.index.scene(n) for n in named if n]
        pictures = scene_pictures(scene for scene in scenes if scene)
        return candidate_sheet(
            [_query(asked, pictures) for asked in self.asked],
            [
                shown_candidate(found, pictures.get(found.hit.scene, "removed from the archive"))
                for found in self.found
            ],
            bystanders=bystanders,
        )


def _query(asked: "Asked", pictures: dict[str, Any]) -> "Shown":
    from fdps.analysis.candidate_sheet import Shown
    from fdps.pictures import read_picture

    if asked.picture is not None:
        picture = read_picture(asked.picture)
    else:
        picture = pictures.get(getattr(asked.person, "scene", ""), "removed from the archive")
    heading = "Unlike" if asked.is_unlike else "Query"
    return Shown(heading, Path(asked.name).name, asked.person.box, picture)
