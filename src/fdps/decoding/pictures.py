"""When a picture was taken, as its EXIF tells."""

from datetime import datetime
from pathlib import Path

from PIL import Image

from fdps.pictures import FORMATS

_EXIF_FOLDER = 0x8769
_TAKEN, _OFFSET, _FRACTION = 0x9003, 0x9011, 0x9291


def picture_time(path: Path) -> str | None:
    """``DateTimeOriginal`` with its fraction, and with ``OffsetTimeOriginal`` where there is one.

    Args:
        path: A picture.

    Returns:
        ISO 8601, or ``None`` if the file does not tell or makes no sense.
    """
    try:
        with Image.open(path, formats=FORMATS) as picture:
            # Not picture.getexif(): for PNG that decodes all pixels to look for EXIF behind them.
            folder = Image.Image.getexif(picture).get_ifd(_EXIF_FOLDER)
        taken = datetime.strptime(str(folder[_TAKEN]).strip("\0 "), "%Y:%m:%d %H:%M:%S")
    except Exception:  # damaged metadata does not spoil the pixels
        return None
    text = taken.isoformat()
    fraction = str(folder.get(_FRACTION, "")).strip("\0 ")
    if fraction.isascii() and fraction.isdigit():
        text += f".{fraction[:6]:<06}"
    try:
        return datetime.fromisoformat(text + str(folder.get(_OFFSET, "")).strip("\0 ")).isoformat()
    except ValueError:  # an offset such as "   :  "
        return text
