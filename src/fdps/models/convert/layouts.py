"""Whose checkpoint a file is, and where each of its tensors belongs in our network.

The public networks share a skeleton: the trunk, the proposal network and res5 have the same tensors
under other names. What differs are the heads. They regress boxes for two classes, of which ours
keeps the one that is a person, and their projections have a bias that the norm behind it takes up.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from fdps.config import LossConfig, ModelConfig
from fdps.errors import ModelError

Tensors = Mapping[str, Tensor]

PUBLIC = ModelConfig(
    system="oim_base",
    backbone="resnet50",
    backbone_weights="none",
    reid_features="res4+res5",
    person_score="norm",
    background_iou=0.1,
)
"""What all of them have in common: the settings of NAE's code."""


@dataclass
class Account:
    """What became of every tensor of a checkpoint.

    Args:
        given: The checkpoint.
        tensors: Of our network, by our names.
        fates: By the name in the checkpoint: where it went, or why it was left.
    """

    given: Tensors
    tensors: dict[str, Tensor] = field(default_factory=dict)
    fates: dict[str, str] = field(default_factory=dict)

    def move(self, old: str, new: str) -> None:
        """Take a tensor as it is."""
        self.tensors[new] = self.given[old]
        self.fates[old] = f"converted to {new}"

    def derive(self, new: str, value: Tensor, *old: str) -> None:
        """Take a tensor that was computed from others."""
        self.tensors[new] = value
        for name in old:
            told = self.fates.get(name)
            self.fates[name] = f"{told}, {new}" if told else f"derived: {new}"

    def drop(self, old: str, why: str) -> None:
        """Leave a tensor."""
        self.fates[old] = f"dropped: {why}"

    def left(self) -> list[str]:
        """Return the tensors of which nothing has become yet."""
        return [name for name in self.given if name not in self.fates]


@dataclass(frozen=True)
class Layout:
    """One kind of public checkpoint.

    Args:
        name: Of the system.
        source: The public code that writes it.
        has: Tensors that it has.
        lacks: Tensors that it has not, which tell it from its descendants.
        is_of_positions: Its projections are 1×1 convolutions over maps, not layers over vectors.
        model: Settings of our network.
        convert: Moves the tensors of the heads.
        loss: Name of the re-ID loss.
    """

    name: str
    source: str
    has: tuple[str, ...]
    lacks: tuple[str, ...]
    is_of_positions: bool
    model: ModelConfig
    convert: Callable[[Account], None]
    loss: Literal["oim", "loim"] = "oim"


@dataclass(frozen=True)
class Unfit:
    """A kind of public checkpoint that no network of ours has room for.

    Args:
        name: Of the system.
        source: The public code that writes it.
        tensors: Pattern of the names that tell it from others.
        why: What our networks lack.
    """

    name: str
    source: str
    tensors: str
    why: str


PROJECTION = "roi_heads.embedding_head.projectors.feat_res5.0.weight"


def recognise(tensors: Tensors) -> Layout:
    """Tell by its tensors which system a checkpoint is of.

    Raises:
        ModelError: It is of none that is known here, or of one that does not fit our networks.
    """
    names = {_old_name(name): name for name in tensors}
    for kind in UNFIT:
        found = sorted(name for name in names if re.search(kind.tensors, name))
        if found:
            raise ModelError(
                f"the checkpoint is one of {kind.name} ({kind.source}) and cannot be converted: "
                f"{kind.why}; it holds {found[0]}",
                hint="search with the code that it came with, and bring its predictions as a file",
            )
    is_of_positions = PROJECTION in names and tensors[names[PROJECTION]].ndim == 4
    for layout in LAYOUTS:
        is_named_so = names.keys() >= {*layout.has} and names.keys().isdisjoint(layout.lacks)
        if is_named_so and is_of_positions == layout.is_of_positions:
            return layout
    known = ", ".join(layout.name for layout in LAYOUTS)
    some = ", ".join(sorted(names)[:3]) or "none"
    raise ModelError(
        f"the checkpoint is of no system that is known here ({known}); "
        f"of its {len(names)} tensors, the first are {some}",
        hint="only checkpoints with the names of the public code can be converted",
    )


def renamed(layout: Layout, tensors: Tensors) -> Account:
    """Move every tensor of a checkpoint to where it belongs, or say why it is left.

    Raises:
        ModelError: A tensor is missing, or one has a shape that does not belong there.
    """
    account = Account({_old_name(name): value for name, value in tensors.items()})
    try:
        _skeleton(account)
        layout.convert(account)
    except KeyError as error:
        raise ModelError(
            f"the checkpoint looks like one of {layout.name} but lacks {error.args[0]}",
            hint="it may be cut off, or of another version of that code",
        ) from error
    for name in account.left():
        account.drop(name, "not known to be of any use")
    return account


def settings_of(layout: Layout, tensors: Tensors) -> tuple[ModelConfig, LossConfig, int]:
    """Read the sizes of a network and its memory, and how many identities it was trained on."""
    named = {_old_name(name): value for name, value in tensors.items()}
    projector = "roi_heads.embedding_head.projectors"
    halves = [named.get(f"{projector}.{stage}.0.weight", ()) for stage in STAGES]
    model = replace(
        layout.model,
        backbone="resnet50" if "backbone.layer1.0.conv3.weight" in named else "resnet18",
        embedding_dim=max(sum(map(len, halves)), 2),
    )
    rows = {
        name: len(named.get(f"roi_heads.reid_loss.{name}", ())) for name in ("lut", "cq", "cqb")
    }
    loss = LossConfig(name=layout.loss, queue_size=rows["cq"])
    if rows["cqb"]:
        loss = replace(loss, background_size=rows["cqb"])
    if layout.model.stages == "two":
        loss = replace(loss, box_weight=1.0)
    return model, loss, max(rows["lut"], 1)


def _old_name(name: str) -> str:
    """Take off what wrappers for several GPUs and newer torchvision add to a name."""
    name = re.sub(r"^module\.", "", name)
    return re.sub(r"^(rpn\.head\.conv)\.0\.0\.", r"\1.", name)


TRUNK = {
    "backbone.conv1.": "backbone.stages.0.0.",
    "backbone.bn1.": "backbone.stages.0.1.",
    "backbone.layer1.": "backbone.stages.1.2.",
    "backbone.layer2.": "backbone.stages.2.",
    "backbone.layer3.": "backbone.stages.3.",
}


def _skeleton(account: Account) -> None:
    """Move trunk and proposal network."""
    for name in account.left():
        if name.startswith("rpn.head."):
            account.move(name, name)
        for old, new in TRUNK.items():
            if name.startswith(old):
                account.move(name, new + name.removeprefix(old))


def _region_head(account: Account, old: str, new: str) -> None:
    for name in account.left():
        if name.startswith(f"{old}.layer4."):
            account.move(name, name.replace(f"{old}.layer4.", f"{new}.", 1))


STAGES = ("feat_res4", "feat_res5")
"""Names of the maps that are embedded."""

HORIZONTAL, VERTICAL = [4, 6], [5, 7]
"""Rows of a public regressor: dx dy dw dh of background, then of a person."""


def _boxes(account: Account, linear: str, heads: str, norm: str | None = None) -> None:
    """Take the rows that regress a person."""
    for kind in ("weight", "bias"):
        value = account.given[f"{linear}.{kind}"]
        for axis, rows in (("horizontal", HORIZONTAL), ("vertical", VERTICAL)):
            account.derive(f"{heads}.{axis}.{kind}", value[rows].clone(), f"{linear}.{kind}")
    if norm is None:
        return
    for kind in ("weight", "bias", "running_mean", "running_var"):
        value = account.given[f"{norm}.{kind}"][4:].clone()
        account.derive(f"{heads}.box_norm.{kind}", value, f"{norm}.{kind}")
    _batches(account, norm, f"{heads}.box_norm")


def _batches(account: Account, old: str, new: str) -> None:
    """Keep the number of batches that a norm has seen; old torch did not count them."""
    name = f"{old}.num_batches_tracked"
    if name in account.given:
        account.move(name, f"{new}.num_batches_tracked")
    else:
        account.tensors[f"{new}.num_batches_tracked"] = torch.zeros((), dtype=torch.int64)


def _embedding(account: Account, heads: str) -> None:
    """Take the projections, whose bias a shift of the mean behind it replaces."""
    for k, stage in enumerate(STAGES):
        old = f"roi_heads.embedding_head.projectors.{stage}"
        account.move(f"{old}.0.weight", f"{heads}.embedding.projections.{k}.weight")
        norm = f"{heads}.embedding.norms.{k}"
        for kind in ("weight", "bias", "running_var"):
            account.move(f"{old}.1.{kind}", f"{norm}.{kind}")
        mean = account.given[f"{old}.1.running_mean"] - account.given[f"{old}.0.bias"]
        account.derive(f"{norm}.running_mean", mean, f"{old}.1.running_mean", f"{old}.0.bias")
        _batches(account, f"{old}.1", norm)


def _embedding_of_positions(account: Account, heads: str) -> None:
    """Take the same; a 1×1 convolution has two axes more than a layer over vectors."""
    _embedding(account, heads)
    for k in range(len(STAGES)):
        name = f"{heads}.embedding.projections.{k}.weight"
        account.tensors[name] = account.tensors[name].flatten(1)


def _rescaler(account: Account, heads: str) -> None:
    old, new = "roi_heads.embedding_head.rescaler", f"{heads}.person.rescaler"
    for kind in ("weight", "bias", "running_mean", "running_var"):
        account.move(f"{old}.{kind}", f"{new}.{kind}")
    _batches(account, old, new)


def _without_memory(account: Account) -> None:
    """Leave what the loss remembers of the training people."""
    for name in account.left():
        if name.startswith("roi_heads.reid_loss."):
            account.drop(name, "it remembers the training people; searching needs none of them")


def _unused_classifier(account: Account) -> None:
    for name in account.left():
        if name.startswith("roi_heads.box_predictor.cls_score."):
            account.drop(name, "the public code never uses it")


def _nae(account: Account) -> None:
    heads = "roi_heads.heads"
    _region_head(account, "roi_heads.box_head", "roi_heads.region_head")
    predictor = "roi_heads.box_predictor.bbox_pred"
    _boxes(account, f"{predictor}.0", heads, f"{predictor}.1")
    _embedding(account, heads)
    _rescaler(account, heads)
    _unused_classifier(account)
    _without_memory(account)


def _nae_plus(account: Account) -> None:
    heads = "roi_heads.heads"
    _region_head(account, "roi_heads.box_head", "roi_heads.region_head")
    predictor = "roi_heads.box_predictor.bbox_pred"
    _boxes(account, f"{predictor}.0", heads, f"{predictor}.1")
    _embedding_of_positions(account, heads)
    _rescaler(account, heads)
    _unused_classifier(account)
    _without_memory(account)


def _seqnet(account: Account) -> None:
    heads = "roi_heads.second.heads"
    _region_head(account, "roi_heads.box_head", "roi_heads.region_head")
    _region_head(account, "roi_heads.reid_head", "roi_heads.second.region_head")
    first = "roi_heads.faster_rcnn_predictor"
    _boxes(account, f"{first}.bbox_pred", "roi_heads.first")
    for kind in ("weight", "bias"):
        account.move(f"{first}.cls_score.{kind}", f"roi_heads.first.person.{kind}")
    predictor = "roi_heads.box_predictor.bbox_pred"
    _boxes(account, f"{predictor}.0", heads, f"{predictor}.1")
    _embedding(account, heads)
    _rescaler(account, heads)
    _without_memory(account)


def _hoim(account: Account) -> None:
    heads = "roi_heads.heads"
    _region_head(account, "roi_heads.box_head", "roi_heads.region_head")
    predictor = "roi_heads.box_predictor.bbox_pred"
    _boxes(account, f"{predictor}.0", heads, f"{predictor}.1")
    _embedding(account, heads)
    _unused_classifier(account)
    for old, new in {
        "lut": "table.rows",
        "cq": "queue.rows",
        "cq_omega": "queue.importance",
        "cqb": "background.rows",
        "cqb_omega": "background.importance",
    }.items():
        account.move(f"roi_heads.reid_loss.{old}", f"{heads}.person.memory.{new}")


def _oimnet_pp(account: Account) -> None:
    """Take the one head that the public code uses of the two that it builds."""
    heads = "roi_heads.heads"
    _region_head(account, "roi_heads.reid_head", "roi_heads.region_head")
    _boxes(account, "roi_heads.box_predictor.bbox_pred", heads)
    for kind in ("weight", "bias"):
        account.move(f"roi_heads.box_predictor.bbox_cls.{kind}", f"{heads}.person.{kind}")
    old, norm = "roi_heads.embedding_head.projectors.feat_res5", f"{heads}.embedding.norms.0"
    account.move(f"{old}.0.weight", f"{heads}.embedding.projections.0.weight")
    for kind in ("running_mean", "running_var"):
        account.move(f"{old}.1.{kind}", f"{norm}.{kind}")
    _batches(account, f"{old}.1", norm)
    for name in account.left():
        if name.startswith(("roi_heads.box_head.", "roi_heads.faster_rcnn_predictor.")):
            account.drop(name, "the public code never uses it")
    _without_memory(account)


def _layout(
    name: str,
    source: str,
    convert: Callable[[Account], None],
    *,
    has: Iterable[str],
    lacks: Iterable[str] = (),
    is_of_positions: bool = False,
    **model: Any,
) -> Layout:
    common = (
        "backbone.conv1.weight",
        "rpn.head.cls_logits.weight",
        "roi_heads.box_predictor.bbox_pred.0.weight",
        PROJECTION,
    )
    has = tuple(f"roi_heads.{key}" for key in has)
    lacks = tuple(f"roi_heads.{key}" for key in lacks)
    settings = replace(PUBLIC, **model)
    return Layout(name, source, (*common, *has), lacks, is_of_positions, settings, convert)


LAYOUTS = (
    _layout(
        "SeqNet",
        "github.com/serend1p1ty/SeqNet",
        _seqnet,
        has=("reid_head.layer4.0.conv1.weight", "faster_rcnn_predictor.cls_score.weight"),
        stages="two",
        background_iou=0.5,
    ),
    _layout(
        "HOIM",
        "github.com/dichen-cd/HOIM-PyTorch",
        _hoim,
        has=("reid_loss.cqb", "reid_loss.cq_omega"),
        person_score="memory",
    ),
    _layout(
        "NAE",
        "github.com/dichen-cd/NAE4PS",
        _nae,
        has=("embedding_head.rescaler.weight",),
        lacks=("reid_head.layer4.0.conv1.weight",),
    ),
    Layout(
        "OIMNet++",
        "github.com/cvlab-yonsei/OIMNetPlus",
        (
            "backbone.conv1.weight",
            "rpn.head.cls_logits.weight",
            "roi_heads.reid_head.layer4.0.conv1.weight",
            "roi_heads.box_predictor.bbox_cls.weight",
            "roi_heads.embedding_head.projectors.feat_res5.1.running_mean",
        ),
        (),
        False,
        replace(
            PUBLIC,
            reid_features="res5",
            person_score="softmax",
            embedding_norm="prototype",
            background_iou=0.5,
            box_norm=False,
            anchor_sizes=(8, 16, 32),
        ),
        _oimnet_pp,
        loss="loim",
    ),
    _layout(
        "NAE+",
        "github.com/dichen-cd/NAE4PS",
        _nae_plus,
        has=("embedding_head.rescaler.weight",),
        lacks=("reid_head.layer4.0.conv1.weight",),
        is_of_positions=True,
        system="nae_plus",
    ),
)
"""Known checkpoints; the first that fits is taken."""

UNFIT = (
    Unfit(
        "GLCNet",
        "github.com/ZhengPeng7/GLCNet",
        r"^(roi_heads\.)?(cxt_|fuser_|mps\.)|\.projectors\.(cxt_|feat_granularity_)",
        "it embeds the scene and the group around a person, or parts of a person, which no network "
        "of fdps does",
    ),
)
"""Checkpoints that are known and refused."""
