"""An exported network finds and embeds the people that the network in PyTorch does."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import fdps
from fake.systems import SYSTEMS, write_system
from fdps.embedders.info import describe, verify
from fdps.errors import MissingDataError, ModelError, UsageError
from fdps.export.folder import ExportOptions, export_network
from fdps.export.parity import compare, matched
from fdps.query import Searcher
from fdps.runtime.exported import Exported, ExportedNetwork, read_exported
from fdps.structures import BatchEmbedder, Detections, Embedder, Picture

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

QUICK = ("fdps", "seqnet", "apnet")
ONNX = ExportOptions(runtime="onnx")


def picture(height: int, width: int, seed: int = 0) -> Picture:
    """Noise in blocks, which a resized picture still shows."""
    blocks = np.random.default_rng(seed).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3))
    pixels = blocks.astype(np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    return np.ascontiguousarray(pixels[:height, :width])


def pictures() -> list[Picture]:
    """Landscape, portrait, smaller and larger than the network takes, and nothing to see."""
    sizes = [(64, 80), (100, 60), (37, 51), (200, 333)]
    seen = [picture(*size, seed) for seed, size in enumerate(sizes)]
    return [*seen, np.zeros((64, 64, 3), dtype=np.uint8)]


def exported_to(folder: Path, name: str, options: ExportOptions = ONNX) -> tuple[Path, Exported]:
    weights = write_system(folder / "source.safetensors", **SYSTEMS[name])
    return weights, export_network(weights, folder / "out", options, pictures())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Weights and their export to ONNX."""
    folder = tmp_path_factory.mktemp("exported")
    weights, _ = exported_to(folder, "fdps")
    return weights, folder / "out"


@pytest.mark.long
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in SYSTEMS]
)
def test_every_system_keeps_parity_in_onnx(tmp_path: Path, name: str) -> None:
    weights, exported = exported_to(tmp_path, name)
    parity = exported.parity
    assert parity is not None
    assert parity.holds, parity
    assert parity.unmatched == 0
    assert parity.people >= 5
    assert parity.least_cosine > 1 - 1e-5
    assert parity.largest_box_px < 1e-2
    ours, theirs = fdps.load(tmp_path / "out"), fdps.load(weights)
    assert isinstance(ours, ExportedNetwork)
    for image in pictures():
        found, wanted = ours.detect(image), theirs.detect(image)
        np.testing.assert_allclose(found.boxes, wanted.boxes, atol=1e-2)
        np.testing.assert_allclose(found.scores, wanted.scores, atol=2e-3)
        np.testing.assert_allclose(found.embeddings, wanted.embeddings, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_keeps_parity_in_openvino(tmp_path: Path, name: str) -> None:
    pytest.importorskip("openvino")
    _, exported = exported_to(tmp_path, name, ExportOptions(runtime="openvino"))
    assert exported.parity is not None
    assert exported.parity.holds, exported.parity


@pytest.mark.parametrize("system", ["qeeps", "igpn_detector"])
def test_a_system_that_looks_at_pairs_is_refused(tmp_path: Path, system: str) -> None:
    weights = write_system(tmp_path / "pairs.safetensors", system=system)
    with pytest.raises(ModelError, match="pairs of pictures"):
        export_network(weights, tmp_path / "out", ONNX, pictures())
    assert [*tmp_path.iterdir()] == [weights]


@pytest.mark.long
def test_roi_pooling_that_rounds_otherwise_makes_a_model_of_its_own(tmp_path: Path) -> None:
    weights = write_system(tmp_path / "max.safetensors", system="oim", region_pooling="max")
    exported = export_network(weights, tmp_path / "out", ONNX, pictures())
    assert exported.parity is not None
    same = exported.model_hash == fdps.load(weights).model_hash
    assert same is exported.parity.holds
    assert fdps.load(tmp_path / "out").model_hash == exported.model_hash


def test_an_export_is_an_embedder(made: tuple[Path, Path]) -> None:
    weights, out = made
    ours, theirs = fdps.load(out), fdps.load(weights)
    for kind in (Embedder, BatchEmbedder, Searcher):
        assert isinstance(ours, kind)
    assert ours.dim == theirs.dim
    assert ours.model_hash == theirs.model_hash
    image = picture(90, 120)
    boxes = np.array([[5, 5, 60, 80], [-10, 20, 30, 200]], dtype=np.float32)
    rows = ours.embed(image, boxes)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(rows, theirs.embed(image, boxes), atol=1e-4)
    assert ours.embed(image, boxes[:0]).shape == (0, ours.dim)
    with pytest.raises(UsageError, match="no area inside the picture"):
        ours.embed(image, np.array([[500, 0, 600, 50]], dtype=np.float32))
    chosen = ours.query(image, box=(5.0, 5.0, 60.0, 80.0))
    np.testing.assert_allclose(chosen.embedding, rows[0], atol=1e-6)
    together = ours.detect_batch([image, picture(90, 120, 1)])  # type: ignore[attr-defined]
    np.testing.assert_array_equal(together[0].boxes, ours.detect(image).boxes)


def test_a_least_score_leaves_out_people_and_makes_no_other_model(
    made: tuple[Path, Path],
) -> None:
    _, out = made
    every, few = fdps.load(out), fdps.load(out, min_score=1.0)
    assert len(every.detect(picture(64, 80))) > 0
    assert len(few.detect(picture(64, 80))) == 0
    assert few.model_hash == every.model_hash
    with pytest.raises(UsageError, match="min_score"):
        fdps.load(out, min_score=2.0)
    with pytest.raises(UsageError, match="run on the CPU"):
        fdps.load(out, device="cuda")


@pytest.mark.long
def test_without_parity_an_export_is_a_model_of_its_own(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    weights, out = made
    copy = Path(shutil.copytree(out, tmp_path / "copy"))
    file = copy / "exported.json"
    values = json.loads(file.read_text())
    values["parity"]["holds"] = False
    file.write_text(json.dumps(values))
    assert fdps.load(copy).model_hash == read_exported(file).own_hash
    assert fdps.load(copy).model_hash != fdps.load(weights).model_hash
    with (
        fdps.Index.create(tmp_path / "a.fdps", fdps.load(weights)) as archive,
        pytest.raises(fdps.ArchiveError),
    ):
        archive.use(fdps.load(copy))


@pytest.mark.long
def test_an_archive_may_be_continued_where_parity_holds(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    from PIL import Image

    weights, out = made
    for number in range(2):
        Image.fromarray(picture(64, 80, number)).save(tmp_path / f"{number}.png")
    with fdps.Index.create(tmp_path / "a.fdps", fdps.load(weights)) as archive:
        archive.add(str(tmp_path / "0.png"))
        before = len(archive)
        archive.use(fdps.load(out))
        archive.add(str(tmp_path / "1.png"))
        assert len(archive) > before > 0


def test_a_changed_or_missing_file_is_refused(made: tuple[Path, Path], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(made[1], tmp_path / "copy"))
    assert verify(copy).kind == "onnx float32"
    graph = copy / "regions.onnx"
    graph.write_bytes(graph.read_bytes() + b"\0")
    with pytest.raises(ModelError, match="changed after the export"):
        fdps.load(copy)
    with pytest.raises(ModelError, match="changed after the export"):
        describe(copy)
    graph.unlink()
    with pytest.raises(MissingDataError, match="no graph at"):
        fdps.load(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 99}, "99"),
        ({"dim": "many"}, "dim"),
        ({"runtime": "abacus"}, "abacus"),
        ({"graphs": {"../trunk.onnx": "0"}}, "own folder"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused(
    made: tuple[Path, Path], tmp_path: Path, change: dict[str, object], message: str
) -> None:
    copy = Path(shutil.copytree(made[1], tmp_path / "copy"))
    file = copy / "exported.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(ModelError, match=message):
        fdps.load(copy)
    file.write_text("no JSON")
    with pytest.raises(ModelError, match="describes no exported network"):
        fdps.load(copy)


@pytest.mark.long
def test_an_export_replaces_an_export_and_nothing_else(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    weights, _ = made
    full = tmp_path / "full"
    full.mkdir()
    (full / "diary.txt").touch()
    with pytest.raises(UsageError, match="is there already"):
        export_network(weights, full, ONNX, pictures()[:1])
    assert (full / "diary.txt").exists()
    out = tmp_path / "out"
    for _ in range(2):
        export_network(weights, out, ONNX, pictures()[:1])
    assert sorted(file.name for file in out.iterdir()) == [
        "exported.json",
        "picture.onnx",
        "regions.onnx",
        "trunk.onnx",
    ]
    with pytest.raises(UsageError, match="no network of fdps in PyTorch"):
        export_network(out, tmp_path / "twice", ONNX, pictures()[:1])


@pytest.mark.long
def test_regions_that_are_left_out_in_pytorch_are_left_out_in_the_export(
    tmp_path: Path,
) -> None:
    weights = write_system(tmp_path / "few.safetensors", system="fdps", rpn_test_min_score=0.5)
    exported = export_network(weights, tmp_path / "out", ONNX, pictures())
    assert exported.proposal_score == 0.5
    assert exported.parity is not None
    assert exported.parity.unmatched == 0


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_eight_bits_are_near(tmp_path: Path, runtime: str) -> None:
    pytest.importorskip(runtime)
    pytest.importorskip("nncf")
    options = ExportOptions(runtime=runtime, calibrate=pictures())  # type: ignore[arg-type]
    weights, exported = exported_to(tmp_path, "fdps", options)
    assert exported.precision == "int8"
    source, ours = fdps.load(weights), fdps.load(tmp_path / "out")
    boxes = np.array([[5, 5, 60, 60], [20, 10, 70, 50]], dtype=np.float32)
    image = pictures()[0]
    cosines = (source.embed(image, boxes) * ours.embed(image, boxes)).sum(axis=1)
    assert cosines.min() > 0.9


def test_parity_tells_people_apart_that_one_alone_finds() -> None:
    def found(*boxes: tuple[float, ...]) -> Detections:
        n = len(boxes)
        rows = np.eye(4, dtype=np.float32)[:n]
        return Detections(
            np.array(boxes, dtype=np.float32).reshape(-1, 4), np.ones(n, dtype=np.float32), rows
        )

    one, other, third = (0, 0, 10, 10), (20, 0, 30, 10), (20.4, 0, 30, 10)
    rows, columns = matched(found(one, other), found(third, one))
    assert rows.tolist() == [0, 1]
    assert columns.tolist() == [1, 0]
    assert [len(side) for side in matched(found(one, other), found(one))] == [1, 1]
    assert [len(side) for side in matched(found(), found(one))] == [0, 0]
    assert [len(side) for side in matched(found(one, one), found(one))] == [1, 1]


def test_parity_does_not_hold_without_anybody(made: tuple[Path, Path]) -> None:
    weights, out = made
    nobody = fdps.load(weights, min_score=1.0), fdps.load(out, min_score=1.0)
    assert not compare(*nobody, pictures()[:1]).holds
    box = np.array([[5, 5, 40, 50]], dtype=np.float32)
    assert compare(*nobody, pictures()[:1], [box]).holds


@pytest.mark.long
def test_the_network_for_photographs_keeps_parity_on_real_frames(
    shared_data: Path, tmp_path: Path
) -> None:
    from fdps.pictures import read_picture

    frames = sorted((shared_data / "prw_c6" / "frames").glob("*.jpg"))[::250]
    empty = sorted((shared_data / "people" / "empty").glob("*.jpg"))[:1]
    images = [read_picture(path) for path in [*frames, *empty]]
    exported = export_network("street-people", tmp_path / "out", ONNX, images)
    assert exported.parity is not None
    assert exported.parity.holds, exported.parity
    assert exported.parity.people > 0
