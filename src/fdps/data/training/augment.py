"""Augmentation of training scenes: pictures change and boxes stay right.

Every function takes a picture (3, H, W), uint8 RGB, its ``boxes`` (N, 4) and ``person_ids`` (N,),
and gives new ones; what it was given stays as it is. Where a target has ``teacher`` (N, D) or
``ignored`` (M, 4), they follow.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from fdps.config import TrainConfig

Sample = tuple[Tensor, dict[str, Tensor]]
"""A picture (3, H, W), uint8 RGB, and its ``boxes`` (N, 4) and ``person_ids`` (N,)."""

MIN_VISIBLE = 0.4
"""Least share of a person that a crop must leave; with less the person is no longer annotated."""

MIN_HEIGHT = 1 / 20
"""Least height of a person in a mosaic, in shares of its height; smaller people are ignored."""

_BOXES, _ROWS = ("boxes", "ignored"), ("person_ids", "teacher")
_MOST_ROWS = 3
_ERASED_HEIGHT, _ERASED_WIDTH = (0.2, 0.5), (0.3, 1.0)  # shares of the box


@dataclass(frozen=True, slots=True)
class Augmentation:
    """The changes to a scene before the network sees it, in this order.

    Args:
        flip: Probability that the scene is mirrored, the only augmentation of the paper.
        zoom: Largest share by which the scene is enlarged or reduced, as a crop or on a wider
            canvas.
        colour_jitter: Largest share by which brightness, contrast and saturation change.
        erase: Probability, per person, that a rectangle of the box turns to noise (random erasing:
            Zhong et al., AAAI 2020), so that no single cue decides who it is.
        mosaic: Probability that a scene, changed by all of the above, comes in a :func:`mosaic`
            with others.
        mosaic_size: Height and width of a mosaic in pixels.
    """

    flip: float = 0.0
    zoom: float = 0.0
    colour_jitter: float = 0.0
    erase: float = 0.0
    mosaic: float = 0.0
    mosaic_size: tuple[int, int] = (480, 720)

    @classmethod
    def of(cls, config: TrainConfig) -> "Augmentation":
        """Return the augmentation that a recipe asks for."""
        return cls(
            config.flip,
            config.zoom,
            config.colour_jitter,
            config.erase,
            config.mosaic,
            config.mosaic_size,
        )

    def __call__(
        self, image: Tensor, target: dict[str, Tensor], rng: np.random.Generator
    ) -> Sample:
        """Change a scene by itself; equal random numbers make equal changes."""
        if rng.random() < self.flip:
            image, target = mirror(image, target)
        if self.zoom:
            limit = np.log1p(self.zoom)
            image, target = zoom(image, target, float(np.exp(rng.uniform(-limit, limit))), rng)
        if self.colour_jitter:
            image = jitter_colours(image, rng.uniform(-1, 1, size=3) * self.colour_jitter)
        if self.erase:
            hit = rng.random(len(target["boxes"])) < self.erase
            image = erase(image, target["boxes"][torch.from_numpy(hit)], rng)
        return image, target

    def scene(
        self, read: Callable[[int], Sample], row: int, n_scenes: int, rng: np.random.Generator
    ) -> Sample:
        """Read a scene and change it, in a mosaic with others where chance will have it.

        Args:
            read: Returns the scene of a row.
            row: The scene that is asked for.
            n_scenes: Number of rows, among which its partners are drawn.
            rng: Decides what changes; equal random numbers make equal changes.
        """
        changed = self(*read(row), rng)
        if not (self.mosaic and rng.random() < self.mosaic):
            return changed

        def draw() -> Sample:
            return self(*read(int(rng.integers(n_scenes))), rng)

        return mosaic(changed, draw, self.mosaic_size, rng)


def mirror(image: Tensor, target: dict[str, Tensor]) -> Sample:
    """Flip a picture with its boxes from left to right."""
    moved = {name: target[name].clone() for name in _BOXES if name in target}
    for boxes in moved.values():
        boxes[:, [0, 2]] = image.shape[2] - boxes[:, [2, 0]]
    return image.flip(2), target | moved


def zoom(
    image: Tensor, target: dict[str, Tensor], factor: float, rng: np.random.Generator
) -> Sample:
    """Show a part of the picture, or the picture on a wider canvas of its mean colour.

    The network resizes every picture to the same shorter side, so a part comes out larger and a
    wider canvas smaller. A part holds at least one person whole, if one fits and there is one.

    Args:
        image: The picture.
        target: Its people.
        factor: Factor of the size, above 0; more than 1 enlarges.
        rng: Decides where the part, or the picture on the canvas, lies.
    """
    height, width = image.shape[1:]
    new_height, new_width = max(round(height / factor), 1), max(round(width / factor), 1)
    if factor > 1:
        left, top = _corner(target["boxes"], (width, height), (new_width, new_height), rng)
        part = image[:, top : top + new_height, left : left + new_width].clone()
        return part, _crop(target, left, top, new_width, new_height)
    left = int(rng.integers(new_width - width + 1))
    top = int(rng.integers(new_height - height + 1))
    mean = image.float().mean(dim=(1, 2)).round().to(torch.uint8)
    canvas = mean[:, None, None].repeat(1, new_height, new_width)
    canvas[:, top : top + height, left : left + width] = image
    shift = torch.tensor([left, top, left, top])
    return canvas, target | {name: target[name] + shift for name in _BOXES if name in target}


def jitter_colours(image: Tensor, change: np.ndarray) -> Tensor:
    """Change brightness, contrast and saturation, each by a share above -1."""
    brightness, contrast, saturation = (1 + change).tolist()
    image = functional.adjust_brightness(image, brightness)
    image = functional.adjust_contrast(image, contrast)
    changed: Tensor = functional.adjust_saturation(image, saturation)
    return changed


def erase(image: Tensor, boxes: Tensor, rng: np.random.Generator) -> Tensor:
    """Turn a rectangle inside each box to noise; the person still counts as visible there."""
    image = image.clone()
    for x1, y1, x2, y2 in boxes.tolist():
        width, height = (
            (x2 - x1) * rng.uniform(*_ERASED_WIDTH),
            (y2 - y1) * rng.uniform(*_ERASED_HEIGHT),
        )
        left, top = rng.uniform(x1, x2 - width), rng.uniform(y1, y2 - height)
        region = image[:, round(top) : round(top + height), round(left) : round(left + width)]
        region.copy_(torch.from_numpy(rng.integers(256, size=tuple(region.shape), dtype=np.uint8)))
    return image


def mosaic(
    first: Sample,
    draw: Callable[[], Sample],
    size: tuple[int, int],
    rng: np.random.Generator,
) -> Sample:
    """Set pictures side by side in one to three rows until a canvas is full.

    Pictures of a few large people become scenes of many, of all sizes, with borders that are no
    more than borders. Every picture fills the height of its row; the last of a row is cut.

    Source: our own layout. Training on several pictures in one is the mosaic of YOLOv4
    (Bochkovskiy et al., 2020).

    Args:
        first: The scene that comes first.
        draw: Returns a further scene each time.
        size: Height and width of the canvas in pixels.
        rng: Decides about the number of rows and their heights.

    Returns:
        The canvas and everybody on it, in the order of the pictures. People of less than
        :data:`MIN_HEIGHT` of the canvas, and those of whom a border leaves less than
        :data:`MIN_VISIBLE`, are among the ``ignored``.
    """
    height, width = size
    tiles: list[Tensor] = []
    targets: list[dict[str, Tensor]] = []
    for top, bottom in _rows(height, rng):
        row: list[Tensor] = []
        left = 0
        while left < width:
            sample = draw() if targets else first
            tile, target = _tile(*sample, bottom - top, width - left)
            shift = torch.tensor([left, top, left, top])
            moved = {name: target[name] + shift for name in _BOXES if name in target}
            row.append(tile)
            targets.append(target | moved)
            left += tile.shape[2]
        tiles.append(torch.cat(row, dim=2))
    return torch.cat(tiles, dim=1), _joined(targets, MIN_HEIGHT * height)


def _rows(height: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Divide a canvas into rows that differ in height by up to a half."""
    shares = rng.uniform(1.0, 1.5, size=int(rng.integers(_MOST_ROWS)) + 1)
    ends = [round(float(end)) for end in np.cumsum(shares) / shares.sum() * height]
    return list(zip([0, *ends[:-1]], ends, strict=True))


def _tile(image: Tensor, target: dict[str, Tensor], height: int, most_width: int) -> Sample:
    """Bring a scene to a height, and cut what exceeds a width."""
    old_height, old_width = image.shape[1:]
    width = max(round(old_width * height / old_height), 1)
    image = functional.resize(image, [height, width], antialias=True)
    scale = torch.tensor([width / old_width, height / old_height]).repeat(2)
    target = target | {name: target[name] * scale for name in _BOXES if name in target}
    if width <= most_width:
        return image, target
    ignored = target.get("ignored", target["boxes"][:0])  # so that people cut off are ignored
    target = target | {"ignored": ignored}
    return image[:, :, :most_width], _crop(target, 0, 0, most_width, height, keeps_cut=True)


def _joined(targets: list[dict[str, Tensor]], least_height: float) -> dict[str, Tensor]:
    """Put the people of several scenes into one list; those too small to learn from are ignored."""
    whole = {
        name: torch.cat([target[name] for target in targets])
        for name in ("boxes", *_ROWS)
        if name in targets[0]
    }
    is_large = whole["boxes"][:, 3] - whole["boxes"][:, 1] >= least_height
    ignored = [target["ignored"] for target in targets if "ignored" in target]
    ignored.append(whole["boxes"][~is_large])
    return {name: values[is_large] for name, values in whole.items()} | {
        "ignored": torch.cat(ignored)
    }


def _corner(
    boxes: Tensor, size: tuple[int, int], part: tuple[int, int], rng: np.random.Generator
) -> tuple[int, int]:
    """Choose left and top of a part of the picture around somebody who fits into it."""
    sides = (boxes[:, 2:] - boxes[:, :2]).ceil()
    fitting = (sides < torch.tensor(part)).all(dim=1).nonzero().squeeze(1)
    ranges = [(0, whole - length) for whole, length in zip(size, part, strict=True)]
    if len(fitting):
        x1, y1, x2, y2 = boxes[fitting[int(rng.integers(len(fitting)))]].tolist()
        ranges = [
            (max(int(np.ceil(end)) - length, 0), min(int(start), whole - length))
            for start, end, whole, length in zip((x1, y1), (x2, y2), size, part, strict=True)
        ]
    left, top = (int(rng.integers(low, high + 1)) for low, high in ranges)
    return left, top


def _crop(
    target: dict[str, Tensor],
    left: int,
    top: int,
    width: int,
    height: int,
    *,
    keeps_cut: bool = False,
) -> dict[str, Tensor]:
    """Return what a part of the picture shows; ``keeps_cut`` ignores people who are cut off."""
    moved = {
        name: target[name] - torch.tensor([left, top, left, top])
        for name in _BOXES
        if name in target
    }
    inside = {
        name: torch.stack(
            [boxes[:, 0::2].clamp(0, width), boxes[:, 1::2].clamp(0, height)], dim=2
        ).flatten(1)
        for name, boxes in moved.items()
    }
    kept = _area(inside["boxes"]) >= MIN_VISIBLE * _area(moved["boxes"])
    cut = {"boxes": inside["boxes"][kept]}
    cut |= {name: target[name][kept] for name in _ROWS if name in target}
    if "ignored" in inside:  # whatever is left of it is as doubtful as before
        ignored = [inside["ignored"], *([inside["boxes"][~kept]] if keeps_cut else [])]
        rest = torch.cat(ignored)
        cut["ignored"] = rest[_area(rest) > 0]
    return target | cut


def _area(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1)
