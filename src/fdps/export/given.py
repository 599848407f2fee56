"""What exports are compared, calibrated and timed on."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, UInt8

Pictures = Sequence[UInt8[np.ndarray, "_ _ 3"]]
"""RGB, each of its own size."""
PeopleInPictures = Sequence[Float32[np.ndarray, "_ 4"]]
"""Boxes of people, for each picture, in its pixels."""
