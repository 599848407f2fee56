"""Draw one scene: who stands where, who hides whom, and the picture of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8
from PIL import Image, ImageDraw

from fdps.data.synthetic.body import FACINGS, Pose
from fdps.data.synthetic.camera import Camera, Light, camera_of, draw_light, expose, view
from fdps.data.synthetic.config import SPLITS, SyntheticConfig, stream
from fdps.data.synthetic.figure import draw_figure
from fdps.data.synthetic.identity import Identity, draw_cast, draw_passer_by
from fdps.data.synthetic.props import draw_prop
from fdps.data.synthetic.schedule import cast_of_scene
from fdps.structures import UNLABELLED

MIN_VISIBLE = 0.4
"""Least share of a person that is seen; whoever is hidden more is not in the picture at all."""

_TRIES = 8  # places along the picture that are tried, to find one where the person is seen
_SMALLEST, _LARGEST = 0.26, 0.72  # height of an average person, in picture heights


@dataclass(frozen=True, slots=True, eq=False)
class DrawnScene:
    """A picture and the people in it, from the nearest to the farthest.

    Args:
        picture: RGB picture.
        boxes: Visible part of each person, ``x1 y1 x2 y2`` in whole pixels.
        person_ids: Identity within the split, or :data:`~fdps.structures.UNLABELLED`.
        camera: Number of the camera.
    """

    picture: UInt8[np.ndarray, "H W 3"]
    boxes: Float32[np.ndarray, "N 4"]
    person_ids: Int64[np.ndarray, " N"]
    camera: int


@dataclass(frozen=True, slots=True)
class _Standing:
    """A person or thing (``None``) on the ground, and the height of its foot in pixels."""

    person_id: int | None
    sprite: Image.Image
    foot: float


def draw_scene(config: SyntheticConfig, split: str, index: int) -> DrawnScene:
    """Draw one scene of a data set; it depends on no other scene.

    Args:
        config: Settings of the data set.
        split: Name of the split, ``train`` or ``test``.
        index: Number of the scene, from 0.
    """
    rng = stream(config.seed, "scene", SPLITS.index(split), index)
    number = index % config.n_cameras
    camera, light = camera_of(config, number), draw_light(rng, config.colour_shift)
    standing = _people(config, split, index, rng, camera) + _things(config, rng, camera)
    standing.sort(key=lambda thing: -thing.foot)
    placed, boxes, person_ids = _place(standing, (config.width, config.height), rng)
    picture = view(config, number, rng)
    _cast_shadows(picture, placed, light)
    for thing, left in reversed(placed):
        top = round(thing.foot) - thing.sprite.height
        picture.paste(_lit(thing.sprite, light), (left, top), thing.sprite)
    return DrawnScene(
        picture=expose(picture, camera, light, rng),
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        person_ids=np.array(person_ids, dtype=np.int64),
        camera=number,
    )


def _people(
    config: SyntheticConfig, split: str, index: int, rng: np.random.Generator, camera: Camera
) -> list[_Standing]:
    cast = draw_cast(config, split)
    people = []
    for person_id in cast_of_scene(config, split, index):
        stranger = person_id == UNLABELLED
        who = draw_passer_by(config, split, rng) if stranger else cast[person_id]
        people.append(_person(who, person_id, config.height, rng, camera))
    return people


def _person(
    who: Identity, person_id: int, picture_height: int, rng: np.random.Generator, camera: Camera
) -> _Standing:
    unit_px, foot = _depth(picture_height, rng, camera)
    walks = rng.random() < 0.7
    pose = Pose(
        facing=FACINGS[int(rng.integers(4))],
        phase=float(rng.uniform(0, 2 * np.pi)),
        stride=float(rng.uniform(0.6, 1.0) if walks else rng.uniform(0.0, 0.2)),
    )
    return _Standing(person_id, draw_figure(who, pose, unit_px), foot)


def _things(config: SyntheticConfig, rng: np.random.Generator, camera: Camera) -> list[_Standing]:
    things = []
    for _ in range(int(rng.integers(1, 6))):
        unit_px, foot = _depth(config.height, rng, camera)
        things.append(_Standing(None, draw_prop(rng, unit_px), foot))
    return things


def _depth(height: int, rng: np.random.Generator, camera: Camera) -> tuple[float, float]:
    """Choose a place on the ground: pixels of a body height there, and where its foot is."""
    unit_px = height * (_SMALLEST + (_LARGEST - _SMALLEST) * float(rng.beta(1.2, 2.0)))
    return unit_px, camera.horizon * height + unit_px / camera.tilt


def _place(
    standing: Sequence[_Standing], size: tuple[int, int], rng: np.random.Generator
) -> tuple[list[tuple[_Standing, int]], list[tuple[int, int, int, int]], list[int]]:
    """Find where everything stands along x, from the nearest to the farthest.

    Returns:
        The things with the left edge of their sprites; box and id of the people among them.
    """
    hidden = np.zeros((size[1], size[0]), dtype=bool)
    placed: list[tuple[_Standing, int]] = []
    boxes, person_ids = [], []
    for thing in standing:
        solid = np.asarray(thing.sprite.getchannel("A")) > 127
        top = round(thing.foot) - thing.sprite.height
        for _ in range(_TRIES):
            middle = int(rng.integers(round(-0.02 * size[0]), round(1.02 * size[0])))
            left = middle - thing.sprite.width // 2
            mask = _on_picture(solid, left, top, size)
            seen = mask & ~hidden
            if thing.person_id is None or seen.sum() >= MIN_VISIBLE * solid.sum():
                placed.append((thing, left))
                hidden |= mask
                if thing.person_id is not None:
                    boxes.append(_extent(seen))
                    person_ids.append(thing.person_id)
                break
    return placed, boxes, person_ids


def _on_picture(
    solid: Bool[np.ndarray, "h w"], left: int, top: int, size: tuple[int, int]
) -> Bool[np.ndarray, "H W"]:
    mask = np.zeros((size[1], size[0]), dtype=bool)
    height, width = solid.shape
    x1, y1 = max(left, 0), max(top, 0)
    x2, y2 = min(left + width, size[0]), min(top + height, size[1])
    if x1 < x2 and y1 < y2:
        mask[y1:y2, x1:x2] = solid[y1 - top : y2 - top, x1 - left : x2 - left]
    return mask


def _extent(mask: Bool[np.ndarray, "H W"]) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _cast_shadows(
    picture: Image.Image, placed: Sequence[tuple[_Standing, int]], light: Light
) -> None:
    layer = Image.new("L", picture.size)
    draw = ImageDraw.Draw(layer)
    for thing, left in placed:
        alpha = thing.sprite.getbbox()
        if alpha is None:
            continue
        half = (alpha[2] - alpha[0]) / 2
        middle = left + (alpha[0] + alpha[2]) / 2 - light.side * half * 0.5
        reach = half * (0.9 + 0.4 * abs(light.side))
        draw.ellipse((middle - reach, thing.foot - 0.2 * half,
                      middle + reach, thing.foot + 0.12 * half), fill=88)  # fmt: skip
    picture.paste((22, 22, 28), (0, 0), layer)


def _lit(sprite: Image.Image, light: Light) -> Image.Image:
    """Light a sprite so that its side towards the light is brighter than the other."""
    ramp = np.linspace(-0.5, 0.5, sprite.width) * np.sign(light.side)
    factor = 256 - 256 * light.shading * abs(light.side) * (
        0.5 - ramp
    )  # counted in 256ths: uint16 is enough
    pixels = np.asarray(sprite)[:, :, :3] * factor.astype(np.uint16)[None, :, None]
    return Image.fromarray((pixels >> 8).astype(np.uint8))
