"""Copy an archive from a folder to a server, back, or to another place of its kind.

Everything goes along: numbers of scenes and people, times, tracks, notes, the forgotten and the
audit, in which the copy is one more entry. Some hundred scenes are one transaction. They go into an
archive of another name, which gets its own when it is whole: nobody opens half a copy, and the same
call goes on where it was stopped. What was written is read back and compared with the seals.
"""

from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from fdps.errors import ArchiveError, MissingDataError
from fdps.search.audit import KEEP, Note, stamp
from fdps.search.care.verify import verify
from fdps.search.open_store import create_store, discard, give_name, open_store, unfinished
from fdps.search.query.matrix import count_of_removals
from fdps.search.seals import SCENE
from fdps.search.sql.store import PEOPLE_COLUMNS, SqlStore

SCENES_AT_ONCE = 200
_OF_ANOTHER_KIND = "format"  # the one key of ``meta`` that says something of the database itself
_REST = {
    "videos": "sha256, sampling",
    "tracks": "item, track",
    "forgotten": "id, sha256, frame, x1, y1, x2, y2, seal",
    "audit": "seq, time, who, action, purpose, details, previous, hash",
}

Progress = Callable[[int, int], None]
"""Called with the number of scenes that are copied, and of all."""


@dataclass(frozen=True, slots=True)
class Copied:
    """The outcome of a copy.

    Args:
        n_scenes: Number of scenes in the copy.
        n_people: Number of people in the copy.
        n_before: Number of those scenes that an interrupted call had copied before.
    """

    n_scenes: int
    n_people: int
    n_before: int


def copy_archive(
    source: str | Path, target: str | Path, *, progress: Progress | None = None
) -> Copied:
    """Copy an archive; nobody may write into it meanwhile.

    Args:
        source: The archive: a folder, or an address on a server.
        target: A place where there is no archive.
        progress: Called after every transaction.

    Raises:
        MissingDataError: There is no archive at ``source``.
        ArchiveError: There is one at ``target``; another process writes into ``source``; or what
            was read or written is damaged.
        ResourceError: The disk is full; the same call continues.
        UsageError: A place is of an unknown kind.
    """
    _refuse_another(target)
    aside = unfinished(target)
    with open_store(source) as original, original.writing():
        original.record(Note("copy", details={"to": str(target)}))
        with closing(_begun(original, aside)) as copy, copy.writing():
            n_before = copy.n_scenes
            _copy_scenes(original, copy, progress)
            _copy_the_rest(original, copy)
            copied = Copied(copy.n_scenes, len(copy), n_before)
        if (original.n_scenes, len(original)) != (copied.n_scenes, copied.n_people):
            raise ArchiveError(
                f"the copy has {copied.n_people} of {len(original)} people",
                hint=f"fdps archive verify {source} names what is damaged there",
            )
    if faults := verify(aside).faults:
        raise ArchiveError(
            f"the copy is not what it should be: {faults[0]}",
            hint=f"fdps archive verify {source} names what is damaged there",
        )
    give_name(aside, target)
    return copied


def _refuse_another(target: str | Path) -> None:
    with suppress(MissingDataError), closing(open_store(target)):
        raise ArchiveError(
            f"there is an archive at {target} already", hint="copy to another place, or remove it"
        )


def _begun(original: SqlStore, aside: str | Path) -> SqlStore:
    """Open what an interrupted call has copied; begin anew if somebody was removed since."""
    with original.reading() as database:
        n_removals = count_of_removals(database)
    with suppress(MissingDataError):
        copy = open_store(aside)
        with copy.reading() as database:
            is_older = count_of_removals(database) != n_removals
        if not is_older and copy.info.model_hash == original.info.model_hash:
            return copy
        copy.close()
        discard(aside)
    info = original.info
    copy = create_store(aside, model_hash=info.model_hash, dim=info.dim, model=info.model)
    with copy.changing(Note("begin")) as database:
        database.execute(KEEP, ("removals", str(n_removals)))
    return copy


def _copy_scenes(original: SqlStore, copy: SqlStore, progress: Progress | None) -> None:
    with copy.reading() as database:
        last = database.execute("SELECT coalesce(max(id), 0) FROM scenes").fetchone()[0]
    n_done, n_scenes = copy.n_scenes, original.n_scenes
    with original.reading() as database:
        while scenes := database.execute(
            f"SELECT seal, {SCENE} FROM scenes WHERE id > ? ORDER BY id LIMIT ?",
            (last, SCENES_AT_ONCE),
        ).fetchall():
            among, value = database.one_of([scene[1] for scene in scenes])
            people = database.execute(
                f"SELECT id, {PEOPLE_COLUMNS} FROM people WHERE scene_id {among} ORDER BY id",
                (value,),
            ).fetchall()
            copy.take(scenes, people)
            last, n_done = scenes[-1][1], n_done + len(scenes)
            if progress:
                progress(n_done, n_scenes)


def _copy_the_rest(original: SqlStore, copy: SqlStore) -> None:
    with original.reading() as database:
        meta = dict(database.execute("SELECT key, value FROM meta").fetchall())
        rest = {
            table: database.execute(f"SELECT {columns} FROM {table}").fetchall()
            for table, columns in _REST.items()
        }
        highest = database.highest_item()
    meta.pop(_OF_ANOTHER_KIND, None)
    with copy.reading() as database:
        present = stamp(database)
    known = {key: meta.get(key, text) for key, text in present.items()}
    details = {**known, "from": original.where}
    with copy.changing(Note("copied", details=details)) as database:
        for table, columns in _REST.items():
            marks = ", ".join("?" * len(columns.split(",")))
            database.execute(f"DELETE FROM {table}")
            database.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rest[table])
        database.executemany(KEEP, list(meta.items()))
        database.go_on_after(highest)
