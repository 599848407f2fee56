"""Frames of videos: which, when, which way up; and what is not a video."""

import os
import re
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from fake.videos import grey_steps, people_frames, turned, write_video
from fdps.decoding.limits import Limits
from fdps.decoding.messages import DecodedFrame, Ending
from fdps.decoding.pool import Decoders


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    with Decoders(limits=Limits(seconds=5.0, frames=500)) as decoders:
        yield decoders


def read(
    decoders: Decoders, path: Path, every: str = "1f", skip: tuple[int, ...] = ()
) -> tuple[list[DecodedFrame], str]:
    request = {"do": "video", "path": str(path), "every": every, "skip": skip}
    *frames, ending = list(decoders.submit(request))
    assert isinstance(ending, Ending)
    return [frame for frame in frames if isinstance(frame, DecodedFrame)], ending.problem


def steps(frames: list[DecodedFrame]) -> list[int]:
    """The numbers that :func:`grey_steps` drew."""
    return [round((float(frame.image.mean()) - 40) / 4) for frame in frames]


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "avi", "ts", "mpg"])
def test_every_container_gives_all_frames_in_order(
    decoders: Decoders, tmp_path: Path, suffix: str
) -> None:
    codec = {"avi": "mjpeg", "ts": "mpeg2video", "mpg": "mpeg1video"}.get(suffix, "mpeg4")
    rate = 10 if codec == "mpeg4" else 25
    path = write_video(tmp_path / f"clip.{suffix}", grey_steps(30), codec=codec)
    frames, problem = read(decoders, path)
    assert problem == ""
    assert steps(frames) == list(range(30))
    assert [frame.frame for frame in frames] == list(range(30))
    assert [frame.offset_s for frame in frames] == pytest.approx(
        [n / rate for n in range(30)], abs=1e-3
    )
    assert frames[0].image.shape == (120, 160, 3)


def test_times_are_those_of_the_frames_not_of_a_rate(decoders: Decoders, tmp_path: Path) -> None:
    times = [0, 40, 80, 1500, 1540, 3000, 3700, 10_000]
    path = write_video(tmp_path / "vfr.mkv", grey_steps(8), times_ms=times)
    frames, _ = read(decoders, path)
    assert [frame.offset_s for frame in frames] == [ms / 1000 for ms in times]
    sampled, _ = read(decoders, path, "1s")
    assert [(frame.frame, frame.offset_s) for frame in sampled] == [
        (0, 0.0), (3, 1.5), (5, 3.0), (7, 10.0),
    ]  # fmt: skip
    assert steps(sampled) == [0, 3, 5, 7]


def test_time_begins_with_the_first_frame(decoders: Decoders, tmp_path: Path) -> None:
    path = write_video(tmp_path / "late.mkv", grey_steps(3), times_ms=[5000, 5100, 5200])
    assert [frame.offset_s for frame in read(decoders, path)[0]] == pytest.approx([0, 0.1, 0.2])


@pytest.mark.parametrize("codec", ["mpeg4", "mpeg2video", "libx264"])
def test_keyframes_and_counted_frames(decoders: Decoders, tmp_path: Path, codec: str) -> None:
    path = write_video(tmp_path / "clip.mkv", grey_steps(30), codec=codec, keyframe_every=10)
    keyframes = read(decoders, path, "keyframes")[0]
    assert steps(keyframes) == [frame.frame for frame in keyframes] == [0, 10, 20]
    assert steps(read(decoders, path, "7f")[0]) == [0, 7, 14, 21, 28]


def test_what_is_there_already_is_passed_over(decoders: Decoders, tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", grey_steps(30))
    whole = [frame.frame for frame in read(decoders, path, "0.5s")[0]]
    rest = [frame.frame for frame in read(decoders, path, "0.5s", (0, 5, 15))[0]]
    assert (whole, rest) == ([0, 5, 10, 15, 20, 25], [10, 20, 25])


@pytest.mark.parametrize("quarter_turns", [0, 1, 2, 3])
def test_a_video_is_upright(decoders: Decoders, tmp_path: Path, quarter_turns: int) -> None:
    shown = np.zeros((96, 64, 3), dtype=np.uint8)
    shown[:32, :32], shown[:32, 32:], shown[64:, :32] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    stored = np.ascontiguousarray(np.rot90(shown, quarter_turns))  # counter-clockwise
    path = turned(write_video(tmp_path / "clip.mp4", [stored] * 3), quarter_turns)
    frames, _ = read(decoders, path)
    assert frames[0].image.shape == shown.shape
    for rows, columns in ((16, 16), (16, 48), (80, 16), (80, 48)):
        expected, found = shown[rows, columns].astype(int), frames[0].image[rows, columns]
        assert np.abs(found - expected).max() < 40


@pytest.mark.parametrize(
    ("created", "expected"),
    [
        ("2026-05-02T14:31:07.000000Z", "2026-05-02T14:31:07+00:00"),
        ("1904-01-01T00:00:00.000000Z", None),  # a camera without a clock
        ("", None),
    ],
)
def test_the_container_tells_when(
    decoders: Decoders, tmp_path: Path, created: str, expected: str | None
) -> None:
    path = write_video(tmp_path / "clip.mp4", grey_steps(2), created=created)
    assert {frame.time for frame in read(decoders, path)[0]} == {expected}


def test_frames_may_change_their_size(decoders: Decoders, tmp_path: Path) -> None:
    parts = [
        write_video(tmp_path / f"{n}.ts", grey_steps(5, size), codec="mpeg2video")
        for n, size in enumerate([(160, 120), (96, 64)])
    ]
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    frames, _ = read(decoders, path)
    assert {frame.image.shape for frame in frames} == {(120, 160, 3), (64, 96, 3)}


def test_a_torn_video_gives_what_can_be_read(decoders: Decoders, tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", people_frames(60), options={"movflags": "+faststart"})
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    frames, problem = read(decoders, path)
    assert 10 < len(frames) < 50
    last = frames[-1].offset_s
    assert last is not None
    assert re.fullmatch(r"it ends after (\d\.\d) s: it should last 5\.9 s", problem)
    assert float(problem.split()[3]) == pytest.approx(last, abs=0.15)


@pytest.mark.parametrize("suffix", [".mkv", ".ts"])
def test_a_torn_stream_gives_what_can_be_read(
    decoders: Decoders, tmp_path: Path, suffix: str
) -> None:
    path = write_video(tmp_path / f"clip{suffix}", people_frames(60), codec="mpeg2video")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert 10 < len(read(decoders, path)[0]) < 50


def test_too_many_frames_are_refused(decoders: Decoders, tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mkv", grey_steps(1) * 600)
    assert read(decoders, path, "100f")[1] == "more than 500 frames"


def audio_only(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 8000), dtype=np.int16), format="s16", layout="mono"
        )
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_what_is_no_video_is_named(decoders: Decoders, tmp_path: Path) -> None:
    headless = write_video(tmp_path / "headless.mp4", grey_steps(20))  # its index is at the end
    headless.write_bytes(headless.read_bytes()[:-400])
    audio_only(tmp_path / "song.mkv")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video " * 500)
    reasons = {path.name: read(decoders, path) for path in sorted(tmp_path.iterdir())}
    assert all(not frames for frames, _ in reasons.values())
    assert reasons["song.mkv"][1] == "it holds no video"
    assert all(problem for _, problem in reasons.values())


PLAYLISTS = {
    "hls.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n",
    "concat.mp4": "ffconcat version 1.0\nfile '{}'\n",
    "dash.mp4": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" '
    'mediaPresentationDuration="PT2S"><Period><AdaptationSet><Representation id="0">'
    "<BaseURL>{}</BaseURL></Representation></AdaptationSet></Period></MPD>",
    "sdp.mp4": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    "url.mp4": "#EXTM3U\n#EXTINF:2,\nhttp://127.0.0.1:9/{}\n#EXT-X-ENDLIST\n",
}


@pytest.mark.parametrize("name", sorted(PLAYLISTS))
def test_lists_of_other_files_are_refused(decoders: Decoders, tmp_path: Path, name: str) -> None:
    inner = write_video(tmp_path / "inner.ts", grey_steps(5), codec="mpeg2video")
    (tmp_path / name).write_text(PLAYLISTS[name].format(inner))
    frames, problem = read(decoders, tmp_path / name)
    assert frames == []
    assert "not a video that fdps reads" in problem


@pytest.mark.skipif(os.name != "posix", reason="pipes with names")
def test_what_a_list_names_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "canary.ts")
    with Decoders(limits=Limits(seconds=8.0)) as decoders:
        for name, text in PLAYLISTS.items():
            (tmp_path / name).write_text(text.format(tmp_path / "canary.ts"))
            _, problem = read(decoders, tmp_path / name)
            assert not problem.startswith("decoding took"), "it waits for a writer of the pipe"


def reference_movie(path: Path, target: Path) -> None:
    """A QuickTime file whose pictures are in another file, after the model of mov's ``dref``."""
    content = write_video(path, grey_steps(5)).read_bytes()
    url = content.index(b"url ")
    location = str(target).encode() + b"\0"
    entry = struct.pack(">I", 12 + len(location)) + b"url \0\0\0\0" + location
    grown = len(entry) - 12
    data = bytearray(content[: url - 4] + entry + content[url + 8 :])
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        at = content.index(box) - 4
        (size,) = struct.unpack_from(">I", content, at)
        struct.pack_into(">I", data, at, size + grown)
    path.write_bytes(data)


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_the_kernel_sees_no_other_file_and_no_socket(tmp_path: Path) -> None:
    inner = write_video(tmp_path / "inner.ts", grey_steps(5), codec="mpeg2video")
    for name, text in PLAYLISTS.items():
        (tmp_path / name).write_text(text.format(inner))
    write_video(tmp_path / "clip.mp4", people_frames(20), codec="mpeg4")
    reference_movie(tmp_path / "reference.mov", inner)
    png_chunk = struct.pack(">I", 4) + b"junkabcd" + struct.pack(">I", zlib.crc32(b"junkabcd"))
    (tmp_path / "odd.png").write_bytes(b"\x89PNG\r\n\x1a\n" + png_chunk)
    traced = tmp_path / "trace.txt"
    command = [
        "strace", "-f", "-o", str(traced), "-e", "trace=%file,%network,openat2",
        sys.executable, "-P", "-m", "fdps.decoding.worker", "10", "1500000000", "1000",
    ]  # fmt: skip
    names = ["clip.mp4", "reference.mov", *PLAYLISTS, "odd.png"]
    with Decoders(limits=Limits(seconds=20.0), command=command) as decoders:
        ready = None
        for name in names:
            request = {"do": "video" if name != "odd.png" else "picture", "every": "1f"}
            list(decoders.submit({**request, "path": str(tmp_path / name)}))
            ready = ready or len(traced.read_text().splitlines())
    lines = traced.read_text().splitlines()
    start = next(n for n, line in enumerate(lines) if "clip.mp4" in line)
    touched = [
        line
        for line in lines[start:]
        if "+++" not in line and "---" not in line and "AT_EMPTY_PATH" not in line
    ]
    allowed = [str(tmp_path / name) for name in names]
    strange = [line for line in touched if not any(f'"{name}"' in line for name in allowed)]
    assert len(touched) >= len(names)
    assert not strange, "\n".join(strange)


def test_nothing_can_be_opened_while_a_file_is_decoded() -> None:
    code = (
        "from fdps.decoding.limits import descriptors\n"
        "import socket\n"
        "with descriptors(0):\n"
        "    for attempt in (lambda: open('/etc/hostname'), socket.socket):\n"
        "        try: attempt()\n"
        "        except OSError as error: print(error.errno)\n"
        "open('/etc/hostname').close()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["24", "24"]
