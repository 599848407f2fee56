"""Networks of other people's code, in a folder that the user has; none of that code is here.

=======  ================================================  ======================================
system   files in the folder                               who publishes such a folder
=======  ================================================  ======================================
SeqNet   ``defaults.py``, ``models/seqnet.py``             github.com/serend1p1ty/SeqNet
NAE      ``lib/model/faster_rcnn_norm_aware.py``           github.com/dichen-cd/NAE4PS, and ports
NAE+     ``lib/model/faster_rcnn_pixel_wise_norm_aware``   the same
HOIM     ``lib/model/faster_rcnn_hoim.py``                 github.com/dichen-cd/HOIM-PyTorch
=======  ================================================  ======================================

Their networks are detectors of torchvision's layout: ``transform``, ``backbone``, ``rpn`` and
``roi_heads``, called with a list of pictures. What stands here is what the older of that code needs
to run under today's Python: lists where ``map`` returns none, whole numbers where a division made
fractions.
"""

import builtins
import importlib
import pickle
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from fdps.bench.entrants import PublicModel
from fdps.bench.flops import counting
from fdps.errors import FdpsError, ModelError
from fdps.export.stages import PICTURE, PROPOSALS, REGIONS, TRUNK, Look, Part, look
from fdps.models.convert.reader import read_tensors
from fdps.structures import Picture

Network = Any
"""Of code that is not known here."""


class Memory(NamedTuple):
    """Sizes of what a loss remembers, which no detection depends on.

    Args:
        persons: Identities.
        queue: People without identity.
        background: Regions of background.
    """

    persons: int = 482
    queue: int = 500
    background: int = 500


class OpenedPublic:
    """A network of other people's code, ready to look at pictures.

    Args:
        entrant: What is opened.

    Raises:
        ModelError: That code fails, its network has other parts, or the checkpoint does not fit.
        MissingDataError: There is no such checkpoint.
    """

    def __init__(self, entrant: PublicModel) -> None:
        self._folder = entrant.folder
        torch.manual_seed(0)
        with self._failing():
            self._net = build(entrant.system, entrant.folder, config=entrant.config)
        if entrant.checkpoint is not None:
            load_checkpoint(self._net, entrant.checkpoint)
        self._parts = _parts(self._net, entrant)
        with self._failing():
            self._net.eval()

    def detect(self, image: Picture) -> Tensor:
        """Return the boxes of everybody, as that code finds them."""
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float() / 255
        with self._failing(), torch.inference_mode():
            (found,) = self._net([pixels])
            boxes: Tensor = found["boxes"]
        return boxes

    def look(self, picture: Path) -> Look:
        """Look at a picture, and return the seconds of every stage."""
        return look(self, self._parts, picture)

    def count(self, picture: Path) -> Look:
        """Look at a picture, and return the operations of every stage."""
        with counting(self) as meter:
            return look(self, self._parts, picture, meter)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Turn whatever that code raises into an error that names its file."""
        try:
            yield
        except FdpsError:
            raise
        except (Exception, SystemExit) as error:
            raise failure_of(self._folder, error) from error


def build(
    system: str, folder: Path, *, config: Path | None = None, memory: Memory | None = None
) -> Network:
    """Build a network by the code of a folder, with random weights.

    Args:
        system: One of :data:`~fdps.bench.layouts.SYSTEMS`.
        folder: That code; it is imported and runs.
        config: A file of settings for it; only SeqNet takes one.
        memory: Sizes of the memory of its loss.
    """
    sys.path.insert(0, str(folder))
    memory = memory or Memory()
    if system == "SeqNet":
        return _seqnet(config, memory)
    with as_in_python_2():
        return _OLDER[system](memory)


def load_checkpoint(net: nn.Module, path: Path) -> None:
    """Give a network the weights of a checkpoint; what a loss remembers may be of another size.

    The file is opened as ``fdps models convert`` opens it: nothing in it can run.

    Raises:
        MissingDataError: There is no such file.
        ModelError: It is no checkpoint, or not one of this network.
    """
    tensors = {k: v for k, v in read_tensors(path).items() if _MEMORY not in k}
    try:
        told = net.load_state_dict(tensors, strict=False)
    except RuntimeError as error:  # another shape
        raise ModelError(f"{path} does not fit this network: {error}") from error
    missing = [name for name in told.missing_keys if _MEMORY not in name]
    wrong = [*missing, *told.unexpected_keys]
    if wrong:
        raise ModelError(
            f"{path} does not fit this network: {wrong[0]} is "
            f"{'missing' if missing else 'not part of it'} ({len(wrong)} such tensors)",
            hint="choose the network by --against-system",
        )


_MEMORY = "reid_loss."


def failure_of(folder: Path, error: BaseException) -> ModelError:
    """Say where code of a folder failed, and by what.

    Args:
        folder: That code.
        error: What it raised; if it is none of its lines, the folder stands for the place.
    """
    place, trace = f"{folder}", error.__traceback__
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if file.is_relative_to(folder):
            place = f"{file}, line {trace.tb_lineno}"
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.filename:
        place = f"{error.filename}, line {error.lineno}"
    is_missing = isinstance(error, ImportError)
    return ModelError(
        f"the code of {folder} failed in {place}: {type(error).__name__}: {error}",
        hint="install what that code needs beside fdps" if is_missing else "",
    )


def _parts(net: Network, entrant: PublicModel) -> list[Part]:
    """Name the stages of a network of torchvision's layout."""
    try:
        owners = (
            (net.transform, PICTURE),
            (net.backbone, TRUNK),
            (net.rpn, PROPOSALS),
            (net.rpn.head, TRUNK),
            (net.roi_heads, REGIONS),
        )
    except AttributeError as error:
        raise ModelError(
            f"the network {entrant.system} of {entrant.folder} is built otherwise: {error}",
            hint="transform, backbone, rpn with its head, and roi_heads are looked for",
        ) from error
    return [(owner, "forward", stage) for owner, stage in owners]


@contextmanager
def as_in_python_2() -> Iterator[None]:
    """Let ``map`` return lists, which the older code counts on."""
    lazy = builtins.map
    vars(builtins)["map"] = lambda *arguments: [*lazy(*arguments)]
    try:
        yield
    finally:
        vars(builtins)["map"] = lazy


def older(module: str) -> Any:
    """Import a module of the older code, whose sizes are fractions now."""
    sys.modules.setdefault("cPickle", pickle)  # as Python 2 called it
    sys.modules.setdefault("huepy", types.ModuleType("huepy"))  # colours of messages
    loaded = importlib.import_module(module)
    loaded.nn = types.SimpleNamespace(**vars(nn))  # type: ignore[attr-defined]
    for layer in (nn.Linear, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d):
        setattr(loaded.nn, layer.__name__, _whole(layer))
    return loaded


def _whole(layer: type[nn.Module]) -> Callable[..., nn.Module]:
    """Build a layer of sizes that an older division made."""

    def built(*sizes: float, **options: Any) -> nn.Module:
        return layer(*(int(size) for size in sizes), **options)

    return built


def _without_download() -> None:
    """Begin from random weights, as there is nothing to fetch."""
    import torchvision

    made = torchvision.models.resnet50
    torchvision.models.resnet.__dict__["resnet50"] = lambda *a, **k: made(weights=None)


def _seqnet(config: Path | None, memory: Memory) -> Network:
    settings = importlib.import_module("defaults").get_default_cfg()
    if config is not None:
        settings.merge_from_file(str(config))
    settings.MODEL.LOSS.LUT_SIZE, settings.MODEL.LOSS.CQ_SIZE = memory.persons, memory.queue
    _without_download()
    return importlib.import_module("models.seqnet").SeqNet(settings)


def _nae(memory: Memory) -> Network:
    code = older("lib.model.faster_rcnn_norm_aware")
    backbone, head = _backbone(code)
    embedding = code.NormAwareEmbeddingProj(["feat_res4", "feat_res5"], [1024, 2048], 256)
    loss = code.OIMLoss(256, memory.persons, memory.queue, 0.5, 30.0)
    return _together(code, code.FasterRCNN_NormAware, backbone, head, embedding, loss)


def _nae_plus(memory: Memory) -> Network:
    """Build NAE+ with the options that were published."""
    regions = older("lib.model.faster_rcnn_norm_aware")
    code = older("lib.model.faster_rcnn_pixel_wise_norm_aware")
    backbone, head = _backbone(code, GAP=False)
    maps = ["feat_res4", "feat_res5"]
    embedding = code.PixelWiseNormAwareEmbeddingProj(maps, [1024, 2048], 256)
    loss = regions.OIMLoss(256, memory.persons, memory.queue, 0.5, 30.0)
    net = _together(regions, code.FasterRCNN_NormAware_PW, backbone, head, embedding, loss)
    net.roi_heads.focal, net.roi_heads.alpha_d, net.roi_heads.gamma_d = False, 0.25, 2.0
    return net


def _hoim(memory: Memory) -> Network:
    code = older("lib.model.faster_rcnn_hoim")
    backbone, head = _backbone(code)
    embedding = code.ReIDEmbeddingProj(["feat_res4", "feat_res5"], [1024, 2048], 256)
    loss = code.HOIMLoss(256, memory.persons, memory.queue, memory.background, 0.5, 30.0)
    return _together(code, code.FasterRCNN_HOIM, backbone, head, embedding, loss)


_OLDER: dict[str, Callable[[Memory], Network]] = {"NAE": _nae, "NAE+": _nae_plus, "HOIM": _hoim}


def _backbone(code: Any, **options: bool) -> tuple[nn.Module, nn.Module]:
    """Build trunk and region head of the older code."""
    _without_download()
    backbone, head = code.resnet_backbone("resnet50", False, **options)
    return backbone, head


def _together(
    code: Any,
    network: Any,
    backbone: nn.Module,
    head: nn.Module,
    embedding: nn.Module,
    loss: nn.Module,
) -> Network:
    """Put the parts of an older network together."""
    net = network(
        backbone,
        feat_head=head,
        box_predictor=code.CoordRegressor(2048, 2),
        embedding_head=embedding,
        reid_loss=loss,
        box_score_thresh=0.5,
    )
    net.roi_heads.has_keypoint = False  # an attribute then, and a method today
    return net
