"""Turn graphs of ONNX into networks of OpenVINO, in float32 or quantised by NNCF."""

from pathlib import Path
from typing import Any

from fdps.errors import UsageError
from fdps.export.given import Pictures
from fdps.export.recorded import recorded_inputs
from fdps.runtime.exported import ExportedNetwork

QUANTISED = ("trunk", "first", "regions", "embed")


def convert(
    graphs: dict[str, Path], reference: ExportedNetwork | None, calibrate: Pictures
) -> dict[str, Path]:
    """Write an ``.xml`` and a ``.bin`` beside every ONNX file.

    Args:
        graphs: ONNX files by the names of their graphs.
        reference: The network in float32, which tells what goes into every graph.
        calibrate: Pictures by which numbers of eight bits are chosen; none leaves float32.

    Returns:
        The ``.xml`` of every graph.

    Raises:
        UsageError: openvino or nncf is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise UsageError(
            "the format openvino needs the package openvino, which is not installed",
            hint="pip install 'fdps[export]'",
        ) from error
    inputs = recorded_inputs(reference, calibrate) if reference is not None else {}
    found = {}
    for name, file in graphs.items():
        model = openvino.convert_model(file)
        if name in QUANTISED and inputs.get(name):
            model = _quantised(model, inputs[name])
        found[name] = file.with_suffix(".xml")
        openvino.save_model(model, found[name], compress_to_fp16=False)
    return found


def _quantised(model: Any, inputs: list[dict[str, Any]]) -> Any:
    try:
        import nncf
    except ImportError as error:
        raise UsageError(
            "int8 for openvino needs the package nncf, which is not installed",
            hint="pip install 'fdps[export]'",
        ) from error
    return nncf.quantize(
        model,
        nncf.Dataset(inputs),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(inputs),
    )
