"""Read from the EXIF of a picture when it was taken."""

import re
from pathlib import Path

from PIL import Image

from fdps.pictures import FORMATS

_EXIF_FOLDER = 0x8769
_TAKEN_AT = re.compile(r"(\d{4}):(\d\d):(\d\d)[ T](\d\d:\d\d:\d\d)", re.ASCII)
_FROM_UTC = re.compile(r"Z|[+-](?:[01]\d|2[0-3]):?[0-5]\d", re.ASCII)
_TAKEN, _OFFSET, _FRACTION = 0x9003, 0x9011, 0x9291


def picture_time(path: Path) -> str | None:
    """``DateTimeOriginal`` with its fraction, and with ``OffsetTimeOriginal`` where there is one.

    Args:
        path: A picture.

    Returns:
        ISO 8601 with the digits that the camera wrote, which may be those of no time, such as
        the month 13; ``None`` if the file does not tell.
    """
    try:
        with Image.open(path, formats=FORMATS) as picture:
            # Not picture.getexif(): for PNG that decodes all pixels to look for EXIF behind them.
            folder = Image.Image.getexif(picture).get_ifd(_EXIF_FOLDER)
        taken = _TAKEN_AT.fullmatch(str(folder[_TAKEN]).strip("\0 "))
    except Exception:  # damaged metadata does not spoil the pixels
        return None
    if taken is None or taken[1] == "0000":  # a camera whose clock was never set
        return None
    text = f"{taken[1]}-{taken[2]}-{taken[3]}T{taken[4]}"
    fraction = str(folder.get(_FRACTION, "")).strip("\0 ")
    if fraction.isascii() and fraction.isdigit():
        text += f".{fraction[:6]:<06}"
    offset = _FROM_UTC.fullmatch(str(folder.get(_OFFSET, "")).strip("\0 "))
    return text + (offset[0] if offset else "")  # some are "   :  "
