"""Put a public model into the folder of models: all of its files and the card, or nothing.

Files come into ``.NAME.part`` in that folder, where an interrupted download is continued. When all
are there and have the hashes of the list, the card is written and the folder is renamed to
``NAME``; from then on the model is found by its name.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from fdps.downloads.catalogue import PublicFile, PublicModel
from fdps.downloads.transfer import PART, Told, copy, fetch, part_name, sha256_of
from fdps.durable import named, sync_folder, write_file
from fdps.embedders import check_licence, models_folder
from fdps.embedders.places import CARD_FILE, CARD_SUFFIX, WEIGHTS_SUFFIX
from fdps.errors import MissingDataError, ModelError, ResourceError, UsageError

MIRROR_VARIABLE = "FDPS_MIRROR"
_SPARE_BYTES = 1 << 20  # for the card, and for what a file system needs itself


@dataclass(frozen=True)
class Installed:
    """A public model that is here.

    Args:
        model: The model.
        place: Its card.
        brought: Names of the files that were brought; those that were here already are not among
            them.
    """

    model: PublicModel
    place: Path
    brought: tuple[str, ...]


def place_of(model: PublicModel) -> Path:
    """Return the folder in which a public model is, or would be."""
    return models_folder() / model.name


def is_installed(model: PublicModel) -> bool:
    """Tell whether a model of the list is here, without reading its networks."""
    folder = place_of(model)
    sizes = {file.name: file.size for file in model.files}
    return _has_card(folder, model) and all(
        (folder / name).is_file() and (folder / name).stat().st_size == size
        for name, size in sizes.items()
    )


def install(
    model: PublicModel,
    *,
    carried: Sequence[Path] = (),
    force: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Installed:
    """Bring a public model into the folder of models.

    Files that are here and whole stay as they are; only what is missing or damaged is brought.

    Args:
        model: What to bring.
        carried: Files, or folders with files, to take instead of asking a server; with them no
            server is asked.
        force: Replace another model that has the same name.
        progress: Hears how many bytes of how many are there.

    Raises:
        ModelError: The licence is not allowed here, or a file has another size or hash than the
            list says.
        MissingDataError: A file is not among those that were carried here.
        DownloadError: The server cannot be reached, has no such file, breaks off or sends
            elsewhere. What came is kept for the next try.
        ResourceError: The disk has too little room, or another process brings the same model.
        UsageError: Another model has this name, or ``FDPS_MIRROR`` is no address.
        OSError: The folder cannot be written.
    """
    check_licence(model.card.licence, model.name)
    folder = place_of(model)
    if not force:
        _refuse_others(folder, model)
    aside = folder.with_name(f".{model.name}{PART}")
    if not aside.exists() and _has_card(folder, model) and not _damaged(folder, model):
        return Installed(model, folder / CARD_FILE, ())
    with _only_one(aside, model.name):
        wanted = _damaged(folder, model)  # another process may have brought it meanwhile
        _tidy(aside, wanted)
        lacking = [file for file in wanted if not _is_whole(aside / file.name, file)]
        sources = _among(carried, model, lacking) if carried else {}
        _check_room(aside, wanted)
        done = model.size - sum(file.size for file in wanted)
        for file in wanted:

            def told(n: int, before: int = done) -> None:
                progress(before + n, model.size)

            if file in lacking:
                _bring(file, aside / file.name, sources.get(file), told)
            done += file.size
            progress(done, model.size)
        write_file(aside / CARD_FILE, model.card_text.encode())
        _publish(aside, folder)
    return Installed(model, folder / CARD_FILE, tuple(file.name for file in wanted))


def _bring(file: PublicFile, place: Path, source: Path | None, told: Told) -> None:
    if source is not None:
        copy(source, file, place, told=told)
    else:
        fetch(file, address_of(file), place, told=told)


def address_of(file: PublicFile) -> str:
    """Return where a file is asked for: its own address, or ``FDPS_MIRROR`` and its name.

    Raises:
        UsageError: The variable is no address.
    """
    mirror = os.environ.get(MIRROR_VARIABLE, "")
    if not mirror:
        return file.address
    parts = urlsplit(mirror)
    if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc:
        raise UsageError(f"{MIRROR_VARIABLE} must be https://HOST/…, got {mirror!r}")
    return f"{mirror.rstrip('/')}/{file.name}"


def _refuse_others(folder: Path, model: PublicModel) -> None:
    """Refuse to put a model where somebody has another one of that name."""
    names = [f"{folder}{suffix}" for suffix in (CARD_SUFFIX, WEIGHTS_SUFFIX)]
    others = [Path(name) for name in names if Path(name).exists()]
    if folder.exists() and not _has_card(folder, model):
        others.append(folder)
    if others:
        raise UsageError(
            f"{others[0]} is there already, and is not {model.name} as the list has it",
            hint="move it away, or replace it by --force",
        )


def _has_card(folder: Path, model: PublicModel) -> bool:
    card = folder / CARD_FILE
    return card.is_file() and card.read_bytes() == model.card_text.encode()


def _damaged(folder: Path, model: PublicModel) -> list[PublicFile]:
    """Return the files that are not here, or are not what they should be."""
    return [file for file in model.files if not _is_whole(folder / file.name, file)]


def _is_whole(path: Path, file: PublicFile) -> bool:
    is_so_long = path.is_file() and path.stat().st_size == file.size
    return is_so_long and sha256_of(path) == file.sha256


def _among(
    carried: Sequence[Path], model: PublicModel, wanted: Sequence[PublicFile]
) -> dict[PublicFile, Path]:
    """Find files among those that were carried here: in a folder by name, single ones by hash.

    Raises:
        MissingDataError: A path or a file that is wanted is not there.
        ModelError: A single file is none of this model.
    """
    found: dict[PublicFile, Path] = {}
    for path in carried:
        if path.is_dir():
            found |= {file: path / file.name for file in wanted if (path / file.name).is_file()}
        elif path.is_file():
            found |= {_recognised(path, model): path}
        else:
            raise MissingDataError(f"no file or folder at {path}", hint="--from names what is here")
    missing = [file for file in wanted if file not in found]
    if missing:
        file = missing[0]
        raise MissingDataError(
            f"{file.name} ({file.size} bytes) is not among the files of --from",
            hint=f"it lies at {file.address}",
        )
    return found


def _recognised(path: Path, model: PublicModel) -> PublicFile:
    """Tell which file of a model this is, whatever it is called."""
    alike = [file for file in model.files if file.size == path.stat().st_size]
    digest = sha256_of(path) if alike else ""
    same = [file for file in alike if file.sha256 == digest]
    if not same:
        raise ModelError(
            f"{path} is no file of {model.name}: no size and SHA-256 of the list are its own",
            hint="the files are " + ", ".join(file.name for file in model.files),
        )
    return same[0]


@contextmanager
def _only_one(aside: Path, name: str) -> Iterator[None]:
    """Make the folder in which files are gathered, and let nobody else into it meanwhile.

    Raises:
        ResourceError: Another process is there.
    """
    handle = _locked(aside, name)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # what goes on later is in it
            aside.rmdir()
        raise
    finally:
        os.close(handle)


def _locked(aside: Path, name: str) -> int:
    while True:
        with named(aside):
            aside.mkdir(parents=True, exist_ok=True)
            handle = os.open(aside, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise ResourceError(
                f"another process is bringing {name}", hint="wait until it has ended"
            ) from None
        # Whoever held it may have renamed or removed the folder in between.
        with suppress(FileNotFoundError):
            if aside.stat().st_ino == os.fstat(handle).st_ino:
                return handle
        os.close(handle)


def _tidy(aside: Path, wanted: Sequence[PublicFile]) -> None:
    """Remove what an earlier list wanted, and pieces of files that have another hash now."""
    kept = {name for file in wanted for name in (file.name, part_name(file))}
    for path in aside.iterdir():
        if path.name not in kept:
            path.unlink()


def _check_room(aside: Path, wanted: Sequence[PublicFile]) -> None:
    there = sum(path.stat().st_size for path in aside.iterdir())
    needed = sum(file.size for file in wanted) - there + _SPARE_BYTES
    free = shutil.disk_usage(aside).free
    if free < needed:
        raise ResourceError(
            f"{aside.parent} has {free >> 20} MiB left, and {(needed >> 20) + 1} MiB are needed",
            hint="make room, or name another folder by FDPS_MODELS",
        )


def _publish(aside: Path, folder: Path) -> None:
    """Give a folder of whole files its name, or put the files where others are damaged.

    Between two files the model may be a mixture, which is refused: a card pins its files.
    """
    with named(folder):
        if not folder.exists():
            aside.rename(folder)
        else:
            if not folder.is_dir():
                folder.unlink()
                folder.mkdir()
            for path in sorted(aside.iterdir()):
                path.replace(folder / path.name)
            aside.rmdir()
            sync_folder(folder)
        sync_folder(folder.parent)
