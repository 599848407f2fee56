"""What took long to compute and is kept on disk, so that it is computed once.

.. code-block:: text

    cache/NAME-DIGEST/            the digest is that of everything that the arrays depend on, but
        <sixteen digits>.safetensors   for the pictures and boxes, whose digest names the file

Every file says in its metadata what it is of, so that a file which got into the wrong folder is
noticed. A file is there whole or not at all; the folder may be deleted at any time.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fdps.durable import write_file
from fdps.errors import MissingDataError, ModelError
from fdps.structures import Scene

FORMAT, VERSION = "fdps-kept", 1

log = logging.getLogger("fdps")


class Kept:
    """Arrays in the files of a folder, all made by the same networks in the same way.

    Args:
        cache: Folder of all that is kept.
        name: What the arrays are, such as ``features``.
        made_by: All that they depend on beside the pictures: hashes and settings, by name.
    """

    def __init__(self, cache: Path, name: str, made_by: Mapping[str, str]) -> None:
        self.made_by = dict(made_by)
        digest = _digest(json.dumps(self.made_by, sort_keys=True).encode())
        self.folder = cache / f"{name}-{digest}"

    def read(self, name: str) -> dict[str, np.ndarray] | None:
        """Read arrays; ``None`` if they are not there, or damaged.

        Raises:
            ModelError: The file was made by other networks, or in another way.
        """
        file = self.folder / f"{name}.safetensors"
        if not file.is_file():
            return None
        try:
            with safe_open(file, framework="numpy") as opened:
                said = json.loads((opened.metadata() or {})["fdps"])
                arrays = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            log.warning("%s is damaged and made again: %s", file, error)
            return None
        self._check(said, file)
        return arrays

    def write(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Write arrays.

        Raises:
            OSError: The disk is full, read-only or failing.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        said = {"format": FORMAT, "version": VERSION, "made_by": self.made_by}
        content = save(dict(arrays), metadata={"fdps": json.dumps(said)})
        write_file(self.folder / f"{name}.safetensors", content)

    def _check(self, said: dict[str, object], file: Path) -> None:
        made_by = said.get("made_by")
        if (said.get("format"), said.get("version")) == (FORMAT, VERSION):
            if made_by == self.made_by:
                return
            found = made_by if isinstance(made_by, dict) else {}
            for key, expected in self.made_by.items():
                if found.get(key) != expected:
                    raise ModelError(
                        f"{file} was made with {key} {found.get(key)}, expected {expected}",
                        hint=f"delete {self.folder}: what is in it is made again",
                    )
        raise ModelError(
            f"{file} is not what is kept here: {said}",
            hint=f"delete {self.folder}: what is in it is made again",
        )


def picture_digest(scene: Scene) -> str:
    """Return sixteen digits for the bytes of a picture.

    Raises:
        MissingDataError: There is no such file.
    """
    try:
        return _digest(scene.path.read_bytes())
    except FileNotFoundError as error:
        raise MissingDataError(f"no picture at {scene.path}") from error


def name_of(*parts: str | bytes) -> str:
    """Name a file by all that its arrays are of."""
    return _digest(b"\0".join(p.encode() if isinstance(p, str) else p for p in parts))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
