"""Networks: tensors in, tensors out. Start with ``person_search.py``.

:func:`build_model` is the one place where names of a recipe become parts.

Public are the names in ``__all__`` and :func:`fdps.models.decomposition.decompose`; the other
modules are internal and may change.
"""

import torch

from fdps.config import LossConfig, ModelConfig
from fdps.losses import BalancedOIMLoss, Criterion, OIMLoss
from fdps.models.backbone import build_backbone
from fdps.models.embedding import PeakEmbedding
from fdps.models.heads import TaskHeads
from fdps.models.norms import freeze_norms, sync_norms
from fdps.models.person_search import PersonSearchNet
from fdps.models.roi_align import RoIAlign
from fdps.models.roi_heads import RegionRules, RoIHeads
from fdps.models.rpn import ProposalRules, build_rpn
from fdps.models.sub_features import SYSTEMS
from fdps.models.transform import PictureTransform

__all__ = ["PersonSearchNet", "build_criterion", "build_model"]

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
STRIDE = 16


def build_model(config: ModelConfig) -> PersonSearchNet:
    """Build the network of a recipe, in channels-last memory.

    Raises:
        MissingDataError: The backbone weights do not exist.
        ModelError: They cannot be fetched or do not fit.
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
    # The region head halves the map, rounding up: its first convolution pads by one.
    height, width = ((side + 1) // 2 for side in config.region_size)
    sub_features = SYSTEMS[config.system](backbone.region_channels, (height, width))
    peaks: tuple[int, ...] = (sub_features.dims.reid,)
    if config.reid_features == "res4+res5":
        peaks = (backbone.trunk.out_channels, *peaks)
    embedding = PeakEmbedding(peaks, config.embedding_dim)
    roi_heads = RoIHeads(
        pool=RoIAlign(config.region_size, STRIDE, config.region_samples),
        region_head=backbone.region_head,
        heads=TaskHeads(sub_features, embedding, box_norm=config.box_norm),
        rules=RegionRules(
            regions_per_image=config.regions_per_image,
            positive_fraction=config.positive_fraction,
            foreground_iou=config.foreground_iou,
            background_iou=config.background_iou,
            score_threshold=config.score_threshold,
            nms_iou=config.nms_iou,
            max_detections=config.max_detections,
            embedded_box=config.embedded_box,
        ),
    )
    transform = PictureTransform(config.short_side, config.long_side, IMAGENET_MEAN, IMAGENET_STD)
    model = PersonSearchNet(transform, backbone.trunk, rpn, roi_heads)
    if config.norm == "sync":
        sync_norms(model)
    elif config.norm == "frozen":
        freeze_norms(model)
    return model.to(memory_format=torch.channels_last)


def build_criterion(loss: LossConfig, n_persons: int, dim: int) -> Criterion:
    """Build the re-ID loss of a recipe with an empty memory.

    Args:
        loss: The loss.
        n_persons: Training identities, L; rows of the look-up table.
        dim: Length of an embedding.
    """
    if loss.name == "oim":
        return OIMLoss(
            n_persons,
            loss.queue_size,
            dim,
            temperature=loss.temperature,
            momentum=loss.momentum,
        )
    return BalancedOIMLoss(
        n_persons,
        loss.queue_size,
        dim,
        temperature=loss.temperature,
        momentum=loss.momentum,
        alpha=loss.alpha,
        sigma=loss.sigma,
        beta=loss.beta,
        use_dispersion=loss.use_dispersion,
        use_negatives=loss.use_negatives,
    )
