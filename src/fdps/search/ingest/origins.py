"""Tell where and when a file was taken, as far as its path and its metadata say."""

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from fdps.errors import UsageError
from fdps.search.times import later

EXIF, CONTAINER, NAME = "exif", "container", "name:"
DEFAULT_TIME_FROM = f"{EXIF},{CONTAINER}"
CAMERA_GROUP = "camera"

_NEXT_SOURCE = re.compile(rf",(?=\s*(?:{EXIF}|{CONTAINER}|{NAME}))")
_DIRECTIVES = {
    "Y": r"\d{4}",
    "y": r"\d{2}",
    "m": r"\d{2}",
    "d": r"\d{2}",
    "j": r"\d{3}",
    "H": r"\d{2}",
    "I": r"\d{2}",
    "M": r"\d{2}",
    "S": r"\d{2}",
    "f": r"\d{1,6}",
    "p": r"[AaPp][Mm]",
    "b": r"[^\W\d_]{3,}",
    "z": r"(?:Z|[+-]\d{2}:?\d{2})",
    "%": "%",
}
"""The form that each part of a pattern for times has in a name."""


@dataclass(frozen=True, slots=True)
class Origins:
    """Rules that tell the camera and the time of a file.

    Args:
        camera: Camera of files for which ``camera_from`` finds none.
        camera_from: Regular expression, searched for in the path; its group ``camera`` is the name.
        time_from: Sources of the time, separated by commas, of which the first that knows it is
            taken: ``exif`` (of a picture), ``container`` (of a video), ``name:PATTERN``, such as
            ``name:%Y%m%d_%H%M%S``, anywhere in the name of the file.

    Raises:
        UsageError: A rule is malformed.
    """

    camera: str | None = None
    camera_from: str = ""
    time_from: str = DEFAULT_TIME_FROM
    _camera: re.Pattern[str] | None = field(init=False, repr=False)
    _sources: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_camera", _expression(self.camera_from))
        sources = tuple(source.strip() for source in _NEXT_SOURCE.split(self.time_from))
        object.__setattr__(self, "_sources", tuple(filter(None, sources)))
        for source in self._sources:
            if source.startswith(NAME):
                _in_names(source.removeprefix(NAME))
            elif source not in (EXIF, CONTAINER):
                raise UsageError(
                    f"times come from {EXIF}, {CONTAINER} or {NAME}PATTERN, got {source!r}",
                    hint="such as --time-from exif,name:%Y%m%d_%H%M%S",
                )

    @property
    def needs_exif(self) -> bool:
        """Whether the EXIF data of pictures is needed for their times."""
        return EXIF in self._sources

    def camera_of(self, path: Path) -> str | None:
        """Return the camera of a file."""
        found = self._camera.search(path.as_posix()) if self._camera else None
        return (found and found[CAMERA_GROUP]) or self.camera

    def time_of(
        self, path: Path, noted: str | None, *, is_video: bool, offset_s: float = 0.0
    ) -> str | None:
        """Return when a picture was taken, or a frame some seconds after the beginning of a video.

        Args:
            path: The file.
            noted: The time that the file itself notes; where it makes no sense, the next source is
                asked.
            is_video: Whether the file is a video.
            offset_s: Seconds to add to the time.

        Returns:
            ISO 8601 with an offset from UTC, or ``None`` where no source knows.
        """
        own = CONTAINER if is_video else EXIF
        for source in self._sources:
            time = None
            if source == own:
                time = noted
            elif source.startswith(NAME):
                time = _time_in(path.name, source.removeprefix(NAME))
            try:
                result = later(time, offset_s) if time else None
                if result and source == CONTAINER:
                    result = _on_the_clock_here(result)
            except UsageError:  # what the file notes is not a time
                continue
            if result:
                return result
        return None


def _on_the_clock_here(text: str) -> str:
    """Turn UTC, which videos note, into the local time that pictures note, to compare them."""
    try:
        time = datetime.fromisoformat(text)
        here = time.astimezone() if time.utcoffset() == timedelta(0) else time
        return here.isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return text


def _expression(text: str) -> re.Pattern[str] | None:
    if not text:
        return None
    try:
        expression = re.compile(text)
    except re.error as error:
        raise UsageError(f"camera_from is no regular expression: {error}") from error
    if CAMERA_GROUP not in expression.groupindex:
        raise UsageError(
            f"camera_from needs a group named {CAMERA_GROUP}, got {text!r}",
            hint="such as --camera-from '(?P<camera>gate|hall)'",
        )
    return expression


def _in_names(pattern: str) -> re.Pattern[str]:
    """Return an expression for the places in a name that a pattern of ``strptime`` may fit."""
    parts = re.split(r"%(.)", pattern)
    unknown = [letter for letter in parts[1::2] if letter not in _DIRECTIVES]
    if unknown or not {"Y", "y"} & set(parts[1::2]):  # without a year it would be 1900
        raise UsageError(
            f"a pattern for times has a year, and uses %{' %'.join(_DIRECTIVES)}; got {pattern!r}",
            hint="such as name:%Y%m%d_%H%M%S",
        )
    pieces = [_DIRECTIVES[p] if i % 2 else re.escape(p) for i, p in enumerate(parts)]
    return re.compile("".join(pieces))


def _time_in(name: str, pattern: str) -> str | None:
    for match in _in_names(pattern).finditer(name):
        try:
            return datetime.strptime(match[0], pattern).isoformat()
        except ValueError:  # such as a month 13
            continue
    return None
