"""The position of a run."""

from dataclasses import dataclass

import numpy as np


@dataclass
class Progress:
    """Position of a run.

    Args:
        step: Number of finished optimiser steps.
        n_epochs: Number of finished epochs, validation included.
        seconds: Training time so far in seconds, over all sessions.
        best: Best mAP of a validation so far, in [0, 1]; -1 before the first.
        n_stale: Number of validations since then.
        hardness: Hardness of the identities at the beginning of this epoch, for hard sampling.
    """

    step: int = 0
    n_epochs: int = 0
    seconds: float = 0.0
    best: float = -1.0
    n_stale: int = 0
    hardness: np.ndarray | None = None
