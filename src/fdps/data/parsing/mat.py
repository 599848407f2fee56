"""Read variables of MATLAB files that others made.

:mod:`fdps.data.parsing.mat5` parses them; what it cannot take becomes an
:class:`~fdps.errors.AnnotationError`. SciPy's reader is not used: a file with altered bytes can
end the process there.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fdps.data.parsing.mat5 import UnsupportedVersionError, parse
from fdps.errors import AnnotationError, MissingDataError


def read_variable(path: Path, names: Sequence[str], *, hint: str = "") -> np.ndarray:
    """Read the first of the named variables that a ``.mat`` file has.

    Args:
        path: A MATLAB file of version 5 to 7.2, which ``save -v7`` writes.
        names: Names of variables in order of preference.
        hint: Advice for a missing file: what the data set should look like.

    Returns:
        The variable: numbers as at least 2-D arrays, cells and structures as object arrays.

    Raises:
        MissingDataError: There is no such file.
        AnnotationError: The file is damaged, of version 7.3, not a ``.mat`` file, or has none of
            the variables; the message names those it has.
    """
    if not path.is_file():
        raise MissingDataError(f"no file {path}", hint=hint)
    try:
        value, found = parse(path.read_bytes(), tuple(names))
    except UnsupportedVersionError as error:
        raise AnnotationError(
            f"{path} is a .mat file of version 7.3", hint="save it in MATLAB with the flag -v7"
        ) from error
    except ValueError as error:
        raise AnnotationError(
            f"{path} is not a readable .mat file: {error}",
            hint="take the file out of the archive of the data set again",
        ) from error
    if value is None:
        raise AnnotationError(
            f"{path} must hold the variable {' or '.join(names)}, "
            f"found: {', '.join(found) or 'none'}",
            hint="this is another file of the data set, or of another version of it",
        )
    return value
