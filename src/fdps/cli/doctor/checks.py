"""The checks of ``fdps doctor``: one function per topic, each yields its findings.

Nothing is installed, written or sent. Torch is imported by the checks and nowhere before, so that a
broken installation is a finding and not a crash.
"""

import platform
import re
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from fdps.cli.doctor.machine import Finding, compiler, disk, graphics, memory, processor

FOR_DEVELOPERS = ("dev", "docs")


def findings(folder: Path) -> list[Finding]:
    """Look at everything.

    Args:
        folder: Where fdps would write.
    """
    found = [Finding("Python", "ok", platform.python_version()), *packages()]
    if not any(finding.status == "problem" for finding in found):
        found += [*processor(), *graphics(), *pictures(), *weights()]
    found += [*memory(), *compiler(), *extras(), *disk(folder), *network()]
    return found


def packages() -> Iterator[Finding]:
    """The packages that fdps cannot do without, in versions that it knows."""
    others = 0
    for name, floor in _required(""):
        problem = _package_problem(name, floor)
        if problem is not None:
            remedy = f"pip install '{name}{floor and '>=' + floor}'"
            yield Finding(name, "problem", problem, remedy)
        elif name in ("torch", "torchvision"):
            yield Finding(name, "ok", metadata.version(name))
        else:
            others += 1
    yield Finding("packages", "ok", f"{others} others that fdps needs are there")


def pictures() -> Iterator[Finding]:
    """Report which files can be read, and by which package."""
    from fdps.pictures import FORMATS

    if find_spec("simplejpeg") is None:
        remedy = "pip install 'fdps[fast]' decodes JPEG 1.5 to 3.6 times as fast"
        yield Finding("JPEG", "note", "decoded by Pillow", remedy)
    else:
        yield Finding("JPEG", "ok", "decoded by simplejpeg")
    yield Finding("pictures", "ok", ", ".join(FORMATS))
    if "video" not in _extras():
        yield Finding("HEIC, video", "note", "not read by this version", "save them as JPEG files")


def extras() -> Iterator[Finding]:
    """Optional packages, and how to get them."""
    for extra in _extras():
        missing = [
            f"{name}: {problem}"
            for name, floor in _required(extra)
            if (problem := _package_problem(name, floor)) is not None
        ]
        if missing:
            yield Finding(extra, "note", "; ".join(missing), f"pip install 'fdps[{extra}]'")
        else:
            yield Finding(extra, "ok", "optional packages are there")


def weights() -> Iterator[Finding]:
    """The weights that come with fdps."""
    from fdps.bundled import NAMES, bundled_weights

    for name in NAMES:
        path = bundled_weights(name)
        if path is not None and path.is_file():
            yield Finding("weights", "ok", f"{name}, {path.stat().st_size / 2**20:.1f} MiB")
        else:
            remedy = "install fdps again; until then fdps demo needs --train"
            yield Finding("weights", "note", f"{name} are missing", remedy)


def network() -> Iterator[Finding]:
    """Say that fdps sends nothing."""
    asked = 'fdps models download, and backbone_weights = "imagenet" of a recipe'
    yield Finding("network", "ok", f"fdps opens no connection unless it is asked to: {asked}")


def _required(extra: str) -> list[tuple[str, str]]:
    """Packages and lowest versions that fdps asks for, by itself or with an extra."""
    required = []
    for line in metadata.requires("fdps") or []:
        package, _, marker = line.partition(";")
        named = re.search(r"extra == [\"'](\w+)", marker)
        if (named[1] if named else "") == extra:
            floor = re.search(r">=([\d.]+)", package)
            name = re.match(r"[\w.-]+", package.strip())
            required.append((name[0] if name else package, floor[1] if floor else ""))
    return required


def _extras() -> list[str]:
    known = metadata.metadata("fdps").get_all("Provides-Extra") or []
    return [extra for extra in known if extra not in FOR_DEVELOPERS]


def _package_problem(name: str, floor: str) -> str | None:
    """Return why a package cannot be used, if so; torch and torchvision are loaded to see."""
    try:
        installed = metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
    if _numbers(installed) < _numbers(floor):
        return f"{installed} is older than {floor}"
    if name in ("torch", "torchvision"):
        try:
            __import__(name)
        except Exception as error:  # a broken binary raises nearly anything
            return f"{installed} does not load: {error}"
    return None


def _numbers(version: str) -> list[int]:
    release = re.match(r"[\d.]*", version)
    return [int(number) for number in (release[0] if release else "").split(".") if number]
