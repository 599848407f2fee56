r"""RDLR: the box is moved to where the person can be told from others, by the re-ID loss itself.

Source: Han et al., Re-ID driven localization refinement for person search, ICCV 2019.

A detector places boxes so that they overlap annotated ones, which is not what re-ID asks for: a
loose box brings background, a shifted one loses the bag. RDLR cuts the person out by an operation
that has a gradient by the box, so that the re-ID loss tells the box where to go. Here a small
network looks at the crop and predicts a window in it, :math:`(t_x, t_y, s_x, s_y)`, and what is
embedded is the crop seen through that window, sampled bilinearly at

.. math:: u' = t_x + s_x u, \qquad v' = t_y + s_y v, \qquad u, v \in [-1, 1]

Beside a classifier, the re-ID loss is a triplet loss with proxies: one stands for each identity, so
that a batch need not show anybody twice,

.. math:: L_\mathrm{proxy} = \frac1N \sum_i \max\Bigl(0,\; m + \lVert x_i - w_{t_i} \rVert
    - \min_{l \ne t_i} \lVert x_i - w_l \rVert\Bigr)

with the rows of the classifier, brought to unit length, as the proxies :math:`w_l`.

No code was published. What is from memory of the paper, and what is decided here, is told in
``docs/concepts/two_step_systems.md``.

Axes: N crops, D embedding dimension, L identities.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import grid_sample, interpolate, normalize

from fdps.config import LossConfig
from fdps.errors import ConfigError
from fdps.losses import Criterion
from fdps.losses.memory import similarity
from fdps.models.backbone import Backbone
from fdps.models.reid.network import People, ReidNet, Seen
from fdps.models.reid.plain import PlainReid

_LOOKED_AT = (64, 32)  # the height and width at which the window is chosen


@dataclass(frozen=True)
class RDLROptions:
    """How far the box may move, and the loss with proxies.

    Args:
        largest_move: The window's centre moves, and its sides grow or shrink, by at most this share
            of the crop's half side, above 0 and at most 0.5.
        proxy_weight: Weight of the triplet loss with proxies, at least 0.
        proxy_margin: m, how much farther than the own proxy every other one should be, in 0..2.

    Raises:
        ConfigError: A value is outside its range.
    """

    largest_move: float = 0.25
    proxy_weight: float = 1.0
    proxy_margin: float = 0.3

    def __post_init__(self) -> None:
        ranges = (
            ("largest_move", "above 0 and at most 0.5", 0 < self.largest_move <= 0.5),
            ("proxy_weight", "in 0..1e6", 0 <= self.proxy_weight <= 1e6),
            ("proxy_margin", "in 0..2", 0 <= self.proxy_margin <= 2),
        )
        for name, words, is_good in ranges:
            if not is_good:
                raise ConfigError(
                    f"recipe key model.options.{name} must be {words}, got {getattr(self, name):g}"
                )


class Localizer(nn.Module):
    """Predict the window of a crop that is embedded; untrained it is the whole crop.

    Args:
        largest_move: As in :class:`RDLROptions`.
    """

    def __init__(self, largest_move: float) -> None:
        super().__init__()
        self.largest_move = largest_move
        channels = (3, 16, 32, 64)
        self.looks = nn.Sequential(
            *(
                layer
                for before, after in pairwise(channels)
                for layer in (
                    nn.Conv2d(before, after, 3, stride=2, padding=1),
                    nn.ReLU(inplace=True),
                )
            )
        )
        self.moves = nn.Linear(channels[-1], 4)
        nn.init.zeros_(self.moves.weight)
        nn.init.zeros_(self.moves.bias)

    def forward(self, pixels: Float[Tensor, "N 3 h w"]) -> Float[Tensor, "N 4"]:
        """Return ``t_x, t_y, s_x, s_y`` of each crop, in halves of its sides.

        Args:
            pixels: Crops of the mean and deviation that backbones know.
        """
        small = interpolate(pixels, _LOOKED_AT, mode="bilinear", align_corners=False)
        moved = self.moves(self.looks(small).mean(dim=(2, 3))).tanh() * self.largest_move
        return torch.cat([moved[:, :2], 1 + moved[:, 2:]], dim=1)


class RefinedNet(ReidNet):
    """A network that embeds what it sees through a window of its own choice.

    Args:
        localizer: Chooses the window.
        options: Of the system.
        parts: Those of :class:`ReidNet`, in its order.
        settings: Those of :class:`ReidNet`.
    """

    def __init__(
        self, localizer: Localizer, options: RDLROptions, *parts: Any, **settings: Any
    ) -> None:
        self.options = options
        super().__init__(*parts, **settings)
        self.localizer = localizer

    @property
    def loss_names(self) -> tuple[str, ...]:
        """Names of the losses of this network, in their order."""
        return (*super().loss_names, *(("proxy",) if self.options.proxy_weight else ()))

    def vectors(self, crops: Float[Tensor, "N 3 h w"]) -> list[Float[Tensor, "N C"]]:
        """Turn crops into vectors of what their windows show."""
        pixels = self.normalised(crops)
        seen = through(pixels, self.localizer(pixels))
        return [self.pool(self.region_head(self.backbone(seen)))]

    def losses(self, seen: Seen, people: People) -> dict[str, Float[Tensor, ""]]:
        """Add the triplet loss with proxies to what every network learns."""
        values = super().losses(seen, people)
        if self.options.proxy_weight:
            assert isinstance(self.classifier, nn.Linear)
            margin = self.options.proxy_margin
            missed = proxy_loss(seen.embeddings, people.ids, self.classifier.weight, margin=margin)
            values["proxy"] = self.options.proxy_weight * missed
        return values

    def counts(self, people: People, criterion: Criterion) -> dict[str, Int64[Tensor, ""]]:
        """Count what every loss is a mean over."""
        return super().counts(people, criterion) | {"proxy": (people.ids >= 0).sum()}


class RDLR(PlainReid):
    """A window that the re-ID loss moves, and a network on what it shows."""

    Options = RDLROptions

    def assemble(self, backbone: Backbone, loss: LossConfig, n_persons: int) -> ReidNet:
        """Put the parts together.

        Raises:
            ConfigError: There is no classifier whose rows could be proxies, or the features are
                kept, which no box moves.
        """
        if self.config.features == "kept":
            raise ConfigError(
                "recipe key model.features is 'kept', but model.system is 'rdlr', which moves the "
                "boxes that features are of",
                hint="set model.features=trained",
            )
        if n_persons and not loss.identity_weight:
            raise ConfigError(
                "recipe key loss.identity_weight is 0, but model.system is 'rdlr', whose proxies "
                "are the rows of the classifier",
                hint="set loss.identity_weight=1",
            )
        return RefinedNet(
            Localizer(self.options.largest_move),
            self.options,
            *self.parts(backbone, loss),
            **self.settings(n_persons),
        )


def through(
    pixels: Float[Tensor, "N 3 h w"], windows: Float[Tensor, "N 4"]
) -> Float[Tensor, "N 3 h w"]:
    """Look at crops through windows: bilinear samples, with a gradient by the windows.

    Args:
        pixels: The crops.
        windows: ``t_x, t_y, s_x, s_y``: the centre from the middle of the crop, and the size, in
            halves of its sides; (0, 0, 1, 1) is the crop itself. Beyond its border a crop goes on
            as at the border.
    """
    height, width = (int(n) for n in pixels.shape[-2:])  # numbers of a graph that is exported
    move_x, move_y, size_x, size_y = (column[:, None, None] for column in windows.unbind(dim=1))
    x = move_x + size_x * _middles(width, pixels)[None, None]
    y = move_y + size_y * _middles(height, pixels)[None, :, None]
    grid = torch.stack([x.expand(-1, height, -1), y.expand(-1, -1, width)], dim=3)
    return grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _middles(n: int, like: Tensor) -> Float[Tensor, " n"]:
    """Return the middles of so many pixels, from -1 to 1 over all of them."""
    return (2 * torch.arange(n, dtype=like.dtype, device=like.device) + 1) / n - 1


def proxy_loss(
    embeddings: Float[Tensor, "N D"],
    person_ids: Int64[Tensor, " N"],
    proxies: Float[Tensor, "L D"],
    *,
    margin: float,
) -> Float[Tensor, ""]:
    """Push every other proxy farther away than that of the own identity.

    Args:
        embeddings: Unit rows.
        person_ids: In 0..L-1, or negative for people who take no part.
        proxies: A row for each identity, of any length but 0.
        margin: m, at least 0.

    Returns:
        The mean over labelled people; 0 with a zero gradient without any, or with one identity.
    """
    is_labelled = person_ids >= 0
    if not is_labelled.any() or len(proxies) < 2:
        return 0 * (embeddings.sum() + proxies.sum())
    rows, own = embeddings[is_labelled], person_ids[is_labelled][:, None]
    # The root has no slope at 0, where a row is its proxy.
    distances = (
        (2 - 2 * similarity(rows, normalize(proxies.float(), dim=1))).clamp(min=1e-12).sqrt()
    )
    others = distances.scatter(1, own, torch.inf)
    return (margin + distances.gather(1, own)[:, 0] - others.amin(dim=1)).clamp(min=0).mean()
