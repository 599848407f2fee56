"""Damage files as disks, transfers and enemies do."""

import random

HEADS = [
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\xff\xff\0\0\xff\xff\x08\x02\0\0\0",
    b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01",
    b"II*\0\x08\0\0\0",
    b"RIFF\xff\xff\xff\x7fWEBPVP8 ",
    b"BM\xff\xff\xff\x7f",
    b"GIF89a\xff\xff\xff\xff",
    b"%!PS-Adobe-3.0 EPSF-3.0\n",
    b"%PDF-1.7\n",
    b"<svg xmlns='http://www.w3.org/2000/svg'>",
    b"\0\0\0\x18ftypmp42",
]
"""Beginnings of files of other kinds."""


def damaged(content: bytes, rng: random.Random, heads: list[bytes]) -> tuple[str, bytes]:
    """Name of the damage, and the damaged file.

    Args:
        content: The file.
        rng: Draws the damage.
        heads: Beginnings of files of other kinds.
    """
    kind = rng.choice(["truncated", "flipped", "header of another", "wrong lengths", "zeroed"])
    data = bytearray(content)
    if kind == "truncated":
        data = data[: rng.randrange(len(data))]
    elif kind == "flipped":
        for _ in range(rng.choice([1, 8, 64])):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == "header of another":
        head = rng.choice(heads)
        data[: len(head)] = head
    elif kind == "wrong lengths":  # where lengths and sizes are: near the beginning
        for _ in range(3):
            at = rng.randrange(4, min(len(data) - 4, 200))
            data[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0"])
    else:
        start = rng.randrange(len(data))
        data[start : start + 512] = bytes(len(data[start : start + 512]))
    return kind, bytes(data)
