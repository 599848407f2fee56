"""Checkpoints with the tensor names of public person-search code, made of our own networks.

The layouts are told here once more, from what the public files hold: two classes in each box
regressor, a bias in front of each norm, and the memory of the loss.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from fdps.config import LossConfig, ModelConfig
from fdps.models import PersonSearchNet, build_system

SIZES: dict[str, Any] = {
    "system": "oim_base",
    "backbone": "resnet18",
    "backbone_weights": "none",
    "reid_features": "res4+res5",
    "embedding_dim": 16,
    "background_iou": 0.1,
}
SYSTEMS: dict[str, dict[str, Any]] = {
    "NAE": {"person_score": "norm"},
    "NAE+": {"person_score": "norm", "system": "nae_plus"},
    "HOIM": {"person_score": "memory"},
    "SeqNet": {"person_score": "norm", "stages": "two", "background_iou": 0.5},
    "OIMNet++": {
        "reid_features": "res5",
        "embedding_norm": "prototype",
        "background_iou": 0.5,
        "box_norm": False,
        "anchor_sizes": (8, 16, 32),
    },
}
N_PERSONS, QUEUE, BACKGROUND = 3, 4, 5


def used_network(system: str) -> PersonSearchNet:
    """Build a network with weights, statistics and a memory that all differ."""
    torch.manual_seed(0)
    loss = LossConfig(queue_size=QUEUE, background_size=BACKGROUND)
    net, _ = build_system(replace(ModelConfig(), **(SIZES | SYSTEMS[system])), loss, N_PERSONS)
    for name, buffer in net.named_buffers():
        if buffer.is_floating_point():
            values = torch.rand_like(buffer)
            buffer.copy_(nn.functional.normalize(values, dim=1) if "rows" in name else values + 0.5)
    for parameter in net.parameters():
        if parameter.ndim == 1:
            parameter.data.add_(torch.randn_like(parameter), alpha=0.1)
    return net.eval()


def public_tensors(system: str, net: PersonSearchNet) -> dict[str, Tensor]:
    """Name the tensors of a network as public code does."""
    if system == "OIMNet++":
        return _oimnet_pp(net.state_dict())
    return _like_nae(system, net)


def _like_nae(system: str, net: PersonSearchNet) -> dict[str, Tensor]:
    """An embedding of two maps with biases, and two classes in front of a norm."""
    state, public = net.state_dict(), {}
    last = "roi_heads.second" if system == "SeqNet" else "roi_heads"
    for name, value in state.items():
        new = _skeleton(name, system)
        if new:
            public[new] = value
    _boxes(public, state, f"{last}.heads", "roi_heads.box_predictor.bbox_pred.0", norm=True)
    if system == "SeqNet":
        first = "roi_heads.faster_rcnn_predictor"
        _boxes(public, state, "roi_heads.first", f"{first}.bbox_pred", norm=False)
        for kind in ("weight", "bias"):
            public[f"{first}.cls_score.{kind}"] = state[f"roi_heads.first.person.{kind}"]
    else:
        public["roi_heads.box_predictor.cls_score.weight"] = torch.randn(2, 512)
    for k, stage in enumerate(("feat_res4", "feat_res5")):
        new, old = f"roi_heads.embedding_head.projectors.{stage}", f"{last}.heads.embedding"
        bias = torch.randn(8)
        weight = state[f"{old}.projections.{k}.weight"]
        public[f"{new}.0.weight"] = weight[..., None, None] if system == "NAE+" else weight
        public[f"{new}.0.bias"] = bias
        for kind in ("weight", "bias", "running_mean", "running_var"):
            shift = bias if kind == "running_mean" else 0
            public[f"{new}.1.{kind}"] = state[f"{old}.norms.{k}.{kind}"] + shift
    memory = f"{last}.heads.person.memory"
    if system == "HOIM":
        names = ("table.rows", "queue.rows", "queue.importance", "background.rows")
        olds = ("lut", "cq", "cq_omega", "cqb")
        for old, own in zip(olds, names, strict=True):
            public[f"roi_heads.reid_loss.{old}"] = state[f"{memory}.{own}"]
        public["roi_heads.reid_loss.cqb_omega"] = state[f"{memory}.background.importance"]
        return public
    for kind in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        rescaler = state[f"{last}.heads.person.rescaler.{kind}"]
        public[f"roi_heads.embedding_head.rescaler.{kind}"] = rescaler
    public["roi_heads.reid_loss.lut"] = torch.randn(N_PERSONS, 16)
    public["roi_heads.reid_loss.cq"] = torch.randn(QUEUE, 16)
    return public


def _oimnet_pp(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Two heads of which one is used, a classifier, and an embedding without any bias."""
    public = {}
    for name, value in state.items():
        new = _skeleton(name, "OIMNet++")
        if new:
            public[new.replace(".box_head.", ".reid_head.")] = value
            if ".box_head." in new:
                public[new] = torch.randn(value.shape)
    heads, predictor = "roi_heads.heads", "roi_heads.box_predictor"
    _boxes(public, state, heads, f"{predictor}.bbox_pred", norm=False)
    for kind in ("weight", "bias"):
        public[f"{predictor}.bbox_cls.{kind}"] = state[f"{heads}.person.{kind}"]
        for layer in ("cls_score", "bbox_pred"):
            public[f"roi_heads.faster_rcnn_predictor.{layer}.{kind}"] = torch.randn(2)
    projector = "roi_heads.embedding_head.projectors.feat_res5"
    public[f"{projector}.0.weight"] = state[f"{heads}.embedding.projections.0.weight"]
    for kind in ("running_mean", "running_var", "num_batches_tracked"):
        public[f"{projector}.1.{kind}"] = state[f"{heads}.embedding.norms.0.{kind}"]
    public["roi_heads.reid_loss.lut"] = torch.randn(N_PERSONS, 16).half()
    public["roi_heads.reid_loss.cq"] = torch.randn(QUEUE, 16).half()
    return public


def _skeleton(name: str, system: str) -> str | None:
    """Name a tensor of trunk, proposals or res5 as public code does."""
    moved = {
        "backbone.stages.0.0.": "backbone.conv1.",
        "backbone.stages.0.1.": "backbone.bn1.",
        "backbone.stages.1.2.": "backbone.layer1.",
        "backbone.stages.2.": "backbone.layer2.",
        "backbone.stages.3.": "backbone.layer3.",
        "rpn.head.conv.": "rpn.head.conv.0.0.",
        "rpn.head.": "rpn.head.",
        "roi_heads.second.region_head.": "roi_heads.reid_head.layer4.",
        "roi_heads.region_head.": "roi_heads.box_head.layer4.",
    }
    for ours, theirs in moved.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return None


def _boxes(
    public: dict[str, Tensor], state: dict[str, Tensor], heads: str, new: str, *, norm: bool
) -> None:
    """Put the regressor of a person behind one of background: dx dy dw dh of each."""
    for kind in ("weight", "bias"):
        dx, dw = state[f"{heads}.horizontal.{kind}"]
        dy, dh = state[f"{heads}.vertical.{kind}"]
        person = torch.stack([dx, dy, dw, dh])
        public[f"{new}.{kind}"] = torch.cat([torch.randn_like(person), person])
    if norm:
        for kind in ("weight", "bias", "running_mean", "running_var"):
            person = state[f"{heads}.box_norm.{kind}"]
            name = f"{new.removesuffix('0')}1.{kind}"
            public[name] = torch.cat([torch.rand_like(person) + 0.5, person])
