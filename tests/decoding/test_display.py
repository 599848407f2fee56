"""A frame is what a player shows: mirrored, turned, of square pixels, of the right stream."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image

from fake.videos import TURNS, Track, grey_steps, with_matrix, write_tracks, write_video
from fdps.decoding.limits import Limits
from fdps.decoding.messages import DecodedFrame, Ending
from fdps.decoding.pool import Decoders

# Six flat patches, all different: no two of the eight ways to show them look alike.
PATCHES = np.array(
    [
        [[230, 20, 20], [20, 230, 20], [20, 20, 230]],
        [[230, 230, 20], [20, 230, 230], [230, 20, 230]],
    ],
    dtype=np.uint8,
)
PICTURE = PATCHES.repeat(32, axis=0).repeat(32, axis=1)  # 96 wide, 64 high
LOSS = 60  # by which codecs change flat colours


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    with Decoders(limits=Limits(seconds=5.0, frames=500)) as decoders:
        yield decoders


def read(decoders: Decoders, path: Path) -> tuple[list[DecodedFrame], str]:
    *frames, ending = list(decoders.submit({"do": "video", "path": str(path), "every": "1f"}))
    assert isinstance(ending, Ending)
    return [frame for frame in frames if isinstance(frame, DecodedFrame)], ending.problem


def read_again(decoders: Decoders, path: Path, frame: DecodedFrame) -> np.ndarray:
    request = {"do": "moments", "path": str(path), "moments": [(frame.frame, frame.offset_s)]}
    again, ending = list(decoders.submit(request))
    assert isinstance(again, DecodedFrame)
    assert ending == Ending()
    return again.image


def patches(image: np.ndarray) -> np.ndarray:
    """The colours in the middle of the patches, whichever way they lie."""
    rows, columns = (2, 3) if image.shape[1] > image.shape[0] else (3, 2)
    height, width = image.shape[0] // rows, image.shape[1] // columns
    return image[height // 2 :: height, width // 2 :: width].astype(int)


def shown(matrix: tuple[int, int, int, int]) -> np.ndarray:
    """PATCHES where the matrix sends them, one by one."""
    a, b, c, d = matrix
    places = {(a * x + c * y, b * x + d * y): PATCHES[y, x] for y in range(2) for x in range(3)}
    left, top = (min(place[axis] for place in places) for axis in (0, 1))
    width, height = (
        1 + max(p[axis] for p in places) - start for axis, start in ((0, left), (1, top))
    )
    picture = np.zeros((height, width, 3), dtype=int)
    for (x, y), colour in places.items():
        picture[y - top, x - left] = colour
    return picture


MIRRORED = [(-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0), (0, -1, -1, 0)]


@pytest.mark.parametrize("matrix", [*TURNS, *MIRRORED])
def test_all_eight_ways_to_hold_a_camera(
    decoders: Decoders, tmp_path: Path, matrix: tuple[int, int, int, int]
) -> None:
    path = with_matrix(write_video(tmp_path / "clip.mp4", [PICTURE] * 3), matrix)
    frame = read(decoders, path)[0][0]
    assert np.abs(patches(frame.image) - shown(matrix)).max() < LOSS
    np.testing.assert_array_equal(read_again(decoders, path, frame), frame.image)


@pytest.mark.parametrize("scale", [0.5, 2, 3])
@pytest.mark.parametrize("matrix", [TURNS[1], MIRRORED[0]])
def test_a_matrix_that_also_enlarges_shows_the_same(
    decoders: Decoders, tmp_path: Path, matrix: tuple[int, int, int, int], scale: float
) -> None:
    path = write_video(tmp_path / "clip.mp4", [PICTURE] * 2)
    with_matrix(path, [scale * step for step in matrix])
    assert np.abs(patches(read(decoders, path)[0][0].image) - shown(matrix)).max() < LOSS


@pytest.mark.parametrize("degrees", [-30, 0, 10, 44, 80, 100, 170, 200, 271])
def test_other_angles_become_the_nearest_right_angle(
    decoders: Decoders, tmp_path: Path, degrees: int
) -> None:
    turn = np.exp(1j * np.radians(degrees))
    path = write_video(tmp_path / "clip.mp4", [PICTURE] * 2)
    with_matrix(path, (turn.real, turn.imag, -turn.imag, turn.real))
    expected = shown(TURNS[round(degrees / 90) % 4])
    assert np.abs(patches(read(decoders, path)[0][0].image) - expected).max() < LOSS


def test_a_matrix_of_zeros_shows_the_picture_as_it_is(decoders: Decoders, tmp_path: Path) -> None:
    path = with_matrix(write_video(tmp_path / "clip.mp4", [PICTURE] * 2), (0, 0, 0, 0))
    assert np.abs(patches(read(decoders, path)[0][0].image) - PATCHES).max() < LOSS


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "avi"])
@pytest.mark.parametrize(("aspect", "width"), [("16/11", 140), ("8/9", 85), ("2", 192), ("1", 96)])
def test_pixels_are_square_when_shown(
    decoders: Decoders, tmp_path: Path, suffix: str, aspect: str, width: int
) -> None:
    path = tmp_path / f"clip.{suffix}"
    write_tracks(path, Track([PICTURE] * 3, aspect=Fraction(aspect)))
    frame = read(decoders, path)[0][0]
    assert frame.image.shape == (64, width, 3)
    assert np.abs(patches(frame.image) - PATCHES).max() < LOSS
    np.testing.assert_array_equal(read_again(decoders, path, frame), frame.image)


@pytest.mark.parametrize("suffix", ["ts", "mpg"])
def test_the_codec_may_know_the_shape_of_pixels(
    decoders: Decoders, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"clip.{suffix}"
    wide = Fraction(16 * 64, 9 * 96)  # MPEG-2 states the shape of the whole picture: 16:9
    write_tracks(path, Track([PICTURE] * 5, codec="mpeg2video", aspect=wide, rate=25))
    assert read(decoders, path)[0][0].image.shape == (64, 114, 3)


def test_pixels_are_made_square_before_the_picture_is_turned(
    decoders: Decoders, tmp_path: Path
) -> None:
    path = write_tracks(tmp_path / "clip.mp4", Track([PICTURE] * 3, aspect=Fraction(2)))
    image = read(decoders, with_matrix(path, TURNS[1]))[0][0].image
    assert image.shape == (192, 64, 3)
    assert np.abs(patches(image) - shown(TURNS[1])).max() < LOSS


def test_a_shape_that_makes_the_picture_too_large_is_named(
    decoders: Decoders, tmp_path: Path
) -> None:
    path = write_tracks(
        tmp_path / "clip.mkv", Track(grey_steps(2, (800, 600)), aspect=Fraction(255))
    )
    assert read(decoders, path) == ([], "more than 89,478,485 pixels")


@pytest.mark.long
def test_many_frames_need_no_more_memory_than_few(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mkv", grey_steps(1, (1920, 1080)) * 120, codec="mjpeg")
    with_matrix_free = Limits(seconds=20.0, memory=900_000_000)
    with Decoders(limits=with_matrix_free) as decoders:
        frames = sum(
            isinstance(event, DecodedFrame)
            for event in decoders.submit({"do": "video", "path": str(path), "every": "1f"})
        )
    assert frames == 120


def test_pictures_with_notes_of_their_own_are_read(decoders: Decoders, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "camera"
    jpeg = tmp_path / "a.jpg"
    Image.fromarray(PICTURE).save(jpeg, exif=exif)
    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuvj420p"
        for n in range(3):
            packet = av.Packet(jpeg.read_bytes())
            packet.pts = packet.dts = n
            packet.time_base, packet.stream = Fraction(1, 10), stream
            container.mux(packet)
    frames, problem = read(decoders, tmp_path / "clip.mkv")
    assert (len(frames), problem) == (3, "")
    assert np.abs(patches(frames[0].image) - PATCHES).max() < LOSS


SENT_SMALL, SENT_LARGE = (
    Track(grey_steps(5, size), "mpeg2video", rate=25) for size in ((64, 48), (160, 120))
)
SMALL, LARGE = grey_steps(5, (64, 48)), grey_steps(5, (160, 120))
COVER = [np.zeros((240, 320, 3), dtype=np.uint8)]


@pytest.mark.parametrize(
    ("suffix", "tracks", "size"),
    [
        ("ts", [SENT_SMALL, SENT_LARGE], (160, 120)),
        ("ts", [SENT_LARGE, SENT_SMALL], (160, 120)),
        ("mkv", [Track(SMALL, is_default=False), Track(LARGE, is_default=True)], (160, 120)),
        ("mkv", [Track(LARGE, is_default=False), Track(SMALL, is_default=True)], (64, 48)),
        ("mkv", [Track(SMALL, is_default=True), Track(LARGE, is_default=True)], (160, 120)),
        ("mp4", [Track(COVER, "png", marks=Disposition.attached_pic), Track(SMALL)], (64, 48)),
        ("mp4", [Track(COVER, "mjpeg", is_default=True), Track(SMALL, is_default=False)], (64, 48)),
        ("mp4", [Track(COVER, "mjpeg")], (320, 240)),
    ],
    ids=["large second", "large first", "default large", "default small", "both default", "cover",
         "one picture beside a video", "one picture alone"],
)  # fmt: skip
def test_the_stream_is_the_one_that_players_choose(
    decoders: Decoders, tmp_path: Path, suffix: str, tracks: list[Track], size: tuple[int, int]
) -> None:
    path = write_tracks(tmp_path / f"clip.{suffix}", *tracks)
    frames, problem = read(decoders, path)
    assert problem == ""
    assert {frame.image.shape[1::-1] for frame in frames} == {size}
    expected = max(len(t.frames) for t in tracks if t.frames[0].shape[1::-1] == size)
    assert len(frames) == expected
    np.testing.assert_array_equal(read_again(decoders, path, frames[-1]), frames[-1].image)


def test_sound_with_a_cover_is_no_video(decoders: Decoders, tmp_path: Path) -> None:
    cover = Track(COVER, "png", marks=Disposition.attached_pic)
    path = write_tracks(tmp_path / "song.mp4", Track(20, "aac"), cover)
    assert read(decoders, path) == ([], "it holds no video, only a cover or stills")
