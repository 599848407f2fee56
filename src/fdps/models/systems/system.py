"""How the parts of a network are put together: the skeleton that all systems share.

A system is a subclass of :class:`System` that replaces the parts in which its paper differs. The
skeleton itself is OIM-base, and a recipe varies it without any subclass: what scores a region, how
many stages there are, what is embedded.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import nn

from fdps.config import LossConfig, ModelConfig, from_dict
from fdps.losses import Criterion, HierarchicalMemory
from fdps.models.backbone import Backbone, build_backbone
from fdps.models.criteria import build_criterion
from fdps.models.embedding import PeakEmbedding
from fdps.models.heads import BoxHeads, TaskHeads
from fdps.models.norms import freeze_norms, sync_norms
from fdps.models.person_search import PersonSearchNet
from fdps.models.prototype_norm import PrototypeNorm
from fdps.models.roi_align import RoIAlign, RoIMaxPool
from fdps.models.roi_heads import RegionHeads, RegionRules, RoIHeads
from fdps.models.rpn import ProposalNetwork, ProposalRules, build_rpn
from fdps.models.sampling import REFINED, REGIONS
from fdps.models.scores import NormScore, PersonScore, SoftmaxScore
from fdps.models.sub_features import SharedPeak, SubFeatureModule
from fdps.models.systems.hoim import MemoryScore
from fdps.models.systems.seqnet import SequentialHeads
from fdps.models.transform import PictureTransform

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
STRIDE = 16


@dataclass(frozen=True)
class NoOptions:
    """Options of a system that has none."""


class System:
    """Builds the network and the criterion of a recipe, part by part.

    Args:
        config: Section ``model`` of the recipe.

    Attributes:
        Options: Frozen dataclass of what the recipe may set under ``model.options``.
        options: Those of this recipe.
        sub_features: Builds the module that hands every task its vector, from the channels and the
            height and width of a region map.

    Raises:
        ConfigError: An option is not known, or outside its range.
    """

    Options: ClassVar[type] = NoOptions
    sub_features: Callable[[int, tuple[int, int]], SubFeatureModule] = SharedPeak

    def __init__(self, config: ModelConfig) -> None:
        self.config = config
        self.options: Any = from_dict(self.Options, config.options, "model.options.")

    def criterion(self, loss: LossConfig, n_persons: int) -> Criterion:
        """Build the re-ID loss with an empty memory.

        Args:
            loss: Section ``loss`` of the recipe.
            n_persons: Training identities, L.
        """
        is_hierarchical = self.config.person_score == "memory"
        dim = self.config.embedding_dim
        return build_criterion(loss, n_persons, dim, is_hierarchical=is_hierarchical)

    def network(self, memory: HierarchicalMemory | None = None) -> PersonSearchNet:
        """Build the network, in channels-last memory.

        Args:
            memory: Of the criterion, which the network shares where ``person_score`` is
                ``memory``.

        Raises:
            MissingDataError: The backbone weights do not exist.
            ModelError: They cannot be fetched or do not fit.
            ValueError: A memory is missing.
        """
        backbone = self.backbone()
        rpn = self.rpn(backbone)
        net = self.assemble(self.transform(), backbone, rpn, self.region_heads(backbone, memory))
        if self.config.norm == "sync":
            sync_norms(net)
        elif self.config.norm == "frozen":
            freeze_norms(net)
        return net.to(memory_format=torch.channels_last)

    def assemble(
        self,
        transform: PictureTransform,
        backbone: Backbone,
        rpn: ProposalNetwork,
        region_heads: RegionHeads,
    ) -> PersonSearchNet:
        """Put the parts together."""
        return PersonSearchNet(transform, backbone.trunk, rpn, region_heads)

    def transform(self) -> PictureTransform:
        """Build what resizes and normalises pictures."""
        config = self.config
        return PictureTransform(config.short_side, config.long_side, IMAGENET_MEAN, IMAGENET_STD)

    def backbone(self) -> Backbone:
        """Build the trunk and the region head."""
        config = self.config
        return build_backbone(
            config.backbone,
            weights=config.backbone_weights,
            frozen_stages=config.frozen_stages,
            norm=config.norm,
        )

    def rpn(self, backbone: Backbone) -> ProposalNetwork:
        """Build the proposal network."""
        config = self.config
        rules = ProposalRules(
            before_nms=config.rpn_before_nms,
            after_nms=config.rpn_after_nms,
            nms_iou=config.rpn_nms_iou,
            foreground_iou=config.rpn_foreground_iou,
            background_iou=config.rpn_background_iou,
            anchors_per_image=config.rpn_anchors_per_image,
            positive_fraction=config.rpn_positive_fraction,
            test_min_score=config.rpn_test_min_score,
            test_nms_iou=config.rpn_test_nms_iou,
        )
        return build_rpn(
            backbone.trunk.out_channels,
            rules,
            anchor_sizes=config.anchor_sizes,
            anchor_ratios=config.anchor_ratios,
        )

    def region_heads(self, backbone: Backbone, memory: HierarchicalMemory | None) -> RegionHeads:
        """Build one stage of region heads, or two of them (SeqNet)."""
        config, rules = self.config, self.region_rules()
        is_second = config.stages == "two"
        pool = self.pool()
        last = self.stage(
            pool,
            copy.deepcopy(backbone.region_head) if is_second else backbone.region_head,
            self.task_heads(backbone, memory),
            replace(rules, nms_iou=config.second_nms_iou) if is_second else rules,
            REFINED if is_second else REGIONS,
        )
        if not is_second:
            return last
        first = BoxHeads(self.task_features(backbone), box_norm=config.first_box_norm)
        return SequentialHeads(pool, backbone.region_head, first, last, rules)

    def stage(
        self,
        pool: nn.Module,
        region_head: nn.Module,
        heads: TaskHeads,
        rules: RegionRules,
        stream: int,
    ) -> RoIHeads:
        """Build the stage that embeds; the arguments are those of :class:`RoIHeads`."""
        return RoIHeads(pool, region_head, heads, rules, stream=stream)

    def pool(self) -> nn.Module:
        """Build what cuts regions out of the feature map."""
        config = self.config
        if config.region_pooling == "max":
            return RoIMaxPool(config.region_size, STRIDE)
        return RoIAlign(config.region_size, STRIDE, config.region_samples)

    def region_rules(self) -> RegionRules:
        """Say how regions are sampled and selected."""
        config = self.config
        return RegionRules(
            regions_per_image=config.regions_per_image,
            positive_fraction=config.positive_fraction,
            foreground_iou=config.foreground_iou,
            background_iou=config.background_iou,
            score_threshold=config.score_threshold,
            nms_iou=config.nms_iou,
            max_detections=config.max_detections,
            embedded_box=config.embedded_box,
        )

    def task_heads(self, backbone: Backbone, memory: HierarchicalMemory | None) -> TaskHeads:
        """Build the heads that embed."""
        sub_features = self.task_features(backbone)
        return TaskHeads(
            sub_features,
            self.embedding(backbone, sub_features.dims.reid),
            self.person_score(memory),
            box_norm=self.config.box_norm,
        )

    def embedding(self, backbone: Backbone, channels: int) -> PeakEmbedding:
        """Build what embeds.

        Args:
            backbone: The trunk and the region head.
            channels: Length of the sub-feature that serves re-ID.
        """
        config, peaks = self.config, self.peaks(backbone, channels)
        is_small = config.person_score == "norm"
        norm = PrototypeNorm if config.embedding_norm == "prototype" else nn.BatchNorm1d
        return PeakEmbedding(
            peaks,
            config.embedding_dim,
            is_small=is_small,
            norm=norm,
            sees_background=config.embedding_norm == "regions",
        )

    def peaks(self, backbone: Backbone, channels: int) -> tuple[int, ...]:
        """Return the channels of each map that is embedded, in the order of the network."""
        if self.config.reid_features == "res4+res5":
            return backbone.trunk.out_channels, channels
        return (channels,)

    def person_score(self, memory: HierarchicalMemory | None) -> Callable[[int], PersonScore]:
        """Choose what scores a region; it is built from the length of its sub-feature."""
        if self.config.person_score == "norm":
            return NormScore
        if self.config.person_score == "softmax":
            return SoftmaxScore
        if memory is None:
            raise ValueError("person_score = 'memory' needs the memory of the criterion")
        return lambda channels: MemoryScore(memory)

    @property
    def region_map(self) -> tuple[int, int]:
        """Height and width of a region map after the region head."""
        # It halves the map, rounding up: its first convolution pads by one.
        height, width = self.config.region_size
        return (height + 1) // 2, (width + 1) // 2

    def task_features(self, backbone: Backbone) -> SubFeatureModule:
        """Build what hands every task its vector of a region map."""
        return type(self).sub_features(backbone.region_channels, self.region_map)
