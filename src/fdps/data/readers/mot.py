"""MOTChallenge: videos as numbered pictures, with the track of every person.

.. code-block:: text

    root/                     or root/train/ and root/test/ with sequences in each
      MOT17-02/
        seqinfo.ini           [Sequence] imDir, imExt, seqLength, frameRate, imWidth, imHeight
        img1/000001.jpg ...
        gt/gt.txt             frame,track,left,top,width,height,counts,class,visibility

A track is a person. Frames, and the first pixel of a picture, are number 1. Rows that do not
count (0) and, where the class is given, other classes than 1 (a walking person) are left out.

Source: Milan et al., MOT16: A Benchmark for Multi-Object Tracking, 2016, section 3.3.
"""

import configparser
import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fdps.data.findings import Findings
from fdps.data.identities import contiguous
from fdps.data.parsing.csv_rows import number, read_text, whole_number
from fdps.data.parsing.query_list import by_rule
from fdps.data.parsing.scene_rows import PersonRow, check_size, inner_path, make_scene
from fdps.data.parsing.shapes import Corners
from fdps.data.readers.reader import reader
from fdps.errors import AnnotationError, MissingDataError
from fdps.pictures import picture_size
from fdps.structures import Scene, SceneSet

INFO, TRACKS = "seqinfo.ini", Path("gt/gt.txt")
PERSON_CLASS = 1
_LAYOUT = "expected sequences, each a folder with seqinfo.ini, gt/gt.txt and img1/000001.jpg ..."
_SHARED = "sharedIds"


@dataclass(frozen=True, slots=True)
class Sequence:
    """The content of ``seqinfo.ini``.

    Args:
        folder: Folder of the sequence.
        pictures: Folder of its pictures, below ``folder``.
        suffix: Suffix of a picture, such as ``.jpg``.
        n_frames: Number of frames, which count from 1.
        size: Width and height of the pictures, where they are given.
        rate: Frames per second, where it is given.
        camera: Value of ``camera`` where it is given, else the name of the folder.
        shared: Whether equal tracks in two sequences are one person (our key ``sharedIds``).
    """

    folder: Path
    pictures: str
    suffix: str
    n_frames: int
    size: tuple[int, int] | None
    rate: float | None
    camera: str
    shared: bool

    def picture(self, frame: int) -> Path:
        """Return the path of the picture of a frame."""
        return self.folder / self.pictures / f"{frame:06d}{self.suffix}"


@reader
def read(root: Path, split: str, findings: Findings) -> SceneSet:
    """Read the sequences of a split.

    Args:
        root: Folder with sequences, or one sequence. Where it has a folder named as the split,
            the sequences of that folder are read, else all.
        split: ``train`` numbers the identities 0..L-1; any other split has a query for everybody
            who is in two scenes or more, by the largest box.
        findings: Collects faults and odd rows; by default the first fault is raised.

    Returns:
        Every frame, also those with nobody in it, named ``<sequence>/<pictures>/<file>``.
        Identities are track numbers where there is one sequence or all share theirs, else they
        are counted through the sequences.

    Raises:
        MissingDataError: There is no sequence, or a file of it is missing.
        AnnotationError: A file is malformed; the message has file and line.
        PictureError: A file is not a picture.
    """
    findings.boxes.with_sizes = True
    folders = _sequence_folders(root, split)
    sequences: list[Sequence] = []
    for folder in folders:
        with findings.tolerated():
            sequences.append(_read_info(folder / INFO))
    sequences = _without_copies(sequences, findings)
    tracks: list[dict[int, list[PersonRow]]] = []
    for sequence in sequences:
        tracks.append({})
        with findings.tolerated():
            tracks[-1] = _read_tracks(sequence, findings)
    if len(sequences) > 1 and not all(sequence.shared for sequence in sequences):
        tracks = _counted_through(tracks)
    scenes: list[Scene] = []
    for sequence, rows in zip(sequences, tracks, strict=True):
        scenes += _scenes(sequence, rows, findings)
    result = SceneSet(f"mot/{split}", tuple(scenes))
    if split == "train":
        return contiguous(result)
    return SceneSet(result.name, result.scenes, tuple(by_rule(result)))


def _sequence_folders(root: Path, split: str) -> list[Path]:
    if (root / INFO).is_file():
        return [root]
    base = root / split if (root / split).is_dir() else root
    folders = sorted(folder.parent for folder in base.glob(f"*/{INFO}"))
    if not folders:
        raise MissingDataError(f"no sequence in {base}: no */{INFO}", hint=_LAYOUT)
    return folders


def _without_copies(sequences: list[Sequence], findings: Findings) -> list[Sequence]:
    """Keep one of the sequences that show the same pictures, the longest, and name the others.

    MOT17 brings every sequence three times, each with the detections of another detector
    (``MOT17-02-DPM``, ``-FRCNN``, ``-SDP``): the same people are in all of them.
    """
    files = {sequence.folder: _file_sizes(sequence) for sequence in sequences}
    kept: list[Sequence] = []
    for sequence in sequences:
        place = next(
            (k for k, one in enumerate(kept) if _show_the_same(one, sequence, files)), None
        )
        if place is None:
            kept.append(sequence)
            continue
        original, copy = kept[place], sequence
        if copy.n_frames > original.n_frames:
            original, copy = copy, original
        kept[place] = original
        with findings.tolerated():
            if _truth(original, copy.n_frames) != _truth(copy, copy.n_frames):
                raise AnnotationError(
                    f"{copy.folder} has the pictures of {original.folder} and other tracks in "
                    f"{TRACKS}",
                    hint="keep the one whose tracks are right, and take the other folder out",
                )
        findings.note(
            f"sequence with the pictures of {original.folder.name}: read once",
            str(copy.folder),
            is_loss=True,
        )
    return kept


def _show_the_same(one: Sequence, other: Sequence, files: Mapping[Path, Mapping[str, int]]) -> bool:
    """Tell whether all pictures that both have are the same: sizes of all files, bytes of a few."""
    sizes, others = files[one.folder], files[other.folder]
    if not sizes or any(others.get(name, size) != size for name, size in sizes.items()):
        return False
    common = sorted(sizes.keys() & others.keys())
    return bool(common) and all(
        (one.folder / one.pictures / name).read_bytes()
        == (other.folder / other.pictures / name).read_bytes()
        for name in common[:: max(len(common) // 4, 1)]
    )


def _file_sizes(sequence: Sequence) -> dict[str, int]:
    files = (sequence.folder / sequence.pictures).glob(f"*{sequence.suffix}")
    return {file.name: file.stat().st_size for file in files}


def _truth(sequence: Sequence, n_frames: int) -> set[tuple[str | float, ...]]:
    """Return the rows of the first frames; neither order nor notation of numbers matters."""
    file = sequence.folder / TRACKS
    rows: set[tuple[str | float, ...]] = set()
    for line in read_text(file).splitlines() if file.is_file() else ():
        try:
            numbers = tuple(float(cell) for cell in line.split(","))
            if numbers[0] <= n_frames:
                rows.add(numbers)
        except ValueError:
            rows.add((line.strip(),))
    return rows - {("",)}


def _read_info(file: Path) -> Sequence:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(read_text(file))
        info = parser["Sequence"]
    except (configparser.Error, KeyError) as error:
        raise AnnotationError(
            f"{file} must be an INI file with [Sequence]: {error}".replace("\n", " "), hint=_LAYOUT
        ) from error
    where = f"{file}, [Sequence]"
    n_frames = whole_number(info.get("seqLength", ""), "seqLength", where)
    if n_frames < 1:
        raise AnnotationError(f"{where}: seqLength must be at least 1, got {n_frames}")
    rate = info.get("frameRate")
    folder = file.parent
    return Sequence(
        folder=folder,
        pictures=inner_path(info.get("imDir", "img1"), where),
        suffix=info.get("imExt", ".jpg"),
        n_frames=n_frames,
        size=_stated_size(info, where),
        rate=None if rate is None else number(rate, "frameRate", where),
        camera=info.get("camera", folder.resolve().name),
        shared=info.get(_SHARED, "0").strip().lower() in ("1", "true", "yes"),
    )


def _stated_size(info: configparser.SectionProxy, where: str) -> tuple[int, int] | None:
    if not (info.get("imWidth") and info.get("imHeight")):
        return None
    width, height = (whole_number(info[key], key, where) for key in ("imWidth", "imHeight"))
    return width, height


def _read_tracks(sequence: Sequence, findings: Findings) -> dict[int, list[PersonRow]]:
    """Read the rows of each frame."""
    file = sequence.folder / TRACKS
    if not file.is_file():
        raise MissingDataError(f"no file {file}", hint=_LAYOUT)
    frames: dict[int, list[PersonRow]] = {}
    seen: dict[tuple[int, int], tuple[Corners, str]] = {}
    reader = csv.reader(io.StringIO(read_text(file), newline=""))
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        with findings.tolerated():
            where = f"{file}, line {reader.line_num}"
            frame, row = _track_row(cells, where, sequence.n_frames)
            if row is None:
                findings.note("row of another class, or one that does not count: left out", where)
                continue
            corners, line = seen.setdefault((frame, row.person_id), (row.corners, where))
            if corners != row.corners and row.person_id >= 0:
                raise AnnotationError(
                    f"{where}: track {row.person_id} is in frame {frame} already, at another "
                    f"place ({line})",
                    hint="a track is one person: correct its number or take the wrong row out",
                )
            frames.setdefault(frame, []).append(row)
    return frames


def _track_row(cells: list[str], where: str, n_frames: int) -> tuple[int, PersonRow | None]:
    if len(cells) < 6:
        raise AnnotationError(
            f"{where}: expected frame,track,left,top,width,height and more, "
            f"got {len(cells)} values",
            hint="values are separated by commas",
        )
    frame, track = (
        whole_number(cells[k], what, where) for k, what in enumerate(("frame", "track"))
    )
    if not 1 <= frame <= n_frames:
        raise AnnotationError(f"{where}: frame {frame} is not among 1..{n_frames} of {INFO}")
    names = ("left", "top", "width", "height")
    x, y, w, h = (number(cell, name, where) for cell, name in zip(cells[2:6], names, strict=True))
    counts = number(cells[6], "the seventh value", where) if len(cells) > 6 else 1.0
    kind = number(cells[7], "class", where) if len(cells) > 7 else -1.0
    if counts == 0 or (kind >= 1 and kind != PERSON_CLASS):
        return frame, None
    return frame, PersonRow(track, (x - 1, y - 1, x - 1 + w, y - 1 + h), where)


def _counted_through(tracks: list[dict[int, list[PersonRow]]]) -> list[dict[int, list[PersonRow]]]:
    """Give the people of each sequence the numbers that follow those of the one before."""
    counted, first = [], 0
    for frames in tracks:
        old = sorted(
            {row.person_id for rows in frames.values() for row in rows if row.person_id >= 0}
        )
        new = {person_id: first + k for k, person_id in enumerate(old)}
        first += len(old)
        counted.append(
            {
                frame: [
                    PersonRow(new.get(row.person_id, row.person_id), row.corners, row.where)
                    for row in rows
                ]
                for frame, rows in frames.items()
            }
        )
    return counted


def _scenes(
    sequence: Sequence, rows: dict[int, list[PersonRow]], findings: Findings
) -> list[Scene]:
    name = sequence.folder.resolve().name
    there = {path.name for path in (sequence.folder / sequence.pictures).glob("*")}
    scenes: list[Scene] = []
    missing: list[Path] = []
    stated = sequence.size
    for frame in range(1, min(sequence.n_frames, len(there) + max(rows, default=0)) + 1):
        path = sequence.picture(frame)
        if path.name not in there:
            missing.append(path)
            continue
        with findings.tolerated():
            size = picture_size(path)
            if stated is not None and stated != size:
                wrong, stated = stated, None  # one fault is enough for a sequence
                with findings.tolerated():
                    check_size(wrong, size, path, f"{sequence.folder / INFO}: the sequence")
            scenes.append(
                make_scene(
                    f"{name}/{sequence.pictures}/{path.name}",
                    path,
                    rows.get(frame, ()),
                    findings,
                    camera=sequence.camera,
                    frame=frame,
                    seconds=None if not sequence.rate else (frame - 1) / sequence.rate,
                    size=size,
                )
            )
    if len(scenes) + len(missing) < sequence.n_frames and not missing:
        missing.append(sequence.picture(len(there) + 1))
    if missing:
        findings.fault(
            MissingDataError(
                f"no picture at {missing[0]}, which seqLength={sequence.n_frames} in "
                f"{sequence.folder / INFO} promises",
                hint=f"{len(there)} files are in {sequence.pictures}; correct seqLength, imDir or "
                "imExt, or add the pictures",
            )
        )
    return scenes
