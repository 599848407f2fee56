"""Look at pictures that clients bring: decode them in a process with limits, find the people."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
from jaxtyping import Float32

from fdps.decoding.messages import DecodedFrame
from fdps.decoding.pool import Decoders
from fdps.errors import PictureError
from fdps.query import QueryPerson
from fdps.serve.looking.encoding import preview
from fdps.serve.looking.pool import Pool
from fdps.serve.problems import busy
from fdps.serve.settings import Limits
from fdps.structures import Embedder, Picture

_NAME = "the picture"


class Uploads:
    """Decodes and looks, one picture at a time; further ones wait, and beyond that are refused.

    Args:
        limits: How many may wait, and how large a picture may be.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._decoders = Decoders()
        self.pool = Pool(1, limits.looks, "pictures")
        self._n_taken = 0

    @contextmanager
    def taking(self) -> Iterator[None]:
        """Take a picture while the context lasts: what is being received holds memory, too.

        Raises:
            ProblemError: Too many are being taken already.
        """
        if self._n_taken >= self._limits.looks:
            raise busy("pictures")
        self._n_taken += 1
        try:
            yield
        finally:
            self._n_taken -= 1

    async def look(
        self, content: bytes, model: Embedder
    ) -> tuple[bytes, tuple[int, int], list[QueryPerson]]:
        """Find everybody in a picture.

        Returns:
            The picture for a browser, its width and height, and everybody in it, best first.

        Raises:
            PictureError: It is none that can be decoded, or it has too many pixels.
            ProblemError: Too many pictures wait already.
        """
        return await self.pool.run(partial(self._look, content, model))

    async def embed(
        self, content: bytes, model: Embedder, box: Float32[np.ndarray, " 4"]
    ) -> QueryPerson:
        """Embed the person in a box that somebody drew.

        Raises:
            UsageError: The box has no area inside the picture.
            ProblemError: Too many pictures wait already.
        """
        return await self.pool.run(partial(self._embed, content, model, box))

    def _look(
        self, content: bytes, model: Embedder
    ) -> tuple[bytes, tuple[int, int], list[QueryPerson]]:
        picture = self._decoded(content)
        found = model.detect(picture)
        people = [
            QueryPerson(box, float(score), embedding)
            for box, score, embedding in zip(
                found.boxes, found.scores, found.embeddings, strict=True
            )
        ]
        return preview(picture), (picture.shape[1], picture.shape[0]), people

    def _embed(
        self, content: bytes, model: Embedder, box: Float32[np.ndarray, " 4"]
    ) -> QueryPerson:
        return QueryPerson(box, 1.0, model.embed(self._decoded(content), box[np.newaxis])[0])

    def _decoded(self, content: bytes) -> Picture:
        with _as_file(content) as path:
            request = {"do": "picture", "path": path, "max_pixels": self._limits.pixels}
            picture, problem = None, ""
            for event in self._decoders.submit(request):
                if isinstance(event, DecodedFrame):
                    picture = event.image
                else:
                    problem = event.problem
        if picture is None:
            raise PictureError(problem.replace(path, _NAME) or f"{_NAME} cannot be decoded")
        return picture

    def close(self) -> None:
        """End the decoder."""
        self._decoders.close()
        self.pool.close()


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """Give bytes a path that the decoder can open; where the system can, it is only in memory."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("picture")
        try:
            with os.fdopen(descriptor, "wb", closefd=False) as file:
                file.write(content)
            yield f"/proc/{os.getpid()}/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    descriptor, path = tempfile.mkstemp(prefix="fdps-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        yield path
    finally:
        os.unlink(path)  # noqa: PTH108
