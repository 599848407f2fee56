"""Networks that come with fdps, by name.

Each has weights and a card, side by side in this folder.
``docs/concepts/bundled_weights.md`` shows the cards with all figures.

Internal: ``fdps.load("street-people")`` opens them.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

NAMES = ("street-people", "drawn-people")
DEFAULT = "street-people"
"""The network for pictures and videos where nobody names another."""
DRAWN = "drawn-people"
"""The network for drawn scenes: of the demo, and of tests."""


@dataclass(frozen=True, kw_only=True)
class BundledCard:
    """What is known about a network that comes with fdps."""

    sha256: str
    """Hash of the file of weights."""
    licence: str
    """Licence of the weights, as SPDX names it."""
    data: str
    """The pictures that it learnt from."""
    data_licence: str
    """The terms of those pictures."""
    notes: str
    """What users should know before they rely on it."""
    warning: str = ""
    """What is said each time that it is used, where it would mislead on usual pictures."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Figures by name."""


def bundled_weights(name: str) -> Path | None:
    """The file of bundled weights, or ``None`` for any other name."""
    return _file(name, ".safetensors") if name in NAMES else None


def bundled_name(place: Path) -> str:
    """The name of bundled weights by their path; empty for any other file."""
    return next((name for name in NAMES if bundled_weights(name) == place), "")


@cache
def bundled_card(name: str) -> BundledCard:
    """The card of one of :data:`NAMES`."""
    return BundledCard(**tomllib.loads(_file(name, ".toml").read_text(encoding="utf-8")))


def _file(name: str, suffix: str) -> Path:
    return Path(__file__).with_name(f"{name}{suffix}")
