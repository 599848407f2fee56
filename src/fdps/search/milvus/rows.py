"""Rows of an archive on Milvus that count: those that its state says are committed and not gone."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fdps.search.milvus.address import MilvusAddress
from fdps.search.milvus.collections import PAGE, STRONG, one_of
from fdps.search.milvus.journal import State

if TYPE_CHECKING:
    from pymilvus import MilvusClient


class CountingRows:
    """Reads rows by a condition.

    Args:
        client: Connected.
        address: Of the archive.
    """

    def __init__(self, client: "MilvusClient", address: MilvusAddress) -> None:
        self._client, self._address = client, address

    def scenes(self, state: State, condition: str) -> list[dict[str, Any]]:
        """All scenes that count and fulfil a condition; a video may have any number of them."""
        counting = f'kind == "scene" and {state.counts("number", has_items=False)}'
        pages = self._client.query_iterator(
            self._address.records,
            filter=f"{counting} and ({condition})" if condition else counting,
            batch_size=PAGE,
            output_fields=["number", "path", "frame", "sha256", "payload"],
            consistency_level=STRONG,
        )
        found: list[dict[str, Any]] = []
        try:
            while rows := pages.next():
                found += rows
        finally:
            pages.close()
        return found

    def people(
        self, state: State, condition: str, fields: Sequence[str] = ("item",)
    ) -> list[dict[str, Any]]:
        """People that count and fulfil a condition, with these fields."""
        return list(
            self._client.query(
                self._address.collection,
                filter=f"{state.counts('scene', has_items=True)} and {condition}",
                output_fields=list(fields),
                consistency_level=STRONG,
            )
        )

    def count(self, state: State, scenes: Sequence[int]) -> int:
        """How many people these scenes have."""
        if not scenes:
            return 0
        (row,) = self.people(state, one_of("scene", scenes), ["count(*)"])
        return int(row["count(*)"])
