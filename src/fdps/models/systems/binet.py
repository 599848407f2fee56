r"""BINet: in training, a second branch looks at people without what surrounds them.

Source: Dong et al., Bi-directional interaction network for person search, CVPR 2020.

The receptive field of a region reaches far beyond it, so that its embedding takes up context. The
instance branch sees annotated people alone, cut out of the picture, through the same weights; two
interaction losses then draw the two branches together for every region that shows a person. Tests
run the scene branch alone: what is searched with is OIM, at the cost of OIM.

Of the paper we have the abstract and the authors' summary. What they leave open is decided here:

* Patches pass norms as in tests, by the running statistics of the scenes, which they leave alone.
  People cut out are distributed differently from scenes; statistics of both would fit neither, and
  tests would use the mixture. A step also stays the same however it is spread over processes.
* A patch is one region that fills its map, so that any way of taking sub-features serves it.
* The scene branch alone writes the memory, against which both branches are compared.
* The interaction losses are means over annotated people, of the mean over their regions.

Axes: B pictures, H and W of the batch, P annotated people, R regions that show one of them, M rows
of the memory, D embedding dimension.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import kl_div
from torchvision.ops import roi_align

from fdps.errors import ConfigError
from fdps.losses import Criterion
from fdps.models.backbone import Backbone
from fdps.models.norms import statistics_used
from fdps.models.outputs import MeanLoss, RegionOutputs
from fdps.models.person_search import PersonSearchNet
from fdps.models.roi_heads import RegionHeads
from fdps.models.rpn import ProposalNetwork
from fdps.models.systems.system import System
from fdps.models.transform import PictureTransform


@dataclass(frozen=True)
class BINetOptions:
    """What the instance branch looks at, and how much it teaches.

    Args:
        patch_size: Height and width of a person who was cut out, in pixels, each in 16..1024.
        instance_weight: Weight of the re-ID loss of the instance branch, at least 0.
        feature_weight: Weight of the interaction of embeddings, at least 0.
        prediction_weight: Weight of the interaction of predictions, at least 0.

    Raises:
        ConfigError: A value is outside its range.
    """

    patch_size: tuple[int, int] = (192, 64)
    instance_weight: float = 1.0
    feature_weight: float = 1.0
    prediction_weight: float = 1.0

    def __post_init__(self) -> None:
        if not all(16 <= side <= 1024 for side in self.patch_size):
            raise ConfigError(
                "recipe key model.options.patch_size must be height and width in 16..1024, "
                f"got {[*self.patch_size]}"
            )
        for name in ("instance_weight", "feature_weight", "prediction_weight"):
            if not 0 <= (weight := getattr(self, name)) < inf:
                raise ConfigError(
                    f"recipe key model.options.{name} must be at least 0, got {weight}"
                )


class InteractingNet(PersonSearchNet):
    """A network that in training looks at annotated people cut out of the picture as well.

    Args:
        parts: Those of :class:`PersonSearchNet`.
        options: Of the instance branch.
    """

    FURTHER_LOSSES = ("instance_reid", "feature_interaction", "prediction_interaction")

    def __init__(self, *parts: Any, options: BINetOptions) -> None:
        super().__init__(*parts)
        self.options = options

    def further_losses(
        self,
        pictures: Float[Tensor, "B 3 H W"],
        targets: list[dict[str, Tensor]],
        regions: RegionOutputs,
        criterion: Criterion,
    ) -> dict[str, MeanLoss]:
        """Name the people cut out, and let both branches learn from each other.

        Args:
            pictures: The resized and normalised batch.
            targets: ``boxes`` and ``person_ids`` of each picture, in its pixels.
            regions: What the scene branch made of it.
            criterion: The re-ID loss.
        """
        ids = torch.cat([target["person_ids"] for target in targets])
        patches = cut_out(pictures, [target["boxes"] for target in targets], self.options)
        instances = self.embed_patches(patches) if len(ids) else regions.embeddings[:0]
        shows = regions.people >= 0
        who = regions.people[shows]
        scene, instance = regions.embeddings[shows], instances[who]
        options = self.options
        per_person = (
            options.feature_weight * feature_distance(scene, instance),
            options.prediction_weight
            * prediction_distance(criterion.logits(scene), criterion.logits(instance)),
        )
        named = options.instance_weight * criterion.terms(instances, ids).loss
        values = (named, *(mean_of_people(values, who, len(ids)) for values in per_person))
        counts = self.count_further(targets, criterion)
        return {
            name: MeanLoss(value, counts[name])
            for name, value in zip(self.FURTHER_LOSSES, values, strict=True)
        }

    def count_further(
        self, targets: list[dict[str, Tensor]], criterion: Criterion
    ) -> dict[str, Int64[Tensor, ""]]:
        """Count the samples of every loss of :meth:`further_losses`, from the annotations alone."""
        ids = torch.cat([target["person_ids"] for target in targets])
        n_people = torch.tensor(len(ids), device=ids.device)
        counts = (criterion.n_samples(ids), n_people, n_people)
        return dict(zip(self.FURTHER_LOSSES, counts, strict=True))

    def embed_patches(self, patches: Float[Tensor, "P 3 h w"]) -> Float[Tensor, "P D"]:
        """Embed people who were cut out, at least one; unit rows with their gradient."""
        height, width = patches.shape[-2:]
        whole = patches.new_tensor([[0, 0, width, height]])
        with statistics_used(self), _maps_kept(self):
            rows = self.roi_heads.embed(self.backbone(patches), [whole] * len(patches))
        return torch.cat(rows)


class BINet(System):
    """OIM-base with an instance branch in training."""

    Options = BINetOptions

    def assemble(
        self,
        transform: PictureTransform,
        backbone: Backbone,
        rpn: ProposalNetwork,
        region_heads: RegionHeads,
    ) -> PersonSearchNet:
        """Put the parts together."""
        return InteractingNet(transform, backbone.trunk, rpn, region_heads, options=self.options)


@torch.no_grad()
def cut_out(
    pictures: Float[Tensor, "B 3 H W"], boxes: list[Float[Tensor, "_ 4"]], options: BINetOptions
) -> Float[Tensor, "P 3 h w"]:
    """Cut people out of their pictures and bring them to one size.

    A pixel of a patch is the mean of as many bilinear samples as it covers pixels of the picture,
    so that a large person is not aliased. Of a box without area nothing is left but zeros.

    Args:
        pictures: The resized and normalised batch.
        boxes: People of each picture, in its pixels.
        options: With the size of a patch.
    """
    cut: Tensor = roi_align(pictures.float(), boxes, options.patch_size, aligned=True)
    return cut


def feature_distance(
    scene: Float[Tensor, "R D"], instance: Float[Tensor, "R D"]
) -> Float[Tensor, " R"]:
    r"""Squared distance of the unit embeddings of a person in the two branches.

    .. math:: d = \lVert x_s - x_i \rVert^2 = 2 - 2 x_s^\top x_i

    Both branches get its gradient. In [0, 4], and 0 where the embeddings are equal.
    """
    return (scene - instance).square().sum(dim=1)


def prediction_distance(
    scene: Float[Tensor, "R M"], instance: Float[Tensor, "R M"]
) -> Float[Tensor, " R"]:
    r"""Divergence of who a person is taken for in the two branches, in both directions.

    .. math:: d = \mathrm{KL}(\bar p_i \,\|\, p_s) + \mathrm{KL}(\bar p_s \,\|\, p_i), \qquad
        p = \mathrm{softmax}(v^\top x / \tau)

    over all rows of the memory. A bar marks a target: it gets no gradient, so that each branch
    moves towards the other and is not paid for making its own prediction blurred.

    Args:
        scene: Logits of the scene branch.
        instance: Logits of the instance branch.

    Returns:
        At least 0, and 0 where the predictions are equal.
    """
    p_scene, p_instance = scene.log_softmax(dim=1), instance.log_softmax(dim=1)
    divergences = [
        kl_div(learner, target.detach(), reduction="none", log_target=True).sum(dim=1)
        for learner, target in ((p_scene, p_instance), (p_instance, p_scene))
    ]
    return divergences[0] + divergences[1]


def mean_of_people(
    values: Float[Tensor, " R"], who: Int64[Tensor, " R"], n_people: int
) -> Float[Tensor, ""]:
    """Average over the regions of each person, then over all annotated people.

    Their number is known before any region is sampled, as a step in several parts needs it. A
    person of whom no region was sampled counts as 0.

    Args:
        values: Of each region.
        who: Which person each region shows, in 0..P-1.
        n_people: P; without anybody the mean is 0.
    """
    n_regions = who.bincount(minlength=n_people)
    return (values / n_regions[who]).sum() / max(n_people, 1)


@contextmanager
def _maps_kept(net: PersonSearchNet) -> Iterator[None]:
    """Let the trunk keep its maps: computed again in the backward pass, norms would differ."""
    is_recomputed = net.backbone.is_recomputed
    net.backbone.is_recomputed = False
    try:
        yield
    finally:
        net.backbone.is_recomputed = is_recomputed
