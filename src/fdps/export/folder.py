"""Export a network into a folder: graphs, their description, and how far they are from PyTorch."""

import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from fdps.durable import write_folder
from fdps.embedders import find_model, is_card, is_exported, licence_of, load
from fdps.embedders.licences import check_licence
from fdps.errors import UsageError
from fdps.export.given import PeopleInPictures, Pictures
from fdps.export.graphs import check_exportable, write_graphs
from fdps.export.int8 import quantise
from fdps.export.openvino import convert
from fdps.export.parity import compare
from fdps.models.systems.nae_plus import PixelStage
from fdps.models.systems.seqnet import SequentialHeads
from fdps.runtime.exported import (
    EXPORTED_FILE,
    Exported,
    ExportedNetwork,
    description_text,
    file_hashes,
)
from fdps.runtime.graph import SUFFIXES
from fdps.searcher import PersonSearcher

Runtime = Literal["onnx", "openvino"]


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """How a network is exported.

    Args:
        runtime: What will run it.
        calibrate: Pictures by which numbers of eight bits are chosen; without any, the network
            computes in float32.
        threads: Number of processor threads while parity is measured.
    """

    runtime: Runtime
    calibrate: Pictures = ()
    threads: int = 1


def export_network(
    model: Path | str,
    out: Path,
    options: ExportOptions,
    pictures: Pictures,
    boxes: PeopleInPictures | None = None,
) -> Exported:
    """Write an exported network into a folder, whole or not at all.

    Args:
        model: A run folder, weights, or a name.
        out: The folder; one that was exported before is replaced.
        options: How it is exported.
        pictures: Where it is compared with PyTorch.
        boxes: People of each picture to embed besides, where they are known.

    Raises:
        MissingDataError: There is no such model.
        ModelError: It cannot be exported, or its licence is not allowed here.
        UsageError: The model is no network of ours, a package is missing, or the folder holds
            something else.
    """
    place = find_model(model)
    if is_card(place) or is_exported(place):
        raise UsageError(
            f"{model} is no network of fdps in PyTorch",
            hint="a two-step model runs in ONNX Runtime as it is; export a run folder or weights",
        )
    _check_out(out)
    licence = licence_of(place)
    check_licence(licence, model)
    searcher = load(place)
    assert isinstance(searcher, PersonSearcher)
    check_exportable(searcher.network)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as made:
        folder = Path(made)
        files = _graph_files(searcher, folder, options)
        exported = _described(searcher, Path(model).name, licence, files, options)
        ours = ExportedNetwork(exported, folder, threads=options.threads)
        exported = replace(exported, parity=compare(searcher, ours, pictures, boxes))
        contents = {name: file.read_bytes() for name, file in files.items()}
    contents[EXPORTED_FILE] = description_text(exported).encode()
    if out.exists():
        shutil.rmtree(out)
    write_folder(out, contents)
    return exported


def _check_out(out: Path) -> None:
    """Refuse a folder that holds anything but an earlier export."""
    if not out.exists() or (out / EXPORTED_FILE).is_file():
        return
    if not out.is_dir() or any(out.iterdir()):
        raise UsageError(f"{out} is there already, and is no export", hint="choose another --out")
    out.rmdir()


def _graph_files(searcher: PersonSearcher, folder: Path, options: ExportOptions) -> dict[str, Path]:
    """Write the graphs in the way that is wanted, and return their files by name."""
    graphs = write_graphs(searcher.network, folder)
    reference = None
    if options.calibrate:
        files = {file.name: file for file in graphs.values()}
        described = _described(searcher, "", "", files, replace(options, runtime="onnx"))
        reference = ExportedNetwork(described, folder, threads=options.threads)
    if options.runtime == "openvino":
        graphs = convert(graphs, reference, options.calibrate)
    elif reference is not None:
        quantise(graphs, reference, options.calibrate)
    suffixes = SUFFIXES[options.runtime]
    found = [file.with_suffix(suffix) for file in graphs.values() for suffix in suffixes]
    return {file.name: file for file in found}


def _described(
    searcher: PersonSearcher,
    name: str,
    licence: str,
    files: dict[str, Path],
    options: ExportOptions,
) -> Exported:
    """Write down what lies between the graphs of a network."""
    net = searcher.network
    heads: Any = net.roi_heads
    rpn, side = net.rpn, net.transform.test_side
    is_two = isinstance(heads, SequentialHeads)
    last = heads.second if is_two else heads
    rpn.anchors.set_cell_anchors(torch.float32, torch.device("cpu"))
    (cells,) = rpn.anchors.cell_anchors
    return Exported(
        runtime=options.runtime,
        precision="int8" if options.calibrate else "float32",
        source=name,
        source_hash=searcher.model_hash,
        licence=licence,
        graphs=file_hashes(files),
        dim=searcher.dim,
        short_side=side.min_size[-1],
        long_side=side.max_size,
        cell_anchors=tuple((x1, y1, x2, y2) for x1, y1, x2, y2 in cells.tolist()),
        before_nms=rpn.rules.before_nms[1],
        after_nms=rpn.rules.after_nms[1],
        proposal_score=searcher.regions.min_score,
        proposal_iou=searcher.regions.max_iou,
        min_score=searcher.min_score,
        max_iou=heads.rules.nms_iou,
        second_iou=last.rules.nms_iou if is_two else 0.0,
        most=heads.rules.max_detections,
        embeds_again=last.rules.embedded_box == "detection",
        is_relative=isinstance(last, PixelStage),
    )
