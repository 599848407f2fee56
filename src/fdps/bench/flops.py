"""Count floating-point operations: those of convolutions and matrix products, two for each pair.

Nothing else is counted, and RoIAlign is not, in whichever way it is computed, so that figures of
one network in two runtimes are equal. Numbers of eight bits count as those of float32 do.
"""

import json
import math
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fdps.export.stages import Meter
from fdps.runtime.exported import ExportedNetwork
from fdps.runtime.onnx_part import OnnxPart

_WITHIN = ("detector", "describer", "searcher", "features")
"""Attributes of two-step models and of their parts that hold further models."""
_WEIGHTS = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3, "ConvTranspose": 1}
"""Convolutions of ONNX, and which of their inputs has the weights."""
_PRODUCTS = ("MatMul", "MatMulInteger", "QLinearMatMul", "Gemm")
_TURNED = ("ConvTranspose", "ConvolutionBackpropData")
"""Convolutions whose every input value meets all weights of its channel."""

Shape = tuple[int, ...]


@contextmanager
def counting(model: object) -> Iterator[Meter]:
    """Count what a model computes as long as the context is open.

    Args:
        model: Any model of fdps, or one of PyTorch.

    Yields:
        A meter: the operations so far.
    """
    totals = []
    with ExitStack() as stack:
        for part in _parts(model):
            if isinstance(part, ExportedNetwork):
                totals.append(stack.enter_context(_graphs(part)))
            elif isinstance(part, OnnxPart):
                totals.append(stack.enter_context(_session(part)))
        if "torch" in sys.modules:
            totals.append(stack.enter_context(_torch()))
        yield lambda: sum(total() for total in totals)


def onnx_flops(path: Path, given: Mapping[str, np.ndarray]) -> int:
    """Count the operations of an ONNX network, by a run that notes the shapes of every operator.

    Args:
        path: The network.
        given: Its inputs, by their names.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.enable_profiling = True  # further optimisation would hide operators in others
    options.add_session_config_entry("session.disable_prepacking", "1")  # or weights tell nothing
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory(prefix="fdps-flops-") as folder:
        options.profile_file_prefix = f"{folder}/run"
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        session.run(None, dict(given))
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return sum(_of_event(event.get("args", {})) for event in events)


def openvino_flops(path: Path, given: Mapping[str, np.ndarray]) -> int:
    """Count the operations of a network of OpenVINO, by its shapes for these inputs; nothing runs.

    Args:
        path: The ``.xml``.
        given: Its inputs, by their names.
    """
    from fdps.runtime.graph import openvino_core

    model = openvino_core().read_model(path)
    model.reshape({name: list(array.shape) for name, array in given.items()})
    return sum(_of_operator(operator) for operator in model.get_ordered_ops())


def _parts(model: object) -> Iterator[object]:
    """Yield a model and all that it is made of."""
    yield model
    for name in _WITHIN:
        part = getattr(model, name, None)
        if part is not None:
            yield from _parts(part)


@contextmanager
def _torch() -> Iterator[Meter]:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    counter.flop_registry[torch.ops.aten.mm] = _dense_product
    with counter:
        yield counter.get_total_flops


def _dense_product(a: Any, b: Any, *, out_val: object) -> int:
    """Count a product of two matrices; that of a sparse one is RoIAlign on the CPU."""
    import torch

    is_dense = a.layout == b.layout == torch.strided
    return 2 * a.shape[0] * a.shape[1] * b.shape[1] if is_dense else 0


@contextmanager
def _graphs(network: ExportedNetwork) -> Iterator[Meter]:
    """Count what the graphs of an exported network compute."""
    count = openvino_flops if network.exported.runtime == "openvino" else onnx_flops
    graphs, counted = dict(network.graphs), _Counted(count)

    def counting_graph(name: str) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
        def run(given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            counted.add(network.files[name], given)
            return graphs[name](given)

        return run

    # The graph that resizes a picture has neither convolutions nor products.
    network.graphs.update({name: counting_graph(name) for name in graphs if name != "picture"})
    try:
        yield lambda: counted.total
    finally:
        network.graphs.update(graphs)


@contextmanager
def _session(part: OnnxPart[Any]) -> Iterator[Meter]:
    """Count what the network of a two-step model computes."""
    session, counted = part.session, _Counted(onnx_flops)
    part.session = _CountedSession(session, part.path, counted)
    try:
        yield lambda: counted.total
    finally:
        part.session = session


class _Counted:
    """Operations so far; each file is counted once for every shape of its inputs."""

    def __init__(self, count: Callable[[Path, Mapping[str, np.ndarray]], int]) -> None:
        self.total = 0
        self._count = count
        self._known: dict[tuple[Path, tuple[Shape, ...]], int] = {}

    def add(self, path: Path, given: Mapping[str, np.ndarray]) -> None:
        """Add one run."""
        key = path, tuple(array.shape for array in given.values())
        if key not in self._known:
            self._known[key] = self._count(path, given)
        self.total += self._known[key]


@dataclass(frozen=True)
class _CountedSession:
    """Stands for a session of ONNX Runtime, and counts its runs."""

    session: Any
    path: Path
    counted: _Counted

    def get_inputs(self) -> Any:
        """Return what the session has."""
        return self.session.get_inputs()

    def get_outputs(self) -> Any:
        """Likewise."""
        return self.session.get_outputs()

    def run(self, names: Any, given: dict[str, np.ndarray]) -> Any:
        """Run and count."""
        self.counted.add(self.path, given)
        return self.session.run(names, given)


def _of_event(told: Mapping[str, Any]) -> int:
    """Count an operator of ONNX by what its run has told."""
    kind = told.get("op_name", "")
    if kind not in _WEIGHTS and kind not in _PRODUCTS:
        return 0
    given, (output,) = (_shapes(told[side]) for side in ("input_type_shape", "output_type_shape"))
    if kind in _WEIGHTS:
        # Weights: outputs (here inputs, if it is turned round), channels of a group, sides.
        moved = given[0] if kind in _TURNED else output
        return 2 * math.prod(moved) * math.prod(given[_WEIGHTS[kind]][1:])
    if kind == "Gemm":  # its first factor may be transposed
        return 2 * math.prod(given[0]) * output[1]
    return 2 * math.prod(output) * given[0][-1]


def _shapes(told: Sequence[Mapping[str, Sequence[int]]]) -> list[Shape]:
    """Read the shapes of arrays, each told beside its type."""
    return [tuple(shape) for each in told for shape in each.values()]


def _of_operator(operator: Any) -> int:
    """Count an operator of OpenVINO by its shapes."""
    kind = operator.get_type_name()
    if kind not in ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul"):
        return 0
    output: Shape = tuple(operator.output(0).get_shape())
    given: list[Shape] = [tuple(x.get_source_output().get_shape()) for x in operator.inputs()]
    if kind == "MatMul":
        is_transposed = operator.get_attributes().get("transpose_a", False)
        return 2 * math.prod(output) * given[0][-2 if is_transposed else -1]
    # Weights: (groups), outputs, inputs of a group, sides.
    moved = given[0] if kind in _TURNED else output
    return 2 * math.prod(moved) * math.prod(given[1][2 if kind == "GroupConvolution" else 1 :])
