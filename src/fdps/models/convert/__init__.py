"""Checkpoints of public person-search code become weights of fdps.

``layouts`` recognises whose file it is and says where each tensor belongs, ``reader`` opens a
pickle where it can do no harm, and ``convert`` puts both together.

Public are the names in ``__all__``.
"""

from fdps.models.convert.convert import Conversion, convert_checkpoint

__all__ = ["Conversion", "convert_checkpoint"]
