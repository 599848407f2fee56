"""Choose the frames of a video that are looked at."""

import math
import re
from dataclasses import dataclass

from fdps.errors import UsageError

KEYFRAMES = "keyframes"
DEFAULT_EVERY = "0.5s"
_INTERVAL = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(ms|s|f)")


@dataclass(frozen=True, slots=True)
class Sampling:
    """A rule that depends on a frame and the frame taken before it alone.

    So a video that is continued in the middle gives the same frames as one read at once.

    Args:
        seconds: Take the first frame at or after every multiple; 0 for another rule.
        frames: Take every so manieth frame, from the first; 0 for another rule. With neither,
            take the keyframes: those that the video stores whole, mostly one in 1 to 10 seconds.
    """

    seconds: float = 0.0
    frames: int = 0

    @classmethod
    def parse(cls, text: str) -> "Sampling":
        """Read ``0.5s``, ``500ms``, ``10f`` (every tenth frame) or ``keyframes``.

        Raises:
            UsageError: It is none of these, or 0.
        """
        if text.strip() == KEYFRAMES:
            return cls()
        match = _INTERVAL.fullmatch(text.strip())
        if match:
            number, unit = float(match[1]), match[2]
            if unit == "f" and number >= 1 and number.is_integer():
                return cls(frames=int(number))
            if unit != "f" and number > 0:
                return cls(seconds=number / 1000 if unit == "ms" else number)
        raise UsageError(
            f"every takes seconds, frames or keyframes, got {text!r}",
            hint="such as 0.5s, 500ms, 10f or keyframes",
        )

    def __str__(self) -> str:
        """The shortest text that parses to this rule."""
        if self.frames:
            return f"{self.frames}f"
        return f"{self.seconds:g}s" if self.seconds else KEYFRAMES

    @property
    def is_keyframes(self) -> bool:
        """True if only keyframes are wanted."""
        return not self.seconds and not self.frames

    def takes(self, frame: int, offset_s: float, taken_s: float | None) -> bool:
        """Return whether a frame is looked at.

        Args:
            frame: Its number in the video, from 0.
            offset_s: Its time from the beginning of the video.
            taken_s: That of the frame taken before; ``None`` before the first.
        """
        if self.frames:
            return frame % self.frames == 0
        if not self.seconds or taken_s is None or offset_s < taken_s:
            return True  # a clock that runs back begins anew
        return self._step(offset_s) > self._step(taken_s)

    def count(self, duration_s: float | None) -> int:
        """About how many frames a video of this length gives; 1 where nobody knows."""
        if self.seconds and duration_s and duration_s > 0:
            return max(math.ceil(duration_s / self.seconds), 1)
        return 1

    def _step(self, offset_s: float) -> int:
        # Timestamps are multiples of 1/90000 s at the finest, so a thousandth of that is rounding.
        return math.floor((offset_s + 1e-8) / self.seconds)
