"""Damaged files and bombs: each is named, nothing hangs, nothing crashes."""

import io
import os
import random
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fake.damage import damaged
from fake.people import draw_scene
from fake.videos import people_frames, write_video
from fdps.decoding.messages import DecodedFrame, Ending
from fdps.decoding.pool import Decoders

N_PICTURES, N_VIDEOS = 1000, 100
PER_FILE_S = 10.0
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


@pytest.fixture
def decoders() -> Iterator[Decoders]:
    with Decoders(2) as decoders:
        yield decoders


def examples() -> dict[str, bytes]:
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


def decode_all(decoders: Decoders, requests: list[dict[str, object]]) -> tuple[int, int]:
    """Numbers of files with pictures and without; each has one ending, in time."""
    jobs = [decoders.submit(request) for request in requests]
    n_read = n_refused = 0
    for request, job in zip(requests, jobs, strict=True):
        begun = time.monotonic()
        *frames, ending = list(job)
        assert time.monotonic() - begun < PER_FILE_S + 2, request
        assert isinstance(ending, Ending)
        assert frames or ending.problem, request
        assert not ending.problem.startswith(("the decoder", "decoding took")), (request, ending)
        n_read, n_refused = n_read + bool(frames), n_refused + (not frames)
    return n_read, n_refused


@pytest.mark.slow
def test_damaged_pictures_are_named(decoders: Decoders, tmp_path: Path) -> None:
    rng, originals = random.Random(0), list(examples().items())
    requests: list[dict[str, object]] = []
    for number in range(N_PICTURES):
        name, content = originals[number % len(originals)]
        kind, torn = damaged(content, rng, HEADS)
        path = tmp_path / f"{number:04} {kind} {name}"
        path.write_bytes(torn)
        requests.append({"do": "picture", "path": str(path), "wants_time": True})
    n_read, n_refused = decode_all(decoders, requests)
    assert n_read + n_refused == N_PICTURES
    assert n_refused > N_PICTURES // 3


@pytest.mark.slow
def test_damaged_videos_are_named(decoders: Decoders, tmp_path: Path) -> None:
    variants = [
        ("mp4", "mpeg4", {"movflags": "+faststart"}),
        ("mp4", "mpeg4", {}),
        ("mkv", "mpeg4", {}),
        ("avi", "mjpeg", {}),
        ("ts", "mpeg2video", {}),
        ("mpg", "mpeg1video", {}),
    ]
    originals = [
        write_video(tmp_path / f"{n}.{suffix}", people_frames(24), codec=codec, options=options)
        for n, (suffix, codec, options) in enumerate(variants)
    ]
    rng, requests = random.Random(1), []
    for number in range(N_VIDEOS):
        original = originals[number % len(originals)]
        kind, torn = damaged(original.read_bytes(), rng, HEADS)
        path = tmp_path / f"{number:04} {kind} {original.name}"
        path.write_bytes(torn)
        requests.append({"do": "video", "path": str(path), "every": "0.1s"})
    n_read, n_refused = decode_all(decoders, requests)
    assert n_read + n_refused == N_VIDEOS
    assert min(n_read, n_refused) > N_VIDEOS // 10


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


@pytest.fixture(scope="module")
def one_decoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Decoders]:
    """At work already: starting it is not what is timed."""
    path = tmp_path_factory.mktemp("warm") / "warm.png"
    path.write_bytes(examples()["3.png"])
    with Decoders(1) as decoders:
        frame, _ = decoders.submit({"do": "picture", "path": str(path)})
        assert isinstance(frame, DecodedFrame)
        yield decoders


@pytest.mark.parametrize("name", sorted(BOMBS))
def test_bombs_are_refused_at_once(one_decoder: Decoders, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(BOMBS[name]())
    worker, seconds = one_decoder.workers[0].pid, []
    for _ in range(3):  # other processes may be in the way
        begun = time.monotonic()
        (ending,) = one_decoder.submit(
            {"do": "picture", "wants_time": True, "path": str(tmp_path / name)}
        )
        seconds.append(time.monotonic() - begun)
        assert isinstance(ending, Ending)
        assert ending.problem
    assert min(seconds) < 1
    assert one_decoder.workers[0].pid == worker, "it died of it"


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
def test_the_child_cannot_use_more_memory_or_write_files(
    decoders: Decoders, tmp_path: Path
) -> None:
    (tmp_path / "warm.png").write_bytes(examples()["3.png"])
    list(decoders.submit({"do": "picture", "path": str(tmp_path / "warm.png")}))
    (pid,) = (worker.pid for worker in decoders.workers if worker.pid)
    limits = Path(f"/proc/{pid}/limits")
    if not limits.exists():
        pytest.skip("no /proc")
    rows = {line[:26].strip(): line[26:].split()[:2] for line in limits.read_text().splitlines()}
    assert rows["Max address space"] == ["1500000000", "1500000000"]
    assert rows["Max file size"] == ["0", "0"]
