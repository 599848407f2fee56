"""Eighteen ways in which pictures go bad, each at five severities, deterministically.

Noise, blur, weather, light and digital damage, in the spirit of ImageNet-C; the functions and their
strengths are ours, chosen so that severity 1 is hardly seen and severity 5 hides much of a small
person. Blurs and grains are in pixels of the given picture, so they are harder on a smaller one.

Source of the idea: Hendrycks and Dietterich, "Benchmarking neural network robustness to common
corruptions and perturbations", ICLR 2019.

Axes: H and W size of a picture.
"""

import io
import zlib
from collections.abc import Callable

import numpy as np
from jaxtyping import Float32
from PIL import Image
from scipy import ndimage

from fdps.errors import UsageError
from fdps.structures import Picture

SEVERITIES = (1, 2, 3, 4, 5)

Pixels = Float32[np.ndarray, "H W 3"]
"""A picture with values in [0, 1]."""

Corruption = Callable[[Pixels, float, np.random.Generator], np.ndarray]
"""Takes a picture, a strength and a source of randomness; values may leave [0, 1]."""


def corrupt(picture: Picture, name: str, severity: int) -> Picture:
    """Damage a picture; the same picture is always damaged in the same way.

    Args:
        picture: RGB pixels.
        name: A key of :data:`CORRUPTIONS`.
        severity: 1 to 5.

    Returns:
        A picture of the same size.

    Raises:
        UsageError: There is no such corruption or severity.
    """
    if name not in CORRUPTIONS:
        raise UsageError(
            f"no corruption is called {name!r}", hint=f"known: {', '.join(CORRUPTIONS)}"
        )
    if severity not in SEVERITIES:
        raise UsageError(f"severity must be 1 to 5, got {severity}")
    damage, strengths = CORRUPTIONS[name]
    seed = [zlib.crc32(np.ascontiguousarray(picture).tobytes()), zlib.crc32(name.encode())]
    random = np.random.default_rng([*seed, severity])
    pixels = picture.astype(np.float32) / 255
    damaged = damage(pixels, strengths[severity - 1], random)
    return (np.clip(damaged, 0, 1) * 255).round().astype(np.uint8)


def _gaussian_noise(pixels: Pixels, deviation: float, random: np.random.Generator) -> np.ndarray:
    noise = random.standard_normal(pixels.shape, dtype=np.float32)
    return np.asarray(pixels + deviation * noise)


def _shot_noise(pixels: Pixels, photons: float, random: np.random.Generator) -> np.ndarray:
    """Count so many photons for a white pixel."""
    return random.poisson(pixels * photons) / photons


def _impulse_noise(pixels: Pixels, share: float, random: np.random.Generator) -> np.ndarray:
    """Turn a share of the pixels black or white."""
    drawn = random.random(pixels.shape[:2])[:, :, None]
    return np.where(drawn < share / 2, 0.0, np.where(drawn > 1 - share / 2, 1.0, pixels))


def _speckle_noise(pixels: Pixels, deviation: float, random: np.random.Generator) -> np.ndarray:
    return np.asarray(
        pixels * (1 + deviation * random.standard_normal(pixels.shape, dtype=np.float32))
    )


def _gaussian_blur(pixels: Pixels, sigma_px: float, random: np.random.Generator) -> np.ndarray:
    return np.asarray(ndimage.gaussian_filter(pixels, (sigma_px, sigma_px, 0)))


def _defocus_blur(pixels: Pixels, radius_px: float, random: np.random.Generator) -> np.ndarray:
    """Spread every point over a disc."""
    reach = int(np.ceil(radius_px))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.clip(radius_px + 0.5 - np.hypot(x, y), 0, 1)
    return _filtered(pixels, disc)


def _motion_blur(pixels: Pixels, length_px: float, random: np.random.Generator) -> np.ndarray:
    """Smear along a line of random direction."""
    angle, reach = random.uniform(0, np.pi), int(np.ceil(length_px / 2))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    along = x * np.cos(angle) + y * np.sin(angle)
    across = np.abs(y * np.cos(angle) - x * np.sin(angle))
    line = np.clip(1 - across, 0, 1) * (np.abs(along) <= length_px / 2)
    return _filtered(pixels, line)


def _zoom_blur(pixels: Pixels, zoom: float, random: np.random.Generator) -> np.ndarray:
    """Average the picture with enlarged copies of itself."""
    n_copies = 8
    copies = [_enlarged(pixels, 1 + zoom * k / (n_copies - 1)) for k in range(n_copies)]
    return np.asarray(np.mean(copies, axis=0))


def _glass_blur(pixels: Pixels, reach_px: float, random: np.random.Generator) -> np.ndarray:
    """Take every pixel from somewhere near."""
    height, width, _ = pixels.shape
    y, x = np.mgrid[:height, :width].astype(np.float64)
    moved = [
        np.clip(axis + random.uniform(-reach_px, reach_px, (height, width)), 0, size - 1)
        for axis, size in ((y, height), (x, width))
    ]
    rows, columns = (axis.round().astype(np.int64) for axis in moved)
    return np.asarray(ndimage.gaussian_filter(pixels[rows, columns], (0.5, 0.5, 0)))


def _fog(pixels: Pixels, density: float, random: np.random.Generator) -> np.ndarray:
    """Mix in a bright, uneven haze."""
    haze = 0.75 + 0.25 * _clouds(pixels.shape[:2], random)
    share = density * (0.8 + 0.2 * _clouds(pixels.shape[:2], random))
    return pixels * (1 - share[:, :, None]) + (haze * share)[:, :, None]


def _snow(pixels: Pixels, share: float, random: np.random.Generator) -> np.ndarray:
    """Let bright flakes fall, and pale the rest."""
    flakes = (random.random(pixels.shape[:2]) < share).astype(np.float32)
    flakes = np.clip(6 * ndimage.gaussian_filter(flakes, (1.6, 0.8)), 0, 1)[:, :, None]
    paled = pixels * (1 - 4 * share) + 4 * share * 0.8
    return np.asarray(paled * (1 - flakes) + flakes)


def _rain(pixels: Pixels, share: float, random: np.random.Generator) -> np.ndarray:
    """Draw bright streaks, all in one direction, over a darker picture."""
    drops = (random.random(pixels.shape[:2]) < share).astype(np.float32)
    reach = 7
    streak = np.zeros((2 * reach + 1, 2 * reach + 1), dtype=np.float32)
    steps = np.arange(-reach, reach + 1)
    streak[steps + reach, (0.3 * steps).round().astype(np.int64) + reach] = 1
    rain = np.clip(ndimage.convolve(drops, streak, mode="constant"), 0, 1)[:, :, None] * 0.6
    return np.asarray(pixels * (1 - 10 * share) * (1 - rain) + 0.9 * rain)


def _brightness(pixels: Pixels, shift: float, random: np.random.Generator) -> np.ndarray:
    return pixels + shift


def _darkness(pixels: Pixels, factor: float, random: np.random.Generator) -> np.ndarray:
    """Take light away, and add the noise of a sensor that has little of it."""
    noise = 0.04 * (1 - factor) * random.standard_normal(pixels.shape, dtype=np.float32)
    return pixels * factor + noise


def _contrast(pixels: Pixels, factor: float, random: np.random.Generator) -> np.ndarray:
    mean = pixels.mean(axis=(0, 1))
    return np.asarray((pixels - mean) * factor + mean)


def _saturation(pixels: Pixels, factor: float, random: np.random.Generator) -> np.ndarray:
    """Move colours towards grey."""
    grey = pixels @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    return np.asarray(grey[:, :, None] + (pixels - grey[:, :, None]) * factor)


def _jpeg(pixels: Pixels, quality: float, random: np.random.Generator) -> np.ndarray:
    written = io.BytesIO()
    _as_image(pixels).save(written, format="JPEG", quality=int(quality))
    return np.asarray(Image.open(written).convert("RGB"), dtype=np.float32) / 255


def _pixelate(pixels: Pixels, share: float, random: np.random.Generator) -> np.ndarray:
    """Keep so many pixels of each side."""
    height, width, _ = pixels.shape
    small = (max(1, round(width * share)), max(1, round(height * share)))
    image = _as_image(pixels).resize(small, Image.Resampling.BOX)
    coarse = image.resize((width, height), Image.Resampling.NEAREST)
    return np.asarray(coarse, dtype=np.float32) / 255


def _filtered(pixels: Pixels, kernel: np.ndarray) -> np.ndarray:
    kernel = (kernel / kernel.sum()).astype(np.float32)
    return np.asarray(ndimage.convolve(pixels, kernel[:, :, None], mode="nearest"))


def _enlarged(pixels: Pixels, factor: float) -> np.ndarray:
    """Enlarge about the centre; the size stays."""
    height, width, _ = pixels.shape
    left, top = width * (1 - 1 / factor) / 2, height * (1 - 1 / factor) / 2
    box = (left, top, width - left, height - top)
    enlarged = _as_image(pixels).resize((width, height), Image.Resampling.BILINEAR, box=box)
    return np.asarray(enlarged, dtype=np.float32) / 255


def _clouds(size: tuple[int, int], random: np.random.Generator) -> np.ndarray:
    """Draw soft, large shapes in [0, 1]."""
    coarse = random.random((5, 7))
    image = Image.fromarray((coarse * 255).astype(np.uint8))
    smooth = image.resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return np.asarray(smooth, dtype=np.float32) / 255


def _as_image(pixels: Pixels) -> Image.Image:
    return Image.fromarray((np.clip(pixels, 0, 1) * 255).round().astype(np.uint8))


CORRUPTIONS: dict[str, tuple[Corruption, tuple[float, float, float, float, float]]] = {
    "gaussian_noise": (_gaussian_noise, (0.04, 0.07, 0.11, 0.16, 0.23)),
    "shot_noise": (_shot_noise, (200.0, 90.0, 45.0, 22.0, 11.0)),
    "impulse_noise": (_impulse_noise, (0.01, 0.03, 0.06, 0.11, 0.18)),
    "speckle_noise": (_speckle_noise, (0.1, 0.17, 0.26, 0.38, 0.52)),
    "gaussian_blur": (_gaussian_blur, (0.6, 1.0, 1.5, 2.2, 3.2)),
    "defocus_blur": (_defocus_blur, (1.0, 1.6, 2.4, 3.5, 5.0)),
    "motion_blur": (_motion_blur, (4.0, 6.0, 9.0, 13.0, 18.0)),
    "zoom_blur": (_zoom_blur, (0.02, 0.04, 0.06, 0.09, 0.13)),
    "glass_blur": (_glass_blur, (0.8, 1.3, 2.0, 3.0, 4.5)),
    "fog": (_fog, (0.25, 0.4, 0.55, 0.68, 0.8)),
    "snow": (_snow, (0.004, 0.01, 0.02, 0.035, 0.055)),
    "rain": (_rain, (0.002, 0.004, 0.008, 0.014, 0.022)),
    "brightness": (_brightness, (0.08, 0.16, 0.25, 0.35, 0.47)),
    "darkness": (_darkness, (0.7, 0.5, 0.34, 0.22, 0.13)),
    "contrast": (_contrast, (0.7, 0.5, 0.35, 0.22, 0.13)),
    "saturation": (_saturation, (0.75, 0.5, 0.3, 0.15, 0.0)),
    "jpeg": (_jpeg, (45.0, 28.0, 17.0, 11.0, 6.0)),
    "pixelate": (_pixelate, (0.75, 0.55, 0.4, 0.3, 0.2)),
}
"""Every corruption with its strength at each severity."""
