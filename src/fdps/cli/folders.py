"""Folders that users name for results."""

from pathlib import Path

from fdps.errors import ResourceError


def make_folder(folder: Path) -> None:
    """Make a folder, with those above it, if it is not there.

    Raises:
        ResourceError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"{folder} cannot be made: {error.strerror}", hint="choose a folder elsewhere"
        ) from error
