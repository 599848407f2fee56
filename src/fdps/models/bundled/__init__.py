"""Weights that come with fdps, by name.

They know drawn people only: see ``docs/concepts/bundled_weights.md`` for data, figures and limits.
"""

from pathlib import Path

NAMES = ("drawn-people",)


def bundled_weights(name: str) -> Path | None:
    """The file of bundled weights, or ``None`` for any other name."""
    return Path(__file__).with_name(f"{name}.safetensors") if name in NAMES else None
