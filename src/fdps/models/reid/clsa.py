r"""CLSA: a person is embedded at several depths, and the shallow ones learn from the deepest.

Source: Lan, Zhu and Gong, Person search by multi-scale matching, ECCV 2018.

People are found at very different sizes, and a single depth of a network suits a single size. So
the maps of the last stages become a pyramid (each level adds what lies above it, brought to its
size), every level embeds the person and names the training identities by itself, and all levels are
matched together: their embeddings stand side by side. A shallow level knows little of what matters
("cross-level semantic alignment"), and is therefore taught by the deepest one,

.. math:: L_\mathrm{align} = \frac{T^2}{K - 1} \sum_{k < K}
    \mathrm{KL}\bigl(\sigma(z_K / T) \,\|\, \sigma(z_k / T)\bigr)

with the logits :math:`z_k` of the classifiers and a temperature :math:`T` that softens them. The
deepest level, which is the target, gets no gradient from it.

No code was published. What is from memory of the paper, and what is decided here, is told in
``docs/concepts/two_step_systems.md``.

Axes: N crops, K levels, C channels of a level, D embedding dimension, L identities.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import kl_div
from torchvision.ops import FeaturePyramidNetwork

from fdps.config import LossConfig
from fdps.errors import ConfigError
from fdps.losses import Criterion, identity_loss
from fdps.models.backbone import Backbone
from fdps.models.embedding import PeakEmbedding
from fdps.models.reid.network import People, ReidNet, Seen
from fdps.models.reid.plain import PlainReid


@dataclass(frozen=True)
class CLSAOptions:
    """The pyramid, and how it is aligned.

    Args:
        levels: Last stages of the backbone that are embedded, K in 2..4.
        channels: Channels of every level of the pyramid, in 8..2048.
        temperature: T, in 0.1..100.
        alignment_weight: Weight of the alignment, at least 0.

    Raises:
        ConfigError: A value is outside its range.
    """

    levels: int = 3
    channels: int = 256
    temperature: float = 3.0
    alignment_weight: float = 1.0

    def __post_init__(self) -> None:
        ranges = {
            "levels": (2, 4),
            "channels": (8, 2048),
            "temperature": (0.1, 100.0),
            "alignment_weight": (0.0, 1e6),
        }
        for name, (low, high) in ranges.items():
            if not low <= (value := getattr(self, name)) <= high:
                raise ConfigError(
                    f"recipe key model.options.{name} must be in {low:g}..{high:g}, got {value:g}"
                )


class CLSANet(ReidNet):
    """A network that embeds a person at every level of a pyramid.

    Args:
        pyramid: Maps of the last stages to as many maps of equal channels.
        options: Of the pyramid.
        parts: Those of :class:`ReidNet`, in its order.
        settings: Those of :class:`ReidNet`.
    """

    FURTHER_LOSSES = ("alignment",)

    def __init__(
        self, pyramid: FeaturePyramidNetwork, options: CLSAOptions, *parts: Any, **settings: Any
    ) -> None:
        self.options = options
        super().__init__(*parts, **settings)
        self.pyramid = pyramid

    def build_classifier(self, n_persons: int) -> nn.Module | None:
        """Build a classifier for each level."""
        if not n_persons:
            return None
        share = self.embedding.dim // self.options.levels
        classifiers = [nn.Linear(share, n_persons, bias=False) for _ in range(self.options.levels)]
        for classifier in classifiers:
            nn.init.normal_(classifier.weight, std=0.001)
        return nn.ModuleList(classifiers)

    def vectors(self, crops: Float[Tensor, "N 3 h w"]) -> list[Float[Tensor, "N C"]]:
        """Turn crops into one vector per level, the deepest last."""
        levels = self.pyramid(last_maps(self, self.normalised(crops), self.options.levels))
        return [self.pool(maps) for maps in levels.values()]

    def losses(self, seen: Seen, people: People) -> dict[str, Float[Tensor, ""]]:
        """Align the classifiers with the deepest, beside what every network learns."""
        logits, options = self.logits(seen), self.options
        apart = [alignment(z, logits[-1], temperature=options.temperature) for z in logits[:-1]]
        aligned = options.alignment_weight * torch.stack(apart).mean()
        return super().losses(seen, people) | {"alignment": aligned}

    def identities(self, seen: Seen, people: People) -> Float[Tensor, ""] | None:
        """Compute what the classifiers miss, the mean over levels."""
        smoothing = self.config.identity_smoothing
        missed = [identity_loss(z, people.ids, smoothing=smoothing) for z in self.logits(seen)]
        return torch.stack(missed).mean()

    def logits(self, seen: Seen) -> list[Float[Tensor, "N L"]]:
        """Name the identities at every level."""
        assert isinstance(self.classifier, nn.ModuleList)
        shares = seen.rows.chunk(self.options.levels, dim=1)
        return [
            classifier(share) for classifier, share in zip(self.classifier, shares, strict=True)
        ]

    def counts(self, people: People, criterion: Criterion) -> dict[str, Int64[Tensor, ""]]:
        """Count what every loss is a mean over; alignment needs no label."""
        n_crops = torch.tensor(len(people.ids), device=people.ids.device)
        return super().counts(people, criterion) | {"alignment": n_crops}


class CLSA(PlainReid):
    """A pyramid of embeddings, aligned with the deepest."""

    Options = CLSAOptions

    def assemble(self, backbone: Backbone, loss: LossConfig, n_persons: int) -> ReidNet:
        """Put the parts together.

        Raises:
            ConfigError: There is no classifier to align, the embedding cannot be divided, or the
                backbone has not so many stages that halve.
        """
        options, dim = self.options, self.config.embedding_dim
        if n_persons and not loss.identity_weight:
            raise ConfigError(
                "recipe key loss.identity_weight is 0, but model.system is 'clsa', which aligns "
                "classifiers",
                hint="set loss.identity_weight=1",
            )
        if dim % options.levels:
            raise ConfigError(
                f"recipe key model.embedding_dim must be a multiple of model.options.levels "
                f"({options.levels}), got {dim}"
            )
        channels = stage_channels(backbone, options.levels)
        pyramid = FeaturePyramidNetwork(channels, options.channels)
        embedding = PeakEmbedding((options.channels,) * options.levels, dim)
        return CLSANet(
            pyramid,
            options,
            backbone.trunk,
            backbone.region_head,
            embedding,
            loss,
            **self.settings(n_persons),
        )


def alignment(
    logits: Float[Tensor, "N L"], deepest: Float[Tensor, "N L"], *, temperature: float
) -> Float[Tensor, ""]:
    """Measure how far one level's view of who somebody is lies from that of the deepest.

    Args:
        logits: Of a shallower level.
        deepest: Of the deepest, which gets no gradient.
        temperature: T, above 0; gradients keep their size under any, by the factor T².

    Returns:
        The divergence, a mean over crops; at least 0, and 0 where both say the same.
    """
    ours = (logits.float() / temperature).log_softmax(dim=1)
    target = (deepest.detach().float() / temperature).log_softmax(dim=1)
    divergence = kl_div(ours, target, reduction="sum", log_target=True)
    return temperature**2 * divergence / max(len(logits), 1)


def last_maps(
    net: ReidNet, pixels: Float[Tensor, "N 3 h w"], n_levels: int
) -> dict[str, Float[Tensor, "N _ _ _"]]:
    """Return the maps of the last stages of a network, from the largest to the deepest."""
    maps, found = pixels, []
    n_stages = len(net.backbone.stages)
    for stage in range(n_stages):
        maps = net.backbone.part(maps, stage, stage + 1)
        found.append(maps)
    found.append(net.region_head(maps))
    return {str(k): level for k, level in enumerate(found[-n_levels:])}


@torch.no_grad()
def stage_channels(backbone: Backbone, n_levels: int) -> list[int]:
    """Find how many channels the last stages of a backbone have, by looking at a small crop.

    Raises:
        ConfigError: Its stages are not maps of falling size, as those of a transformer are not.
    """
    stages = [*backbone.trunk.stages, backbone.region_head]
    was_training = [stage.training for stage in stages]
    maps, shapes = torch.zeros(1, 3, 64, 64), []
    for stage in stages:
        maps = stage.eval()(maps)
        shapes.append(tuple(maps.shape) if isinstance(maps, Tensor) else ())
    for stage, training in zip(stages, was_training, strict=True):
        stage.train(training)
    last = shapes[-n_levels:]
    if any(len(shape) != 4 for shape in last) or len({shape[2] for shape in last}) < n_levels:
        raise ConfigError(
            "model.system = 'clsa' needs a backbone whose last stages each halve the map",
            hint="take resnet50, mobilenet_v2, or a ResNet or ConvNeXt of timm",
        )
    return [shape[1] for shape in last]
