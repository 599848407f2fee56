"""Losses and their memory: formulas over tensors, without models or data.

Public are the names in ``__all__``; the modules behind them are internal and may change.
"""

from fdps.losses.balanced_oim import (
    BalancedOIMLoss,
    BalancedTerms,
    RunningDispersion,
    balanced_oim_loss,
    dispersion,
    negative_loss,
)
from fdps.losses.detection import box_loss, classification_loss
from fdps.losses.memory import CircularQueue, LookupTable, PersonMemory
from fdps.losses.oim import OIMLoss, OIMTerms, oim_loss

__all__ = [
    "CRITERIA",
    "BalancedOIMLoss",
    "BalancedTerms",
    "CircularQueue",
    "Criterion",
    "LookupTable",
    "OIMLoss",
    "OIMTerms",
    "PersonMemory",
    "RunningDispersion",
    "balanced_oim_loss",
    "box_loss",
    "classification_loss",
    "dispersion",
    "negative_loss",
    "oim_loss",
]

Criterion = OIMLoss | BalancedOIMLoss
"""A re-identification loss with its memory: ``terms`` compares a batch with what is remembered, and
``update`` remembers the batch."""

CRITERIA = {"oim": OIMLoss, "boim": BalancedOIMLoss}
"""Re-identification losses by the name that a recipe gives them."""
