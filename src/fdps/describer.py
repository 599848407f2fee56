"""A re-ID network on crops as the second of two steps: people cut out, then unit embeddings.

Axes: N people, C features of a kept backbone, D embedding dimension.
"""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from fdps.crops import cut_scaled
from fdps.models.reid import ReidNet
from fdps.runtime.two_step import Describer, joined_hash
from fdps.structures import Boxes, Picture

_AT_ONCE = 64  # crops


class CropDescriber:
    """Embeds people by a network of fdps that looks at them cut out.

    Args:
        net: In evaluation mode.
        model_hash: Names the weights.
    """

    def __init__(self, net: ReidNet, model_hash: str) -> None:
        self.network, self.model_hash = net, model_hash

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self.network.dim

    def embed(self, image: Picture, boxes: Boxes) -> Float32[np.ndarray, "N D"]:
        """Return rows of unit length, one per box."""
        crops = cut_scaled(image, boxes, self.network.size)
        rows = [self.network.embed(part).float().cpu().numpy() for part in self._parts(crops)]
        return np.concatenate([np.zeros((0, self.dim), np.float32), *rows])

    def _parts(self, crops: UInt8[np.ndarray, "N _ _ 3"]) -> Iterator[Tensor]:
        device = self.network.mean.device
        for first in range(0, len(crops), _AT_ONCE):
            part = torch.from_numpy(crops[first : first + _AT_ONCE]).to(device)
            yield part.permute(0, 3, 1, 2).float() / 255


class HeadDescriber:
    """Embeds people by a head of fdps on what another network says about them.

    Args:
        features: The other network.
        net: The head, in evaluation mode.
        model_hash: Names the weights of the head.
    """

    def __init__(self, features: Describer, net: ReidNet, model_hash: str) -> None:
        self.features, self.network = features, net
        self.model_hash = joined_hash(features.model_hash, model_hash)

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self.network.dim

    def embed(self, image: Picture, boxes: Boxes) -> Float32[np.ndarray, "N D"]:
        """Return rows of unit length, one per box."""
        if len(boxes) == 0:
            return np.zeros((0, self.dim), np.float32)
        rows = torch.from_numpy(self.features.embed(image, boxes)).to(self.network.mean.device)
        return self.network.embed(rows).float().cpu().numpy()
