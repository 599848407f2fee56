"""The archive on a Milvus server, for more people than one machine holds in memory.

Two collections make an archive (:mod:`fdps.search.milvus.collections`), and one row of them, the
state, says what is committed (:mod:`fdps.search.milvus.journal`). So the promises of a store hold
although Milvus has no transactions:

* A scene is added in three steps: its people, its record, the next state. Numbers of scenes and
  people rise, and the state says from which number on nothing counts; so before the third step
  nobody sees the new rows, and the next writer erases what a killed one left.
* A file that is replaced or has moved is one commit: all its new scenes count from the state on
  that names the old ones as gone.
* A removal, or the replacement of a scene, begins with a state that names what is gone, and only
  then erases. :meth:`MilvusStore.remove` commits a thousand scenes or people at once.
* A search reads the state, searches what counts by it, and reads it again. If somebody was removed
  meanwhile, it begins anew; so it sees one state of the archive.
* Milvus compares with everybody (``FLAT``) in float32. Candidates within twice the error bound of
  the last place are compared again in float64 here, as in the other store.

Axes in shapes: Q queries, K candidates, D embedding dimension.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from fdps import __version__
from fdps.errors import ArchiveError, UsageError
from fdps.search.milvus.address import MilvusAddress, connect, disconnect, milvus_errors
from fdps.search.milvus.collections import (
    FORMAT_VERSION,
    PAGE,
    STRONG,
    create_collections,
    one_of,
    person_rows,
    quoted,
    read_info,
    read_note,
    read_stamp,
    record,
    scene_row,
    write_note,
)
from fdps.search.milvus.journal import CountingRows, Journal, State
from fdps.search.milvus.search import FIELDS, archived_person, count_people, search_everybody
from fdps.search.store import (
    EVERYBODY,
    ArchivedPerson,
    Filters,
    IndexInfo,
    SceneRecord,
    check_embeddings,
)
from fdps.structures import Detections, Hit

MESSAGE_BYTES = 2**24  # most bytes in one insertion, well below the 64 MB that a server takes
GONE_AT_ONCE = 4000  # most scenes that one state can name, since it is one text of 65,535 bytes
MAX_SEARCHES = 20  # most attempts at one query, where others remove people all the time


class MilvusStore:
    """An archive on Milvus; the promises are those of :class:`Store`.

    One object serves one thread.

    Args:
        address: Address of the archive.

    Raises:
        MissingDataError: There is no archive.
        ArchiveError: The archive is of a newer format, or Milvus cannot be reached.
        UsageError: pymilvus is not installed.
    """

    def __init__(self, address: MilvusAddress) -> None:
        self._address = address
        self._client = connect(address)
        self._is_open = True
        self._journal = Journal(self._client, address)
        self._rows = CountingRows(self._client, address)
        self._nested_writers = 0
        self._is_clean = False
        try:
            with milvus_errors(address):
                self._info = read_info(self._client, address)
                self._client.load_collection(address.collection)
        except BaseException:
            self.close()
            raise

    @classmethod
    def create(
        cls, address: MilvusAddress, *, model_hash: str, dim: int, model: str = ""
    ) -> "MilvusStore":
        """Begin an archive.

        Args:
            address: Address of the new archive.
            model_hash: Hash of the model whose embeddings it will hold.
            dim: Length of an embedding, at least 1.
            model: The place where that model can be loaded from.

        Raises:
            ArchiveError: There is an archive already, collections of its names are not ours, or
                Milvus cannot be reached.
            UsageError: pymilvus is not installed.
        """
        created = datetime.now(UTC).isoformat(timespec="seconds")
        info = IndexInfo(FORMAT_VERSION, model_hash, dim, model, created, __version__)
        client = connect(address, create=True)
        try:
            with milvus_errors(address):
                if read_stamp(client, address):
                    raise ArchiveError(
                        f"there is an archive at {address} already", hint="open it instead"
                    )
                create_collections(client, address, dim)
                Journal(client, address).write(State())
                client.insert(address.records, [record("stamp", "1", asdict(info))])
            return cls(address)
        finally:
            disconnect(client, address)

    @property
    def info(self) -> IndexInfo:
        """The stamp of the archive."""
        return self._info

    @property
    def folder(self) -> Path | None:
        """Always ``None``: an archive on a server has no folder."""
        return None

    @property
    def n_scenes(self) -> int:
        """Number of scenes, with people or without."""
        with milvus_errors(self._address):
            return self._journal.read().n_scenes

    def __len__(self) -> int:
        with milvus_errors(self._address):
            return self._journal.read().n_people

    def close(self) -> None:
        """Let go of the server; closing twice is allowed."""
        if self._is_open:
            disconnect(self._client, self._address)
            self._is_open = False

    def __enter__(self) -> "MilvusStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the only writer while the context lasts."""
        if self._nested_writers:
            yield
            return
        with milvus_errors(self._address):
            self._journal.claim()
        self._is_clean = False
        self._nested_writers += 1
        try:
            yield
        except BaseException:  # a server that is gone fails here as well, and must hide no error
            with suppress(Exception):
                self._journal.release()
            raise
        else:
            with milvus_errors(self._address):
                self._journal.release()
        finally:
            self._nested_writers -= 1

    def find(self, *, sha256: str = "", name: str = "", path: str = "") -> SceneRecord | None:
        """Return the scene that agrees with every property given, or ``None``."""
        found = self._found({"sha256": sha256, "name": name, "path": path})
        return found[0] if found else None

    def find_all(self, *, sha256: str = "", path: str = "") -> list[SceneRecord]:
        """Return all scenes that agree with every property given, in the order of addition."""
        return self._found({"sha256": sha256, "path": path})

    def people(self, items: Sequence[int]) -> list[ArchivedPerson]:
        """Return people by their numbers, in the order asked for; missing people are left out."""
        with milvus_errors(self._address):
            state = self._journal.read()
            found = {
                row["item"]: archived_person(row)
                for numbers in _pages([int(item) for item in items])
                for row in self._rows.people(state, one_of("item", numbers), FIELDS)
            }
        return [found[int(item)] for item in items if int(item) in found]

    def people_in(self, scene: str) -> list[ArchivedPerson]:
        """Return everybody in a scene, ordered by item."""
        with milvus_errors(self._address):
            rows = self._rows.people(self._journal.read(), f"name == {quoted(scene)}", FIELDS)
        return sorted(map(archived_person, rows), key=lambda person: person.item)

    def is_finished(self, sha256: str, sampling: str) -> bool:
        """Tell whether every frame that a sampling takes of a video is in the archive."""
        with milvus_errors(self._address):
            rows = self._client.query(
                self._address.records,
                filter=f"key == {quoted(f'video:{sha256}:{sampling}')}",
                output_fields=["key"],
                consistency_level=STRONG,
            )
        return bool(rows)

    def finish(self, sha256: str, sampling: str) -> None:
        """Note that a video is finished; removing one of its scenes takes that back."""
        with self.writing(), milvus_errors(self._address):
            if not self.is_finished(sha256, sampling):
                row = record("video", f"{sha256}:{sampling}", {}, sha256=sha256)
                self._client.insert(self._address.records, [row])

    def note(self, key: str) -> str | None:
        """Return a text that is kept with the stamp, or ``None``."""
        with milvus_errors(self._address):
            return read_note(self._client, self._address, key)

    def write_note(self, key: str, text: str) -> None:
        """Keep a text with the stamp; an older one of this key is replaced."""
        with self.writing(), milvus_errors(self._address):
            write_note(self._client, self._address, key, text)

    def add(self, scene: SceneRecord, people: Detections) -> None:
        """Add a scene and its people in one commit; its earlier state is replaced."""
        check_embeddings(people.embeddings, self._info.dim)
        with self.writing(), milvus_errors(self._address):
            state = self._cleaned()
            self._write(state, [(scene, people)], self._replaced_by(scene, state))

    def replace(self, path: str, scenes: Sequence[tuple[SceneRecord, Detections]]) -> None:
        """Replace all scenes of a file by others, in one commit."""
        for _, people in scenes:
            check_embeddings(people.embeddings, self._info.dim)
        with self.writing(), milvus_errors(self._address):
            state = self._cleaned()
            old = self._rows.scenes(state, f"path == {quoted(path)}")
            gone = {row["number"] for row in old}
            for scene, _ in scenes:
                self._refuse_others(scene, gone, state)
            # This comes first: a video that is decoded again in vain loses nothing.
            self._unfinish({row["sha256"] for row in old})
            self._write(state, scenes, sorted(gone))

    def move(self, sha256: str, path: str, names: Mapping[int, str]) -> None:
        """Let all scenes of a content follow their file in one commit; people get new numbers."""
        with self.writing(), milvus_errors(self._address):
            state = self._cleaned()
            rows = self._rows.scenes(state, f"sha256 == {quoted(sha256)}")
            rows.sort(key=lambda row: int(row["number"]))
            there = f"path == {quoted(path)} and sha256 != {quoted(sha256)}"
            displaced = self._rows.scenes(state, there)
            gone = {row["number"] for row in rows + displaced}
            moved = []
            for row in rows:
                old = SceneRecord(**json.loads(row["payload"]))
                scene = replace(old, name=names[old.frame], path=path)
                self._refuse_others(scene, gone, state)
                found = self._rows.people(state, f"scene == {row['number']}", FIELDS)
                moved.append((scene, _detections(found, self._info.dim)))
            self._unfinish({row["sha256"] for row in displaced})
            self._write(state, moved, sorted(gone))

    def remove(self, *, scenes: Sequence[str] = (), items: Sequence[int] = ()) -> int:
        """Erase scenes with their people, and single people.

        A server erases rows from its disks when it has compacted them, which this method asks for,
        and when it has collected its garbage, which the server's settings decide.
        """
        n_removed = 0
        with self.writing(), milvus_errors(self._address):
            for names in _pages(list(dict.fromkeys(scenes))):
                state = self._cleaned()
                rows = self._rows.scenes(state, one_of("name", names))
                # This comes first: a video that is decoded again in vain loses nothing.
                self._unfinish({row["sha256"] for row in rows})
                gone = [row["number"] for row in rows]
                n_people = self._rows.count(state, gone)
                state = replace(
                    state,
                    n_scenes=state.n_scenes - len(gone),
                    n_people=state.n_people - n_people,
                )
                self._commit(state, scenes=gone)
                n_removed += n_people
            for numbers in _pages([int(item) for item in items]):
                state = self._cleaned()
                there = [row["item"] for row in self._rows.people(state, one_of("item", numbers))]
                state = replace(state, n_people=state.n_people - len(there))
                self._commit(state, items=there)
                n_removed += len(there)
            for collection in (self._address.collection, self._address.records):
                self._client.flush(collection)
                self._client.compact(collection)
        return n_removed

    def search(
        self, embeddings: Float32[np.ndarray, "Q D"], *, top: int, filters: Filters = EVERYBODY
    ) -> list[list[Hit]]:
        """Return the ``top`` most similar people to each query, best first; ties by item."""
        check_embeddings(embeddings, self._info.dim)
        if top < 1:
            raise UsageError(f"top must be at least 1, got {top}")
        with milvus_errors(self._address):
            state = self._journal.read()
            for _ in range(MAX_SEARCHES):
                hits = search_everybody(
                    self._client,
                    self._address.collection,
                    state.counts("scene", has_items=True),
                    embeddings,
                    top,
                    filters.literal(self.find),
                )
                before, state = state, self._journal.read()
                if state.removals == before.removals:
                    return hits
        raise ArchiveError(
            f"somebody was removed from {self._address} during each of {MAX_SEARCHES} searches",
            hint="search again when the removal has finished",
        )

    def count(self, filters: Filters) -> int:
        """Return how many people a search with these filters looks at."""
        with milvus_errors(self._address):
            counting = self._journal.read().counts("scene", has_items=True)
            return count_people(
                self._client, self._address.collection, counting, filters.literal(self.find)
            )

    def _cleaned(self) -> State:
        """Return the state, after erasing what killed writers left."""
        if self._journal.renew():
            self._is_clean = False
        state = self._journal.read()
        if not self._is_clean:
            people, records = self._address.collection, self._address.records
            self._client.delete(people, filter=f"scene >= {state.following}")
            uncommitted = f'kind == "scene" and number >= {state.following}'
            self._client.delete(records, filter=uncommitted)
            self._erase(state)
            self._is_clean = True
        return state

    def _commit(
        self, state: State, *, scenes: Sequence[int] = (), items: Sequence[int] = ()
    ) -> None:
        state = replace(
            state,
            removals=state.removals + bool(scenes or items),
            gone_scenes=tuple(scenes),
            gone_items=tuple(items),
        )
        self._is_clean = False
        self._erase(self._journal.commit(state))
        self._is_clean = True

    def _erase(self, state: State) -> None:
        """Erase what the state says is gone."""
        people, records = self._address.collection, self._address.records
        if state.gone_scenes:
            self._client.delete(people, filter=one_of("scene", state.gone_scenes))
            numbers = one_of("number", state.gone_scenes)
            self._client.delete(records, filter=f'kind == "scene" and {numbers}')
        if state.gone_items:
            self._client.delete(people, filter=one_of("item", state.gone_items))

    def _unfinish(self, videos: set[str]) -> None:
        if videos:
            marks = f'kind == "video" and {one_of("sha256", sorted(videos))}'
            self._client.delete(self._address.records, filter=marks)

    def _found(self, wanted: dict[str, str]) -> list[SceneRecord]:
        conditions = [f"{field} == {quoted(value)}" for field, value in wanted.items() if value]
        with milvus_errors(self._address):
            rows = self._rows.scenes(self._journal.read(), " and ".join(conditions))
        rows.sort(key=lambda row: row["number"])
        return [SceneRecord(**json.loads(row["payload"])) for row in rows]

    def _write(
        self,
        state: State,
        scenes: Sequence[tuple[SceneRecord, Detections]],
        gone: Sequence[int],
    ) -> None:
        """Add scenes and take away those with the numbers ``gone``, in one commit.

        Where more go than one state can name, the rest follows in further commits.
        """
        lost = sum(self._rows.count(state, some) for some in _pages(list(gone)))
        self._is_clean = False
        following = state.following
        for scene, people in scenes:
            self._insert_people(scene, people, following)
            self._client.insert(self._address.records, [scene_row(scene, following)])
            following += 1 + len(people)
        state = replace(
            state,
            following=following,
            n_scenes=state.n_scenes + len(scenes) - len(gone),
            n_people=state.n_people + sum(len(people) for _, people in scenes) - lost,
        )
        self._commit(state, scenes=gone[:GONE_AT_ONCE])
        for start in range(GONE_AT_ONCE, len(gone), GONE_AT_ONCE):
            self._commit(self._cleaned(), scenes=gone[start : start + GONE_AT_ONCE])

    def _replaced_by(self, scene: SceneRecord, state: State) -> list[int]:
        """Return the scenes of the same path and frame; refuse a scene that is like another one."""
        same = f"frame == {scene.frame} and path == {quoted(scene.path)}"
        numbers = [row["number"] for row in self._rows.scenes(state, same)]
        self._refuse_others(scene, numbers, state)
        return numbers

    def _refuse_others(self, scene: SceneRecord, gone: Collection[int], state: State) -> None:
        """Refuse a scene whose name or content another scene has, unless that one goes."""
        sha256, name = (f"{k} == {quoted(getattr(scene, k))}" for k in ("sha256", "name"))
        rows = self._rows.scenes(state, f"(frame == {scene.frame} and {sha256}) or {name}")
        if any(row["number"] not in gone for row in rows):
            raise ArchiveError(
                f"{self._address} holds another scene of this name or content: {scene.name}"
            )

    def _insert_people(self, scene: SceneRecord, people: Detections, number: int) -> None:
        rows = person_rows(scene, people, number)
        n_at_once = max(1, MESSAGE_BYTES // (4 * self._info.dim + 1000))
        for start in range(0, len(rows), n_at_once):
            self._client.insert(self._address.collection, rows[start : start + n_at_once])


def _pages(values: list[Any]) -> Iterator[list[Any]]:
    """Yield the values a thousand at a time."""
    for start in range(0, len(values), PAGE):
        yield values[start : start + PAGE]


def _detections(rows: Sequence[dict[str, Any]], dim: int) -> Detections:
    """Turn rows of people into the detections that were added, in the order of the rows."""
    people = [archived_person(row) for row in sorted(rows, key=itemgetter("item"))]
    embeddings = [person.embedding for person in people]
    return Detections(
        boxes=np.array([person.box for person in people], dtype=np.float32).reshape(-1, 4),
        scores=np.array([person.score for person in people], dtype=np.float32),
        embeddings=np.array(embeddings, dtype=np.float32).reshape(-1, dim),
    )
