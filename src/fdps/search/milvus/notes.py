"""Texts that an archive on Milvus keeps with its stamp, of any length.

A text is cut into parts that fit a field. A version counts when all its parts are there; the
highest of those is the text, so a writer that is killed leaves the text as it was.
"""

import json
from typing import TYPE_CHECKING, Any

from fdps.search.milvus.address import MilvusAddress
from fdps.search.milvus.collections import STRONG, quoted, record

if TYPE_CHECKING:
    from pymilvus import MilvusClient

PART = 10_000  # letters; at most six bytes each in a field of 65,535


def read_note(client: "MilvusClient", address: MilvusAddress, key: str) -> str | None:
    """The text of a key, or ``None``."""
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
