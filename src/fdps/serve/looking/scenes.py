"""Pictures of scenes, decoded again from the files that an archive remembers.

No client names a file: scenes come from the archive, and a file whose content is not what was
indexed gives no picture.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from jaxtyping import Float32

from fdps.decoding.pool import Decoders
from fdps.names import from_stored
from fdps.search.care.scene_pictures import pictures_of_file, why_changed
from fdps.search.store import SceneRecord
from fdps.serve.looking import encoding
from fdps.serve.looking.cache import Cache
from fdps.serve.looking.pool import Pool
from fdps.serve.problems import problem
from fdps.serve.settings import Limits
from fdps.structures import Picture

log = logging.getLogger("fdps.serve")

_DECODED_BYTES, _ENCODED_BYTES = 150_000_000, 50_000_000
_KNOWN_FILES = 10_000
Box = Float32[np.ndarray, " 4"]


class ScenePictures:
    """Decodes scenes and cuts people out of them; keeps what was asked for last.

    Args:
        limits: How many may wait.
    """

    def __init__(self, limits: Limits) -> None:
        self._decoders = Decoders()
        self.pool = Pool(1, limits.pictures, "pictures")
        self._decoded: Cache[Picture] = Cache(_DECODED_BYTES, lambda picture: picture.nbytes)
        self._encoded: Cache[bytes] = Cache(_ENCODED_BYTES, len)
        self._checked: Cache[str] = Cache(_KNOWN_FILES, lambda _: 1)

    async def crop(self, scene: SceneRecord, box: Box, height: int) -> bytes:
        """Encode a person and their surroundings, half as wide as high.

        Raises:
            ProblemError: The file is gone or was changed, or too many pictures wait already.
        """
        key = ("crop", scene.sha256, scene.frame, box.tobytes(), height)
        return await self._made(key, scene, partial(encoding.crop, box=box, height_px=height))

    async def scene(
        self,
        scene: SceneRecord,
        width: int,
        *,
        blurred: Sequence[Box] = (),
        alone: Box | None = None,
    ) -> bytes:
        """Encode a scene.

        Args:
            scene: The scene.
            width: Largest width, in pixels.
            blurred: People who are blurred.
            alone: The one person who is not blurred; ``None`` where nothing else is.

        Raises:
            ProblemError: As for :meth:`crop`.
        """
        boxes = b"".join(box.tobytes() for box in blurred)
        only = None if alone is None else alone.tobytes()
        key = ("scene", scene.sha256, scene.frame, width, boxes, only)
        return await self._made(
            key, scene, partial(_whole, width=width, blurred=blurred, alone=alone)
        )

    async def picture(self, scene: SceneRecord) -> Picture:
        """Return the pixels of a scene.

        Raises:
            ProblemError: As for :meth:`crop`.
        """
        return await self.pool.run(partial(self._picture, scene))

    async def _made(
        self, key: tuple[object, ...], scene: SceneRecord, make: Callable[[Picture], bytes]
    ) -> bytes:
        kept = self._encoded.get(key)
        if kept is None:
            kept = await self.pool.run(lambda: make(self._picture(scene)))
            self._encoded.put(key, kept)
        return kept

    def _picture(self, scene: SceneRecord) -> Picture:
        key = (scene.path, scene.sha256, scene.frame)
        picture = self._decoded.get(key)
        if picture is not None and not self._why_changed(scene):
            return picture
        for _, found in pictures_of_file(
            self._decoders, scene.path, [scene], changed=self._why_changed
        ):
            if isinstance(found, str):  # it may name the path of the file
                log.info("no picture of %s: %s", scene.name, found)
                raise problem(
                    404,
                    "the picture of this scene cannot be shown",
                    hint="the file was moved, changed or erased since it was indexed",
                    code="no_picture",
                )
            self._decoded.put(key, found)
            return found
        raise problem(404, "the frame is not in its video", code="no_picture")

    def _why_changed(self, scene: SceneRecord) -> str:
        """Compare a file with what was indexed, once for a state of the file."""
        try:
            found = from_stored(scene.path).stat()
        except OSError as error:
            return f"{scene.path}: {error.strerror}"
        key = (scene.path, scene.sha256, found.st_mtime_ns, found.st_size, found.st_ino)
        known = self._checked.get(key)
        if known is None:
            known = why_changed(scene)
            self._checked.put(key, known)
        return known

    def close(self) -> None:
        """End the decoder."""
        self._decoders.close()
        self.pool.close()


def _whole(picture: Picture, width: int, blurred: Sequence[Box], alone: Box | None) -> bytes:
    if alone is not None:
        picture = encoding.with_one_person(picture, alone)
    elif blurred:
        picture = encoding.with_blurred(picture, blurred)
    height = round(width * picture.shape[0] / picture.shape[1])
    return encoding.preview(picture, min(max(width, height), encoding.LONGEST_SIDE))
