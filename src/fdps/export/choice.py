"""Choose what runs a network: PyTorch, ONNX Runtime or OpenVINO, whichever is quickest here.

An export is kept in the folder of models, so that the next command begins at once, and so is what
was measured. A network elsewhere has to keep parity: archives of one may then be searched with the
other.
"""

import json
import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fdps.devices import n_threads
from fdps.durable import write_file
from fdps.embedders import find_model, is_card, is_exported, load, models_folder
from fdps.embedders.regions import read_regions
from fdps.errors import FdpsError, ModelError, UsageError
from fdps.export.folder import ExportOptions, export_network
from fdps.export.pictures import drawn_pictures
from fdps.export.stages import time_in_turns
from fdps.query import Searcher
from fdps.runtime.exported import EXPORTED_FILE, load_exported, read_exported
from fdps.runtime.network_input import digest_of
from fdps.weights_file import file_hash

RUNTIMES = {"onnx": ("onnx", "onnxruntime"), "openvino": ("onnx", "openvino")}
"""The packages that each runtime needs here."""
PYTORCH, AUTO = "pytorch", "auto"
_FOLDER, _CHOICE, _TIMED = "exported", "choice.json", 3


def load_in(
    runtime: str,
    model: Path | str,
    *,
    min_score: float | None = None,
    device: str = "cpu",
    tell: Callable[[str], None] = lambda text: None,
) -> Searcher:
    """Load a model in a runtime.

    Args:
        runtime: ``pytorch``, ``onnx``, ``openvino``, or ``auto`` for the quickest on this machine.
        model: As :func:`fdps.embedders.load` takes it. Only a network in PyTorch can be taken
            elsewhere: what is a card or an export already is loaded as it is by ``auto``.
        min_score: Least score of a detection.
        device: Device to run on; on another than the CPU, ``auto`` is PyTorch.
        tell: Called with what was chosen.

    Raises:
        FdpsError: Those of :func:`fdps.embedders.load`.
        ModelError: The network cannot be exported, or does not keep parity.
        UsageError: The runtime does not take this model, or a package is missing.
    """
    place = find_model(model)
    is_ours = not (is_card(place) or is_exported(place)) and place.is_file()
    if runtime == PYTORCH or (runtime == AUTO and (not is_ours or device not in ("cpu", "auto"))):
        return load(model, min_score=min_score, device=device)
    if not is_ours:
        raise UsageError(
            f"{model} is no network of fdps in PyTorch, so it cannot be run by {runtime}",
            hint="leave --runtime out",
        )
    if runtime == AUTO:
        runtime, why = quickest(place, model)
        tell(f"{runtime} ({why})")
        if runtime == PYTORCH:
            return load(model, min_score=min_score, device=device)
    return load_exported(kept_export(place, model, runtime), min_score=min_score, device=device)


def quickest(place: Path, model: Path | str) -> tuple[str, str]:
    """Find the quickest runtime of a network that keeps parity, or remember it.

    Args:
        place: Its weights.
        model: As it was named.

    Returns:
        Its name, and the times behind it.
    """
    file = _home(place) / _CHOICE
    machine = _machine()
    try:
        known: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    if known.get("machine") != machine:
        known = {"machine": machine, **_measured(place, model)}
        file.parent.mkdir(parents=True, exist_ok=True)
        write_file(file, (json.dumps(known, indent=2) + "\n").encode())
    return known["runtime"], known["why"]


def _measured(place: Path, model: Path | str) -> dict[str, Any]:
    """Time every runtime that is installed and keeps parity."""
    searchers: dict[str, Searcher] = {PYTORCH: load(model)}
    left_out = []
    for runtime, packages in RUNTIMES.items():
        if not all(find_spec(package) for package in packages):
            continue
        try:
            searchers[runtime] = load_exported(kept_export(place, model, runtime))
        except FdpsError as error:
            left_out.append(f"{runtime}: {error}")
    pictures, _ = drawn_pictures()
    timed = time_in_turns(searchers, pictures[:_TIMED])
    seconds = {name: one.percentile(50) for name, one in timed.items()}
    best = min(seconds, key=lambda name: seconds[name])
    shares = [f"{name} {1000 * s:.0f} ms" for name, s in sorted(seconds.items())]
    return {"runtime": best, "why": "; ".join([", ".join(shares), *left_out])}


def kept_export(place: Path, model: Path | str, runtime: str) -> Path:
    """Return the description of an export that keeps parity; it is made where there is none.

    Raises:
        ModelError: The network cannot be exported, or does not keep parity.
        UsageError: A package is missing.
    """
    folder = _home(place) / runtime
    if not (folder / EXPORTED_FILE).is_file():
        pictures, boxes = drawn_pictures()
        options = ExportOptions(runtime=runtime, threads=n_threads())  # type: ignore[arg-type]
        export_network(model, folder, options, pictures, boxes)
    parity = read_exported(folder / EXPORTED_FILE).parity
    if parity is None or not parity.holds:
        raise ModelError(
            f"{model} does not keep parity in {runtime}: {parity}",
            hint="export it, and index with the export as a model of its own: fdps export",
        )
    return folder / EXPORTED_FILE


def _home(place: Path) -> Path:
    """Name the folder of the exports of one model under one choice of regions."""
    model_hash = file_hash(place)
    limits = read_regions(place, model_hash)
    return models_folder() / _FOLDER / digest_of(model_hash.encode(), repr(limits).encode())


def _machine() -> str:
    """Name the processor, the threads and the versions that times depend on."""
    found = [platform.machine(), _processor(), f"{n_threads()} threads"]
    for package in ("torch", "onnxruntime", "openvino"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
