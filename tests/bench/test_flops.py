"""Operations against counts by hand, in every runtime."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fake.onnx_graph import node, write_graph
from fake.systems import write_system
from fdps.bench.flops import counting, onnx_flops, openvino_flops
from fdps.embedders import load
from fdps.export.folder import ExportOptions, export_network
from fdps.export.stages import look, parts_of
from fdps.models.roi_align import align_sparse
from fdps.runtime.yolox import YoloxDetector, YoloxSettings

CONVOLUTION = 2 * (16 * 8 * 6) * (4 * 3 * 3)  # outputs × weights of each; two groups of four
PRODUCT = 2 * 16 * 48 * 5


def test_convolutions_and_products_of_torch_are_counted_by_hand() -> None:
    convolve = nn.Conv2d(8, 16, 3, padding=1, groups=2)
    project = nn.Linear(48, 5, bias=False)
    with torch.inference_mode(), counting(object()) as meter:
        maps = convolve(torch.rand(1, 8, 8, 6))
        assert meter() == CONVOLUTION
        project(maps.reshape(16, 48)).relu()
        assert meter() == CONVOLUTION + PRODUCT


def test_roi_align_is_not_counted_in_the_way_of_the_cpu_either() -> None:
    features, boxes = torch.rand(1, 4, 8, 8), [torch.tensor([[0.0, 0, 60, 60]])]
    with torch.inference_mode(), counting(object()) as meter:
        align_sparse(features, boxes, (7, 7), 16, 2)
        assert meter() == 0


def test_operators_of_onnx_are_counted_by_hand(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(0)
    path = network(tmp_path / "net.onnx", rng)
    # 8×6 pixels; the transposed convolution meets 2·2 weights of 3 channels with each of 16·8·6.
    turned = 2 * (16 * 8 * 6) * (3 * 2 * 2)
    gemm, matmul = 2 * 48 * 16 * 5, 2 * 48 * 5 * 7
    given = {"maps": rng.random((1, 8, 8, 6), dtype=np.float32)}
    assert onnx_flops(path, given) == CONVOLUTION + turned + gemm + matmul


def test_operators_of_eight_bits_count_as_those_of_float32(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    make, proto = onnx.helper, onnx.TensorProto
    arrays = {
        "weights": np.ones((16, 4, 3, 3), np.int8),
        "matrix": np.ones((6, 7), np.int8),
        "step": np.array(1, np.float32),
        "zero": np.array(0, np.uint8),
        "level": np.array(0, np.int8),
    }
    nodes = [
        make.make_node(
            "QLinearConv",
            ["maps", "step", "zero", "weights", "step", "level", "step", "zero"],
            ["a"],
            group=2,
            pads=[1, 1, 1, 1],
        ),
        make.make_node(
            "QLinearMatMul",
            ["a", "step", "zero", "matrix", "step", "level", "step", "zero"],
            ["b"],
        ),
    ]
    graph = make.make_graph(
        nodes,
        "eight",
        [make.make_tensor_value_info("maps", proto.UINT8, (1, 8, 8, 6))],
        [make.make_tensor_value_info("b", proto.UINT8, (1, 16, 8, 7))],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    opset = [make.make_opsetid("", 17)]
    onnx.save(make.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "net.onnx")
    given = {"maps": np.ones((1, 8, 8, 6), np.uint8)}
    assert onnx_flops(tmp_path / "net.onnx", given) == CONVOLUTION + 2 * 16 * 8 * 6 * 7


def test_operators_of_openvino_are_counted_by_hand(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    rng = np.random.default_rng(0)
    path = network(tmp_path / "net.onnx", rng)  # which OpenVINO reads, too
    given = {"maps": rng.random((1, 8, 8, 6), dtype=np.float32)}
    turned, gemm, matmul = 2 * (16 * 8 * 6) * (3 * 2 * 2), 2 * 48 * 16 * 5, 2 * 48 * 5 * 7
    assert openvino_flops(path, given) == CONVOLUTION + turned + gemm + matmul


@pytest.mark.long
@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_a_network_needs_as_many_operations_in_every_runtime(tmp_path: Path, runtime: str) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("openvino" if runtime == "openvino" else "onnxruntime")
    weights = write_system(tmp_path / "tiny.safetensors", system="fdps")
    picture = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    options = ExportOptions(runtime=runtime)  # type: ignore[arg-type]
    export_network(weights, tmp_path / "out", options, [picture])
    counts = []
    for place in (weights, tmp_path / "out"):
        model = load(place)
        with counting(model) as meter:
            counts.append(look(model, parts_of(model), picture, meter))
        before = look(model, parts_of(model), picture)
        assert before.people == counts[-1].people
    ours, theirs = counts
    assert ours.stages["trunk"] == theirs.stages["trunk"] > 0
    assert ours.stages["regions"] == pytest.approx(theirs.stages["regions"], rel=0.05)
    assert ours.stages["proposals"] == theirs.stages["proposals"] == 0


def test_the_network_of_a_two_step_model_is_counted(shared_data: Path) -> None:
    pytest.importorskip("onnxruntime")
    detector = YoloxDetector(shared_data / "models/yolox_nano.onnx", YoloxSettings())
    picture = np.zeros((416, 416, 3), dtype=np.uint8)
    with counting(detector) as meter:
        detector.find(picture)
        assert meter() / 1e9 == pytest.approx(1.08, rel=0.05)  # published, with norms
        once = meter()
        detector.find(picture)
        assert meter() == 2 * once
    assert detector.session.get_inputs()  # the session is there again


def network(path: Path, rng: np.random.Generator) -> Path:
    """A convolution with groups, one that is transposed, and both kinds of products."""

    def weights(*shape: int) -> np.ndarray:
        return rng.random(shape, dtype=np.float32)

    constants = {
        "conv": weights(16, 4, 3, 3),
        "up": weights(16, 3, 2, 2),
        "gemm": weights(16, 5),
        "matmul": weights(5, 7),
        "rows": np.array([16, 48]),
    }
    nodes = [
        node("Conv", "maps conv", "a", group=2, pads=[1, 1, 1, 1]),
        node("ConvTranspose", "a up", "large", strides=[2, 2]),
        node("Reshape", "a rows", "b"),
        node("Gemm", "b gemm", "c", transA=1),
        node("MatMul", "c matmul", "out"),
    ]
    return write_graph(
        path,
        nodes,
        inputs={"maps": ((1, 8, 8, 6), np.float32)},
        outputs={"out": ((48, 7), np.float32), "large": ((1, 3, 16, 12), np.float32)},
        constants=constants,
    )
