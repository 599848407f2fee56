"""Steps shared by the ONNX parts of a two-step embedder: sizes, scaling, colours, names."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from fdps.errors import ModelError
from fdps.runtime.onnx_session import external_files
from fdps.structures import Picture


def resize(image: Picture, size: tuple[int, int]) -> Float32[np.ndarray, "height width 3"]:
    """Scale to (width, height): bilinear, whole levels, no smoothing, as both networks know it.

    Pillow would smooth where it shrinks. The levels are bit for bit those of
    ``torch.nn.functional.interpolate``, so that models keep their embeddings: it adds up the four
    neighbours in this order, and rounds to float32 only after each addition.
    """
    height, width = image.shape[:2]
    top, bottom, near_top, near_bottom = _neighbours(height, size[1])
    left, right, near_left, near_right = _neighbours(width, size[0])
    rows = image.reshape(height, width * 3)  # three times as fast as with an axis of colours
    left, right = ((column[:, None] * 3 + np.arange(3)).ravel() for column in (left, right))
    near_left, near_right = near_left.repeat(3), near_right.repeat(3)
    near_top, near_bottom = near_top[:, None], near_bottom[:, None]
    upper, lower = rows[top], rows[bottom]
    scaled: np.ndarray = upper.take(right, axis=1) * (near_top * near_right)
    for pixels, weight in (
        (upper.take(left, axis=1), near_top * near_left),
        (lower.take(left, axis=1), near_bottom * near_left),
        (lower.take(right, axis=1), near_bottom * near_right),
    ):
        exact = np.multiply(pixels, weight, dtype=np.float64) + scaled
        scaled = exact.astype(np.float32)
    return scaled.round().reshape(size[1], size[0], 3)


def _neighbours(n: int, n_scaled: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Find the two pixels between which each scaled one lies, and the weight of either."""
    scale = float(np.float32(n) / np.float32(n_scaled))
    place = (scale * (np.arange(n_scaled) + 0.5) - 0.5).astype(np.float32).clip(0)
    first = np.minimum(place.astype(np.int64), n - 1)
    weight = (place - first.astype(np.float32)).clip(0, 1)
    return first, np.minimum(first + 1, n - 1), 1 - weight, weight


def in_order(pixels: np.ndarray, colours: str) -> np.ndarray:
    """Put RGB pixels in the order that the network expects."""
    return pixels[..., ::-1] if colours == "BGR" else pixels


def input_size(sides: list[Any], given: tuple[int, ...], path: Path) -> tuple[int, int]:
    """Return the height and width of an input, from the file if it states them, else as given."""
    if given and (len(given) != 2 or min(given) < 1):
        raise ModelError(f"{path}: size must be height and width, got {list(given)}")
    known = [side if isinstance(side, int) and side > 0 else None for side in sides]
    if not given and None in known:
        raise ModelError(f"{path}: its input may have any size", hint="give size = [height, width]")
    if given and not all(map(fits, known, given)):
        raise ModelError(
            f"{path}: its input is {sides}, not {list(given)}",
            hint=f"the card has size = {list(given)}; a file that tells its own size needs none",
        )
    height, width = given or known
    return int(height or 0), int(width or 0)


def fits(side: object, expected: int) -> bool:
    """Tell whether a side of an input or output can have this length; an open one can."""
    return not isinstance(side, int) or side == expected


def part_hash(path: Path, settings: Mapping[str, Any]) -> str:
    """Name a part by all bytes of its files and by its settings, without opening it.

    Raises:
        MissingDataError: A file is not there.
        ModelError: The file is not an ONNX network, or keeps weights outside its folder.
    """
    files = [path, *external_files(path)]
    return digest_of(*(file.read_bytes() for file in files), json.dumps(settings).encode())


def digest_of(*parts: bytes) -> str:
    """Return sixteen hexadecimal digits over the parts."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:16]
