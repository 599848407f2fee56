"""What ``fdps search`` gives: a table, JSON, CSV, COCO, MOT, or a folder with all of these."""

import io
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fdps.cli.folders import make_folder
from fdps.cli.reading import reading, reading_figures
from fdps.cli.search.appearances_table import appearance_rows, show_appearances
from fdps.cli.search.hits_table import show_hits, shown_time
from fdps.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

    from fdps.analysis.candidate_sheet import Shown
    from fdps.cli.search.question import Asked
    from fdps.search import Appearance, Index
    from fdps.search.results.calibration import Calibration
    from fdps.search.results.candidates import Candidate

NOTE = (
    "Similarity is of appearance, mostly clothing; it is no proof of identity. "
    "These are candidates: check each one yourself."
)
Format = Literal["table", "json", "csv", "coco", "mot"]
SHEET = "sheet.jpg"
_FILES: dict[str, Format] = {
    "results.json": "json",
    "results.csv": "csv",
    "results.coco.json": "coco",
    "results.mot.txt": "mot",
}


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """One search, answered.

    Args:
        archive: As the user named it.
        index: Open.
        asked: Whom the search looked for.
        found: Best first.
        calibration: Of the model, if there is one.
        model: As the user names it.
        why: Why there is no calibration, if there might be one.
        appearances: Where the search was for these; ``found`` is then the best sighting of each.
        no_levels: Why the model's calibration does not apply; ``calibration`` is then ``None``.
        no_verdict: Why it cannot be told whether the person is in the archive.
    """

    archive: str
    index: "Index"
    asked: "Sequence[Asked]"
    found: "Sequence[Candidate]"
    calibration: "Calibration | None"
    model: str
    why: str = ""
    appearances: "Sequence[Appearance] | None" = None
    no_levels: str = ""
    no_verdict: str = ""

    def show(self) -> None:
        """Print it for people."""
        for asked in self.asked:
            print(f"{'Unlike ' if asked.is_unlike else 'Query  '} {asked}")
        n_people = len(self.index)
        print(f"Archive {self.archive}: {n_people} people in {self.index.n_scenes} pictures")
        if self.appearances is None:
            show_hits(self.found)
        else:
            show_appearances(self.appearances, self.calibration)
        hits = [candidate.hit for candidate in self.found]
        lines = reading(
            self.calibration,
            hits,
            n_people,
            self.model,
            self.why,
            no_levels=self.no_levels,
            no_verdict=self.no_verdict,
        )
        print("\n".join(lines))
        print(f"Note    {NOTE}")

    def text(self, format_: Format) -> str:
        """It in one of the formats for programs.

        Raises:
            UsageError: The format cannot hold it.
        """
        from fdps.search.results.candidates import as_coco, as_csv, as_mot

        if format_ == "csv":
            return as_csv(self.found)
        if format_ == "mot":
            return as_mot(self.found)
        figures = self._figures() if format_ == "json" else as_coco(self.found)
        return json.dumps(figures, ensure_ascii=False) + "\n"

    def save(self, folder: Path, *, bystanders: bool) -> list[Path]:
        """Write it in every format that can hold it, with a contact sheet.

        Args:
            folder: Made if it is not there; files of an earlier answer are replaced.
            bystanders: Show other people on the sheet.

        Raises:
            ResourceError: The folder cannot be made.
        """
        from fdps.durable import write_file

        make_folder(folder)
        contents: dict[str, bytes] = {}
        for name, format_ in _FILES.items():
            with suppress(UsageError):  # MOT of pictures
                contents[name] = self.text(format_).encode("utf-8", "surrogateescape")
        sheet = io.BytesIO()
        self._draw(bystanders).save(sheet, "JPEG", quality=88)
        contents[SHEET] = sheet.getvalue()
        for name, content in contents.items():
            write_file(folder / name, content)
        return [folder / name for name in contents]

    def _figures(self) -> dict[str, Any]:
        from fdps.search.results.candidates import as_json

        hits = [candidate.hit for candidate in self.found]
        in_a_row = {}
        if self.appearances is not None:
            in_a_row["appearances"] = appearance_rows(self.appearances, self.calibration)
        return {
            "archive": self.archive,
            "n_people": len(self.index),
            "n_scenes": self.index.n_scenes,
            "queries": [asked.figures() for asked in self.asked],
            **(in_a_row or {"hits": as_json(self.found)}),
            "note": NOTE,
        } | reading_figures(
            self.calibration, hits, len(self.index), self.no_levels or self.why, self.no_verdict
        )

    def _draw(self, bystanders: bool) -> "Image":
        from fdps.analysis.candidate_sheet import candidate_sheet
        from fdps.search.care.scene_pictures import scene_pictures

        named = [getattr(asked.person, "scene", "") for asked in self.asked]
        scenes = [c.scene for c in self.found] + [self.index.scene(n) for n in named if n]
        pictures = scene_pictures(scene for scene in scenes if scene)
        return candidate_sheet(
            [_query(asked, pictures) for asked in self.asked],
            [_candidate(candidate, pictures) for candidate in self.found],
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


def _candidate(candidate: "Candidate", pictures: dict[str, Any]) -> "Shown":
    from fdps.analysis.candidate_sheet import Shown

    hit, scene = candidate.hit, candidate.scene
    known = [
        (scene and scene.time and shown_time(scene.time)) or "",
        (scene and scene.camera) or "",
        hit.scene,
    ]
    return Shown(
        f"{candidate.rank}   {hit.similarity:.2f}   {candidate.level or ''}   item {hit.item}",
        "   ".join(filter(None, known)),
        hit.box,
        pictures.get(hit.scene, "removed from the archive"),
        candidate.level or "",
    )
