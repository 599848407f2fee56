"""Read sizes and ranges as they are typed."""

from fdps.errors import UsageError


def parse_size(text: str) -> tuple[int, int]:
    """Read a width and a height.

    Raises:
        UsageError: The text is no ``WIDTHxHEIGHT``.

    Example:
        >>> parse_size("480x320")
        (480, 320)
    """
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise UsageError(f"--size must be WIDTHxHEIGHT, for example 480x320, got {text!r}")
    return int(width), int(height)


def parse_range(text: str, option: str) -> tuple[float, float]:
    """Read a least and a greatest number.

    Args:
        text: What was typed.
        option: The option, for the message.

    Raises:
        UsageError: The text is no ``LEAST-MOST``.

    Example:
        >>> parse_range("2-7", "--people")
        (2.0, 7.0)
    """
    least, _, most = text.partition("-")
    try:
        return float(least), float(most)
    except ValueError:
        raise UsageError(f"{option} must be LEAST-MOST, for example 2-7, got {text!r}") from None
