"""Weights that come with fdps, by name.

They know drawn people only: see ``docs/concepts/bundled_weights.md`` for data, figures and limits.

Internal: ``fdps.load("drawn-people")`` opens them.
"""

from pathlib import Path

NAMES = ("drawn-people",)
DEFAULT = "drawn-people"
"""The weights that look at pictures of users who name no model: ``fdps demo MY_PICTURES``."""
LICENCE = "Apache-2.0"  # as fdps itself
SHA256 = {"drawn-people": "a9fcea30257d7b9c3e6d552d191e7343ce3b322966e6802e7b6b29c075a66030"}
DATA = {"drawn-people": "synthetic-1k: people drawn by fdps; backbone from ImageNet weights"}
METRICS = {
    "drawn-people": {
        "synthetic-1k recall": 0.935,
        "synthetic-1k AP": 0.930,
        "synthetic-1k mAP, gallery 100": 0.833,
        "synthetic-1k top-1, gallery 100": 0.933,
    }
}
NOTES = {"drawn-people": "knows drawn people only; on photographs it tells hardly anybody apart"}


def bundled_weights(name: str) -> Path | None:
    """The file of bundled weights, or ``None`` for any other name."""
    return Path(__file__).with_name(f"{name}.safetensors") if name in NAMES else None
