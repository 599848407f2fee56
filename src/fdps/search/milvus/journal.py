"""The journal of an archive on Milvus: what is committed, who may commit, how rows are read.

Milvus has no transactions; it promises that one inserted row is there or not, and that a strong
read sees every earlier write. So one row, the state, is the commit. It says up to which number
scenes count, and which of them and of the people are gone. Its successor is inserted before it is
deleted, and the highest version counts, so there is always one. A read while that happens was once
seen to find none, with the embedded edition on a loaded machine; it is repeated.

Likewise a writer first inserts a claim and then looks for those of others. Of two that begin at
once at least one sees the other, and whoever sees another withdraws. A claim that is not renewed
expires, so a killed writer blocks others for :data:`LEASE_S` at most. Claims are compared by the
clocks of the machines, which must agree to a few seconds. A writer that stands still for longer
than its lease between its last look and its last write (one request) could still write; nothing in
Milvus can keep it from that.
"""

import json
import os
import platform
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fdps.errors import ArchiveError, MissingDataError
from fdps.search.milvus.address import MilvusAddress
from fdps.search.milvus.collections import PAGE, STRONG, one_of, record

if TYPE_CHECKING:
    from pymilvus import MilvusClient

LEASE_S = 30.0
_READS, _READ_AGAIN_S = 5, 0.05  # further reads before an archive without a state is gone


@dataclass(frozen=True, slots=True)
class State:
    """The state of an archive: what is committed.

    Args:
        version: Number of commits.
        following: First number that was never used, for a scene or a person; scenes from here on do
            not count.
        removals: Number of commits that removed somebody.
        n_scenes: Number of scenes that count.
        n_people: Number of people who count.
        gone_scenes: Numbers of scenes that no longer count, and may not be erased yet.
        gone_items: Numbers of single people who no longer count, likewise.
    """

    version: int = 1
    following: int = 1
    removals: int = 0
    n_scenes: int = 0
    n_people: int = 0
    gone_scenes: tuple[int, ...] = ()
    gone_items: tuple[int, ...] = ()

    def counts(self, scene_field: str, *, has_items: bool) -> str:
        """Return the expression for the rows that count."""
        conditions = [f"{scene_field} < {self.following}"]
        if self.gone_scenes:
            conditions.append(f"not ({one_of(scene_field, self.gone_scenes)})")
        if self.gone_items and has_items:
            conditions.append(f"not ({one_of('item', self.gone_items)})")
        return " and ".join(conditions)


class Journal:
    """Reads the state of an archive, and writes it for whoever holds the claim.

    Args:
        client: A client that is connected.
        address: The archive.
    """

    def __init__(self, client: "MilvusClient", address: MilvusAddress) -> None:
        self._client = client
        self._address = address
        self._claim: str | None = None
        self._since = ""
        self._looked = 0.0

    def read(self) -> State:
        """Return what is committed now.

        Raises:
            MissingDataError: The archive was deleted.
        """
        rows = self._rows("state")
        for _ in range(_READS):
            if rows:
                break
            time.sleep(_READ_AGAIN_S)
            rows = self._rows("state")
        if not rows:
            raise MissingDataError(f"no archive at {self._address}")
        payload = json.loads(max(rows, key=lambda row: int(row["number"]))["payload"])
        gone = {name: tuple(payload[name]) for name in ("gone_scenes", "gone_items")}
        return State(**payload | gone)

    def commit(self, state: State) -> State:
        """Make ``state`` the one that counts, as the next version, and return that version.

        Raises:
            ArchiveError: The claim had expired, so others may have erased what was not committed.
        """
        if self.renew():
            raise ArchiveError(
                f"this process stood still for over {LEASE_S:.0f} s while writing {self._address}",
                hint="what was indexed before is safe; run the same command again: it continues",
            )
        state = replace(state, version=state.version + 1)
        self.write(state)
        outdated = f'kind == "state" and number < {state.version}'
        self._client.delete(self._address.records, filter=outdated)
        return state

    def write(self, state: State) -> None:
        """Insert the row of a state."""
        key = f"{state.version}:{uuid.uuid4().hex}"
        row = record("state", key, asdict(state), number=state.version)
        self._client.insert(self._address.records, [row])

    def claim(self) -> None:
        """Become the one writer.

        Raises:
            ArchiveError: Another writer is at work.
        """
        self._since = datetime.now(UTC).isoformat(timespec="seconds")
        self._look()

    def renew(self) -> bool:
        """Stay the one writer; this asks Milvus a few times per lease.

        Returns:
            Whether the claim had expired, so that others may have written meanwhile.

        Raises:
            ArchiveError: Another writer is at work now.
        """
        idle_s = time.time() - self._looked
        if idle_s > LEASE_S / 4:
            self._look()
        return idle_s > LEASE_S

    def release(self) -> None:
        """Let others write."""
        if self._claim:
            self._drop([self._claim])
            self._claim = None

    def _look(self) -> None:
        now = time.time()
        holder = {"pid": os.getpid(), "host": platform.node(), "since": self._since}
        mine = record("claim", uuid.uuid4().hex, holder, number=int(now + LEASE_S))
        self._client.insert(self._address.records, [mine])
        older = [self._claim] if self._claim else []
        others = [row for row in self._rows("claim") if row["key"] not in (mine["key"], *older)]
        running = [row for row in others if int(row["number"]) >= now]
        if running:
            self._drop([mine["key"], *older])
            self._claim = None
            raise ArchiveError(
                f"{self._address} is being written by {_described(running[0]['payload'])}",
                hint="wait until it has finished; if it was killed, wait "
                f"{LEASE_S:.0f} seconds. Searching is possible meanwhile",
            )
        self._drop([row["key"] for row in others] + older)
        self._claim, self._looked = mine["key"], now

    def _drop(self, keys: list[str]) -> None:
        if keys:
            self._client.delete(self._address.records, filter=one_of("key", keys))

    def _rows(self, kind: str) -> list[dict[str, Any]]:
        return list(
            self._client.query(
                self._address.records,
                filter=f'kind == "{kind}"',
                output_fields=["key", "number", "payload"],
                consistency_level=STRONG,
            )
        )


class CountingRows:
    """Reads the rows that a state says are committed and not gone.

    Args:
        client: A client that is connected.
        address: The archive.
    """

    def __init__(self, client: "MilvusClient", address: MilvusAddress) -> None:
        self._client, self._address = client, address

    def scenes(self, state: State, condition: str) -> list[dict[str, Any]]:
        """Return all scenes that count and fulfil a condition; a video may have very many."""
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
        """Return the people who count and fulfil a condition, with these fields."""
        return list(
            self._client.query(
                self._address.collection,
                filter=f"{state.counts('scene', has_items=True)} and {condition}",
                output_fields=list(fields),
                consistency_level=STRONG,
            )
        )

    def count(self, state: State, scenes: Sequence[int]) -> int:
        """Return how many people these scenes have."""
        if not scenes:
            return 0
        (row,) = self.people(state, one_of("scene", scenes), ["count(*)"])
        return int(row["count(*)"])


def _described(claim: str) -> str:
    holder = json.loads(claim)
    return f"process {holder['pid']} since {holder['since']} on {holder['host']}"
