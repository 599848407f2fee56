"""Read variables of MATLAB files that others made.

SciPy parses them; what it cannot take becomes an :class:`~fdps.errors.AnnotationError`. Annotations
are trusted further than pictures: SciPy 1.17 withstands files that were cut off, but a file
forged byte by byte can end the process.
"""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from fdps.errors import AnnotationError, MissingDataError


def read_variable(path: Path, names: Sequence[str], *, hint: str = "") -> np.ndarray:
    """The first of the named variables that a ``.mat`` file has.

    Args:
        path: A MATLAB file of version 5 to 7.2, which ``save -v7`` writes.
        names: In order of preference.
        hint: Where the file is missing: what the data set should look like.

    Returns:
        As SciPy returns it: numbers as at least 2-D arrays, cells and structures as object arrays.

    Raises:
        MissingDataError: There is no such file.
        AnnotationError: It is damaged, of version 7.3, no ``.mat`` file, or has none of the
            variables; the message names those it has.
    """
    if not path.is_file():
        raise MissingDataError(f"no file {path}", hint=hint)
    try:
        variables = loadmat(BytesIO(path.read_bytes()))  # given a path, it may leave the file open
    except NotImplementedError as error:
        raise AnnotationError(
            f"{path} is a .mat file of version 7.3", hint="save it in MATLAB with the flag -v7"
        ) from error
    except Exception as error:  # damaged files make loadmat raise nearly anything
        raise AnnotationError(f"{path} is not a readable .mat file: {error}") from error
    for name in names:
        if name in variables:
            return np.asarray(variables[name])
    found = ", ".join(key for key in variables if not key.startswith("__")) or "none"
    raise AnnotationError(f"{path} must hold the variable {' or '.join(names)}, found: {found}")
