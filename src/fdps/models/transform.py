"""From pictures of any size to one batch, and boxes back to the pictures.

Axes: B pictures, H and W of the batch.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.transform import GeneralizedRCNNTransform, resize_boxes

from fdps.models.sampling import SIZE, seeded

Size = tuple[int, int]
"""Height and width in pixels."""


class PictureTransform(nn.Module):
    """Normalise and resize pictures, then pad them to one size, a multiple of 32.

    Args:
        short_sides: Shorter side in pixels; of several, training draws one and tests take the last.
        long_side: Limit of the longer side in pixels.
        mean: Of red, green and blue in [0, 1].
        std: Likewise.
    """

    def __init__(
        self,
        short_sides: tuple[int, ...],
        long_side: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
    ) -> None:
        super().__init__()
        self.sides = nn.ModuleList(
            GeneralizedRCNNTransform((side,), long_side, [*mean], [*std]) for side in short_sides
        )

    def forward(
        self,
        images: list[Float[Tensor, "3 _ _"]],
        targets: list[dict[str, Tensor]] | None,
        size: Size | None = None,
    ) -> tuple[ImageList, list[dict[str, Tensor]] | None]:
        """Make one batch of pictures; the boxes of their targets move with them.

        Args:
            images: RGB in [0, 1], each of its own size.
            targets: ``boxes`` of each picture, and ``ignored`` ones where there are any; with a
                ``seed`` the drawn side follows from it.
            size: Pad to this at least, as pictures need that are part of a larger batch.
        """
        given = targets if targets is not None else [None] * len(images)
        resized = [self._resize(image, target) for image, target in zip(images, given, strict=True)]
        sizes = [(image.shape[-2], image.shape[-1]) for image, _ in resized]
        tensors = self._last.batch_images([image for image, _ in resized])
        if size is not None:
            height, width = tensors.shape[-2:]
            tensors = pad(tensors, (0, max(size[1] - width, 0), 0, max(size[0] - height, 0)))
        moved = None if targets is None else [target for _, target in resized if target is not None]
        return ImageList(tensors, sizes), moved

    def size_of(
        self, images: list[Float[Tensor, "3 _ _"]], targets: list[dict[str, Tensor]]
    ) -> Size:
        """Height and width that the batch of these pictures would have, without making it."""
        sizes = [
            _size_after(self._side(target), (image.shape[-2], image.shape[-1]))
            for image, target in zip(images, targets, strict=True)
        ]
        return self._padded(sizes)

    def alike(self, images: list[Float[Tensor, "3 _ _"]]) -> list[list[int]]:
        """Group pictures that tests pad to one size; numbers of pictures, ascending."""
        groups: dict[Size, list[int]] = {}
        for number, image in enumerate(images):
            size = self._padded([_size_after(self._last, (image.shape[-2], image.shape[-1]))])
            groups.setdefault(size, []).append(number)
        return [*groups.values()]

    def restore(
        self, found: list[dict[str, Tensor]], sizes: list[Size], given: list[Size]
    ) -> list[dict[str, Tensor]]:
        """Take boxes back to the pixels of the given pictures.

        Args:
            found: ``boxes`` in each resized picture.
            sizes: Of the resized pictures.
            given: Of the given pictures.
        """
        return [
            people | {"boxes": resize_boxes(people["boxes"], size, before)}
            for people, size, before in zip(found, sizes, given, strict=True)
        ]

    def _padded(self, sizes: list[Size]) -> Size:
        step = self._last.size_divisible
        height, width = (math.ceil(max(sides) / step) * step for sides in zip(*sizes, strict=True))
        return height, width

    @property
    def test_side(self) -> GeneralizedRCNNTransform:
        """What resizes and normalises pictures in tests."""
        return self._last

    @property
    def _last(self) -> GeneralizedRCNNTransform:
        side = self.sides[-1]
        assert isinstance(side, GeneralizedRCNNTransform)
        return side

    def _side(self, target: dict[str, Tensor] | None) -> GeneralizedRCNNTransform:
        if not self.training or len(self.sides) == 1:
            return self._last
        seed = None if target is None else target.get("seed")
        return self.sides[int(torch.randint(len(self.sides), (), generator=seeded(seed, SIZE)))]

    def _resize(
        self, image: Tensor, target: dict[str, Tensor] | None
    ) -> tuple[Tensor, dict[str, Tensor] | None]:
        side = self._side(target)
        # The boxes alone: what else a target has is not for torchvision to look at.
        boxes = None if target is None else {"boxes": target["boxes"]}
        before = (image.shape[-2], image.shape[-1])
        image, moved = side.resize(side.normalize(image), boxes)
        if target is not None and "ignored" in target:
            after = (image.shape[-2], image.shape[-1])
            moved = moved | {"ignored": resize_boxes(target["ignored"], before, after)}
        return image, None if target is None else target | moved


def _size_after(side: GeneralizedRCNNTransform, size: Size) -> Size:
    """Of a resized picture; a meta tensor would tell it too, and take 8 ms."""
    (short_side,) = side.min_size
    scale = min(short_side / min(size), side.max_size / max(size))
    return math.floor(size[0] * scale), math.floor(size[1] * scale)
