"""Exceptions that a user can cause, each with its exit code.

.. code-block:: text

    FdpsError                 1   base class; never raised itself
    ├── UsageError            2   a flag or argument makes no sense
    │   └── ConfigError       2   a recipe key or value is unknown or out of range
    ├── DataError             3   input that cannot be used
    │   ├── MissingDataError  3   a file or folder is not there
    │   ├── AnnotationError   3   an annotation file is malformed or contradicts itself
    │   ├── PictureError      3   a picture cannot be decoded
    │   └── PredictionsError  3   a predictions file is malformed or belongs to other data
    ├── ModelError            5   weights refused: format, shape, licence
    ├── ArchiveError          6   an archive cannot be used: other model, damaged, locked
    └── ResourceError         7   memory, disk, file handles
        ├── DownloadError     7   a server cannot be reached, or answers otherwise than asked
        └── TrainingDiverged  7   a loss left the finite numbers

Every message names what happened, the value and what was expected; ``hint`` names the way out.
The command line prints both and exits with ``exit_code``; nobody sees a traceback for them.
"""

import math

__all__ = [
    "AnnotationError",
    "ArchiveError",
    "ConfigError",
    "DataError",
    "DownloadError",
    "FdpsError",
    "MissingDataError",
    "ModelError",
    "PictureError",
    "PredictionsError",
    "ResourceError",
    "TrainingDiverged",
    "UsageError",
]


class FdpsError(Exception):
    """A condition that the user can mend.

    Args:
        message: What happened, which value, what was expected.
        hint: What to do about it; empty if the message already says so.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(FdpsError):
    """A flag or argument makes no sense."""

    exit_code = 2


class ConfigError(UsageError):
    """A recipe key or value is unknown or out of range."""


class DataError(FdpsError):
    """Input that cannot be used."""

    exit_code = 3


class MissingDataError(DataError):
    """A file or folder is not there."""


class AnnotationError(DataError):
    """An annotation file is malformed or contradicts itself."""


class PictureError(DataError):
    """A picture cannot be decoded."""


class PredictionsError(DataError):
    """A predictions file is malformed or belongs to other data."""


class ModelError(FdpsError):
    """Weights are refused: format, shape or licence."""

    exit_code = 5


class ArchiveError(FdpsError):
    """An archive cannot be used: built with another model, damaged or locked."""

    exit_code = 6


class ResourceError(FdpsError):
    """Memory, disk or file handles ran out."""

    exit_code = 7


class DownloadError(ResourceError):
    """A server cannot be reached, or answers otherwise than it was asked."""


class TrainingDiverged(ResourceError):  # noqa: N818 - names an event, as KeyboardInterrupt does
    """A loss left the finite numbers.

    Args:
        step: Optimiser step, counted from 0, at which it happened.
        losses: The named losses of that step; at least one is NaN or infinite.
    """

    def __init__(self, step: int, losses: dict[str, float]) -> None:
        bad = [name for name, value in losses.items() if not math.isfinite(value)]
        named = ", ".join(f"{name}={losses[name]}" for name in (bad or losses))
        super().__init__(
            f"training diverged at step {step}: {named}",
            hint="lower train.lr, lengthen train.warmup_epochs or lower train.max_grad_norm; "
            "the last good checkpoint is untouched",
        )
        self.step = step
        self.losses = losses
