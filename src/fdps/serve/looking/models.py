"""The models that look at query pictures; those of equal archives are one."""

from collections.abc import Callable
from functools import partial

from fdps.errors import FdpsError
from fdps.search.store import IndexInfo, check_model
from fdps.serve.looking.pool import Pool
from fdps.structures import Embedder

LoadModel = Callable[[IndexInfo], Embedder]


class Models:
    """Loads models when they are first needed.

    Args:
        load: Loads the model of an archive, given its stamp.
    """

    def __init__(self, load: LoadModel) -> None:
        self._load = load
        self._pool = Pool(1, 8, "models")
        self._models: dict[str, Embedder] = {}

    async def of(self, info: IndexInfo) -> Embedder:
        """Return the model of an archive.

        Raises:
            MissingDataError: It is no longer where the archive remembers it.
            ArchiveError: What is there is another model.
            ModelError: The weights are refused.
        """
        if info.model_hash not in self._models:
            await self._pool.run(partial(self._load_once, info))
        return self._models[info.model_hash]

    def _load_once(self, info: IndexInfo) -> None:
        if info.model_hash in self._models:
            return
        model = self._load(info)
        check_model(info, model.model_hash, "the archive")
        self._models[info.model_hash] = model

    async def why_missing(self, info: IndexInfo) -> str:
        """Load a model, and say why that is impossible; empty where it is there."""
        try:
            await self.of(info)
        except FdpsError as error:
            return str(error)
        return ""

    def close(self) -> None:
        """End the thread."""
        self._pool.close()
