"""Small files of every kind that fdps decodes, to be damaged, and files made to do harm."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from fake.people import draw_scene
from fake.videos import people_frames, write_video


def example_pictures() -> dict[str, bytes]:
    """Small pictures of every format and mode."""
    image, _ = draw_scene(np.random.default_rng(0), [1, 2])
    picture, files = Image.fromarray(image), {}
    variants = [
        ("jpg", "RGB", {"quality": 80}),
        ("jpg", "L", {"progressive": True}),
        ("jpg", "CMYK", {}),
        ("png", "RGBA", {}),
        ("png", "P", {}),
        ("webp", "RGB", {"lossless": True}),
        ("webp", "RGB", {"quality": 50}),
        ("tiff", "RGB", {"compression": "tiff_lzw"}),
        ("tiff", "L", {"compression": "jpeg"}),
        ("tiff", "1", {"compression": "group4"}),
        ("bmp", "RGB", {}),
    ]
    for number, (suffix, mode, options) in enumerate(variants):
        file = io.BytesIO()
        kind = {"jpg": "jpeg"}.get(suffix, suffix)
        picture.convert(mode).save(file, format=kind, **options)
        files[f"{number}.{suffix}"] = file.getvalue()
    return files


def example_videos(folder: Path) -> list[Path]:
    """Small videos in every container."""
    variants = [
        ("mp4", "mpeg4", {"movflags": "+faststart"}),
        ("mp4", "mpeg4", {}),
        ("mkv", "mpeg4", {}),
        ("avi", "mjpeg", {}),
        ("ts", "mpeg2video", {}),
        ("mpg", "mpeg1video", {}),
    ]
    return [
        write_video(folder / f"{n}.{suffix}", people_frames(24), codec=codec, options=options)
        for n, (suffix, codec, options) in enumerate(variants)
    ]


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    head = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = (b"IDAT", zlib.compress(bytes(1 << 20)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in [head, *chunks, body, (b"IEND", b"")]
    )


def long_gif() -> bytes:
    screen = struct.pack("<6sHHBBB", b"GIF89a", 8, 8, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = struct.pack("<BHHHHB", 0x2C, 0, 0, 8, 8, 0) + b"\x02\x02\x44\x01\0"
    return screen + frame * 10_000 + b";"


def tiff(entries: list[tuple[int, int, int, int]], following: int) -> bytes:
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return (
        b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + struct.pack("<I", following)
    )


def deep_tiff() -> bytes:
    """Directories that follow each other for ever."""
    size = [(256, 4, 1, 100_000), (257, 4, 1, 100_000), (258, 3, 1, 8), (273, 4, 1, 8)]
    return tiff(size, 8)


BOMBS: dict[str, Callable[[], bytes]] = {
    "wide.png": lambda: png(100_000, 100_000),
    "wide.bmp": lambda: b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 100_000, 100_000,
                                            1, 24, 0, 0, 0, 0, 0, 0),
    "wide.jpg": lambda: b"\xff\xd8\xff\xc0\0\x11\x08\xff\xff\xff\xff\x03\x01\x22\0\x02\x11\x01\x03"
    b"\x11\x01\xff\xda\0\x0c\x03\x01\0\x02\x11\x03\x11\0\x3f\0",
    "text.png": lambda: png(8000, 8000, (b"zTXt", b"k\0\0" + zlib.compress(bytes(200_000_000)))),
    "profile.png": lambda: png(9, 9, (b"iCCP", b"k\0\0" + zlib.compress(bytes(200_000_000)))),
    "long.gif": long_gif,
    "long gif.jpg": long_gif,
    "deep.tiff": deep_tiff,
    "many.tiff": lambda: tiff([(256, 4, 0xFFFFFFFF, 8)] * 4, 8),
    "eps.jpg": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run\n",
    "svg.jpg": lambda: b"<svg xmlns='http://www.w3.org/2000/svg'><image href='/etc/passwd'/></svg>",
    "pdf.jpg": lambda: b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\n",
    "fli.jpg": lambda: struct.pack("<IHHHHHHI", 128, 0xAF12, 60_000, 9, 9, 8, 0, 1) + bytes(200),
    "wide.webp": lambda: b"RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0\x10\0\0\0\xff\xff\xff\xff\xff\xff",
}  # fmt: skip
"""Each is refused at once, by its header."""
