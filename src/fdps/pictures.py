"""Read pictures that may come from anywhere, upright and as RGB.

Only the formats of :data:`FORMATS` are decoded, whatever the name of the file says. The
orientation that a camera notes in EXIF is applied, so pixels and boxes mean the picture as it is
shown. The density that a file notes for printing is not: viewers show each pixel as a square. A
file of several pictures, an animation or pages, is refused: no one of them is the picture.
Orientation is taken from the header alone: :func:`picture_size` and :func:`read_picture`
agree, and the former decodes no pixels.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageSequence, TiffImagePlugin, UnidentifiedImageError

from fdps.errors import MissingDataError, PictureError

try:
    import simplejpeg
except ImportError:  # the extra `fast`; without it Pillow decodes everything
    simplejpeg = None

try:
    import pillow_heif
except ImportError:  # the extra `heic`
    pillow_heif = None  # type: ignore[assignment]
else:
    pillow_heif.register_heif_opener(thumbnails=False)

StrPath = str | os.PathLike[str]
"""A path, as the standard library takes it."""

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", *(() if pillow_heif is None else ("HEIF",)))
"""The formats that are decoded; Pillow knows many more, some of which start other programs."""

MAX_PIXELS = 89_478_485
"""A picture of more pixels is refused: 256 MiB as RGB, where Pillow begins to warn."""

_MAY_HOLD_SEVERAL = ("PNG", "WEBP", "TIFF")
_SUBFILE_TYPE, _PREVIEW_OR_MASK = 254, 0b101
_EXIF_ORIENTATION = 0x0112
_TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)


def read_picture(path: StrPath) -> UInt8[np.ndarray, "H W 3"]:
    """Decode a picture: RGB and upright.

    Transparency is dropped; grey, palette and CMYK pictures become RGB, 16 bits become 8.

    Args:
        path: A file in one of :data:`FORMATS`; its suffix does not matter.

    Returns:
        A new, writable array; H and W are those of :func:`picture_size`.

    Raises:
        MissingDataError: There is no such file.
        PictureError: It is not a picture, is damaged or truncated, has more than
            :data:`MAX_PIXELS` pixels, is animated, has several pages, or has pixels of 32 bits
            per channel, whose range nobody knows. The message names the file and the reason.
    """
    path = Path(path)
    with _opened(path) as picture:
        turn = _TO_UPRIGHT.get(_orientation(picture))
        pixels = _fast_jpeg(picture, path)
        if pixels is None:
            pixels = np.array(_to_rgb(picture))
        return pixels if turn is None else np.array(Image.fromarray(pixels).transpose(turn))


def read_alpha(path: StrPath) -> UInt8[np.ndarray, "H W"] | None:
    """Decode how opaque each pixel of a picture is, upright; ``None`` where it has no alpha.

    Args:
        path: A file in one of :data:`FORMATS`; its suffix does not matter.

    Returns:
        A new, writable array, 0 transparent to 255 opaque, of the size of :func:`read_picture`.

    Raises:
        MissingDataError: There is no such file.
        PictureError: The file is refused by :func:`read_picture`.
    """
    path = Path(path)
    with _opened(path) as picture:
        if not picture.has_transparency_data:
            return None
        turn = _TO_UPRIGHT.get(_orientation(picture))
        alpha = picture.convert("RGBA").getchannel("A")
        return np.array(alpha if turn is None else alpha.transpose(turn))


def picture_size(path: StrPath) -> tuple[int, int]:
    """Width and height of the upright picture, from its header.

    A damaged body goes unnoticed here.

    Raises:
        MissingDataError: There is no such file.
        PictureError: Its header is not that of a picture, or promises more than
            :data:`MAX_PIXELS` pixels.
    """
    with _opened(Path(path)) as picture:
        width, height = picture.size
        return (height, width) if _orientation(picture) in _SIDEWAYS else (width, height)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open a picture; whatever goes wrong with it, here or in the body, names the file."""
    try:
        if not path.is_file():
            raise FileNotFoundError
        with warnings.catch_warnings():
            # About damaged metadata, which we do not need, and about size, which we check. The
            # filter names Pillow because threads may leave it behind: catch_warnings is not theirs.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            with Image.open(path, formats=FORMATS) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise Image.DecompressionBombError
                _refuse_several(picture, path)
                yield picture
    except PictureError:
        raise
    except FileNotFoundError as error:
        raise MissingDataError(f"no picture at {path}") from error
    except UnidentifiedImageError as error:
        raise PictureError(
            f"{path} is not a picture that fdps reads", hint=f"it reads {', '.join(FORMATS)}"
        ) from error
    except Image.DecompressionBombError as error:
        raise PictureError(
            f"{path} has more than {MAX_PIXELS:,} pixels", hint="scale it down before"
        ) from error
    except Exception as error:  # decoders raise nearly anything when a file is damaged
        reason = str(error) or type(error).__name__
        raise PictureError(f"{path} cannot be decoded: {reason}") from error


def _refuse_several(picture: Image.Image, path: Path) -> None:
    """Refuse animations and pages; not the previews that cameras put beside their picture."""
    n_pictures = getattr(picture, "n_frames", 1) if picture.format in _MAY_HOLD_SEVERAL else 1
    if picture.format == "TIFF" and n_pictures > 1:
        n_pictures = sum(map(_is_page, ImageSequence.Iterator(picture)))
        picture.seek(0)
    if n_pictures > 1:
        raise PictureError(
            f"{path} holds {n_pictures} pictures", hint="save the one that is meant as a file"
        )


def _is_page(picture: Image.Image) -> bool:
    tags = picture.tag_v2 if isinstance(picture, TiffImagePlugin.TiffImageFile) else {}
    return not tags.get(_SUBFILE_TYPE, 0) & _PREVIEW_OR_MASK


def _fast_jpeg(picture: Image.Image, path: Path) -> UInt8[np.ndarray, "H W 3"] | None:
    """The pixels of a grey or colour JPEG by simplejpeg, which is faster than Pillow.

    They are those of Pillow to the last bit. ``None`` leaves it to Pillow: other pictures, and
    damaged ones, of which Pillow reads more and says in words for users what is wrong.
    """
    if simplejpeg is None or picture.format != "JPEG" or picture.mode not in ("L", "RGB"):
        return None
    try:
        decoded: np.ndarray = simplejpeg.decode_jpeg(path.read_bytes(), colorspace="RGB")
    except ValueError:
        return None
    return decoded


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I;16"):  # Pillow would make everything above 255 white
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8)).convert("RGB")
    if picture.mode in ("I", "F"):
        raise ValueError("32 bits per channel")
    return picture.convert("RGB")


def _orientation(picture: Image.Image) -> int:
    """EXIF orientation 1..8 that is still to be applied."""
    if picture.format in ("TIFF", "HEIF"):  # Pillow and libheif turn these themselves
        return 1
    try:
        # Not picture.getexif(): for PNG that decodes all pixels to look for EXIF behind them.
        return int(Image.Image.getexif(picture).get(_EXIF_ORIENTATION, 1))
    except Exception:  # damaged metadata does not spoil the pixels
        return 1
