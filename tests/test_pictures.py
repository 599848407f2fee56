import contextlib
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import simplejpeg
from PIL import Image, TiffImagePlugin

from fdps import pictures
from fdps.errors import MissingDataError, PictureError
from fdps.pictures import MAX_PIXELS, picture_size, read_alpha, read_picture

# Six flat patches, all different: no two of the eight orientations look alike.
PATCHES = np.array(
    [
        [[250, 10, 10], [10, 250, 10], [10, 10, 250]],
        [[250, 250, 10], [10, 250, 250], [250, 10, 250]],
    ],
    dtype=np.uint8,
)
PICTURE = PATCHES.repeat(32, axis=0).repeat(32, axis=1)  # 96 wide, 64 high


def save(
    path: Path, picture: np.ndarray = PICTURE, orientation: int = 1, **options: object
) -> Path:
    exif = Image.Exif()
    if orientation != 1:
        exif[0x0112] = orientation
    Image.fromarray(picture).save(path, exif=exif, **options)
    return path


def as_stored(orientation: int) -> np.ndarray:
    """What a camera that was held in this way writes for PICTURE (EXIF 2.32, 4.6.4)."""
    rows, columns = PICTURE, PICTURE.transpose(1, 0, 2)
    return {
        1: rows,
        2: rows[:, ::-1],
        3: rows[::-1, ::-1],
        4: rows[::-1],
        5: columns,
        6: columns[::-1],
        7: columns[::-1, ::-1],
        8: columns[:, ::-1],
    }[orientation]


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "bmp"])
def test_reads_each_format(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a.{suffix}")
    picture = read_picture(path)
    assert picture.shape == (64, 96, 3)
    assert picture.flags.writeable
    assert np.abs(picture[16::32, 16::32].astype(int) - PATCHES).max() < 40  # JPEG loses a little
    assert picture_size(path) == (96, 64)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])  # BMP has no EXIF
@pytest.mark.parametrize("orientation", range(1, 9))
def test_picture_is_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    path = save(tmp_path / f"a.{suffix}", np.ascontiguousarray(as_stored(orientation)), orientation)
    assert picture_size(path) == (96, 64)
    assert np.abs(read_picture(path)[16::32, 16::32].astype(int) - PATCHES).max() < 40


def test_format_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert (read_picture(path) == PICTURE).all()


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("L", [77, 77, 77]),
        ("1", [255, 255, 255]),
        ("P", [10, 200, 10]),
        ("RGBA", [10, 200, 10]),
        ("LA", [77, 77, 77]),
        ("I;16", [77, 77, 77]),
    ],
)
def test_other_modes_become_rgb(tmp_path: Path, mode: str, expected: list[int]) -> None:
    colour = Image.new("RGB", (8, 8), (10, 200, 10))
    pictures = {
        "L": Image.new("L", (8, 8), 77),
        "1": Image.new("1", (8, 8), 1),
        "P": colour.quantize(4),
        "RGBA": colour.convert("RGBA"),
        "LA": Image.new("LA", (8, 8), (77, 0)),
        "I;16": Image.new("I;16", (8, 8), 77 * 256),
    }
    pictures[mode].save(tmp_path / "a.png")
    assert read_picture(tmp_path / "a.png")[0, 0].tolist() == expected


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_of_unknown_range_are_refused(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (8, 8), 7).save(tmp_path / "a.tif")
    with pytest.raises(PictureError, match=r"a\.tif cannot be decoded: 32 bits per channel"):
        read_picture(tmp_path / "a.tif")


def test_palette_with_transparency_does_not_warn(tmp_path: Path) -> None:
    Image.new("P", (8, 8)).save(tmp_path / "a.png", transparency=b"\0\x80")
    assert read_picture(tmp_path / "a.png").shape == (8, 8, 3)


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 0, 0, 255)).save(tmp_path / "a.jpg")
    assert read_picture(tmp_path / "a.jpg").max() < 10


def test_damaged_exif_does_not_spoil_the_picture(tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert read_picture(tmp_path / "a.jpg").shape == PICTURE.shape
    assert picture_size(tmp_path / "a.jpg") == (96, 64)


def test_unknown_orientation_counts_as_upright(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", orientation=77)
    assert picture_size(path) == (96, 64)
    assert read_picture(path).shape == PICTURE.shape


@pytest.mark.parametrize("read", [read_picture, picture_size])
def test_absent_file(tmp_path: Path, read: object) -> None:
    for path in (tmp_path / "a.jpg", tmp_path):  # nothing, a folder
        with pytest.raises(MissingDataError, match="no picture at"):
            read(path)


def test_name_that_no_file_can_have(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="name too long"):
        read_picture(tmp_path / ("a" * 300))


DETAILED = np.random.default_rng(0).integers(256, size=(67, 101, 3)).astype(np.uint8)


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("options", [{"quality": 30}, {"quality": 95}, {"progressive": True}])
@pytest.mark.parametrize("orientation", [1, 6])
def test_both_decoders_of_jpeg_give_the_same_pixels(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    subsampling: str,
    options: dict[str, object],
    orientation: int,
) -> None:
    colour, grey = tmp_path / "colour.jpg", tmp_path / "grey.jpg"
    save(colour, DETAILED, orientation, subsampling=subsampling, **options)
    save(grey, DETAILED[..., 0], orientation, **options)
    for path in (colour, grey):
        fast = read_picture(path)
        assert fast.flags.writeable
        with monkeypatch.context() as without:
            without.setattr(pictures, "simplejpeg", None)
            assert np.array_equal(read_picture(path), fast)


def test_fast_decoder_is_the_one_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used = []

    def decode(data: bytes, **options: object) -> np.ndarray:
        used.append(data)
        return simplejpeg.decode_jpeg(data, **options)

    monkeypatch.setattr(pictures, "simplejpeg", SimpleNamespace(decode_jpeg=decode))
    read_picture(save(tmp_path / "a.jpg"))
    read_picture(save(tmp_path / "a.png"))
    assert len(used) == 1


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "bmp"])
def test_truncated_picture_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, size=(64, 96, 3), dtype=np.uint8)
    save(path, noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(PictureError, match=f"a.{suffix} "):
        read_picture(path)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\xff\xd8\xff", b"%!PS-Adobe-3.0 EPSF"])
@pytest.mark.parametrize("read", [read_picture, picture_size])
def test_other_file_is_refused(tmp_path: Path, content: bytes, read: object) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(PictureError, match=r"a\.jpg is not a picture") as caught:
        read(tmp_path / "a.jpg")
    assert "JPEG" in caught.value.hint


def test_format_outside_the_list_is_refused(tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "a.gif")
    with pytest.raises(PictureError, match="is not a picture"):
        read_picture(tmp_path / "a.gif")


@pytest.mark.parametrize("side", [10_000, 60_000])  # Pillow would warn; Pillow would refuse
@pytest.mark.parametrize("read", [read_picture, picture_size])
def test_bomb_is_refused_unopened(tmp_path: Path, side: int, read: object) -> None:
    assert side**2 > MAX_PIXELS
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")]
    png = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + png)
    with pytest.raises(PictureError, match="more than 89,478,485 pixels"):
        read(tmp_path / "a.png")


def test_damage_anywhere_gives_a_picture_or_a_picture_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "broken"
    for suffix in ("jpg", "png", "webp", "tif", "bmp"):
        content = np.frombuffer(save(tmp_path / f"a.{suffix}").read_bytes(), dtype=np.uint8)
        for _ in range(30):
            broken = content.copy()
            where = rng.integers(0, min(len(broken), 300), size=4)  # headers first
            broken[where] = rng.integers(0, 256, size=4)
            path.write_bytes(broken.tobytes())
            for read in (picture_size, read_picture):
                with contextlib.suppress(PictureError):
                    read(path)


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
@pytest.mark.parametrize("read", [read_picture, picture_size])
def test_several_pictures_in_a_file_are_refused(
    tmp_path: Path, suffix: str, read: Callable[[Path], object]
) -> None:
    first, *others = (Image.fromarray(PICTURE // k) for k in (1, 2, 3))
    first.save(tmp_path / f"a.{suffix}", save_all=True, append_images=others)
    with pytest.raises(PictureError, match=rf"a\.{suffix} holds 3 pictures"):
        read(tmp_path / f"a.{suffix}")


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_an_animation_of_one_picture_is_read(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(PICTURE).save(tmp_path / f"a.{suffix}", save_all=True)
    assert read_picture(tmp_path / f"a.{suffix}").shape == PICTURE.shape


def test_a_preview_in_a_tiff_is_no_second_picture(tmp_path: Path) -> None:
    with TiffImagePlugin.AppendingTiffWriter(str(tmp_path / "a.tif"), new=True) as pages:
        Image.fromarray(PICTURE).save(pages, "TIFF")
        pages.newFrame()
        Image.fromarray(PICTURE[::4, ::4]).save(pages, "TIFF", tiffinfo={254: 1})
    assert np.array_equal(read_picture(tmp_path / "a.tif"), PICTURE)
    assert picture_size(tmp_path / "a.tif") == (96, 64)


def test_a_preview_in_a_jpeg_is_no_second_picture(tmp_path: Path) -> None:
    picture, preview = Image.fromarray(PICTURE), Image.fromarray(PICTURE[::4, ::4])
    picture.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[preview])
    assert read_picture(tmp_path / "a.jpg").shape == PICTURE.shape


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_heic_is_upright(tmp_path: Path, orientation: int) -> None:
    pytest.importorskip("pillow_heif")
    exif, path = Image.Exif(), tmp_path / "a.heic"
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(as_stored(orientation)))
    stored.save(path, exif=exif.tobytes())  # as bytes: only then it writes how to turn it
    assert picture_size(path) == (96, 64)
    assert np.abs(read_picture(path)[16::32, 16::32].astype(int) - PATCHES).max() < 40


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_the_density_for_printing_changes_nothing(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a.{suffix}", dpi=(300, 100))
    assert picture_size(path) == (96, 64)
    assert read_picture(path).shape == PICTURE.shape


@pytest.mark.parametrize("orientation", range(1, 9))
def test_alpha_is_turned_like_the_picture(tmp_path: Path, orientation: int) -> None:
    alpha = PICTURE[:, :, 1]
    stored = as_stored(orientation)
    rgba = np.dstack([stored, stored[:, :, 1]])
    path = save(tmp_path / "cut.png", rgba, orientation)
    found = read_alpha(path)
    assert found is not None
    np.testing.assert_array_equal(found, alpha)
    assert found.shape == read_picture(path).shape[:2]


def test_alpha_of_a_palette_is_read_and_an_opaque_picture_has_none(tmp_path: Path) -> None:
    palette = Image.fromarray(np.arange(4, dtype=np.uint8).reshape(2, 2)).convert("P")
    palette.save(tmp_path / "palette.png", transparency=0)
    found = read_alpha(tmp_path / "palette.png")
    assert found is not None
    assert sorted(set(found.ravel().tolist())) == [0, 255]
    assert read_alpha(save(tmp_path / "opaque.png")) is None
    with pytest.raises(MissingDataError, match="no picture at"):
        read_alpha(tmp_path / "gone.png")
