"""Pictures go into an archive: read, find people, store; one transaction each.

A picture is known by its content. What is in the archive is not looked at again, so the same call
can be repeated: it continues after an interruption and picks up what is new.
"""

import csv
import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fdps.errors import DataError, PictureError
from fdps.search.frames import Found, Frame, Skipped
from fdps.search.store import SceneRecord, Store, check_model
from fdps.structures import Embedder

SKIPPED_FILE = "skipped.csv"

Progress = Callable[[int, int], None]
"""Called with the number of files done and of all files."""


@dataclass(frozen=True, slots=True)
class IngestSummary:
    """What became of the files of one ingest.

    Args:
        n_files: All files of the sources.
        n_added: Pictures that were not in the archive; includes ``n_replaced``.
        n_replaced: Of these, pictures whose file had changed since it was indexed.
        n_known: Pictures that were in the archive already.
        n_people: People found in the added pictures.
        skipped: The other files, each with the reason.
    """

    n_files: int
    n_added: int
    n_replaced: int
    n_known: int
    n_people: int
    skipped: tuple[Skipped, ...]


def ingest(
    store: Store,
    embedder: Embedder,
    found: Found,
    *,
    camera: str | None = None,
    progress: Progress | None = None,
) -> IngestSummary:
    """Add every picture that is not in the archive.

    It may be interrupted at any moment, by Ctrl-C or by force: every picture that was added before
    stays, and the same call continues. Where the archive has a folder, ``skipped.csv`` in it lists
    the files that are not in the archive.

    Args:
        store: The archive.
        embedder: Of the model of the archive.
        found: What :func:`~fdps.search.frames.find_pictures` returned.
        camera: Name of the camera that took these pictures.
        progress: Told after every file.

    Raises:
        ArchiveError: Another model made the archive, another process writes, it is read-only or
            damaged.
        ResourceError: The disk is full.
    """
    check_model(store.info, embedder.model_hash, store.folder or "the archive")
    counts: Counter[str] = Counter()
    skipped = list(found.skipped)
    done = [file.path for file in skipped]
    with store.writing():
        try:
            for frame in found.frames:
                try:
                    outcome, n_people = _ingest_picture(store, embedder, frame, camera)
                    counts[outcome] += 1
                    counts["people"] += n_people
                except DataError as error:
                    skipped.append(Skipped.because(frame.path, error))
                done.append(frame.path)
                if progress:
                    progress(len(done), len(found.frames) + len(found.skipped))
        finally:
            if store.folder:
                _write_skipped(store.folder / SKIPPED_FILE, skipped, done)
    return IngestSummary(
        n_files=len(done),
        n_added=counts["added"] + counts["replaced"],
        n_replaced=counts["replaced"],
        n_known=counts["known"],
        n_people=counts["people"],
        skipped=tuple(skipped),
    )


def _ingest_picture(
    store: Store, embedder: Embedder, frame: Frame, camera: str | None
) -> tuple[Literal["added", "replaced", "known"], int]:
    """Returns what was done, and how many people were added."""
    from fdps.data.pictures import read_picture  # loads torch, which a search does not need

    sha256 = _sha256(frame.path)
    known = store.find(sha256=sha256)
    if known and known.path == str(frame.path):
        return "known", 0
    if known:
        raise DataError(f"same content as {known.name}, which is in the archive")
    image = read_picture(frame.path)
    people = embedder.detect(image)
    namesake = store.find(name=frame.name)
    is_replaced = store.find(path=str(frame.path)) is not None
    name = frame.name
    if namesake and namesake.path != str(frame.path):
        name = f"{frame.name}#{sha256[:8]}"  # a/1.jpg of another disk or folder
    height, width = image.shape[:2]
    store.add(SceneRecord(name, str(frame.path), sha256, width, height, camera), people)
    return ("replaced" if is_replaced else "added"), len(people)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise PictureError(f"cannot be read: {error.strerror}") from error


def _write_skipped(path: Path, skipped: list[Skipped], done: list[Path]) -> None:
    """Note these files, and keep what earlier calls noted about others."""
    rows: dict[str, str] = {}
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            rows = {row["file"]: row["reason"] for row in csv.DictReader(file)}
    for file_done in done:
        rows.pop(str(file_done), None)
    rows |= {str(file.path): file.reason for file in skipped}
    aside = path.with_name(f"{path.name}.part")
    with aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "reason"])
        writer.writerows(sorted(rows.items()))
    aside.replace(path)
