"""The look of a camera: what it makes of colours, and its flaws; and the light of a moment."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageEnhance, ImageFilter

from fdps.data.collage.config import CollageConfig, stream

_GREY_LOOKS = 0.1  # share of the cameras that record hardly any colour, as at night or infrared


@dataclass(frozen=True, slots=True)
class Look:
    """What a camera does to every picture.

    Args:
        cast: Factor of red, green and blue.
        gamma: Exponent of the tone curve; above 1 it darkens the middle tones.
        saturation: Saturation of colours: 1 keeps it, 0 is grey.
        resolution: Pixels per pixel of the file, along an edge, in (0, 1].
        blur: Standard deviation of the blur, in pixels of the camera.
        noise: Standard deviation of the noise, in steps of 0 to 255.
        horizon: Height of the horizon, as a share of the picture from its top; it is above the
            picture where the camera looks down.
        tilt: Body height per distance of the foot from the horizon: 1 for a camera at head
            height, less for one that hangs higher.
        jpeg_quality: Quality of the files, 1 to 95.
    """

    cast: tuple[float, float, float]
    gamma: float
    saturation: float
    resolution: float
    blur: float
    noise: float
    horizon: float
    tilt: float
    jpeg_quality: int


@dataclass(frozen=True, slots=True)
class Light:
    """The light of one scene.

    Args:
        brightness: Factor of everything.
        contrast: Factor of the distance from middle grey.
        side: Direction of the light along x, -1 to 1; shadows fall the other way.
        falloff: Loss of light at the far side of the picture, 0 to 1.
        shading: Loss of light at the far side of a person in light from the side, 0 to 1.
        shadow: Opacity of shadows on the ground, 0 to 1.
    """

    brightness: float
    contrast: float
    side: float
    falloff: float
    shading: float
    shadow: float


def look_of(config: CollageConfig, number: int) -> Look:
    """Return the look with a number, which is the same for all splits."""
    rng, light, flaws = stream(config.seed, "look", number), config.light, config.degrade
    warmth, green = light * rng.uniform(-0.2, 0.2), light * rng.uniform(-0.08, 0.08)
    is_grey = rng.random() < _GREY_LOOKS
    saturation = rng.uniform(0.0, 0.25) if is_grey else rng.uniform(0.55, 1.15)
    resolution = 1 - flaws * rng.beta(1.2, 2.0) * 0.6
    worst, best = config.jpeg_quality
    return Look(
        cast=(float(1 + warmth), float(1 + green), float(1 - warmth)),
        gamma=float(2 ** (light * rng.uniform(-0.45, 0.6))),
        saturation=float(1 + light * (saturation - 1)),
        resolution=float(resolution),
        blur=flaws * float(rng.uniform(0.0, 1.0)),
        noise=flaws * float(rng.uniform(0.0, 9.0)),
        horizon=float(rng.uniform(-0.05, 0.35)),
        tilt=float(rng.uniform(0.58, 0.97)),
        jpeg_quality=round(best - flaws * float(rng.uniform(0.0, best - worst))),
    )


def draw_light(config: CollageConfig, rng: np.random.Generator) -> Light:
    """Draw the light of a scene at random."""
    light = config.light
    return Light(
        brightness=1 + light * float(rng.uniform(-0.3, 0.3)),
        contrast=1 + light * float(rng.uniform(-0.3, 0.12)),
        side=float(rng.uniform(-1.0, 1.0)),
        falloff=light * float(rng.uniform(0.0, 0.4)),
        shading=light * float(rng.uniform(0.0, 0.5)),
        shadow=light * float(rng.uniform(0.1, 0.45)),
    )


def record(
    picture: Image.Image, look: Look, light: Light, rng: np.random.Generator
) -> UInt8[np.ndarray, "H W 3"]:
    """Turn a scene into what a camera records; the compression is left to the file.

    Args:
        picture: The scene.
        look: Gives blur, resolution, saturation, colour cast, gamma and noise.
        light: Gives brightness, contrast and the fall of light across the picture.
        rng: Decides the noise.
    """
    size = picture.size
    if look.resolution < 1:
        small = (max(1, round(size[0] * look.resolution)), max(1, round(size[1] * look.resolution)))
        picture = picture.resize(small, Image.Resampling.BILINEAR)
    if look.blur > 0.2:
        picture = picture.filter(ImageFilter.GaussianBlur(look.blur))
    if look.saturation != 1:
        picture = ImageEnhance.Color(picture).enhance(look.saturation)
    picture = picture.point(_curve(look, light))
    if light.falloff or look.noise:
        picture = Image.fromarray(_unevenly(picture, look, light, rng))
    return np.array(picture.resize(size, Image.Resampling.BICUBIC))


def _unevenly(
    picture: Image.Image, look: Look, light: Light, rng: np.random.Generator
) -> UInt8[np.ndarray, "H W 3"]:
    pixels = np.asarray(picture, dtype=np.float32)
    height, width = pixels.shape[:2]
    across = np.linspace(-0.5, 0.5, width, dtype=np.float32) * np.sign(light.side)
    pixels = pixels * (1 + np.float32(light.falloff) * across)[None, :, None]
    pixels += np.float32(look.noise) * rng.standard_normal((height, width, 1), dtype=np.float32)
    return np.asarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _curve(look: Look, light: Light) -> list[int]:
    """Return the look-up table of all three channels."""
    level = np.arange(256) / 255
    curves = []
    for gain in look.cast:
        lit = (level - 0.5) * light.contrast + 0.5
        lit = np.clip(lit * light.brightness * gain, 0, 1) ** look.gamma
        curves.append(np.round(lit * 255).astype(int))
    return [int(value) for value in np.concatenate(curves)]
