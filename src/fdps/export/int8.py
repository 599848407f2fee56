"""Eight-bit graphs for ONNX Runtime: static quantisation, sensitive layers left in float32.

Every convolution and product is quantised at first. Then the blocks of the network are tried one by
one: with one block in float32 and all others in eight bits, how much nearer do the outputs come to
those of float32? The blocks that help most stay in float32, as few as bring the error below a
limit.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fdps.errors import UsageError
from fdps.export.given import Pictures
from fdps.export.recorded import Inputs, recorded_inputs
from fdps.runtime.exported import ExportedNetwork
from fdps.runtime.onnx_session import open_session, run_all

LARGEST_ERROR = 0.05
"""Of the outputs of a graph: root of the mean squared difference, as a share of their deviation."""
_KINDS = ["Conv", "Gemm", "MatMul"]
_JUDGED, _JUDGED_REGIONS = 3, 24  # inputs on which a block is judged, and regions of each
_MOST_INPUTS = 64  # inputs whose ranges are kept for one graph
_QUANTISED = ("trunk", "first", "regions", "embed")


def quantise(
    graphs: dict[str, Path], reference: ExportedNetwork, pictures: Pictures
) -> dict[str, list[str]]:
    """Replace graphs by quantised ones.

    Args:
        graphs: ONNX files by the names of their graphs; those of maps and regions are replaced.
        reference: The network of these files.
        pictures: By which ranges are chosen.

    Returns:
        The blocks of each graph that stay in float32.

    Raises:
        UsageError: onnx is not installed, or a graph was never used on these pictures.
    """
    inputs = recorded_inputs(reference, pictures)
    left = {}
    for name, path in graphs.items():
        if name not in _QUANTISED:
            continue
        if not inputs.get(name):
            raise UsageError(
                f"the graph {name} was not used: no region is left on {len(pictures)} pictures",
                hint="calibrate by pictures that show people",
            )
        left[name] = _Quantiser(path, inputs[name][:_MOST_INPUTS]).run()
    return left


class _Quantiser:
    """Quantises one graph in place."""

    def __init__(self, path: Path, inputs: list[Inputs]) -> None:
        try:
            import onnx
            from onnxruntime import quantization
            from onnxruntime.quantization import shape_inference
        except ImportError as error:
            raise UsageError(
                "int8 needs onnx and onnxruntime, one of which is not installed",
                hint="pip install 'fdps[export]'",
            ) from error
        self._path, self._inputs, self._onnx, self._tools = path, inputs, onnx, quantization
        self._ready = path.with_suffix(".ready.onnx")
        shape_inference.quant_pre_process(str(path), str(self._ready), skip_symbolic_shape=True)
        self._judged = [_few_regions(given) for given in inputs[:_JUDGED]]
        self._wanted = [
            run_all(open_session(self._ready, threads=1), given) for given in self._judged
        ]
        self._ranges = self._measured()

    def run(self) -> list[str]:
        """Write the graph, and return the blocks that stay in float32."""
        blocks, left = self._blocks(), list[str]()
        if self._error(self._written(blocks, left)) > LARGEST_ERROR:
            errors = {block: self._error(self._written(blocks, [block])) for block in blocks}
            for block in sorted(blocks, key=lambda block: errors[block]):
                left.append(block)
                if self._error(self._written(blocks, left)) <= LARGEST_ERROR:
                    break
        self._written(blocks, left).replace(self._path)
        self._ready.unlink()
        return left

    def _blocks(self) -> dict[str, list[str]]:
        """Group the nodes that can be quantised by the module that they come from."""
        graph, blocks = self._onnx.load(self._ready).graph, defaultdict(list)
        for node in graph.node:
            if node.op_type in _KINDS:
                blocks["/".join(node.name.split("/")[:4])].append(node.name)
        return dict(blocks)

    def _measured(self) -> Any:
        reader = _Reader(self._tools, self._inputs)
        calibrator = self._tools.create_calibrator(
            self._ready,
            _KINDS,
            augmented_model_path=str(self._path.with_suffix(".ranges.onnx")),
            calibrate_method=self._tools.CalibrationMethod.MinMax,
        )
        calibrator.collect_data(reader)
        ranges = calibrator.compute_data()
        self._path.with_suffix(".ranges.onnx").unlink(missing_ok=True)
        return ranges

    def _written(self, blocks: dict[str, list[str]], left: Sequence[str]) -> Path:
        """Write the graph with some blocks in float32."""
        tools = self._tools
        quantizer = tools.QDQQuantizer(
            self._onnx.load(self._ready),
            per_channel=True,
            reduce_range=True,  # without VNNI, products of 8 bits overflow 16
            weight_qType=tools.QuantType.QInt8,
            activation_qType=tools.QuantType.QUInt8,
            tensors_range=self._ranges,
            nodes_to_quantize=[],
            nodes_to_exclude=[node for block in left for node in blocks[block]],
            op_types_to_quantize=_KINDS,
            extra_options={},
        )
        quantizer.quantize_model()
        written = self._path.with_suffix(".int8.onnx")
        quantizer.model.save_model_to_file(str(written))
        return written

    def _error(self, path: Path) -> float:
        session = open_session(path, threads=1)
        errors = []
        for given, wanted in zip(self._judged, self._wanted, strict=True):
            for name, found in run_all(session, given).items():
                spread = max(float(wanted[name].std()), 1e-6)
                difference = np.sqrt(np.mean(np.square(found - wanted[name])))
                errors.append(float(difference) / spread)
        return max(errors)


def _few_regions(given: Inputs) -> Inputs:
    """Keep the first regions of an input, if it has regions."""
    return {name: a[:_JUDGED_REGIONS] if name == "boxes" else a for name, a in given.items()}


def _Reader(tools: Any, inputs: list[Inputs]) -> Any:  # noqa: N802 - it makes a class of theirs
    class Reader(tools.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._rest = iter(inputs)

        def get_next(self) -> Inputs | None:
            return next(self._rest, None)

    return Reader()
