"""Recognise the code of others by its files; nothing of it is imported here."""

from pathlib import Path

from fdps.bench.entrants import PublicModel
from fdps.errors import MissingDataError, UsageError

SYSTEMS: dict[str, tuple[str, ...]] = {
    "SeqNet": ("defaults.py", "models/seqnet.py"),
    "NAE": ("lib/model/faster_rcnn_norm_aware.py",),
    "NAE+": (
        "lib/model/faster_rcnn_norm_aware.py",
        "lib/model/faster_rcnn_pixel_wise_norm_aware.py",
    ),
    "HOIM": ("lib/model/faster_rcnn_hoim.py",),
}
"""The networks that can be built, each with the files by which its folder is known."""


def find_public(
    folder: Path,
    *,
    system: str | None = None,
    config: Path | None = None,
    checkpoint: Path | None = None,
) -> PublicModel:
    """Find out which network the code of a folder builds.

    Args:
        folder: That code.
        system: One of :data:`SYSTEMS`; by default the first whose files are there.
        config: A file of settings of that code.
        checkpoint: Its weights.

    Raises:
        MissingDataError: There is no such folder or file.
        UsageError: The folder is laid out otherwise, or the system takes no settings.
    """
    if not folder.is_dir():
        raise MissingDataError(f"no folder {folder}", hint="--against takes a folder with code")
    if system is not None and system not in SYSTEMS:
        raise UsageError(f"no system {system!r}", hint=f"one of {', '.join(SYSTEMS)}")
    known = [name for name in SYSTEMS if system in (None, name)]
    found = [name for name in known if all((folder / file).is_file() for file in SYSTEMS[name])]
    if not found:
        wanted = "; ".join(f"{name}: {', '.join(SYSTEMS[name])}" for name in known)
        raise UsageError(
            f"{folder} is not laid out as the public code of {' or '.join(known)}",
            hint=f"these files are looked for ({wanted})",
        )
    for what, file in (("settings", config), ("checkpoint", checkpoint)):
        if file is not None and not file.is_file():
            raise MissingDataError(f"no {what} at {file}")
    if config is not None and found[0] != "SeqNet":
        raise UsageError(f"{found[0]} takes no file of settings", hint="leave it out")
    return PublicModel(
        folder.resolve(),
        found[0],
        None if config is None else config.resolve(),
        None if checkpoint is None else checkpoint.resolve(),
    )
