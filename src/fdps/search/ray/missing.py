"""What is still missing of a flow whose machine or worker was lost, so that it can go on.

Ray tries a task again whose worker is lost, but not one that has handed out a part of its rows, and
it waits for room where a whole machine is gone. So a flow that breaks is begun anew with what is
missing, on the machines that there are then.
"""

import json
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from fdps.search.ingest.plan import FilePlan
from fdps.search.ray.worker import Rows


@runtime_checkable
class Missing(Protocol):
    """Keeps count of the rows that have come."""

    def is_new(self, row: Rows) -> bool:
        """Count a row; false if it had come before the flow broke."""


class MissingContents:
    """Files whose content nobody has read.

    Args:
        paths: Paths of the files, in the order of their rows.
    """

    def __init__(self, paths: Sequence[bytes]) -> None:
        self._paths, self._n_read = paths, 0

    def paths(self) -> Sequence[bytes]:
        """Return the paths that are missing."""
        return self._paths[self._n_read :]

    def is_new(self, row: Rows) -> bool:
        """Count a row; every file has one."""
        self._n_read += 1
        return True


class MissingFiles:
    """Files at which nobody has looked to the end.

    Args:
        plans: Plans of all files; those without a request are left out.
    """

    def __init__(self, plans: Sequence[FilePlan]) -> None:
        self._plans = plans
        self._numbers = deque(number for number, plan in enumerate(plans) if plan.request)
        self._frames: set[int] = set()  # of the first of these files, which have come

    def plans(self) -> list[tuple[int, FilePlan]]:
        """Return the files that are missing, with their numbers."""
        return [(number, self._plans[number]) for number in self._numbers]

    def request_of(self, number: int) -> dict[str, Any]:
        """Return the request for a file, without the frames of a video that have come."""
        request = self._plans[number].request
        assert request
        if not self._frames or number != self._numbers[0] or "skip" not in request:
            return request
        return {**request, "skip": sorted({*request["skip"], *self._frames})}

    def is_new(self, row: Rows) -> bool:
        """Count a row: a frame, an ending, or a trouble."""
        header = json.loads(row["header"])
        if header["kind"] == "frame":
            is_new = header["frame"] not in self._frames
            self._frames.add(header["frame"])
            return is_new
        if header["kind"] == "end" and self._numbers:
            self._numbers.popleft()
            self._frames.clear()
        return True
