"""Drawn scenes: people who can be searched for, without a photograph of anybody.

:func:`draw_scene` draws one, :func:`draw_dataset` a training and a test split with queries. The
files in reading order: ``config``, ``identity`` (who), ``body``, ``figure``, ``outfit``,
``cloth`` and ``brush`` (how they look), ``props`` and ``places`` (what is around them),
``camera``, ``scene`` (who stands where and is seen), ``schedule`` (who is in which scene),
``dataset`` (files).
"""

from fdps.data.synthetic.config import PRESETS, SyntheticConfig
from fdps.data.synthetic.dataset import draw_dataset, is_drawn
from fdps.data.synthetic.scene import DrawnScene, draw_scene

__all__ = ["PRESETS", "DrawnScene", "SyntheticConfig", "draw_dataset", "draw_scene", "is_drawn"]
