"""The section ``[model]`` of a re-ID network on crops, which searches behind a detector."""

from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal

from fdps.config.backbones import check_backbone
from fdps.config.ranges import check_fields
from fdps.config.systems import TWO_STEP_SYSTEMS, find_system
from fdps.errors import ConfigError

CARD_PREFIX = "card:"
"""How the name of a backbone begins whose network is that of a card."""

STRIDE = 32
"""The sides of a crop are multiples of this, as the maps of a backbone need."""


@dataclass(frozen=True, kw_only=True)
class TwoStepConfig:
    """A detector that finds people, and a network that embeds every one of them by itself."""

    kind: Literal["two_step"] = "two_step"
    """Kind of this section."""
    detector: str
    """Who finds people: a run folder, weights or a card (whose detector it takes); it stays so."""
    detector_score: float | None = None
    """The least score of a detection; left out: that of the detector's own recipe or card."""
    system: str = "plain"
    """How the network on crops is built and trained; one of the two-step systems."""
    options: dict[str, Any] = field(default_factory=dict, hash=False)
    """What this system alone can be told; its page names them."""
    boxes: Literal["annotated", "detected", "both"] = "annotated"
    """Learn from annotated boxes, from what the detector finds where people are, or from both."""
    match_iou: float = 0.5
    """A detection shows the person whose box it overlaps most, if by at least this much."""
    features: Literal["trained", "kept"] = "trained"
    """Train the backbone, or compute its features once, keep them and train a head on them."""
    backbone: str = "resnet50"
    """resnet50, resnet18, mobilenet_v2, ``timm:NAME``, or ``card:FILE`` (its network; kept)."""
    backbone_weights: str = "imagenet"
    """``imagenet``, ``pretrained`` (fetched), ``none``, a file, or the trunk of an fdps network."""
    frozen_stages: int = 1
    """Leading stages of the trunk that do not train; 1 is conv1 and the affine of its norm."""
    norm: Literal["train", "frozen", "sync"] = "train"
    """Batch norms learn, over the crops of one process or (sync) of all, or stay as they are."""
    crop_size: tuple[int, int] = (256, 128)
    """Height and width of a person who is cut out, in pixels; multiples of 32."""
    pooling: Literal["mean", "max"] = "mean"
    """A map becomes a vector by its mean or by its largest values."""
    embedding_dim: int = 256
    """Length of the embedding."""

    def __post_init__(self) -> None:
        check_fields("model", self)
        if not self.detector:
            raise ConfigError(
                "recipe key model.detector must name what finds people, got ''",
                hint="a run folder of fdps train, a weights file, or a card: docs/guides/models.md",
            )
        if self.system not in TWO_STEP_SYSTEMS:
            near = get_close_matches(self.system, TWO_STEP_SYSTEMS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else ""
            if find_system(self.system) is not None:
                hint = "it is a system of one step: train it by itself, as model.detector"
            raise ConfigError(
                f"recipe key model.system must be one of {', '.join(TWO_STEP_SYSTEMS)} for "
                f"model.kind = 'two_step', got {self.system!r}",
                hint=hint,
            )
        self._check_backbone()
        if any(side % STRIDE for side in self.crop_size):
            raise ConfigError(
                f"recipe key model.crop_size must be multiples of {STRIDE}, "
                f"got {[*self.crop_size]}",
                hint="256×128 and 192×96 are usual, 128×64 is quick",
            )

    def _check_backbone(self) -> None:
        """Refuse a backbone that nobody knows, or that cannot be trained."""
        if self.backbone.startswith(CARD_PREFIX):
            if self.features != "kept":
                raise ConfigError(
                    f"recipe key model.backbone is {self.backbone!r}, whose network is not trained",
                    hint="set model.features=kept to train a head on what it says of each crop",
                )
            return
        check_backbone(self.backbone)
