"""The effect of a camera on a scene: where it looks from, how it renders colour, and its flaws."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageEnhance, ImageFilter

from fdps.data.synthetic.config import SyntheticConfig, stream
from fdps.data.synthetic.places import PLACES, draw_place

_PANORAMA = 2.2  # width of a place, in widths of a picture


@dataclass(frozen=True, slots=True)
class Camera:
    """A fixed camera.

    Args:
        place: A key of :data:`~fdps.data.synthetic.places.PLACES`.
        horizon: Height of the horizon, as a share of the picture from its top.
        tilt: Body height per distance of the foot from the horizon: 1 for a camera at head
            height, less for one that hangs higher.
        cast: Factor of red, green and blue.
        gamma: Exponent of the tone curve; above 1 it darkens the middle tones.
        saturation: Saturation of colours: 1 keeps it, 0 is grey.
        noise: Standard deviation of the noise, in steps of 0 to 255.
        blur: Radius of the blur, in pixels.
    """

    place: str
    horizon: float
    tilt: float
    cast: tuple[float, float, float]
    gamma: float
    saturation: float
    noise: float
    blur: float


@dataclass(frozen=True, slots=True)
class Light:
    """The light of one moment.

    Args:
        brightness: Factor of everything.
        contrast: Factor of the distance from middle grey.
        side: Direction of the light along x, -1 to 1; shadows fall the other way.
        falloff: Loss of light at the far side of the picture, 0 to 1.
        shading: Loss of light at the far side of a thing in light from the side, 0 to 1.
    """

    brightness: float
    contrast: float
    side: float
    falloff: float
    shading: float


def camera_of(config: SyntheticConfig, index: int) -> Camera:
    """Return the camera with a number, which is the same for both splits."""
    rng, shift = stream(config.seed, "camera", index), config.colour_shift
    warmth, green = shift * rng.uniform(-0.15, 0.15), shift * rng.uniform(-0.06, 0.06)
    return Camera(
        place=list(PLACES)[index % len(PLACES)],
        horizon=float(rng.uniform(0.16, 0.32)),
        tilt=float(rng.uniform(0.72, 0.95)),
        cast=(float(1 + warmth), float(1 + green), float(1 - warmth)),
        gamma=1 + shift * float(rng.uniform(-0.2, 0.2)),
        saturation=1 + shift * float(rng.uniform(-0.4, 0.1)),
        noise=float(rng.uniform(2.0, 9.0)),
        blur=float(rng.uniform(0.0, 0.8)),
    )


def draw_light(rng: np.random.Generator, shift: float) -> Light:
    """Draw the light of a scene at random.

    Args:
        rng: Decides the light.
        shift: Distance from even light, 0 to 1.
    """
    return Light(
        brightness=1 + shift * float(rng.uniform(-0.2, 0.25)),
        contrast=1 + shift * float(rng.uniform(-0.25, 0.1)),
        side=float(rng.uniform(-1.0, 1.0)),
        falloff=shift * float(rng.uniform(0.0, 0.35)),
        shading=shift * 0.45,
    )


@lru_cache(maxsize=32)
def panorama(config: SyntheticConfig, index: int) -> Image.Image:
    """Return all that a camera may see when it pans. It is shared: copy it before drawing on it."""
    camera = camera_of(config, index)
    size = (round(config.width * _PANORAMA), config.height)
    rng = stream(config.seed, "camera", index, 1)
    return draw_place(rng, camera.place, size, camera.horizon)


def view(config: SyntheticConfig, index: int, rng: np.random.Generator) -> Image.Image:
    """Return the empty place as the camera sees it at one moment."""
    place = panorama(config, index)
    left = int(rng.integers(place.width - config.width + 1))
    return place.crop((left, 0, left + config.width, config.height))


def expose(
    picture: Image.Image, camera: Camera, light: Light, rng: np.random.Generator
) -> UInt8[np.ndarray, "H W 3"]:
    """Turn a scene into what the camera records.

    Args:
        picture: The scene in even light.
        camera: Gives blur, saturation, colour cast, gamma and noise.
        light: Gives brightness, contrast and the fall of light across the picture.
        rng: Decides the noise.
    """
    if camera.blur > 0.2:
        picture = picture.filter(ImageFilter.BoxBlur(camera.blur))
    picture = ImageEnhance.Color(picture).enhance(camera.saturation).point(_curve(camera, light))
    pixels = np.asarray(picture, dtype=np.float32)
    height, width = pixels.shape[:2]
    across = np.linspace(-0.5, 0.5, width, dtype=np.float32)
    pixels = pixels * (1 + light.falloff * np.sign(light.side) * across)[None, :, None]
    grain = rng.standard_normal((height, width, 1), dtype=np.float32)
    pixels += camera.noise * grain
    return np.asarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _curve(camera: Camera, light: Light) -> list[int]:
    """Return the look-up table of all three channels."""
    level = np.arange(256) / 255
    curves = []
    for gain in camera.cast:
        lit = (level - 0.5) * light.contrast + 0.5
        lit = np.clip(lit * light.brightness * gain, 0, 1) ** camera.gamma
        curves.append(np.round(lit * 255).astype(int))
    return [int(value) for value in np.concatenate(curves)]
