import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from fake.cards import write_card
from fake.onnx_file import field, varint
from fdps.errors import MissingDataError, ModelError, UsageError
from fdps.runtime.card import (
    HeadReidPart,
    NetworkDetectorPart,
    ReidPart,
    card_hash,
    card_text,
    check_files,
    load_card,
    read_card,
)
from fdps.runtime.guided import Guidance
from fdps.runtime.network_input import part_hash
from fdps.runtime.reid import ReidSettings
from fdps.runtime.two_step import load_two_step


@pytest.fixture
def models(shared_data: Path) -> Path:
    pytest.importorskip("onnxruntime")
    return shared_data / "models"


def test_a_card_is_read(tmp_path: Path) -> None:
    card = read_card(write_card(tmp_path / "small.toml", Path("nets")))
    assert (card.name, card.licence, card.notes) == ("small", "Apache-2.0", "small and quick")
    assert card.metrics == {"prw_c6 mAP": 0.824}
    assert card.detector.size == (416, 416)
    assert (card.detector.letterbox, card.detector.colours, card.detector.max_iou) == (
        114.0,
        "BGR",
        0.45,
    )
    assert card.reid.mean == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        (("min_score", "min_scor"), "unknown card key detector.min_scor", "detector.min_score"),
        (("licence =", "license ="), "unknown card key license", "licence"),
        (('layout = "NHWC"', 'layout = "NHCW"'), "reid.layout must be one of", "'NHWC'"),
        (("size = [256, 128]", "mean = [1, 2]"), "reid.mean must be a list of float", ""),
        (('"yolox"', '"ssd"'), "detector.kind must be one of 'yolox'", ""),
        (("= 0.3", "= 1.3"), r"detector.min_score must be in 0.0..1.0, got 1.3", ""),
        (("size = [256, 128]", "std = [1, 0, 1]"), "reid.std must be positive", ""),
        (("= 0.824", '= "good"'), "metrics must be a table of numbers", ""),
        (('"two_step"', '"three_step"'), "kind must be 'two_step', got 'three_step'", "models.md"),
        (("[detector]", "[detector"), "is not TOML", ""),
        (("[reid]", "[detector.reid]"), "unknown card key detector.reid", ""),
    ],
)
def test_what_makes_no_sense_is_named(
    change: tuple[str, str], message: str, hint: str, tmp_path: Path
) -> None:
    path = write_card(tmp_path / "a.toml", Path("nets"), change)
    with pytest.raises(ModelError, match=message) as caught:
        read_card(path)
    assert str(path) in str(caught.value)
    assert hint in caught.value.hint


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    path = write_card(tmp_path / "a.toml", Path("nets"), ('file = "nets/yolox_nano.onnx"\n', ""))
    with pytest.raises(ModelError, match=r"card key detector\.file is missing"):
        read_card(path)


def test_cards_and_networks_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no card at"):
        read_card(tmp_path / "none.toml")
    with pytest.raises(MissingDataError, match=r"no network at .*yolox_nano\.onnx"):
        load_card(write_card(tmp_path / "a.toml", Path("nets")))


@pytest.mark.long
def test_a_card_makes_the_embedder_that_code_makes(models: Path, tmp_path: Path) -> None:
    ours = load_card(write_card(tmp_path / "a.toml", models))
    theirs = load_two_step(models / "yolox_nano.onnx", models / "person_reid_retail_0248.onnx")
    picture = np.random.default_rng(0).integers(0, 256, size=(90, 70, 3), dtype=np.uint8)
    boxes = np.array([[3, 4, 40, 80]], dtype=np.float32)
    assert np.array_equal(ours.embed(picture, boxes), theirs.embed(picture, boxes))
    assert len(ours.query(picture, box=(3.0, 4.0, 40.0, 80.0)).embedding) == ours.dim == 256
    with pytest.raises(UsageError, match="has no area inside the picture"):
        ours.embed(picture, boxes + 100)


@pytest.mark.long
def test_the_hash_covers_networks_and_settings_and_nothing_else(
    models: Path, tmp_path: Path
) -> None:
    def hashed(*changes: tuple[str, str], at: Path = models) -> str:
        return card_hash(read_card(write_card(tmp_path / "a.toml", at, *changes)), tmp_path)

    moved = tmp_path / "moved"
    shutil.copytree(models, moved)
    plain = hashed()
    assert plain == load_card(tmp_path / "a.toml").model_hash
    assert plain == load_card(tmp_path / "a.toml", min_score=0.9).model_hash
    assert plain == hashed(("small and quick", "x"), ("Apache-2.0", "MIT"), at=moved)
    others = [
        hashed(("min_score = 0.3", "min_score = 0.4")),
        hashed(("min_score = 0.3", "letterbox = 0")),
        hashed(('layout = "NHWC"', 'colours = "RGB"')),
        hashed(('layout = "NHWC"', "std = [2, 2, 2]")),
    ]
    with (moved / "yolox_nano.onnx").open("ab") as file:
        file.write(b"\x0a\x00")  # an empty field: another file, the same network
    others.append(hashed(at=moved))
    assert len({plain, *others}) == 6


def test_the_least_score_of_the_command_line_counts(models: Path, tmp_path: Path) -> None:
    detector = load_card(write_card(tmp_path / "a.toml", models), min_score=0.75).detector
    assert detector.min_score == 0.75  # type: ignore[attr-defined]


@pytest.mark.long
def test_scaling_and_order_of_colours_reach_the_network(models: Path, tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, size=(90, 70, 3), dtype=np.uint8)
    box = np.array([[0, 0, 70, 90]], dtype=np.float32)

    def embedded(image: np.ndarray, *changes: tuple[str, str]) -> np.ndarray:
        return load_card(write_card(tmp_path / "a.toml", models, *changes)).embed(image, box)

    plain = embedded(picture)
    mirrored = embedded(picture[..., ::-1].copy(), ('layout = "NHWC"', 'colours = "RGB"'))
    np.testing.assert_array_equal(mirrored, plain)
    # (x * 2 - 20) / 2 = x - 10
    shifted = ('layout = "NHWC"', "scale = 2\nmean = [20, 20, 20]\nstd = [2, 2, 2]")
    bright = np.clip(picture, 10, 255)
    np.testing.assert_allclose(embedded(bright, shifted), embedded(bright - 10), atol=1e-5)


def test_a_pinned_network_is_that_network(models: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256((models / "yolox_nano.onnx").read_bytes()).hexdigest()
    pin = ("min_score = 0.3", f'sha256 = "{digest}"')
    assert load_card(write_card(tmp_path / "a.toml", models, pin)).dim == 256
    wrong = ("min_score = 0.3", f'sha256 = "{digest[::-1]}"')
    with pytest.raises(ModelError, match=r"yolox_nano\.onnx has the SHA-256 .*, the card says"):
        load_card(write_card(tmp_path / "a.toml", models, wrong))


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        (
            ("[416, 416]", "[640, 640]"),
            r"its input is \[416, 416\], not \[640, 640\]",
            "needs none",
        ),
        (("[416, 416]", "[416]"), "size must be height and width", ""),
        (
            ("min_score = 0.3", "person_class = 80"),
            "with class 80 a person",
            "classes 0 to 79: set",
        ),
        (('layout = "NHWC"', 'layout = "NCHW"'), "input must be 1×3×H×W", "set layout = 'NHWC' in"),
    ],
)
def test_a_card_that_does_not_fit_its_networks(
    change: tuple[str, str], message: str, hint: str, models: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=message) as refused:
        load_card(write_card(tmp_path / "a.toml", models, change))
    assert hint in refused.value.hint


@pytest.mark.long
def test_two_step_embedders_run_on_the_processor(models: Path, tmp_path: Path) -> None:
    card = write_card(tmp_path / "a.toml", models)
    for device in ("cuda", "cuda:1", "mps"):
        with pytest.raises(UsageError, match=f"run on the CPU, got '{device}'"):
            load_card(card, device=device)
    with pytest.raises(UsageError, match=r"device must be cpu, .*, got 'banana'"):
        load_card(card, device="banana")
    assert load_card(card, device="auto").model_hash == load_card(card, device="cpu").model_hash


# --- parts that are networks of fdps

MIXED = """\
kind = "two_step"

[detector]
kind = "network"
file = "people.safetensors"

[reid]
kind = "head"
file = "head.safetensors"

[reid.on]
file = "reid.onnx"
smoothed = true

[guidance]
min_similarity = 0.4
"""


def test_either_part_may_be_a_network_of_fdps(tmp_path: Path) -> None:
    path = tmp_path / "card.toml"
    path.write_text(MIXED)
    card = read_card(path)
    assert isinstance(card.detector, NetworkDetectorPart)
    assert card.detector.min_score is None
    assert isinstance(card.reid, HeadReidPart)
    assert isinstance(card.reid.on, ReidPart)
    assert card.reid.on.smoothed
    assert card.guidance == Guidance(0.4)
    again = tmp_path / "again.toml"
    again.write_text(card_text(card))
    assert read_card(again) == card


def test_a_card_of_our_networks_needs_what_opens_them(tmp_path: Path) -> None:
    path = tmp_path / "card.toml"
    path.write_text(MIXED)
    for name in ("people.safetensors", "head.safetensors", "reid.onnx"):
        with pytest.raises(MissingDataError, match=name.replace(".", r"\.")):
            check_files(read_card(path), tmp_path)
        (tmp_path / name).write_bytes(b"weights")
    check_files(read_card(path), tmp_path)
    with pytest.raises(UsageError, match="needs networks of fdps"):
        load_card(path)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("min_similarity = 0.4", "min_similarity = 4.0", r"must be in -1\.0\.\.1\.0, got 4\.0"),
        ('kind = "network"', 'kind = "net"', r"detector\.kind must be one of .*'network'"),
        ('kind = "head"', 'kind = "heads"', r"reid\.kind must be one of 'onnx', 'network', 'head'"),
        ('file = "people', 'min_score = 2.0\nfile = "people', r"min_score must be in 0\.0\.\.1\.0"),
    ],
)
def test_parts_that_make_no_sense(old: str, new: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "card.toml"
    assert old in MIXED
    path.write_text(MIXED.replace(old, new, 1))
    with pytest.raises(ModelError, match=words):
        read_card(path)


def test_a_setting_that_came_later_changes_no_name_by_itself(tmp_path: Path) -> None:
    file = tmp_path / "reid.onnx"
    file.write_bytes(varint(1 << 3) + varint(8) + field(7, field(2, b"graph")))
    plain = ReidSettings().hash_with(file)
    before = {
        "kind": "reid",
        "size": (),
        "layout": "NHWC",
        "colours": "BGR",
        "scale": 1.0,
        "mean": (0.0, 0.0, 0.0),
        "std": (1.0, 1.0, 1.0),
    }
    assert plain == part_hash(file, before)
    assert ReidSettings(smoothed=False).hash_with(file) == plain
    assert ReidSettings(smoothed=True).hash_with(file) != plain
