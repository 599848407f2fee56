"""The plain re-ID network, and the skeleton that the two-step systems of the literature share.

A system is a subclass of :class:`PlainReid` that replaces what its paper does differently.
"""

from typing import Any, ClassVar, Literal

import torch
from torch import nn

from fdps.config import LossConfig, TwoStepConfig, from_dict
from fdps.losses import Criterion
from fdps.models.backbone import Backbone, Trunk, build_backbone
from fdps.models.criteria import build_criterion
from fdps.models.embedding import PeakEmbedding
from fdps.models.norms import freeze_norms, sync_norms
from fdps.models.reid.network import ReidNet
from fdps.models.systems.system import NoOptions


class PlainReid:
    """Builds the re-ID network and the criterion of a recipe.

    Args:
        config: Section ``model`` of the recipe.

    Attributes:
        Options: Frozen dataclass of what the recipe may set under ``model.options``.
        guided_by: What tells the detector how like the query people are, where that matters: its
            own embeddings, or a look at the pair.
        options: Those of this recipe.
        keeps_background: Whether training is given what the detector finds where nobody is.

    Raises:
        ConfigError: An option is not known, or outside its range.
    """

    Options: ClassVar[type] = NoOptions
    guided_by: ClassVar[Literal["embeddings", "pairs"]] = "embeddings"
    keeps_background: ClassVar[bool] = False

    def __init__(self, config: TwoStepConfig) -> None:
        self.config = config
        self.options: Any = from_dict(self.Options, config.options, "model.options.")

    @property
    def least_likeness(self) -> float | None:
        """How much like the query a detection has to look to the detector; by default no matter."""
        return None

    def criterion(self, loss: LossConfig, n_persons: int) -> Criterion:
        """Build the re-ID loss with an empty memory.

        Args:
            loss: Section ``loss`` of the recipe.
            n_persons: Training identities, L.
        """
        return build_criterion(loss, n_persons, self.config.embedding_dim)

    def network(self, loss: LossConfig, n_persons: int = 0, *, n_features: int = 0) -> ReidNet:
        """Build the network, in channels-last memory.

        Args:
            loss: Section ``loss`` of the recipe.
            n_persons: Training identities; 0 for a network that only searches.
            n_features: Numbers that a network outside says of each crop, where the recipe keeps
                those; else 0.

        Raises:
            MissingDataError: The backbone weights do not exist.
            ModelError: They cannot be fetched or do not fit.
        """
        net = self.assemble(self._backbone(n_features), loss, n_persons)
        if self.config.norm == "sync":
            sync_norms(net)
        elif self.config.norm == "frozen":
            freeze_norms(net)
        return net.to(memory_format=torch.channels_last)

    def assemble(self, backbone: Backbone, loss: LossConfig, n_persons: int) -> ReidNet:
        """Put the parts together."""
        return ReidNet(*self.parts(backbone, loss), **self.settings(n_persons))

    def parts(
        self, backbone: Backbone, loss: LossConfig
    ) -> tuple[Trunk, nn.Module, PeakEmbedding, LossConfig]:
        """Return the parts of :class:`ReidNet`, in its order."""
        embedding = PeakEmbedding((backbone.region_channels,), self.config.embedding_dim)
        return backbone.trunk, backbone.region_head, embedding, loss

    def settings(self, n_persons: int) -> dict[str, Any]:
        """Return the settings of :class:`ReidNet` by name."""
        config = self.config
        return {
            "n_persons": n_persons,
            "size": config.crop_size,
            "pooling": config.pooling,
            "is_kept": config.features == "kept",
        }

    def _backbone(self, n_features: int) -> Backbone:
        """Build the whole network whose maps are embedded."""
        config = self.config
        if n_features:
            return Backbone(Trunk([], n_features, 0), nn.Identity(), n_features)
        backbone = build_backbone(
            config.backbone,
            weights=config.backbone_weights,
            frozen_stages=config.frozen_stages,
            norm=config.norm,
        )
        if backbone.is_head_new:  # nothing is gained by a head that knows nothing yet
            return Backbone(backbone.trunk, nn.Identity(), backbone.trunk.out_channels)
        return backbone
