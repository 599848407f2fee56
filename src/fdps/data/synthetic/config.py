"""The settings of what to draw, and the sources of its randomness."""

from dataclasses import dataclass

import numpy as np

from fdps.errors import ConfigError

SPLITS = ("train", "test")

# Each number is one stream of random numbers. The numbers are part of "same seed, same bytes".
_STREAMS = {"camera": 1, "colours": 2, "person": 3, "schedule": 4, "scene": 5, "queries": 6}


@dataclass(frozen=True, slots=True)
class SyntheticConfig:
    """Size and difficulty of a drawn data set; equal configs give equal files.

    Args:
        n_train_persons: Number of identities in the training split.
        n_test_persons: Number of identities in the test split, none of them in training.
        n_train_scenes: Number of pictures in the training split.
        n_test_scenes: Number of pictures in the test split.
        n_cameras: Number of places with a background, viewpoint, colour cast, noise and blur of
            their own.
        people_per_scene: Fewest and most people cast for a picture; one who would be hidden
            behind others wherever they stand is left out.
        unlabelled_share: Share of the people who have no identity and appear once, in [0, 1).
        lookalikes: Number of people who share the colours of their clothes and differ in cut,
            pattern, build and what they carry; 1 makes colour decisive.
        colour_shift: Strength with which cameras and light change colours, 0 not at all to 1
            strongly.
        queries_per_person: Most queries drawn from the appearances of one test identity.
        width: Width of a picture, in pixels.
        height: Height of a picture, in pixels.
        jpeg_quality: Quality of the written files, 1 to 95.
        seed: Seed of everything drawn, which depends on nothing else.

    Raises:
        ConfigError: A value is out of range.

    Example:
        >>> SyntheticConfig(n_cameras=0)
        Traceback (most recent call last):
        fdps.errors.ConfigError: n_cameras must be at least 1, got 0
    """

    n_train_persons: int = 120
    n_test_persons: int = 40
    n_train_scenes: int = 300
    n_test_scenes: int = 120
    n_cameras: int = 6
    people_per_scene: tuple[int, int] = (2, 6)
    unlabelled_share: float = 0.2
    lookalikes: int = 4
    colour_shift: float = 0.35
    queries_per_person: int = 2
    width: int = 480
    height: int = 320
    jpeg_quality: int = 90
    seed: int = 0

    def __post_init__(self) -> None:
        smallest = {
            "n_train_persons": 1,
            "n_test_persons": 1,
            "n_train_scenes": 1,
            "n_test_scenes": 2,  # a query and the scene that it should find
            "n_cameras": 1,
            "lookalikes": 1,
            "queries_per_person": 1,
            "width": 96,  # below that, a person would be a smear of a few pixels
            "height": 96,
            "jpeg_quality": 1,
            "seed": 0,
        }
        for name, least in smallest.items():
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.jpeg_quality > 95:
            raise ConfigError(f"jpeg_quality must be at most 95, got {self.jpeg_quality}")
        if not 0.0 <= self.unlabelled_share < 1.0:
            raise ConfigError(f"unlabelled_share must be in [0, 1), got {self.unlabelled_share}")
        if not 0.0 <= self.colour_shift <= 1.0:
            raise ConfigError(f"colour_shift must be in [0, 1], got {self.colour_shift}")
        fewest, most = self.people_per_scene
        if not 1 <= fewest <= most:
            raise ConfigError(
                "people_per_scene must be two numbers with 1 <= fewest <= most, "
                f"got {self.people_per_scene}"
            )

    def n_persons(self, split: str) -> int:
        """Return the number of identities in a split."""
        return self.n_train_persons if split == "train" else self.n_test_persons

    def n_scenes(self, split: str) -> int:
        """Return the number of pictures in a split."""
        return self.n_train_scenes if split == "train" else self.n_test_scenes


def stream(seed: int, purpose: str, *index: int) -> np.random.Generator:
    """Return random numbers for one thing to draw, independent of what was drawn before.

    Args:
        seed: Seed of the data set.
        purpose: Kind of thing: ``camera``, ``colours``, ``person``, ``schedule``, ``scene`` or
            ``queries``.
        index: Number of the thing within its kind.
    """
    return np.random.default_rng([seed, _STREAMS[purpose], *index])


PRESETS = {
    "demo": SyntheticConfig(),
    "synthetic-small": SyntheticConfig(
        n_train_persons=90,
        n_test_persons=60,
        n_train_scenes=256,
        n_test_scenes=160,
        queries_per_person=3,
    ),
    "synthetic-1k": SyntheticConfig(
        n_train_persons=1000, n_test_persons=300, n_train_scenes=8000, n_test_scenes=2000
    ),
}
"""Named sizes: the scenes of ``fdps demo``; those on which ``fdps reproduce`` trains many networks
in a few hours; a bench with a thousand identities to learn."""
