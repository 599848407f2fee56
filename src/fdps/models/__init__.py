"""Networks: tensors in, tensors out. Start with ``person_search.py``.

:func:`build_model` is the one place where names of a recipe become parts.

Public are the names in ``__all__`` and :func:`fdps.models.decomposition.decompose`; the other
modules are internal and may change.
"""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from fdps.config import LossConfig, ModelConfig
from fdps.losses import BalancedOIMLoss, Criterion, HierarchicalMemory, HOIMLoss, OIMLoss
from fdps.models.backbone import Backbone, build_backbone
from fdps.models.embedding import PeakEmbedding
from fdps.models.heads import BoxHeads, TaskHeads
from fdps.models.norms import freeze_norms, sync_norms
from fdps.models.person_search import PersonSearchNet
from fdps.models.roi_align import RoIAlign, RoIMaxPool
from fdps.models.roi_heads import RegionRules, RoIHeads
from fdps.models.rpn import ProposalRules, build_rpn
from fdps.models.sampling import REFINED, REGIONS
from fdps.models.scores import NormScore, PersonScore, SoftmaxScore
from fdps.models.sub_features import SYSTEMS, SubFeatureModule
from fdps.models.systems.hoim import MemoryScore
from fdps.models.systems.seqnet import SequentialHeads
from fdps.models.transform import PictureTransform

__all__ = ["PersonSearchNet", "build_criterion", "build_model", "build_system"]

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
STRIDE = 16


def build_model(config: ModelConfig, memory: HierarchicalMemory | None = None) -> PersonSearchNet:
    """Build the network of a recipe, in channels-last memory.

    Args:
        config: The network.
        memory: Of the criterion, which the network shares where ``person_score`` is ``memory``.

    Raises:
        MissingDataError: The backbone weights do not exist.
        ModelError: They cannot be fetched or do not fit.
        ValueError: A memory is missing.
    """
    backbone = build_backbone(
        config.backbone,
        weights=config.backbone_weights,
        frozen_stages=config.frozen_stages,
        norm=config.norm,
    )
    rpn = build_rpn(
        backbone.trunk.out_channels,
        ProposalRules(
            before_nms=config.rpn_before_nms,
            after_nms=config.rpn_after_nms,
            nms_iou=config.rpn_nms_iou,
            foreground_iou=config.rpn_foreground_iou,
            background_iou=config.rpn_background_iou,
            anchors_per_image=config.rpn_anchors_per_image,
            positive_fraction=config.rpn_positive_fraction,
        ),
        anchor_sizes=config.anchor_sizes,
        anchor_ratios=config.anchor_ratios,
    )
    transform = PictureTransform(config.short_side, config.long_side, IMAGENET_MEAN, IMAGENET_STD)
    model = PersonSearchNet(transform, backbone.trunk, rpn, _region_heads(config, backbone, memory))
    if config.norm == "sync":
        sync_norms(model)
    elif config.norm == "frozen":
        freeze_norms(model)
    return model.to(memory_format=torch.channels_last)


def _region_heads(
    config: ModelConfig, backbone: Backbone, memory: HierarchicalMemory | None
) -> RoIHeads | SequentialHeads:
    """Build one stage of region heads, or two of them (SeqNet)."""
    # The region head halves the map, rounding up: its first convolution pads by one.
    height, width = ((side + 1) // 2 for side in config.region_size)

    def sub_features() -> SubFeatureModule:
        return SYSTEMS[config.system](backbone.region_channels, (height, width))

    pool: nn.Module = RoIAlign(config.region_size, STRIDE, config.region_samples)
    if config.region_pooling == "max":
        pool = RoIMaxPool(config.region_size, STRIDE)
    rules = RegionRules(
        regions_per_image=config.regions_per_image,
        positive_fraction=config.positive_fraction,
        foreground_iou=config.foreground_iou,
        background_iou=config.background_iou,
        score_threshold=config.score_threshold,
        nms_iou=config.nms_iou,
        max_detections=config.max_detections,
        embedded_box=config.embedded_box,
    )
    is_second = config.stages == "two"
    last = RoIHeads(
        pool=pool,
        region_head=copy.deepcopy(backbone.region_head) if is_second else backbone.region_head,
        heads=_task_heads(config, backbone, sub_features(), memory),
        rules=replace(rules, nms_iou=config.second_nms_iou) if is_second else rules,
        stream=REFINED if is_second else REGIONS,
    )
    if not is_second:
        return last
    first = BoxHeads(sub_features(), box_norm=config.first_box_norm)
    return SequentialHeads(pool, backbone.region_head, first, last, rules)


def _task_heads(
    config: ModelConfig,
    backbone: Backbone,
    sub_features: SubFeatureModule,
    memory: HierarchicalMemory | None,
) -> TaskHeads:
    """Build the heads that embed, with the way of scoring that a recipe names."""
    peaks: tuple[int, ...] = (sub_features.dims.reid,)
    if config.reid_features == "res4+res5":
        peaks = (backbone.trunk.out_channels, *peaks)
    is_scored_by_length = config.person_score == "norm"
    embedding = PeakEmbedding(peaks, config.embedding_dim, is_small=is_scored_by_length)
    score: Callable[[int], PersonScore] = NormScore if is_scored_by_length else SoftmaxScore
    if config.person_score == "memory":
        if memory is None:
            raise ValueError("person_score = 'memory' needs the memory of the criterion")
        shared = memory

        def score(channels: int) -> PersonScore:
            return MemoryScore(shared)

    return TaskHeads(sub_features, embedding, score, box_norm=config.box_norm)


def build_system(
    config: ModelConfig, loss: LossConfig, n_persons: int
) -> tuple[PersonSearchNet, Criterion]:
    """Build a network and the re-ID loss that it is trained with, which may share a memory.

    Args:
        config: The network.
        loss: The loss.
        n_persons: Training identities, L; rows of the look-up table.

    Raises:
        MissingDataError: The backbone weights do not exist.
        ModelError: They cannot be fetched or do not fit.
        ConfigError: The network scores boxes by a memory that this loss does not have.
    """
    is_hierarchical = config.person_score == "memory"
    criterion = build_criterion(
        loss, n_persons, config.embedding_dim, is_hierarchical=is_hierarchical
    )
    memory = criterion.memory if isinstance(criterion, HOIMLoss) else None
    return build_model(config, memory), criterion


def build_criterion(
    loss: LossConfig, n_persons: int, dim: int, *, is_hierarchical: bool = False
) -> Criterion:
    """Build the re-ID loss of a recipe with an empty memory.

    Args:
        loss: The loss.
        n_persons: Training identities, L; rows of the look-up table.
        dim: Length of an embedding.
        is_hierarchical: Build it with a memory of background (HOIM), which scores boxes.
    """
    balance: dict[str, Any] = {
        "alpha": loss.alpha,
        "sigma": loss.sigma,
        "beta": loss.beta,
        "use_dispersion": loss.use_dispersion,
        "use_negatives": loss.use_negatives,
    }
    if is_hierarchical:
        memory = HierarchicalMemory(
            n_persons,
            loss.queue_size,
            loss.background_size,
            dim,
            momentum=loss.momentum,
            temperature=loss.temperature,
        )
        return HOIMLoss(memory, **balance) if loss.name == "boim" else HOIMLoss(memory)
    common: dict[str, Any] = {"temperature": loss.temperature, "momentum": loss.momentum}
    if loss.name == "oim":
        return OIMLoss(n_persons, loss.queue_size, dim, **common)
    return BalancedOIMLoss(n_persons, loss.queue_size, dim, **common, **balance)
