"""Write a case for other programs and for people: CSV, JSON, COCO, MOTChallenge, or all in a ZIP.

Bystanders are blurred in every picture unless somebody asks for them; nothing that a user or a file
name brings can act on the machine of the reader: cells of a table are no formulas, and names in an
archive lead nowhere else.
"""

import io
import json
import re
import unicodedata
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import PurePath
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32
from PIL import Image

from fdps.analysis.candidate_sheet import Shown, candidate_sheet, shown_candidate
from fdps.analysis.tiles import marked, shrunk, without_bystanders
from fdps.errors import UsageError
from fdps.names import from_stored
from fdps.search.care.scene_pictures import each_scene_picture
from fdps.search.query.wanted import Wanted
from fdps.search.results.calibration import Level, kept_calibration
from fdps.search.results.candidates import (
    CSV_COLUMNS,
    NO_PROOF,
    Candidate,
    as_coco,
    as_mot,
    candidate_row,
    csv_text,
)
from fdps.search.results.claims import most_alike
from fdps.search.store import Store
from fdps.serve.cases.case import Case, Judged
from fdps.serve.cases.places import people_at
from fdps.structures import Hit, Picture

Format = Literal["csv", "json", "coco", "mot", "zip"]
Bystanders = Literal["blur", "keep"]

MEDIA_TYPES: dict[Format, tuple[str, str]] = {
    "csv": ("text/csv; charset=utf-8", "csv"),
    "json": ("application/json", "json"),
    "coco": ("application/json", "coco.json"),
    "mot": ("text/plain; charset=utf-8", "mot.txt"),
    "zip": ("application/zip", "zip"),
}
"""Media type and ending of the file of each format."""

COLUMNS = (
    *(column for column in CSV_COLUMNS if column != "path"),
    *("file", "sha256", "verdict", "note", "by", "judged"),
)
"""Columns of the CSV file; ``file`` is the name of the file without its folder."""

MOST_PICTURES = 500
"""Most pictures in a ZIP; the manifest names the candidates whose pictures were left out."""

_FORMULA = tuple("=+-@\t\r\n＝＋－＠")  # how a cell begins that spreadsheets compute
_MOST_OF_FILE_NAME = 80
_SHEET_PX = 220  # height of the pictures on the contact sheet


@runtime_checkable
class Sink(Protocol):
    """A file that is written; it need not be one on a disk."""

    def write(self, content: bytes, /) -> int:
        """Write on; the number of bytes written."""

    def flush(self) -> None:
        """Hand on what is buffered."""

    def close(self) -> None:
        """Let go of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """A candidate with the verdict on it, as the archive knows it at present."""

    candidate: Candidate
    judged: Judged


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """What is exported of a case.

    Args:
        confirmed: Candidates that were confirmed, the most similar first.
        rejected: Candidates that were rejected, likewise.
        missing: Verdicts on places where the archive has nobody at present.
    """

    confirmed: list[Finding]
    rejected: list[Finding]
    missing: list[Judged]


def findings(case: Case, store: Store) -> Findings:
    """Look up the candidates of a case in its archive.

    Args:
        case: The case.
        store: Its archive.

    Raises:
        ArchiveError: The archive is damaged, or of another model than the case.
    """
    there = people_at(store, (judged.place for judged in case.judged))
    wanted = _wanted(case, store.info.dim)
    pictures = [person.embedding for person in case.query if not person.is_unlike]
    calibration = kept_calibration(store) if wanted is not None else None
    found: list[tuple[Hit, Judged]] = []
    levels: dict[int, Level] = {}
    for judged in case.judged:
        if judged.place in there:
            scene, person = there[judged.place]
            similarity = float(wanted @ person.embedding) if wanted is not None else float("nan")
            hit = Hit(scene.name, person.box, similarity, person.score, person.item, scene)
            found.append((hit, judged))
            if calibration:
                (likeness,) = most_alike(pictures, [person.embedding]).tolist()
                levels[person.item] = calibration.level(likeness)
    found.sort(key=lambda pair: (-np.nan_to_num(pair[0].similarity, nan=-2.0), pair[0].item))
    ranked = [
        Finding(Candidate(rank, hit, levels.get(hit.item), hit.record), judged)
        for rank, (hit, judged) in enumerate(found, start=1)
    ]
    return Findings(
        confirmed=[one for one in ranked if one.judged.opinion == "confirmed"],
        rejected=[one for one in ranked if one.judged.opinion == "rejected"],
        missing=[judged for judged in case.judged if judged.place not in there],
    )


def export(
    case: Case, store: Store, format_: Format, file: Sink, *, bystanders: Bystanders = "blur"
) -> Findings:
    """Write a case into a file.

    Args:
        case: The case.
        store: Its archive.
        format_: ``csv`` and ``json`` hold every candidate with a verdict; ``coco`` and ``mot`` the
            confirmed ones; ``zip`` all of these, and pictures of the confirmed ones.
        file: Where to write.
        bystanders: Whether other people in the pictures are blurred or kept.

    Returns:
        What was written.

    Raises:
        UsageError: The format cannot hold the candidates, as MOT those of several videos.
        ArchiveError: The archive is damaged.
        ResourceError: No decoder can be started.
    """
    found = findings(case, store)
    if format_ == "zip":
        _write_zip(case, found, file, bystanders)
    else:
        file.write(_text(case, found, format_).encode("utf-8", "replace"))
    return found


def harmless(cell: Any) -> Any:
    r"""Return a cell of a table so that no spreadsheet takes it for a formula.

    Such a text gets an apostrophe in front, which spreadsheets do not show. Numbers stay as they
    are.

    Example:
        >>> harmless('=HYPERLINK("http://x")'), harmless(-1.5), harmless("gate")
        ('\'=HYPERLINK("http://x")', -1.5, 'gate')
    """
    is_formula = isinstance(cell, str) and cell.lstrip(" \u00a0").startswith(_FORMULA)
    return f"'{cell}" if is_formula else cell


def file_name(text: str, *, otherwise: str = "case") -> str:
    """Return a text as the name of a file that every system takes and that names no folder.

    Example:
        >>> file_name("../../etc/passwd"), file_name("Zoë: hall?.jpg"), file_name("..")
        ('etc_passwd', 'Zoe_hall_.jpg', 'case')
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    words = re.sub(r"[^A-Za-z0-9._-]+", "_", plain)
    return words.strip("._-")[:_MOST_OF_FILE_NAME].strip("._-") or otherwise


def _wanted(case: Case, dim: int) -> Float32[np.ndarray, " D"] | None:
    """Return the sum whose inner product with somebody is the similarity; ``None`` for nobody."""
    like = [person.embedding for person in case.query if not person.is_unlike]
    unlike = [person.embedding for person in case.query if person.is_unlike]
    if not like or any(len(row) != dim for row in (*like, *unlike)):
        return None
    with suppress(UsageError):  # pictures that cancel out have no similarity to anybody
        wanted = Wanted.of(np.stack(like), np.stack(unlike) if unlike else None)
        return np.asarray(wanted.direction * np.float32(wanted.length), dtype=np.float32)
    return None


def _text(case: Case, found: Findings, format_: Format) -> str:
    confirmed = [one.candidate for one in found.confirmed]
    if format_ == "csv":
        rows = map(_row, (*found.confirmed, *found.rejected))
        return csv_text(COLUMNS, [{key: harmless(row[key]) for key in row} for row in rows])
    if format_ == "mot":
        return as_mot([_with_confidence(candidate) for candidate in confirmed])
    figures = as_coco(confirmed) if format_ == "coco" else _figures(case, found)
    return json.dumps(_without_nan(figures), ensure_ascii=False, indent=1) + "\n"


def _with_confidence(candidate: Candidate) -> Candidate:
    """Let the detector's score stand where nobody is looked for, and so nobody is similar."""
    hit = candidate.hit
    return (
        replace(candidate, hit=replace(hit, similarity=hit.score))
        if _is_unknown(hit)
        else candidate
    )


def _is_unknown(hit: Hit) -> bool:
    """Tell whether a hit has no similarity, because its case looks for nobody."""
    return bool(np.isnan(hit.similarity))


def _figures(case: Case, found: Findings) -> dict[str, Any]:
    line = case.line
    return {
        "case": {
            **{key: getattr(line, key) for key in ("id", "name", "purpose", "notes")},
            **{key: getattr(line, key) for key in ("created", "by", "changed", "version")},
            "query": [
                {"name": p.name, "box": p.box, "score": p.score, "is_unlike": p.is_unlike}
                for p in case.query
            ],
        },
        "confirmed": list(map(_row, found.confirmed)),
        "rejected": list(map(_row, found.rejected)),
        "missing": [asdict(judged) for judged in found.missing],
        "note": NO_PROOF,
    }


def _row(finding: Finding) -> dict[str, Any]:
    row, judged = candidate_row(finding.candidate), finding.judged
    # Folders of the server are nobody's business; the hash names the file wherever it is.
    path = from_stored(str(row.pop("path")))
    file = finding.candidate.scene
    return {
        **row,
        "similarity": None if _is_unknown(finding.candidate.hit) else row["similarity"],
        "file": PurePath(path).name.encode("utf-8", "replace").decode(),
        "sha256": file.sha256 if file else None,
        "verdict": judged.opinion,
        "note": judged.note,
        "by": judged.by,
        "judged": judged.time,
    }


def _without_nan(value: Any) -> Any:
    """Return values as JSON can hold them."""
    if isinstance(value, Mapping):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and np.isnan(value) else value


def _write_zip(case: Case, found: Findings, file: Sink, bystanders: Bystanders) -> None:
    shown: list[Shown] = []
    pictures: list[dict[str, Any]] = []
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for one, picture in _with_pictures(found.confirmed[:MOST_PICTURES]):
            entry: dict[str, Any] = {"rank": one.candidate.rank, "item": one.candidate.hit.item}
            if isinstance(picture, str):
                pictures.append({**entry, "file": None, "reason": picture})
                shown.append(shown_candidate(one.candidate, picture))
                continue
            name = f"pictures/{one.candidate.rank:04}_{file_name(one.candidate.hit.scene)}.jpg"
            archive.writestr(
                zipfile.ZipInfo(name), jpeg(boxed(picture, one.candidate.hit.box, bystanders))
            )
            pictures.append({**entry, "file": name})
            small, box = shrunk(picture, one.candidate.hit.box, _SHEET_PX)
            shown.append(shown_candidate(one.candidate, small, box))
        left_out = [one.candidate.rank for one in found.confirmed[MOST_PICTURES:]]
        for number, person in enumerate(case.query, start=1):
            if person.crop:
                kind = "unlike" if person.is_unlike else "query"
                archive.writestr(zipfile.ZipInfo(f"query/{number:02}_{kind}.webp"), person.crop)
        sheet = candidate_sheet([], shown, bystanders=bystanders == "keep")
        archive.writestr(zipfile.ZipInfo("sheet.jpg"), jpeg(np.array(sheet)))
        for ending, text in _texts(case, found):
            archive.writestr(f"candidates.{ending}", text)
        manifest = {
            **_figures(case, found),
            "bystanders": "blurred" if bystanders == "blur" else "kept",
            "pictures": pictures,
            "pictures_left_out": left_out,
        }
        archive.writestr(
            "manifest.json", json.dumps(_without_nan(manifest), ensure_ascii=False, indent=1)
        )


def _texts(case: Case, found: Findings) -> Iterator[tuple[str, str]]:
    """Yield the ending and the text of every format that can hold the candidates."""
    texts: tuple[Format, ...] = ("csv", "coco", "mot")
    for format_ in texts:
        with suppress(UsageError):  # hits in pictures have no MOT
            yield MEDIA_TYPES[format_][1], _text(case, found, format_)


def _with_pictures(found: Sequence[Finding]) -> Iterator[tuple[Finding, Picture | str]]:
    """Yield candidates with their scenes, or the reasons why there are none; file by file."""
    by_scene: dict[str, list[Finding]] = {}
    for one in found:
        by_scene.setdefault(one.candidate.hit.scene, []).append(one)
    scenes = [group[0].candidate.scene for group in by_scene.values()]
    for name, picture in each_scene_picture(scene for scene in scenes if scene):
        for one in by_scene[name]:
            yield one, picture


def boxed(picture: Picture, box: Float32[np.ndarray, " 4"], bystanders: Bystanders) -> Picture:
    """Draw a frame around a person, and blur everybody else unless they are kept.

    Every pixel in the box stays as it is.
    """
    return marked(without_bystanders(picture, box) if bystanders == "blur" else picture, box)


def jpeg(picture: Picture) -> bytes:
    """Write a picture as JPEG without any metadata."""
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "JPEG", quality=92, subsampling=0)
    return content.getvalue()
