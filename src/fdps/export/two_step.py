"""Export a two-step model: each half becomes files that need no torch, and a card joins them.

.. code-block:: text

    card.toml
    reid.onnx         the network on crops, which takes one crop at a time
    detector/         the detector, exported as every network of fdps is; or
    detector.onnx     the detector of a card, as it was
"""

import copy
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fdps.describer import CropDescriber
from fdps.durable import sync_folder, write_file
from fdps.embedders import load
from fdps.embedders.places import CARD_FILE
from fdps.errors import UsageError
from fdps.export.folder import ExportOptions, export_network
from fdps.export.given import PeopleInPictures, Pictures
from fdps.export.graphs import write_graph
from fdps.export.parity import compare
from fdps.models.reid import ReidNet
from fdps.runtime.card import (
    Card,
    DetectorPart,
    NetworkDetectorPart,
    NetworkReidPart,
    ReidPart,
    card_text,
    network_file,
    read_card,
)
from fdps.runtime.exported import EXPORTED_FILE, Parity
from fdps.runtime.onnx_session import external_files
from fdps.runtime.two_step import TwoStep

REID, DETECTOR = "reid", "detector"


class CropGraph(nn.Module):
    """A crop, its levels in 0..1, to a unit embedding.

    Args:
        net: The network on crops.
    """

    def __init__(self, net: ReidNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, crop: Float[Tensor, "1 3 h w"]) -> Float[Tensor, "1 D"]:
        """Embed the crop."""
        return self.net.look(crop).embeddings


def export_two_step(
    place: Path,
    out: Path,
    options: ExportOptions,
    pictures: Pictures,
    boxes: PeopleInPictures | None = None,
) -> Parity:
    """Write both halves of a two-step model into a folder, whole or not at all.

    Args:
        place: Its card.
        out: The folder; one that was exported before is replaced.
        options: How it is exported; only ONNX, in float32.
        pictures: Where it is compared with PyTorch.
        boxes: People of each picture to embed besides, where they are known.

    Returns:
        How far it is from PyTorch.

    Raises:
        ModelError: A half cannot be exported.
        UsageError: No half is a network of fdps in PyTorch, another way is asked for, a package is
            missing, or the folder holds something else.
    """
    card = read_card(place)
    if options.runtime != "onnx" or options.calibrate:
        raise UsageError(
            "the halves of a two-step model are exported to ONNX in float32 alone",
            hint="leave --format and --int8 out",
        )
    if not isinstance(card.reid, NetworkReidPart):
        raise UsageError(
            f"{place}: its [reid] is no network on crops that fdps has trained",
            hint="an ONNX network runs in ONNX Runtime as it is",
        )
    if out.exists() and not (out / CARD_FILE).is_file():
        raise UsageError(f"{out} is there already, and is no export", hint="choose another --out")
    source = load(place)
    assert isinstance(source, TwoStep)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as made:
        folder = Path(made) / "model"
        folder.mkdir()
        reid = _write_reid(source, folder)
        detector = _write_detector(card, place.parent, folder, options, pictures, boxes)
        written = replace(card, detector=detector, reid=reid)
        write_file(folder / CARD_FILE, card_text(written).encode())
        parity = compare(source, load(folder), pictures, boxes)
        if out.exists():
            shutil.rmtree(out)
        folder.rename(out)
    sync_folder(out.parent)
    return parity


def _write_reid(source: TwoStep, folder: Path) -> ReidPart:
    """Write the network on crops, and say how crops are given to it."""
    assert isinstance(source.describer, CropDescriber)
    # The exporter writes weights as they lie in memory, and it leaves a network in training mode.
    net = copy.deepcopy(source.describer.network).to(memory_format=torch.contiguous_format).eval()
    height, width = net.size
    write_graph(
        CropGraph(net),
        {"crop": torch.rand(1, 3, height, width)},
        {"embedding": {}},
        {},
        folder / f"{REID}.onnx",
    )
    return ReidPart(
        file=f"{REID}.onnx",
        layout="NCHW",
        colours="RGB",
        scale=1 / 255,  # the graph knows mean and deviation
        smoothed=True,
    )


def _write_detector(
    card: Card,
    source: Path,
    folder: Path,
    options: ExportOptions,
    pictures: Pictures,
    boxes: PeopleInPictures | None,
) -> DetectorPart:
    """Export a detector of fdps, or copy that of a card."""
    part, file = card.detector, network_file(card.detector, source)
    if isinstance(part, NetworkDetectorPart):
        export_network(file, folder / DETECTOR, options, pictures, boxes)
        return replace(part, file=f"{DETECTOR}/{EXPORTED_FILE}", sha256="")
    for other in external_files(file):
        shutil.copyfile(other, folder / other.name)
    shutil.copyfile(file, folder / f"{DETECTOR}{file.suffix}")
    return replace(part, file=f"{DETECTOR}{file.suffix}")
