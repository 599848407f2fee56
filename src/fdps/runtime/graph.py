"""A graph of an exported network, opened in ONNX Runtime or OpenVINO; both look alike here."""

import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fdps.errors import MissingDataError, ModelError, UsageError
from fdps.runtime.onnx_session import external_files, open_session, run_all

Graph = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]
"""Arrays by the names of the inputs to arrays by the names of the outputs."""

SUFFIXES = {"onnx": (".onnx",), "openvino": (".xml", ".bin")}
"""The files of a graph in each runtime; the first is the one that is opened."""
_SHAPES_KEPT = 8  # compiled networks for pictures of so many sizes


def open_graph(path: Path, runtime: str, *, threads: int) -> Graph:
    """Open a graph for the CPU.

    Args:
        path: The ONNX file, or the ``.xml`` of OpenVINO.
        runtime: ``onnx`` or ``openvino``, which opens either file.
        threads: Number of processor threads.

    Raises:
        MissingDataError: There is no such file.
        ModelError: The file is no network of the runtime.
        UsageError: The runtime is not installed.
    """
    if runtime == "onnx":
        session = open_session(path, threads=threads)
        return lambda given: run_all(session, given)
    if not path.is_file():
        raise MissingDataError(f"no network at {path}")
    if path.suffix == ".onnx":
        external_files(path)
    return _OpenVinoGraph(path, threads)


class _OpenVinoGraph:
    """A graph that is compiled for each shape of its inputs: static ones are the quickest.

    The number of regions stays open, because it changes with every picture.
    """

    def __init__(self, path: Path, threads: int) -> None:
        self._core = openvino_core()
        try:
            self._model: Any = self._core.read_model(path)
        except RuntimeError as error:
            raise ModelError(f"{path} is not a network of OpenVINO: {error}") from error
        self._config = {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",  # bfloat16, where there is some, moves boxes
        }
        self._is_fixed = [_is_map(each.partial_shape) for each in self._model.inputs]
        self._names = [each.any_name for each in self._model.inputs]
        self._outputs = [re.sub(r":\d+$", "", each.any_name) for each in self._model.outputs]
        self._compiled: dict[tuple[tuple[int, ...], ...], Any] = {}

    def __call__(self, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        arrays = [given[name] for name in self._names]
        request = self._request(arrays)
        request.infer([np.ascontiguousarray(array) for array in arrays])
        found = [request.get_output_tensor(row).data.copy() for row in range(len(self._outputs))]
        return dict(zip(self._outputs, found, strict=True))

    def _request(self, arrays: list[np.ndarray]) -> Any:
        shapes = tuple(
            array.shape for array, is_fixed in zip(arrays, self._is_fixed, strict=True) if is_fixed
        )
        if shapes not in self._compiled:
            if len(self._compiled) == _SHAPES_KEPT:
                self._compiled.pop(next(iter(self._compiled)))
            self._compiled[shapes] = self._compile(arrays)
        return self._compiled[shapes]

    def _compile(self, arrays: list[np.ndarray]) -> Any:
        model = self._model.clone()
        shapes = {
            name: list(array.shape)
            for name, array, is_fixed in zip(self._names, arrays, self._is_fixed, strict=True)
            if is_fixed
        }
        if shapes:
            model.reshape(shapes)
        return self._core.compile_model(model, "CPU", self._config).create_infer_request()


def _is_map(shape: Any) -> bool:
    """Tell a batch of maps, whose size is that of the picture, from a list of regions."""
    return len(shape) == 4


@cache
def openvino_core() -> Any:
    """Return the core of OpenVINO, which lives as long as this process.

    The first network that a core compiles gives its thread another stack for handlers of signals. A
    core that is let go of by a second thread frees that stack although the first one still has it,
    and the next Ctrl-C is a segmentation fault in place of a ``KeyboardInterrupt``.

    Raises:
        UsageError: OpenVINO is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise UsageError(
            "this network needs openvino, which is not installed",
            hint="pip install 'fdps[export]'",
        ) from error
    return openvino.Core()
