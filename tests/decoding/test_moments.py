"""Frames found again by their time are, pixel by pixel, those that were read at first."""

from collections.abc import Iterator
from pathlib import Path

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


def ask(decoders: Decoders, request: dict[str, object]) -> tuple[list[DecodedFrame], str]:
    *frames, ending = list(decoders.submit(request))
    assert isinstance(ending, Ending)
    return [frame for frame in frames if isinstance(frame, DecodedFrame)], ending.problem


def read_twice(
    decoders: Decoders, path: Path, chosen: list[int], every: str = "1f"
) -> tuple[list[DecodedFrame], list[DecodedFrame]]:
    frames, _ = ask(decoders, {"do": "video", "path": str(path), "every": every})
    first = [frames[k] for k in chosen]
    moments = [(frame.frame, frame.offset_s) for frame in first]
    again, problem = ask(decoders, {"do": "moments", "path": str(path), "moments": moments})
    assert problem == ""
    return first, again


def assert_same(first: list[DecodedFrame], again: list[DecodedFrame]) -> None:
    assert [(f.frame, f.offset_s) for f in again] == [(f.frame, f.offset_s) for f in first]
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.image, two.image)


@pytest.mark.long
@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "avi", "ts", "mpg"])
def test_every_container(decoders: Decoders, tmp_path: Path, suffix: str) -> None:
    codec = {"avi": "mjpeg", "ts": "mpeg2video", "mpg": "mpeg1video"}.get(suffix, "mpeg4")
    path = write_video(tmp_path / f"clip.{suffix}", people_frames(60), codec=codec)
    assert_same(*read_twice(decoders, path, [0, 1, 11, 12, 13, 37, 58, 59]))


def test_a_varying_rate_and_a_turned_camera(decoders: Decoders, tmp_path: Path) -> None:
    times = [0, 40, 500, 505, 2000, 2001, 2600, 9000]
    path = write_video(tmp_path / "clip.mp4", grey_steps(8), times_ms=times)
    assert_same(*read_twice(decoders, turned(path, 1), [3, 4, 5, 7]))


def test_keyframes(decoders: Decoders, tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", grey_steps(40), keyframe_every=10)
    first, again = read_twice(decoders, path, [1, 3], every="keyframes")
    assert [frame.frame for frame in first] == [10, 30]
    assert_same(first, again)


def test_they_come_by_time(decoders: Decoders, tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", grey_steps(20))
    request = {"do": "moments", "path": str(path), "moments": [(9, 0.9), (2, 0.2)]}
    frames, problem = ask(decoders, request)
    assert ([frame.frame for frame in frames], problem) == ([2, 9], "")


@pytest.mark.parametrize("offset_s", [0.55, 99.0])
def test_a_moment_without_a_frame_is_named(
    decoders: Decoders, tmp_path: Path, offset_s: float
) -> None:
    path = write_video(tmp_path / "clip.mp4", grey_steps(20))
    moments = [(2, 0.2), (7, offset_s)]
    frames, problem = ask(decoders, {"do": "moments", "path": str(path), "moments": moments})
    assert [frame.frame for frame in frames] == [2]
    assert problem == f"it has no frame at {offset_s:.3f} s"


def test_no_video_is_named(decoders: Decoders, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"not a video at all")
    frames, problem = ask(decoders, {"do": "moments", "path": str(path), "moments": [(0, 0.0)]})
    assert not frames
    assert problem.startswith("not a video that fdps reads")
