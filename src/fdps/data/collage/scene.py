"""Paste one scene: who stands where, who hides whom, and the picture of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8
from PIL import Image, ImageDraw, ImageFilter, ImageStat

from fdps.data.collage.backgrounds import View, cut_scene
from fdps.data.collage.config import SPLITS, CollageConfig, stream
from fdps.data.collage.cutouts import Person, read_cutout
from fdps.data.collage.look import Light, Look, draw_light, look_of, record
from fdps.data.collage.pieces import draw_piece
from fdps.data.collage.share import Share, cast_of_scene
from fdps.data.collage.sprite import is_part, light_gains, make_sprite, relit
from fdps.structures import UNLABELLED

_TRIES = 12  # places along the picture that are tried, to find one where the person is seen
_LEAST_SIDE = 1.7  # height per width of a person of the background who stands upright
_MOST_COVER = 0.2  # share of something that may lie over somebody who is nearer
_SOLID = 127
_NOBODY = ""  # name of somebody who was in the background


@dataclass(frozen=True, slots=True, eq=False)
class Collage:
    """A picture and the people in it: those pasted, from the nearest on, then the others.

    Args:
        picture: RGB picture.
        boxes: Visible part of each person, ``x1 y1 x2 y2``.
        person_ids: Identity within the split, or :data:`~fdps.structures.UNLABELLED`.
        visible: Share of each person that is visible, in (0, 1]. Of people who were in the
            background it is the share of their box.
        names: Name of each pasted person among the cut-outs; empty for people of the background.
        look: Number of the look.
        jpeg_quality: Quality at which to write the picture, 1 to 95.
    """

    picture: UInt8[np.ndarray, "H W 3"]
    boxes: Float32[np.ndarray, "N 4"]
    person_ids: Int64[np.ndarray, " N"]
    visible: Float32[np.ndarray, " N"]
    names: tuple[str, ...]
    look: int
    jpeg_quality: int


@dataclass(frozen=True, slots=True, eq=False)
class Thing:
    """A person or a piece of background that stands in a scene.

    Args:
        sprite: Its picture, in the light of its own picture.
        foot: Height of its foot, in pixels from the top of the scene.
        left: Left edge of its sprite, in pixels; what was placed has it.
        person_id: Identity, or :data:`~fdps.structures.UNLABELLED`; ``None`` for a piece.
        name: Name of the person.
        surroundings: Mean colour around it in the picture that it comes from.
    """

    sprite: Image.Image
    foot: float
    left: int = 0
    person_id: int | None = None
    name: str = _NOBODY
    surroundings: tuple[float, float, float] | None = None

    @property
    def top(self) -> int:
        """Upper edge of the sprite, in pixels."""
        return round(self.foot) - self.sprite.height


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Where everything stands, and what is seen of the people.

    Args:
        things: From the nearest to the farthest.
        boxes: Visible extent of each person among them, then of the people of the background.
        person_ids: Their identities.
        visible: Their visible shares.
        names: Their names.
    """

    things: tuple[Thing, ...]
    boxes: Float32[np.ndarray, "N 4"]
    person_ids: Int64[np.ndarray, " N"]
    visible: Float32[np.ndarray, " N"]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ground:
    """The perspective of a scene: the foot of a body of h pixels is at ``horizon + h / tilt``.

    Args:
        horizon: Height of the horizon, in pixels from the top; it may be above the picture.
        tilt: Body height per distance of the foot from the horizon.
    """

    horizon: float
    tilt: float


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is seen of one person: a row of :class:`Layout`."""

    box: tuple[int, int, int, int]
    person_id: int
    visible: float
    name: str


def draw_collage(config: CollageConfig, share: Share, split: str, index: int) -> Collage:
    """Paste one scene of a data set; it depends on no other scene.

    Args:
        config: Settings of the data set.
        share: People and backgrounds of the split.
        split: Name of the split.
        index: Number of the scene, from 0.

    Raises:
        MissingDataError: A file is not there any more.
        PictureError: A file cannot be decoded.
    """
    rng = stream(config.seed, "scene", SPLITS.index(split), index)
    number = index % config.n_looks
    look, light = look_of(config, number), draw_light(config, rng)
    view = cut_scene(share.backgrounds, (config.width, config.height), rng)
    cast = cast_of_scene(config, split, share, index)
    ground = ground_of(config, look, view, rng)
    layout = lay_out(config, view, standing(config, share, cast, ground, rng), rng)
    picture = paste(config, view.picture, layout.things, light, rng)
    return Collage(
        picture=record(picture, look, light, rng),
        boxes=layout.boxes,
        person_ids=layout.person_ids,
        visible=layout.visible,
        names=layout.names,
        look=number,
        jpeg_quality=look.jpeg_quality,
    )


def ground_of(config: CollageConfig, look: Look, view: View, rng: np.random.Generator) -> Ground:
    """Return the perspective of a view: that of its largest person, else that of the look.

    Args:
        config: Gives the height of the picture.
        look: Camera that is assumed where nothing tells of another.
        view: The background, with the people who are in it.
        rng: Decides how high the camera was that took the background.
    """
    boxes = view.people
    tall, wide = boxes[:, 3] - boxes[:, 1], boxes[:, 2] - boxes[:, 0]
    upright = np.flatnonzero(tall >= _LEAST_SIDE * wide)
    if not len(upright):
        return Ground(look.horizon * config.height, look.tilt)
    largest = upright[np.argmax(tall[upright])]
    tilt = float(rng.uniform(0.9, 1.6))  # photographs are taken from chest to eye level
    return Ground(float(boxes[largest, 3] - tall[largest] / tilt), tilt)


def standing(
    config: CollageConfig,
    share: Share,
    cast: Sequence[int],
    ground: Ground,
    rng: np.random.Generator,
) -> list[Thing]:
    """Put people and pieces on the ground, without saying where along it; the nearest first."""
    things = []
    for position in cast:
        known = position < len(share.people)
        who = (share.people + share.strangers)[position]
        things.append(_person(config, who, position if known else UNLABELLED, ground, rng))
    fewest, most = config.pieces
    for _ in range(int(rng.integers(fewest, most + 1))):
        body_px, foot = _depth(config, ground, rng)
        things.append(Thing(draw_piece(share.backgrounds, body_px, rng), foot))
    return sorted(things, key=lambda thing: -thing.foot)


def lay_out(
    config: CollageConfig, view: View, things: Sequence[Thing], rng: np.random.Generator
) -> Layout:
    """Find where everything stands along x, from the nearest to the farthest.

    A person is placed where at least ``config.kept_from`` of them is seen, and left out if no such
    place is found. Nobody who is placed later hides somebody placed before, and nothing stands
    before people of the background who are nearer.

    Args:
        config: Gives the size of the picture, how crowded it is, and the least visible shares.
        view: The background, with the people who are in it.
        things: What stands there, the nearest first.
        rng: Decides the places.
    """
    hidden = np.zeros((config.height, config.width), dtype=bool)
    placed: list[Thing] = []
    people: list[_Seen] = []
    for thing in things:
        solid = np.asarray(thing.sprite.getchannel("A")) > _SOLID
        for _ in range(_TRIES):
            left = _middle(config, thing, placed, rng) - thing.sprite.width // 2
            if _covers_nearer(thing, left, view.people):
                continue
            mask = _on_picture(solid, left, thing.top, hidden.shape)
            seen = mask & ~hidden
            visible = float(seen.sum() / solid.sum())
            if thing.person_id is None or visible >= config.kept_from:
                hidden |= mask
                spot = Thing(thing.sprite, thing.foot, left, thing.person_id,
                             thing.name, thing.surroundings)  # fmt: skip
                placed.append(spot)
                if thing.person_id is not None:
                    known = visible >= config.labelled_from
                    person_id = thing.person_id if known else UNLABELLED
                    people.append(_Seen(_extent(seen), person_id, visible, thing.name))
                break
    people += _seen_before(config, view, hidden)
    return Layout(
        things=tuple(placed),
        boxes=np.array([seen.box for seen in people], dtype=np.float32).reshape(-1, 4),
        person_ids=np.array([seen.person_id for seen in people], dtype=np.int64),
        visible=np.array([seen.visible for seen in people], dtype=np.float32),
        names=tuple(seen.name for seen in people),
    )


def paste(
    config: CollageConfig,
    background: Image.Image,
    things: Sequence[Thing],
    light: Light,
    rng: np.random.Generator,
) -> Image.Image:
    """Paste things into a background, each in the light of the place where it stands.

    Args:
        config: Gives the strength of the light.
        background: The scene without them.
        things: With their places, from the nearest to the farthest.
        light: Light of the scene.
        rng: Decides the light of each.
    """
    scene = background.copy()
    if light.shadow:
        _cast_shadows(scene, things, light)
    for thing in reversed(things):
        sprite = thing.sprite
        if config.light:
            gains = np.ones(3)
            if thing.person_id is not None:
                strength = config.light * float(rng.uniform(0.3, 0.8))
                gains = light_gains(_around(background, thing), thing.surroundings, strength)
            sprite = relit(sprite, light, config.light, gains, rng)
        scene.paste(sprite, (thing.left, thing.top), sprite)
    return scene


def _person(
    config: CollageConfig, who: Person, person_id: int, ground: Ground, rng: np.random.Generator
) -> Thing:
    cut = read_cutout(who.cutouts[int(rng.integers(len(who.cutouts)))])
    body_px, foot = _depth(config, ground, rng)
    sprite = make_sprite(cut, body_px, config.warp, config.degrade * 1.2, rng)
    if is_part(cut):  # what is missing of the person is below the border of the picture
        foot = config.height + sprite.height * rng.uniform(0.0, 0.1)
    return Thing(sprite, foot, person_id=person_id, name=who.name, surroundings=cut.surroundings)


def _depth(config: CollageConfig, ground: Ground, rng: np.random.Generator) -> tuple[float, float]:
    """Choose a place on the ground: pixels of a body height there, and where its foot is."""
    smallest, largest = config.heights
    body_px = config.height * (smallest + (largest - smallest) * float(rng.beta(1.2, 1.9)))
    return body_px, ground.horizon + body_px / ground.tilt


def _middle(
    config: CollageConfig, thing: Thing, placed: Sequence[Thing], rng: np.random.Generator
) -> int:
    """Choose where the middle of something may stand: beside somebody, or anywhere."""
    people = [other for other in placed if other.person_id is not None]
    if people and rng.random() < config.crowding:
        beside = people[int(rng.integers(len(people)))]
        away = rng.uniform(0.15, 0.9) * (beside.sprite.width + thing.sprite.width) / 2
        side = 1 if rng.random() < 0.5 else -1
        return round(beside.left + beside.sprite.width / 2 + side * away)
    return int(rng.integers(round(-0.03 * config.width), round(1.03 * config.width)))


def _seen_before(config: CollageConfig, view: View, hidden: Bool[np.ndarray, "H W"]) -> list[_Seen]:
    """Return what is seen of the boxes of people who were in the background."""
    people = []
    for box, inside in zip(view.inside().tolist(), view.visible().tolist(), strict=True):
        x1, y1, x2, y2 = (round(value) for value in box)
        open_part = ~hidden[y1:y2, x1:x2]
        if not open_part.any():
            continue
        visible = inside * float(open_part.mean())
        if visible >= config.kept_from:
            left, top, right, bottom = _extent(open_part)
            extent = (x1 + left, y1 + top, x1 + right, y1 + bottom)
            people.append(_Seen(extent, UNLABELLED, visible, _NOBODY))
    return people


def _covers_nearer(thing: Thing, left: int, people: Float32[np.ndarray, "N 4"]) -> bool:
    """Return whether something would lie over somebody of the background who is nearer.

    Their outline is not known, so they cannot hide it as they should.
    """
    nearer = people[people[:, 3] > thing.foot]
    low = np.maximum(nearer[:, :2], [left, thing.top])
    high = np.minimum(nearer[:, 2:], [left + thing.sprite.width, thing.foot])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    return bool((shared > _MOST_COVER * thing.sprite.width * thing.sprite.height).any())


def _on_picture(
    solid: Bool[np.ndarray, "h w"], left: int, top: int, shape: tuple[int, ...]
) -> Bool[np.ndarray, "H W"]:
    mask = np.zeros(shape, dtype=bool)
    height, width = solid.shape
    x1, y1 = max(left, 0), max(top, 0)
    x2, y2 = min(left + width, shape[1]), min(top + height, shape[0])
    if x1 < x2 and y1 < y2:
        mask[y1:y2, x1:x2] = solid[y1 - top : y2 - top, x1 - left : x2 - left]
    return mask


def _extent(mask: Bool[np.ndarray, "H W"]) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _around(scene: Image.Image, thing: Thing) -> np.ndarray:
    """Return the mean colour of the scene behind a thing and beside it."""
    aside = thing.sprite.width
    x1, x2 = max(thing.left - aside, 0), min(thing.left + 2 * aside, scene.width)
    y1, y2 = max(thing.top, 0), min(round(thing.foot), scene.height)
    return np.array(ImageStat.Stat(scene.crop((x1, y1, x2, y2))).mean)


def _cast_shadows(scene: Image.Image, things: Sequence[Thing], light: Light) -> None:
    coarse = 4  # the edge is soft anyway
    layer = Image.new("L", (-(-scene.width // coarse), -(-scene.height // coarse)))
    draw = ImageDraw.Draw(layer)
    for thing in things:
        half = min(thing.sprite.width, 0.5 * thing.sprite.height) / 2
        middle = thing.left + thing.sprite.width / 2 - light.side * half * 0.5
        reach = half * (0.9 + 0.4 * abs(light.side))
        box = (middle - reach, thing.foot - 0.16 * half, middle + reach, thing.foot + 0.14 * half)
        draw.ellipse([value / coarse for value in box], fill=round(255 * light.shadow))
    layer = layer.filter(ImageFilter.GaussianBlur(1.2)).resize(scene.size, Image.Resampling.BICUBIC)
    scene.paste((18, 18, 24), (0, 0), layer)
