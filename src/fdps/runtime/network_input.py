"""What the ONNX parts of a two-step embedder share: sizes, scaling, order of colours, names."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch.nn import functional

from fdps.errors import ModelError
from fdps.runtime.onnx_session import external_files
from fdps.structures import Picture


def resize(image: Picture, size: tuple[int, int]) -> Float32[np.ndarray, "height width 3"]:
    """Scale to (width, height): bilinear, whole levels, no smoothing, as both networks know it.

    Pillow would smooth where it shrinks.
    """
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    scaled = functional.interpolate(pixels, size=size[::-1], mode="bilinear", align_corners=False)
    return scaled[0].permute(1, 2, 0).round().numpy()


def in_order(pixels: np.ndarray, colours: str) -> np.ndarray:
    """RGB pixels in the order that the network knows."""
    return pixels[..., ::-1] if colours == "BGR" else pixels


def input_size(sides: list[Any], given: tuple[int, ...], path: Path) -> tuple[int, int]:
    """Height and width of an input: as the file says, else as the settings say."""
    if given and (len(given) != 2 or min(given) < 1):
        raise ModelError(f"{path}: size must be height and width, got {list(given)}")
    known = [side if isinstance(side, int) and side > 0 else None for side in sides]
    if not given and None in known:
        raise ModelError(f"{path}: its input may have any size", hint="give size = [height, width]")
    if given and not all(map(fits, known, given)):
        raise ModelError(f"{path}: its input is {sides}, not {list(given)}")
    height, width = given or known
    return int(height or 0), int(width or 0)


def fits(side: object, expected: int) -> bool:
    """Whether a side of an input or output can have this length; an open one can."""
    return not isinstance(side, int) or side == expected


def part_hash(path: Path, settings: Mapping[str, Any]) -> str:
    """Names a part by all bytes of its files and by its settings; it is not opened for that.

    Raises:
        MissingDataError: A file is not there.
        ModelError: The file is not an ONNX network, or keeps weights outside its folder.
    """
    files = [path, *external_files(path)]
    return digest_of(*(file.read_bytes() for file in files), json.dumps(settings).encode())


def digest_of(*parts: bytes) -> str:
    """Sixteen hexadecimal digits over the parts."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:16]
