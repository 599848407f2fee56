"""Make of a cut-out what is pasted: in another size and shape, with soft edges, in other light.

A *sprite* is an RGBA picture of one thing that stands on the ground; the lower edge of the picture
is the ground.
"""

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageFilter

from fdps.data.collage.cutouts import CutPerson, extent
from fdps.data.collage.look import Light

_ROWS, _COLUMNS = 4, 2  # cells of the net that bends a person
_BUST = 1.5  # less height per width: legs are missing, or the person sits
_WHOLE = 2.6  # height per width of a standing person
_MARGIN = 0.12  # room for bending and soft edges, in body heights
_LEAST_PX = 8
_TO_ERODE_PX = 96  # thinner limbs would be lost


def is_part(person: CutPerson) -> bool:
    """Return whether a cut-out is so wide that it does not show somebody from head to foot."""
    x1, y1, x2, y2 = extent(person.rgba[:, :, 3])
    return (y2 - y1) < _BUST * (x2 - x1)


def make_sprite(
    person: CutPerson, body_px: float, warp: float, blur: float, rng: np.random.Generator
) -> Image.Image:
    """Make a sprite of a cut-out.

    Args:
        person: The cut-out, with somebody in it.
        body_px: Height of somebody standing upright, in pixels. Who is wider than a standing
            person gets the share of it that is probably shown.
        warp: Strength of changes of shape, 0 to 1.
        blur: Most standard deviation of the blur, in pixels.
        rng: Decides mirroring, girth, lean, bend, blur and softness of the edge.
    """
    image = _eroded(person.rgba)
    if warp and rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    x1, y1, x2, y2 = extent(np.asarray(image.getchannel("A")))
    ratio = (y2 - y1) / (x2 - x1)
    tall = body_px * (min(1.0, ratio / _WHOLE) if ratio < _BUST else 1.0)
    height = max(_LEAST_PX, round(tall * (1 + warp * rng.uniform(-0.08, 0.06))))
    width = max(2, round(height / ratio * (1 + warp * rng.uniform(-0.1, 0.12))))
    image = image.resize((width, height), Image.Resampling.BICUBIC, box=(x1, y1, x2, y2))
    margin = max(3, round(_MARGIN * height)) if warp else 3
    roomy = Image.new("RGBA", (width + 2 * margin, height + 2 * margin))
    roomy.paste(image, (margin, margin))
    if warp:
        roomy = _bent(roomy, warp * height, rng)
    sharpness = blur * float(rng.beta(1.0, 2.0))
    alpha = _softened(roomy, sharpness, rng)
    return _trimmed(_with_alpha(_bled(_blurred(roomy, sharpness)), alpha))


def relit(
    sprite: Image.Image,
    light: Light,
    strength: float,
    gains: Float[np.ndarray, " 3"],
    rng: np.random.Generator,
) -> Image.Image:
    """Put a sprite into the light of a scene.

    Args:
        sprite: The sprite in the light of its own picture.
        light: Light of the scene: its side and how it shades.
        strength: Strength of differences between the people of one scene, 0 to 1.
        gains: Factor of red, green and blue that makes the light of its picture that of the scene.
        rng: Decides exposure, contrast and where the light falls from above.
    """
    pixels = np.asarray(sprite, dtype=np.float32)
    colours = pixels[:, :, :3]
    height, width = colours.shape[:2]
    contrast = 1 - strength * rng.uniform(0.0, 0.2)
    exposure = 1 + strength * rng.uniform(-0.18, 0.18)
    across = np.linspace(-0.5, 0.5, width) * np.sign(light.side)
    ramp = 1 - light.shading * abs(light.side) * (0.5 - across)
    down = 1 + strength * rng.uniform(-0.2, 0.1) * np.linspace(0, 1, height)
    middle = np.float32(np.average(colours.mean(axis=2), weights=pixels[:, :, 3]))
    lit = (colours - middle) * np.float32(contrast) + middle
    factor = (exposure * gains)[None, None, :] * ramp[None, :, None] * down[:, None, None]
    colours = np.clip(lit * factor.astype(np.float32), 0, 255)
    rgba = np.dstack([colours, pixels[:, :, 3:]]).astype(np.uint8)
    return Image.fromarray(rgba)


def light_gains(
    scene: Float[np.ndarray, " 3"],
    surroundings: tuple[float, float, float] | None,
    strength: float,
) -> Float[np.ndarray, " 3"]:
    """Return the factors that bring a person part of the way into the light of a scene.

    What is compared is what is around the person, there and here: clothes keep their own colour,
    which a transfer of the person's own mean would take away.

    Args:
        scene: Mean red, green and blue of the scene around the person, 0 to 255.
        surroundings: The same of the picture that the person was cut out of; ``None`` where it is
            not known: then only the tint of the scene counts.
        strength: 0 leaves the person, 1 takes the light of the scene.

    Returns:
        Factors in [0.4, 2].

    Example:
        >>> light_gains(np.array([60.0, 60.0, 60.0]), (140.0, 140.0, 140.0), 1.0).round(2)
        array([0.5, 0.5, 0.5])
    """
    before = np.full(3, scene.mean()) if surroundings is None else np.array(surroundings)
    # 20 levels on top: what is nearly black has no colour that could be told.
    return np.asarray(np.clip(((scene + 20) / (before + 20)) ** strength, 0.4, 2.0))


def _eroded(rgba: UInt8[np.ndarray, "H W 4"]) -> Image.Image:
    """Take a pixel off the edge, where the old background shines through."""
    image = Image.fromarray(rgba)
    if rgba.shape[0] < _TO_ERODE_PX:
        return image
    alpha = image.getchannel("A").filter(ImageFilter.MinFilter(3))
    return _with_alpha(image, alpha) if extent(np.asarray(alpha))[3] else image


def _bent(image: Image.Image, amount_px: float, rng: np.random.Generator) -> Image.Image:
    """Bend a picture by moving the inner nodes of a net, and lean it about its foot."""
    rows = np.linspace(0, image.height, _ROWS + 1)
    columns = np.linspace(0, image.width, _COLUMNS + 1)
    nodes = np.stack(np.meshgrid(columns, rows), axis=2)
    moved = nodes.copy()
    lean = amount_px * rng.uniform(-0.05, 0.05)
    moved[:, :, 0] += lean * (1 - rows / image.height)[:, None]
    moved[1:-1, :, 0] += amount_px * rng.normal(0, 0.014, size=(_ROWS - 1, 1))
    moved[1:-1, 1:-1] += amount_px * rng.normal(0, 0.01, size=(_ROWS - 1, _COLUMNS - 1, 2))
    moved[1:-1, :, 1] += amount_px * rng.normal(0, 0.012, size=(_ROWS - 1, 1))
    mesh = []
    for i in range(_ROWS):
        for j in range(_COLUMNS):
            (left, top), (right, bottom) = nodes[i, j].round(), nodes[i + 1, j + 1].round()
            corners = (moved[i, j], moved[i + 1, j], moved[i + 1, j + 1], moved[i, j + 1])
            quad = tuple(float(value) for corner in corners for value in corner)
            mesh.append(((int(left), int(top), int(right), int(bottom)), quad))
    return image.transform(image.size, Image.Transform.MESH, mesh, Image.Resampling.BILINEAR)


def _blurred(image: Image.Image, radius: float) -> Image.Image:
    if radius < 0.2:
        return image
    return image.convert("RGBa").filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")


def _bled(image: Image.Image) -> Image.Image:
    """Carry the colours of the edge outwards: a soft edge would show what is there, black."""
    wide = image.convert("RGBa").filter(ImageFilter.BoxBlur(2)).convert("RGBA")
    solid = image.getchannel("A").point([0] * 33 + [255] * 223)
    return Image.composite(image, wide, solid)


def _softened(image: Image.Image, blur: float, rng: np.random.Generator) -> Image.Image:
    """Return the alpha channel with an edge that is as soft as the picture."""
    radius = blur + float(rng.uniform(0.4, 0.9))
    return image.getchannel("A").filter(ImageFilter.GaussianBlur(radius))


def _with_alpha(image: Image.Image, alpha: Image.Image) -> Image.Image:
    changed = image.copy()
    changed.putalpha(alpha)
    return changed


def _trimmed(image: Image.Image) -> Image.Image:
    """Cut a sprite so that its foot is at the lower edge; a soft edge of 3 pixels stays."""
    x1, y1, x2, y2 = extent(np.asarray(image.getchannel("A")))
    return image.crop((max(x1 - 3, 0), max(y1 - 3, 0), min(x2 + 3, image.width), y2))
