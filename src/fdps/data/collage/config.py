"""The settings of collages, and the sources of their randomness."""

from dataclasses import dataclass

import numpy as np

from fdps.errors import ConfigError

SPLITS = ("train", "val", "test")

# Each number is one stream of random numbers. The numbers are part of "same seed, same bytes".
_STREAMS = {"share": 1, "look": 2, "schedule": 3, "scene": 4, "queries": 5}


@dataclass(frozen=True, slots=True)
class CollageConfig:
    """Size and difficulty of a set of collages; equal configs and material give equal files.

    Args:
        n_train_scenes: Number of pictures in the training split.
        n_val_scenes: Number of pictures in the validation split, which 0 leaves out.
        n_test_scenes: Number of pictures in the test split.
        shares: Shares of the people and of the backgrounds that go to training, validation and
            test; only their ratios count.
        n_looks: Number of looks, each the colour cast, blur, resolution, noise and compression of
            one camera. A look is the camera of its pictures.
        people_per_scene: Fewest and most people cast for a picture; one who would be hidden
            wherever they stand is left out.
        unlabelled_share: Share of the people of a split whose identity is kept back, in [0, 1).
        heights: Least and greatest height of a person, in picture heights.
        crowding: Share of the people who stand beside somebody, so that one hides the other.
        pieces: Fewest and most things per picture, cut from backgrounds, that stand among the
            people and hide them.
        light: Strength of the differences in light and colour, 0 none to 1 strong.
        warp: Strength of the changes of shape (mirroring, lean, bend, girth), 0 none to 1 strong.
        degrade: Strength of blur, noise, loss of resolution and compression, 0 none to 1 strong.
        labelled_from: Least visible share of a person whose identity is annotated, in (0, 1].
        kept_from: Least visible share of a person who is in the picture at all, above 0 and at
            most ``labelled_from``; in between a person is annotated without identity.
        queries_per_person: Most queries of one identity of validation and test.
        width: Width of a picture, in pixels.
        height: Height of a picture, in pixels.
        jpeg_quality: Worst and best quality of the files, 1 to 95; each look has one of its own.
        seed: Seed of everything that is chosen at random.

    Raises:
        ConfigError: A value is out of range.

    Example:
        >>> CollageConfig(light=2.0)
        Traceback (most recent call last):
        fdps.errors.ConfigError: light must be in [0, 1], got 2.0
    """

    n_train_scenes: int = 2000
    n_val_scenes: int = 200
    n_test_scenes: int = 400
    shares: tuple[float, float, float] = (0.7, 0.1, 0.2)
    n_looks: int = 12
    people_per_scene: tuple[int, int] = (2, 7)
    unlabelled_share: float = 0.1
    heights: tuple[float, float] = (0.13, 1.0)
    crowding: float = 0.4
    pieces: tuple[int, int] = (0, 3)
    light: float = 0.6
    warp: float = 1.0
    degrade: float = 1.0
    labelled_from: float = 0.35
    kept_from: float = 0.15
    queries_per_person: int = 2
    width: int = 640
    height: int = 480
    jpeg_quality: tuple[int, int] = (35, 92)
    seed: int = 0

    def __post_init__(self) -> None:
        smallest = {
            "n_train_scenes": 1,
            "n_val_scenes": 0,
            "n_test_scenes": 2,  # a query and the scene that it should find
            "n_looks": 1,
            "queries_per_person": 1,
            "width": 96,  # below that, a person would be a smear of a few pixels
            "height": 96,
            "seed": 0,
        }
        for name, least in smallest.items():
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, got {getattr(self, name)}")
        for name in ("crowding", "light", "warp", "degrade"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        if not 0.0 <= self.unlabelled_share < 1.0:
            raise ConfigError(f"unlabelled_share must be in [0, 1), got {self.unlabelled_share}")
        if not 0.0 < self.labelled_from <= 1.0:
            raise ConfigError(
                f"labelled_from must be above 0 and at most 1, got {self.labelled_from}"
            )
        if not 0.0 < self.kept_from <= self.labelled_from:
            raise ConfigError(
                f"kept_from must be above 0 and at most labelled_from={self.labelled_from}, "
                f"got {self.kept_from}"
            )
        self._check_ranges()

    def _check_ranges(self) -> None:
        limits = {
            "people_per_scene": (1, 1000),
            "heights": (0.02, 3.0),
            "pieces": (0, 1000),
            "jpeg_quality": (1, 95),
        }
        for name, (least, most) in limits.items():
            low, high = getattr(self, name)
            if not least <= low <= high <= most:
                raise ConfigError(
                    f"{name} must be two numbers with {least} <= first <= second <= {most}, "
                    f"got {getattr(self, name)}"
                )
        if len(self.shares) != len(SPLITS) or min(self.shares) < 0 or not self.shares[0]:
            raise ConfigError(
                f"shares must be three numbers of at least 0, the first above 0, got {self.shares}"
            )

    def n_scenes(self, split: str) -> int:
        """Return the number of pictures in a split."""
        return {
            "train": self.n_train_scenes,
            "val": self.n_val_scenes,
            "test": self.n_test_scenes,
        }[split]

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have pictures."""
        return tuple(split for split in SPLITS if self.n_scenes(split))


def stream(seed: int, purpose: str, *index: int) -> np.random.Generator:
    """Return random numbers for one thing to make, independent of what was made before.

    Args:
        seed: Seed of the data set.
        purpose: Kind of thing: ``share``, ``look``, ``schedule``, ``scene`` or ``queries``.
        index: Number of the thing within its kind.
    """
    return np.random.default_rng([seed, _STREAMS[purpose], *index])
