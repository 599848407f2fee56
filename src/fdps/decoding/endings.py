"""Find where a container says that its file ends: a shorter file has been cut off.

The sizes that stand at the beginning of a file outlast its end. Timestamps do not tell as much:
FFmpeg computes the duration of many files from what is left of them.
"""

import math
import os
import re
import struct
from typing import BinaryIO

BOXES = b"ftyp styp moov mdat moof mfra sidx free skip wide uuid meta pdin prft emsg".split()
EBML, SEGMENT, VOID = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\xec"
PACK, SYSTEM_END = b"\0\0\1\xba", b"\0\0\1\xb9"
INFO = b"\x15\x49\xa9\x66"
HEAD_BYTES = 1 << 12
TAIL_BYTES = 1 << 18  # holds the last pack of an MPEG program stream, which is of 64 KiB at most
MAX_PARTS = 100_000


def missing_bytes(file: BinaryIO) -> int:
    """Count the bytes that a video should have behind its end.

    Args:
        file: Open and seekable; where it stands afterwards is not defined.

    Returns:
        0 if nothing is missing, or if the container does not say where it ends: a stream that was
        written while it was sent, or one that was cut between two packets.
    """
    size = file.seek(0, os.SEEK_END)
    head = _at(file, 0, 512)
    if head[4:8] in BOXES:
        end = _end_of_boxes(file, size)
    elif head[:4] == b"RIFF":
        end = _end_of_riff(file, size)
    elif head[:4] == EBML:
        end = _end_of_segment(file)
    elif head[:4] == PACK:
        end = _end_of_packs(file, size)
    else:
        end = _end_of_transport_stream(file, head, size)
    return max(end - size, 0)


def _end_of_boxes(file: BinaryIO, size: int) -> int:
    """MP4 and QuickTime: boxes in a row, each with its length."""
    place = 0
    for _ in range(MAX_PARTS):
        head = _at(file, place, 16)
        if head[:1] == b"\0" and len(head) < 8:  # cut within the head of a box
            return place + 8
        if len(head) < 8 or head[4:8] not in BOXES:
            break  # what stands behind the last box is of no concern
        (length,) = struct.unpack_from(">I", head)
        if length == 1 and len(head) == 16:
            (length,) = struct.unpack_from(">Q", head, 8)
        if length < 8:  # 0: to the end of the file
            break
        place += length
    return place


def _end_of_riff(file: BinaryIO, size: int) -> int:
    """AVI: one chunk, and more of them in a file of more than 1 GB."""
    place = 0
    for _ in range(MAX_PARTS):
        head = _at(file, place, 8)
        if len(head) < 8 or head[:4] != b"RIFF":
            break
        (length,) = struct.unpack_from("<I", head, 4)
        if length in (0, 0xFFFFFFFF):  # never filled in
            break
        place += 8 + length
    return place


def matroska_seconds(file: BinaryIO) -> float | None:
    """Read how long a Matroska file says that its longest stream lasts.

    FFmpeg does not tell whether its duration was read or guessed from the size of the file.
    """
    head = _at(file, 0, HEAD_BYTES)
    _, info, rest = head.partition(INFO)
    unit = re.search(rb"\x2a\xd7\xb1\x83(...)", rest, re.DOTALL) if info else None
    duration = re.search(rb"\x44\x89(?:\x84(....)|\x88(.{8}))", rest, re.DOTALL) if info else None
    if not duration:
        return None
    (number,) = struct.unpack(">f" if duration[1] else ">d", duration[1] or duration[2])
    seconds: float = number * (int.from_bytes(unit[1], "big") if unit else 1_000_000) / 1e9
    return seconds if math.isfinite(seconds) and seconds > 0 else None


def _end_of_segment(file: BinaryIO) -> int:
    """Matroska and WebM: a header, then one element that holds everything."""
    place = 0
    for _ in range(8):
        head = _at(file, place, 12)
        n_id = 1 if head[:1] == VOID else 4
        length, n_length = _ebml_number(head[n_id:])
        if length is None:
            return 0
        place += n_id + n_length + length
        if head[:4] == SEGMENT:
            return place
    return 0


def _ebml_number(text: bytes) -> tuple[int | None, int]:
    """A number and how many bytes it takes; ``None`` for one that is not known."""
    n_bytes = 9 - text[0].bit_length() if text else 9
    if len(text) < n_bytes:
        return None, 0
    bits = (1 << 7 * n_bytes) - 1
    number = int.from_bytes(text[:n_bytes], "big") & bits
    return (None if number == bits else number), n_bytes


def _end_of_packs(file: BinaryIO, size: int) -> int:
    """MPEG program stream: no length of the whole, so the last packets are looked at."""
    start = max(size - TAIL_BYTES, 0)
    tail = _at(file, start, TAIL_BYTES)
    place = tail.rfind(PACK)
    if place < 0:
        return 0
    while place < len(tail):
        head = tail[place : place + 14]
        if head[:4] == SYSTEM_END:
            place += 4
        elif head[:4] == PACK and len(head) == 14:
            place += 14 + (head[13] & 7) if head[4] & 0xC0 == 0x40 else 12
        elif len(head) >= 6 and head[:3] == PACK[:3] and head[3] > PACK[3]:
            place += 6 + struct.unpack_from(">H", head, 4)[0]
        else:
            return start + place + 1 if len(head) < 14 and any(head) else 0
    return start + place


def _end_of_transport_stream(file: BinaryIO, head: bytes, size: int) -> int:
    """MPEG transport stream: packets of one length, each with a mark at the same place."""
    for length, mark in ((188, 0), (192, 4), (204, 0)):
        marks = head[mark::length][:2]
        if marks == b"GG":
            last = size // length * length
            is_in_step = _at(file, last + mark, 1) == b"G"
            return last + length if size > last and is_in_step else 0
    return 0


def _at(file: BinaryIO, place: int, n_bytes: int) -> bytes:
    file.seek(place)
    return file.read(n_bytes)
