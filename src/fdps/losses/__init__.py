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
from fdps.losses.criterion import Criterion
from fdps.losses.detection import box_loss, classification_loss
from fdps.losses.distillation import (
    Distillation,
    TeacherTerms,
    distillation_loss,
    teacher_basis,
)
from fdps.losses.hoim import HierarchicalMemory, HOIMLoss
from fdps.losses.identity import identity_loss
from fdps.losses.loim import LocalizedOIMLoss
from fdps.losses.memory import CircularQueue, LookupTable, PersonMemory
from fdps.losses.oim import OIMLoss, OIMTerms, oim_loss
from fdps.losses.triplet import batch_hard_loss
from fdps.structures import BACKGROUND_ID

__all__ = [
    "BACKGROUND_ID",
    "BalancedOIMLoss",
    "BalancedTerms",
    "CircularQueue",
    "Criterion",
    "Distillation",
    "HOIMLoss",
    "HierarchicalMemory",
    "LocalizedOIMLoss",
    "LookupTable",
    "OIMLoss",
    "OIMTerms",
    "PersonMemory",
    "RunningDispersion",
    "TeacherTerms",
    "balanced_oim_loss",
    "batch_hard_loss",
    "box_loss",
    "classification_loss",
    "dispersion",
    "distillation_loss",
    "identity_loss",
    "negative_loss",
    "oim_loss",
    "teacher_basis",
]
