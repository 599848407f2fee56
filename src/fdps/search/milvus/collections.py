"""The two collections of an archive on Milvus, and how texts and rows are written into them.

.. code-block:: text

    NAME           people: item, scene, what filters ask for, box, score, embedding (FLAT, IP)
    NAME_records   everything else, told apart by ``kind``:
                   stamp   the model of the archive; written last when it is created
                   scene   a picture or a frame; ``number`` is what its people call ``scene``
                   video   a video of which every frame that a sampling takes is here
                   state   what is committed; the row with the highest ``number`` counts
                   claim   a writer at work
                   note    part of a text that is kept with the stamp

A text is cut into parts that fit a field. A version counts when all its parts are there; the
highest of those is the text, so a writer that is killed leaves the text as it was.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from fdps.errors import ArchiveError, MissingDataError
from fdps.search.milvus.address import MilvusAddress
from fdps.search.store import Filters, IndexInfo, SceneRecord
from fdps.search.times import day_range, instant, second_of_day
from fdps.structures import Detections

if TYPE_CHECKING:
    from pymilvus import MilvusClient

FORMAT_VERSION = 1
BOX = ("x1", "y1", "x2", "y2")
TEXT_FIELDS = ("name", "source", "camera")
NUMBER_FIELDS = ("height", "instant", "second_of_day")  # the fields that filters compare
PERSON_FIELDS = {"item", "scene", *TEXT_FIELDS, *NUMBER_FIELDS, *BOX, "score", "embedding"}
RECORD_FIELDS = {"key", "kind", "number", "name", "path", "frame", "sha256", "payload", "no_vector"}
NO_TIME = -1e300
"""Stand for an unknown time of a scene: before all times, and no second of a day."""
MAX_TEXT = 65_535  # most bytes that Milvus takes in a field
STRONG = "Strong"  # consistency level at which a read sees everything that anybody wrote before it
NO_VECTOR = [0.0, 1.0]  # Milvus wants a vector in every collection
PAGE = 1000  # rows in one answer, where all rows are read
PART = 10_000  # letters in one part of a text; at most six bytes each in a field of 65,535
SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/.-")


def create_collections(client: "MilvusClient", address: MilvusAddress, dim: int) -> None:
    """Create both collections, empty; what an interrupted creation left of them is dropped.

    Raises:
        ArchiveError: There are collections of these names that are not ours.
    """
    for name, ours in ((address.records, RECORD_FIELDS), (address.collection, PERSON_FIELDS)):
        if client.has_collection(name):
            fields = {field["name"] for field in client.describe_collection(name)["fields"]}
            if fields != ours:
                raise ArchiveError(
                    f"the collection {name} exists and is not an archive",
                    hint="choose another name",
                )
            client.drop_collection(name)
    _create_records(client, address.records)
    _create_people(client, address.collection, dim)


def _create_people(client: "MilvusClient", name: str, dim: int) -> None:
    from pymilvus import DataType

    schema = client.create_schema(auto_id=False)
    schema.add_field("item", DataType.INT64, is_primary=True)
    schema.add_field("scene", DataType.INT64)
    for field in TEXT_FIELDS:
        schema.add_field(field, DataType.VARCHAR, max_length=MAX_TEXT)
    for field in NUMBER_FIELDS:
        schema.add_field(field, DataType.DOUBLE)
    for field in (*BOX, "score"):
        schema.add_field(field, DataType.FLOAT)
    schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=dim)
    index = client.prepare_index_params()
    # FLAT compares with everybody. Other indexes are faster and miss people.
    index.add_index("embedding", index_type="FLAT", metric_type="IP")
    client.create_collection(name, schema=schema, index_params=index, consistency_level=STRONG)


def _create_records(client: "MilvusClient", name: str) -> None:
    from pymilvus import DataType

    schema = client.create_schema(auto_id=False)
    schema.add_field("key", DataType.VARCHAR, is_primary=True, max_length=512)
    schema.add_field("kind", DataType.VARCHAR, max_length=16)
    for field in ("number", "frame"):
        schema.add_field(field, DataType.INT64)
    for field in ("name", "path", "sha256", "payload"):
        schema.add_field(field, DataType.VARCHAR, max_length=MAX_TEXT)
    schema.add_field("no_vector", DataType.FLOAT_VECTOR, dim=len(NO_VECTOR))
    index = client.prepare_index_params()
    index.add_index("no_vector", index_type="FLAT", metric_type="IP")
    client.create_collection(name, schema=schema, index_params=index, consistency_level=STRONG)


def record(
    kind: str,
    key: str,
    payload: Mapping[str, Any],
    *,
    number: int = 0,
    frame: int = 0,
    **columns: str,
) -> dict[str, Any]:
    """Make a row of the collection of records."""
    row = {"kind": kind, "key": f"{kind}:{key}", "number": number, "frame": frame}
    row["no_vector"] = NO_VECTOR
    text = {"name": "", "path": "", "sha256": "", **columns}
    return row | text | {"payload": json.dumps(payload, ensure_ascii=False)}


def person_rows(scene: SceneRecord, people: Detections, number: int) -> list[dict[str, Any]]:
    """Make rows of the collection of people; their items follow the number of the scene."""
    boxes = people.boxes.astype(np.float64)
    shared = {
        "scene": number,
        "name": scene.name,
        "source": scene.path,
        "camera": stored_camera(scene.camera),
        "instant": NO_TIME if scene.time is None else instant(scene.time),
        "second_of_day": NO_TIME if scene.time is None else second_of_day(scene.time),
    }
    return [
        shared
        | dict(zip(BOX, boxes[place].tolist(), strict=True))
        | {
            "item": number + 1 + place,
            "height": float(boxes[place, 3] - boxes[place, 1]),
            "score": float(people.scores[place]),
            "embedding": people.embeddings[place].tolist(),
        }
        for place in range(len(people))
    ]


def scene_row(scene: SceneRecord, number: int) -> dict[str, Any]:
    """Make the record of a scene."""
    columns = {"name": scene.name, "path": scene.path, "sha256": scene.sha256}
    return record("scene", str(number), asdict(scene), number=number, frame=scene.frame, **columns)


def quoted(text: str) -> str:
    """Write a string for an expression of Milvus."""
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return f'"{"".join(escapes.get(letter, letter) for letter in text)}"'


def one_of(field: str, values: Iterable[int | str]) -> str:
    """Write the condition that a field has one of these values."""
    texts = (str(value) if isinstance(value, int) else quoted(value) for value in values)
    return f"{field} in [{', '.join(texts)}]"


def stored_camera(camera: str | None) -> str:
    """Return a camera as it is stored: no camera is not the camera without a name."""
    return "" if camera is None else f"={camera}"


def filter_conditions(filters: Filters) -> list[str]:
    """Return the conditions that Milvus checks; :class:`GlobPatterns` checks what they leave."""
    conditions = []
    if filters.cameras:
        conditions.append(one_of("camera", map(stored_camera, filters.cameras)))
    if filters.min_height > 0:
        conditions.append(f"height >= {float(filters.min_height)!r}")
    if filters.scenes:
        conditions.append(f'name like "{_wider_pattern(filters.scenes)}"')
    if filters.source:
        conditions.append(f'source like "{_wider_pattern(filters.source)}"')
    if filters.after:
        conditions.append(f"instant >= {instant(filters.after)!r}")
    if filters.before:
        conditions.append(f"instant < {instant(filters.before)!r} and instant > {NO_TIME!r}")
    if filters.time_of_day:
        start, end = day_range(filters.time_of_day)
        joined = "and" if start < end else "or"
        within = f"(second_of_day >= {start!r} {joined} second_of_day < {end!r})"
        conditions.append(f"{within} and second_of_day >= 0")
    return conditions


def _wider_pattern(pattern: str) -> str:
    """Return a pattern for ``like`` that fits whatever ``pattern`` fits, and more.

    Milvus has no sets of letters, and its versions differ in how a wildcard is escaped.
    """
    plain = pattern.split("[", maxsplit=1)[0]
    wide = "".join(letter if letter in SAFE else "%" for letter in plain)
    return wide if plain == pattern else f"{wide}%"


class GlobPatterns:
    """The patterns for scene names and paths, read by SQLite as in the archive in a folder.

    Args:
        filters: Filters whose patterns may be empty.
    """

    def __init__(self, filters: Filters) -> None:
        both = {"name": filters.scenes, "source": filters.source}
        self._patterns = {field: pattern for field, pattern in both.items() if pattern}
        self._sqlite = sqlite3.connect(":memory:")

    def __enter__(self) -> "GlobPatterns":
        return self

    def __exit__(self, *_: object) -> None:
        self._sqlite.close()

    def fit(self, person: Mapping[str, Any]) -> bool:
        """Tell whether the name and the path of a person's scene fit as a whole."""
        return all(
            self._sqlite.execute("SELECT ? GLOB ?", (person[field], pattern)).fetchone()[0]
            for field, pattern in self._patterns.items()
        )


def read_stamp(client: "MilvusClient", address: MilvusAddress) -> dict[str, Any] | None:
    """Return what was noted when the archive was created; ``None`` if there is no stamp."""
    if not client.has_collection(address.records):
        return None
    client.load_collection(address.records)
    rows = client.query(
        address.records,
        filter='kind == "stamp"',
        output_fields=["payload"],
        consistency_level=STRONG,
    )
    return dict(json.loads(rows[0]["payload"])) if rows else None


def read_info(client: "MilvusClient", address: MilvusAddress) -> IndexInfo:
    """Return the stamp of an archive.

    Raises:
        MissingDataError: There is no archive, or its creation was interrupted.
        ArchiveError: The archive is of another format.
    """
    stamp = read_stamp(client, address)
    if stamp is None:
        raise MissingDataError(
            f"no archive at {address}",
            hint=f"build one: fdps index SOURCE -o '{address}' --model RUN",
        )
    if stamp["format_version"] != FORMAT_VERSION:
        raise ArchiveError(
            f"{address} has format version {stamp['format_version']}, this fdps reads "
            f"{FORMAT_VERSION}",
            hint="use the version of fdps that wrote it, or index the pictures again",
        )
    return IndexInfo(**stamp)


def read_note(client: "MilvusClient", address: MilvusAddress, key: str) -> str | None:
    """Return the text of a key, or ``None``."""
    complete = _versions(client, address, key, only_complete=True)
    if not complete:
        return None
    parts = sorted(complete[max(complete)], key=lambda part: int(part["part"]))
    return "".join(part["text"] for part in parts)


def write_note(client: "MilvusClient", address: MilvusAddress, key: str, text: str) -> None:
    """Replace the text of a key."""
    texts = [text[start : start + PART] for start in range(0, len(text), PART)] or [""]
    version = 1 + max(_versions(client, address, key, only_complete=False), default=0)
    rows = [
        record(
            "note",
            f"{key}:{version}:{number}",
            {"part": number, "n_parts": len(texts), "text": part},
            number=version,
            name=key,
        )
        for number, part in enumerate(texts)
    ]
    for row in rows:
        client.insert(address.records, [row])
    client.delete(address.records, filter=f"{_of_key(key)} and number < {version}")


def _versions(
    client: "MilvusClient", address: MilvusAddress, key: str, *, only_complete: bool
) -> dict[int, list[dict[str, Any]]]:
    rows = client.query(
        address.records,
        filter=_of_key(key),
        output_fields=["number", "payload"],
        consistency_level=STRONG,
    )
    parts: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        parts.setdefault(int(row["number"]), []).append(json.loads(row["payload"]))
    if not only_complete:
        return parts
    return {number: found for number, found in parts.items() if len(found) == found[0]["n_parts"]}


def _of_key(key: str) -> str:
    return f'kind == "note" and name == {quoted(key)}'
