"""Cut a network into graphs and write each as an ONNX file.

=========  ==============================  =====================================================
graph      from                            to
=========  ==============================  =====================================================
picture    picture, size, padding          batch: resized, normalised, padded
trunk      batch                           features, logits, deltas
first      features, boxes                 box_deltas, scores; the first of two stages (SeqNet)
regions    features, boxes                 box_deltas, scores, embeddings
embed      features, boxes                 embeddings; where they cost more than a look (APNet)
=========  ==============================  =====================================================

Decoding and suppression lie between them, because exporters take no loops with data in them.

Axes: R regions, A anchors, D embedding dimension.
"""

import copy
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torchvision.ops import roi_align, roi_pool

from fdps.errors import ModelError, UsageError
from fdps.models import PersonSearchNet
from fdps.models.heads import BoxHeads
from fdps.models.pairwise import PairwiseNet
from fdps.models.roi_align import RoIAlign, RoIMaxPool
from fdps.models.roi_heads import RoIHeads
from fdps.models.sampling import PERSON
from fdps.models.systems.apnet import PartHeads, grow, limited, part_means
from fdps.models.systems.nae_plus import PixelStage
from fdps.models.systems.seqnet import SequentialHeads

OPSET = 17
MEAN_LEVELS = 255.0
_SIDE = 128  # pixels of the picture that the exporter follows


def write_graphs(net: PersonSearchNet, folder: Path) -> dict[str, Path]:
    """Write every graph of a network.

    Args:
        net: Stays as it is.
        folder: Where to write them.

    Returns:
        The file of each graph, by its name.

    Raises:
        ModelError: The network cannot be cut, or a part of it has no counterpart in ONNX.
        UsageError: The package onnx is not installed.
    """
    check_exportable(net)
    # The exporter writes weights as they lie in memory, and it leaves a network in training mode.
    net = copy.deepcopy(net).to("cpu").to(memory_format=torch.contiguous_format).eval()
    _replace_pools(net)
    pictures = torch.rand(1, 3, _SIDE, _SIDE + 64)
    with torch.no_grad():
        features = net.backbone(pictures)
    boxes = torch.tensor([[10.0, 8.0, 60.0, 100.0], [0.0, 0.0, 30.0, 50.0], [90, 4, 150, 120]])
    files = {"picture": write_picture(net, folder / "picture.onnx")}
    files["trunk"] = write_graph(
        TrunkGraph(net),
        {"batch": pictures},
        {"features": {2: "rows", 3: "columns"}, "logits": {1: "anchors"}, "deltas": {1: "anchors"}},
        {"batch": {2: "height", 3: "width"}},
        folder / "trunk.onnx",
    )
    for name, graph in _region_graphs(net).items():
        outputs = {output: {0: "regions"} for output in graph.OUTPUTS}
        files[name] = write_graph(
            graph,
            {"features": features, "boxes": boxes},
            outputs,
            {"features": {2: "rows", 3: "columns"}, "boxes": {0: "regions"}},
            folder / f"{name}.onnx",
        )
    return files


def check_exportable(net: PersonSearchNet) -> None:
    """Refuse a network that is no chain of graphs.

    Raises:
        ModelError: It looks at pairs of pictures, or has parts of which nothing is known here.
    """
    if isinstance(net, PairwiseNet):
        raise ModelError(
            f"{type(net).__name__} cannot be exported: it looks at pairs of pictures, and its "
            "trunk at both at once",
            hint="systems that find people without a query can be exported: all but qeeps and "
            "igpn_detector",
        )
    heads = net.roi_heads
    last = heads.second if isinstance(heads, SequentialHeads) else heads
    if type(last) not in (RoIHeads, PartHeads, PixelStage):
        raise ModelError(
            f"{type(last).__name__} cannot be exported: region heads of a system of your own have "
            "no graph here",
            hint="describe them in fdps.export.graphs",
        )


class TrunkGraph(nn.Module):
    """Picture to feature map, logits and deltas of all anchors."""

    def __init__(self, net: PersonSearchNet) -> None:
        super().__init__()
        self.backbone, self.head = net.backbone, net.rpn.head

    def forward(self, batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run trunk and proposal head."""
        features = self.backbone(batch)
        logits, deltas = self.head(features)
        return features, logits, deltas


class RegionGraph(nn.Module):
    """Regions to deltas, scores and embeddings: a stage whose heads embed what they look at."""

    OUTPUTS: tuple[str, ...] = ("box_deltas", "scores", "embeddings")

    def __init__(self, stage: RoIHeads) -> None:
        super().__init__()
        self.pool, self.region_head, self.heads = stage.pool, stage.region_head, stage.heads
        self.is_pixelwise = isinstance(stage, PixelStage)

    def forward(self, features: Tensor, boxes: Tensor) -> tuple[Tensor, ...]:
        """Look at regions of one picture."""
        aligned = self.pool(features, boxes)
        out = self.heads(aligned, self.region_head(aligned))
        scores = out.logits.softmax(dim=1)[:, PERSON]
        if self.is_pixelwise:  # the attention, which the reader relates to the best of a picture
            scores = scores.mean(dim=(1, 2))
        return out.deltas, scores, out.embeddings


class FirstGraph(nn.Module):
    """Regions to deltas and scores: a stage that only finds people."""

    OUTPUTS = ("box_deltas", "scores")

    def __init__(self, pool: nn.Module, region_head: nn.Module, heads: BoxHeads) -> None:
        super().__init__()
        self.pool, self.region_head, self.heads = pool, region_head, heads

    def forward(self, features: Tensor, boxes: Tensor) -> tuple[Tensor, ...]:
        """Look at regions of one picture."""
        taken = self.heads.sub_features(self.region_head(self.pool(features, boxes)))
        logits = self.heads.person(taken.person, None)
        return self.heads.deltas(taken), logits.softmax(dim=1)[:, PERSON]


class PartGraph(nn.Module):
    """Regions to the embeddings of APNet, whose parts are aligned first."""

    OUTPUTS = ("embeddings",)

    def __init__(self, stage: PartHeads) -> None:
        super().__init__()
        self.pool, self.region_head, self.heads = stage.pool, stage.region_head, stage.heads
        self.aligner, self.part_head, self.options = stage.aligner, stage.part_head, stage.options

    def forward(self, features: Tensor, boxes: Tensor) -> Tensor:
        """Grow regions by what is missing of them, and embed their parts."""
        aligned = self.pool(features, boxes)
        whole = self.heads.sub_features(self.region_head(aligned)).reid
        missing = limited(self.aligner(aligned), self.options.largest_cut)
        maps = self.part_head(self.pool(features, grow(boxes, missing)))
        parts, visibility = part_means(maps, missing, self.options.parts)
        embedding = self.heads.embedding
        rows = [
            normalize(norm(projection(peak)), dim=1)
            for peak, projection, norm in zip(
                [whole, *parts.unbind(1)], embedding.projections, embedding.norms, strict=True
            )
        ]
        stacked = torch.stack(rows[1:], dim=1) * visibility[:, :, None]  # 0 where nothing is seen
        return torch.cat([rows[0], normalize(stacked.flatten(1), dim=1)], dim=1) / 2**0.5


class TracedAlign(nn.Module):
    """RoIAlign of one picture by the operator that ONNX has."""

    def __init__(self, pool: RoIAlign) -> None:
        super().__init__()
        self.size, self.stride, self.ratio = pool.size, pool.stride, pool.sampling_ratio

    def forward(self, features: Tensor, boxes: Tensor) -> Tensor:
        """Align the regions of one picture."""
        regions = torch.cat([torch.zeros_like(boxes[:, :1]), boxes], dim=1)
        aligned: Tensor = roi_align(features, regions, self.size, 1 / self.stride, self.ratio)
        return aligned


class TracedMaxPool(nn.Module):
    """RoI pooling of one picture by the operator that ONNX has."""

    def __init__(self, pool: RoIMaxPool) -> None:
        super().__init__()
        self.size, self.stride = pool.size, pool.stride

    def forward(self, features: Tensor, boxes: Tensor) -> Tensor:
        """Pool the regions of one picture."""
        regions = torch.cat([torch.zeros_like(boxes[:, :1]), boxes], dim=1)
        pooled: Tensor = roi_pool(features, regions, self.size, 1 / self.stride)
        return pooled


def _region_graphs(net: PersonSearchNet) -> Mapping[str, RegionGraph | FirstGraph | PartGraph]:
    heads, graphs = net.roi_heads, {}
    last = heads
    if isinstance(heads, SequentialHeads):
        graphs["first"] = FirstGraph(heads.pool, heads.region_head, heads.first)
        last = heads.second
    if isinstance(last, PartHeads):
        return graphs | {
            "regions": FirstGraph(last.pool, last.region_head, last.heads),
            "embed": PartGraph(last),
        }
    assert isinstance(last, RoIHeads)
    return graphs | {"regions": RegionGraph(last)}


def _replace_pools(module: nn.Module) -> None:
    """Put operators that ONNX has in the place of ours."""
    for name, child in module.named_children():
        if isinstance(child, RoIAlign):
            setattr(module, name, TracedAlign(child))
        elif isinstance(child, RoIMaxPool):
            setattr(module, name, TracedMaxPool(child))
        else:
            _replace_pools(child)


def write_graph(
    graph: nn.Module,
    inputs: dict[str, Tensor],
    outputs: dict[str, dict[int, str]],
    axes: dict[str, dict[int, str]],
    path: Path,
) -> Path:
    """Trace a graph and write it.

    Args:
        graph: What is written.
        inputs: What it is traced with, by the names of its inputs.
        outputs: Sides of its outputs that stay open, with their names, by the names of the outputs.
        axes: Sides of its inputs that stay open, likewise.
        path: The file.

    Raises:
        ModelError: A part of it has no counterpart in ONNX.
        UsageError: The package onnx is not installed.
    """
    with warnings.catch_warnings(), torch.no_grad():
        # The exporter that traces is called old; the other one takes no detector of torchvision.
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                graph.eval(),
                tuple(inputs.values()),
                path,
                dynamo=False,
                opset_version=OPSET,
                input_names=[*inputs],
                output_names=[*outputs],
                dynamic_axes=axes | outputs,
            )
        except ImportError as error:
            raise no_onnx() from error
        except Exception as error:  # the exporter has a class of its own for every cause
            raise ModelError(f"the graph {path.stem} cannot be exported: {error}") from error
    return path


def write_picture(net: PersonSearchNet, path: Path) -> Path:
    """Write the graph that brings a picture to the size of the network.

    As ``GeneralizedRCNNTransform`` does it: normalise, resize without smoothing, pad by zeros.

    Raises:
        UsageError: The package onnx is not installed.
    """
    try:
        from onnx import TensorProto, checker, helper, numpy_helper, save
    except ImportError as error:
        raise no_onnx() from error
    import numpy as np

    side = net.transform.test_side
    mean, std = (np.array(v, dtype=np.float32) for v in (side.image_mean, side.image_std))
    constants = {
        "factor": (1 / (MEAN_LEVELS * std)).reshape(3, 1, 1),
        "shift": (-mean / std).reshape(3, 1, 1),
        "first": np.array([0]),
        "one_picture": np.array([1, 3]),
        "no_padding": np.array([0] * 6),
        "nothing": np.array(0, dtype=np.float32),
    }
    node = helper.make_node
    nodes = [
        node("Cast", ["picture"], ["levels"], to=TensorProto.FLOAT),
        node("Transpose", ["levels"], ["colours"], perm=[2, 0, 1]),
        node("Mul", ["colours", "factor"], ["scaled"]),
        node("Add", ["scaled", "shift"], ["normal"]),
        node("Unsqueeze", ["normal", "first"], ["alone"]),
        node("Concat", ["one_picture", "size"], ["sizes"], axis=0),
        node(
            "Resize",
            ["alone", "", "", "sizes"],
            ["resized"],
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        ),
        node("Concat", ["no_padding", "padding"], ["pads"], axis=0),
        node("Pad", ["resized", "pads", "nothing"], ["batch"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "picture",
        [
            value("picture", TensorProto.UINT8, ["height", "width", 3]),
            value("size", TensorProto.INT64, [2]),
            value("padding", TensorProto.INT64, [2]),
        ],
        [value("batch", TensorProto.FLOAT, [1, 3, "padded_height", "padded_width"])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    checker.check_model(model)
    save(model, path)
    return path


def no_onnx() -> UsageError:
    """Say that a package is missing."""
    return UsageError(
        "the export needs the package onnx, which is not installed",
        hint="pip install 'fdps[export]'",
    )
