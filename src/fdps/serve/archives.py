"""The archives that are served: read by many threads, searched by one."""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from fdps.embedders.info import calibration_of
from fdps.errors import FdpsError, UsageError
from fdps.search.index import Index
from fdps.search.results.calibration import Calibration
from fdps.serve.looking.models import LoadModel, Models
from fdps.serve.problems import not_found, problem
from fdps.serve.readers import Readers
from fdps.serve.searching.answer import Answer, Question, Searches, answer
from fdps.structures import Embedder
from fdps.weights_file import WEIGHTS_FILE

log = logging.getLogger("fdps.serve")

T = TypeVar("T")
Calibrated = tuple[Calibration | None, str]
"""A calibration, or the reason why there is none."""
NO_MODEL = "the model of this archive is not at hand, so that no picture can be looked at"
_REMEMBERED_S = 5.0  # the calibration of an archive, which changes hardly ever


class ServedArchive:
    """One archive that is served.

    Args:
        key: Its id.
        place: Folder or address of the archive, as the operator named it.
        models: The models of all archives.
        model: The place of its model, where it is not where the archive remembers it.

    Attributes:
        key: Its id.
        name: Its name for people.
        place: As given.
        why_blind: The reason why its model cannot look at pictures, or empty.
    """

    def __init__(self, key: str, place: str, models: Models, model: str = "") -> None:
        self.key, self.place = key, place
        self.name = Path(place).name
        self.why_blind = ""
        self._models, self._model = models, model
        self._calibration: tuple[float, Calibrated] | None = None
        self._readers = Readers(place)
        self._searches = Searches(place)

    def answer(self, index: Index, question: Question) -> Answer:
        """Search the archive; it is in the audit before the answer is there. For its readers.

        Raises:
            ProblemError: Too many wait already.
            UsageError: The question makes no sense.
        """
        return answer(index, self._searches, question)

    async def read(self, function: Callable[[Index], T]) -> T:
        """Call a function with the open archive, on a thread of its own.

        It must not search by ``Index.search``, which would read all embeddings into the memory of
        that thread.

        Raises:
            ProblemError: Too many wait already.
            FdpsError: What the function raises, without the path of the archive.
        """
        try:
            return await asyncio.wrap_future(self._readers.submit(function))
        except FdpsError as error:
            raise self._without_path(error) from error

    async def model(self) -> Embedder:
        """Return the model of the archive; it is loaded when it is first needed.

        Raises:
            ProblemError: It cannot be loaded; the log tells why, as that may name a path.
        """
        info = await self.read(lambda index: index.info)
        try:
            return await self._models.of(info)
        except FdpsError as error:
            log.warning("%s: %s", self.name, error)
            raise problem(
                409, NO_MODEL, hint="people of the archive can be searched", code="no_model"
            ) from error

    async def warm(self) -> None:
        """Load the model before anybody waits for it, and read the embeddings."""
        info = await self.read(lambda index: index.info)
        why = await self._models.why_missing(info)
        if why:
            log.warning("%s cannot look at pictures: %s", self.name, why)
        self.why_blind = NO_MODEL if why else ""
        first = np.zeros(info.dim, dtype=np.float32)
        first[0] = 1
        await self.read(lambda index: self._searches.warm(first))

    def calibrated(self, index: Index) -> Calibrated:
        """Return the calibration of the archive, or why there is none; for one of its readers."""
        kept = self._calibration
        if kept is not None and kept[0] > time.monotonic():
            return kept[1]
        found = calibration_of(index, self._model or index.info.model)
        self._calibration = (time.monotonic() + _REMEMBERED_S, found)
        return found

    def model_place(self, index: Index) -> str:
        """Return where the model of the archive is; for one of its readers."""
        return self._model or index.info.model

    def model_name(self, index: Index) -> str:
        """Return the name of the model, which is not a path; for one of its readers."""
        place = Path(self.model_place(index))
        is_file_of_run = place.name == WEIGHTS_FILE
        return place.absolute().parent.name if is_file_of_run else place.name

    def _without_path(self, error: FdpsError) -> FdpsError:
        """Name the archive as clients know it."""
        path = str(Path(self.place)) if "://" not in self.place else self.place
        error.args = (str(error).replace(path, self.name), *error.args[1:])
        error.hint = error.hint.replace(path, self.name)
        return error

    def close(self) -> None:
        """Let go of the archive."""
        self._readers.close()
        self._searches.close()


class Archives:
    """The archives that are served, by id.

    Args:
        places: Folders or addresses, at least one.
        load: Loads the model of an archive, given its stamp.
        model: The place of the model, where it is not where the archives remember it.

    Raises:
        UsageError: No archive is named, or one twice.
        MissingDataError: There is no such archive.
        ArchiveError: An archive is damaged or of a newer format.
    """

    def __init__(self, places: Sequence[str | Path], load: LoadModel, *, model: str = "") -> None:
        if not places:
            raise UsageError("no archive to serve", hint="fdps serve NAME.fdps, or --demo")
        self._archives: dict[str, ServedArchive] = {}
        self._models = Models(load)
        for place in map(str, places):
            if any(place == archive.place for archive in self._archives.values()):
                raise UsageError(f"{place} is named twice")
            Index.open(place).close()  # whatever is wrong with it is said before the start
            key = _free_key(place, self._archives)
            self._archives[key] = ServedArchive(key, place, self._models, model)

    def __iter__(self) -> Iterator[ServedArchive]:
        return iter(self._archives.values())

    def __len__(self) -> int:
        return len(self._archives)

    def get(self, key: str | None) -> ServedArchive:
        """Return the archive of an id; without an id, the only one.

        Raises:
            ProblemError: There is no such archive, or several are served and none is named.
        """
        if key is None and len(self._archives) == 1:
            return next(iter(self._archives.values()))
        if key is None:
            names = ", ".join(self._archives)
            raise UsageError("several archives are served", hint=f"name one by archive=: {names}")
        if key not in self._archives:
            raise not_found("archive")
        return self._archives[key]

    def close(self) -> None:
        """Let go of all archives."""
        for archive in self._archives.values():
            archive.close()
        self._models.close()


def _free_key(place: str, taken: dict[str, ServedArchive]) -> str:
    """Write the name of an archive in letters that need no escape in an address."""
    stem = Path(place).name.removesuffix(".fdps").lower()
    name = re.sub(r"[^a-z0-9]+", "-", stem).strip("-") or "archive"
    key, number = name, 2
    while key in taken:
        key, number = f"{name}-{number}", number + 1
    return key
