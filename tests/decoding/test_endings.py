"""A video that has been cut off is named, whatever holds it; a whole one never is."""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fake.videos import Track, grey_steps, people_frames, write_tracks, write_video
from fdps.decoding.endings import missing_bytes
from fdps.decoding.limits import Limits
from fdps.decoding.messages import DecodedFrame, Ending
from fdps.decoding.pool import Decoders


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    with Decoders(limits=Limits(seconds=5.0, frames=500)) as decoders:
        yield decoders


def read(decoders: Decoders, path: Path) -> tuple[list[DecodedFrame], str]:
    *frames, ending = list(decoders.submit({"do": "video", "path": str(path), "every": "1f"}))
    assert isinstance(ending, Ending)
    return [frame for frame in frames if isinstance(frame, DecodedFrame)], ending.problem


def n_missing(path: Path) -> int:
    with path.open("rb") as file:
        return missing_bytes(file)


FRONT, PIECES = {"movflags": "+faststart"}, {"movflags": "+frag_keyframe+empty_moov"}
KINDS = {
    "front.mp4": ("mpeg4", "aac", FRONT),
    "end.mp4": ("mpeg4", "aac", {}),
    "front.mov": ("mpeg4", "pcm_s16le", FRONT),
    "pieces.mp4": ("libx264", "aac", PIECES),
    "clip.mkv": ("libx264", "aac", {}),
    "clip.webm": ("libvpx", "libopus", {}),
    "sent.mkv": ("mpeg4", "pcm_s16le", {"live": "1"}),
    "clip.avi": ("mjpeg", "pcm_s16le", {}),
    "b.avi": ("mpeg4", "pcm_s16le", {}),
    "clip.ts": ("mpeg2video", "mp2", {}),
    "clip.mpg": ("mpeg1video", "mp2", {}),
}
PICTURES = people_frames(40)
RATES = {"mpeg2video": 25, "mpeg1video": 25}


def make(path: Path, has_sound: bool) -> Path:
    codec, sound, options = KINDS[path.name]
    tracks = [Track(PICTURES, codec, rate=RATES.get(codec, 10))]
    if has_sound:
        n_tenths = 10 * len(PICTURES) // tracks[0].rate
        tracks.append(Track(n_tenths + 3, sound))  # sound goes on for a little longer
    return write_tracks(path, *tracks, options=options)


@pytest.fixture(scope="module", params=[f"{k}, {s}" for k in KINDS for s in ("sound", "silent")])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    name, sound = request.param.split(", ")
    return make(tmp_path_factory.mktemp("whole") / name, sound == "sound")


def test_a_whole_video_is_not_named(decoders: Decoders, whole: Path) -> None:
    frames, problem = read(decoders, whole)
    assert (len(frames), problem) == (len(PICTURES), "")


@pytest.mark.parametrize("percent", [10, 30, 60, 90])
def test_a_cut_video_is_named_and_its_frames_are_read(
    decoders: Decoders, whole: Path, tmp_path: Path, percent: int
) -> None:
    content = whole.read_bytes()
    n_bytes = len(content) * percent // 100
    if whole.suffix == ".ts":
        n_bytes = n_bytes // 188 * 188 + 100  # one that is cut between packets looks whole
    path = tmp_path / whole.name
    path.write_bytes(content[:n_bytes])
    frames, problem = read(decoders, path)
    if whole.name == "sent.mkv":  # it states nothing that it does not hold
        assert problem == "" or not frames
    else:
        assert "it ends after" in problem or not frames
        assert problem
    if whole.name == "end.mp4":
        assert problem == "the end of the file is missing, and without it nothing can be read"
    elif percent >= 60:
        assert 0 < len(frames) <= len(PICTURES)


def test_a_cut_of_one_byte_is_named(decoders: Decoders, whole: Path, tmp_path: Path) -> None:
    path = tmp_path / whole.name
    path.write_bytes(whole.read_bytes()[:-1])
    frames, problem = read(decoders, path)
    assert len(frames) >= len(PICTURES) - 1
    assert bool(problem) == (whole.name != "sent.mkv")


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "mov"])
def test_gaps_and_a_late_beginning_are_no_cut(
    decoders: Decoders, tmp_path: Path, suffix: str
) -> None:
    times = [5000, 5040, 9000, 9040, 20_000]
    path = write_video(tmp_path / f"clip.{suffix}", grey_steps(5), times_ms=times)
    frames, problem = read(decoders, path)
    assert (len(frames), problem) == (5, "")


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "ts"])
def test_sound_that_goes_on_is_no_cut(decoders: Decoders, tmp_path: Path, suffix: str) -> None:
    codec, rate = ("mpeg2video", 25) if suffix == "ts" else ("mpeg4", 10)
    tracks = [Track(grey_steps(10), codec, rate=rate), Track(90, "mp2")]
    frames, problem = read(decoders, write_tracks(tmp_path / f"clip.{suffix}", *tracks))
    assert (len(frames), problem) == (10, "")


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "avi"])
def test_one_frame_is_a_whole_video(decoders: Decoders, tmp_path: Path, suffix: str) -> None:
    frames, problem = read(decoders, write_video(tmp_path / f"clip.{suffix}", grey_steps(1)))
    assert (len(frames), problem) == (1, "")


def test_frames_out_of_order_are_no_cut(decoders: Decoders, tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", PICTURES, codec="libx264", keyframe_every=20)
    assert read(decoders, path)[1] == ""


def test_a_count_in_the_header_of_an_avi_is_believed(decoders: Decoders, tmp_path: Path) -> None:
    """As a recorder leaves it that was switched off: sizes not filled in, frames missing."""
    path = write_tracks(tmp_path / "clip.avi", Track(PICTURES, "mjpeg"))
    content = bytearray(path.read_bytes()[: path.stat().st_size // 2])
    content[4:8] = bytes(4)
    path.write_bytes(content)
    assert n_missing(path) == 0
    assert "it should last 4.0 s" in read(decoders, path)[1]


def box(kind: bytes, n_bytes: int, *, is_large: bool = False) -> bytes:
    head = struct.pack(">I4sQ", 1, kind, n_bytes + 16) if is_large else b""
    return (head or struct.pack(">I4s", n_bytes + 8, kind)) + bytes(n_bytes)


SEGMENT = b"\x1a\x45\xdf\xa3\x82ab\x18\x53\x80\x67"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (box(b"ftyp", 8) + box(b"mdat", 100)[:-30], 30),
        (box(b"ftyp", 8) + box(b"mdat", 100, is_large=True)[:-30], 30),
        (box(b"ftyp", 8) + box(b"mdat", 100), 0),
        (box(b"ftyp", 8) + struct.pack(">I4s", 0, b"mdat") + bytes(50), 0),  # to the end
        (box(b"ftyp", 8) + struct.pack(">I", 9999) + b"\xff\xfe\0\1 of a phone", 0),
        (b"RIFF" + struct.pack("<I", 100) + bytes(80), 20),
        (b"RIFF" + struct.pack("<I", 100) + bytes(100), 0),
        (b"RIFF" + struct.pack("<I", 8) + bytes(8) + b"RIFF" + struct.pack("<I", 9) + b"AVIX", 5),
        (b"RIFF" + struct.pack("<I", 0xFFFFFFFF) + bytes(80), 0),
        (SEGMENT + b"\x8a" + bytes(7), 3),
        (SEGMENT + b"\x01\0\0\0\0\0\0\x0a" + bytes(10), 0),
        (SEGMENT + b"\x01" + b"\xff" * 7 + bytes(10), 0),  # not known
        (SEGMENT[:4] + b"\x82ab\xec\x81x" + SEGMENT[7:] + b"\x8a" + bytes(7), 3),
        ((b"G" + bytes(187)) * 3 + b"G" + bytes(99), 88),
        ((b"G" + bytes(187)) * 3, 0),
        ((b"1234G" + bytes(187)) * 3 + b"1234G" + bytes(95), 92),
        ((b"G" + bytes(187)) * 3 + bytes(100), 0),  # something else behind the last packet
        (b"\0\0\1\xba\x44" + bytes(9) + b"\0\0\1\xe0\0\x64" + bytes(60), 40),
        (b"\0\0\1\xba\x44" + bytes(9) + b"\0\0\1\xe0\0\x64" + bytes(100) + b"\0\0\1\xb9", 0),
        (b"\0\0\1\xba\x21" + bytes(7) + b"\0\0\1\xe0\0\x64" + bytes(60), 40),
        (b"", 0),
        (b"no video", 0),
    ],
)
def test_missing_bytes_are_counted(tmp_path: Path, content: bytes, expected: int) -> None:
    (tmp_path / "clip").write_bytes(content)
    assert n_missing(tmp_path / "clip") == expected


def test_no_beginning_makes_the_search_go_on_for_ever(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    heads = [b"\0\0\0\x08ftyp", b"RIFF\x01\0\0\0", SEGMENT, b"\0\0\1\xba", b"G" + bytes(187) + b"G"]
    for head in heads:
        for n in range(60):
            content = head + rng.integers(0, 256, size=n, dtype=np.uint8).tobytes()
            (tmp_path / "clip").write_bytes(content)
            assert n_missing(tmp_path / "clip") >= 0
