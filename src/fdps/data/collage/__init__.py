"""Collages: people cut out of pictures and pasted into scenes, so that who is who is known.

:func:`make_collages` makes a training, a validation and a test split. The files in reading order:
``config``, ``cutouts``, ``doubles`` and ``backgrounds`` (the material), ``share`` (who is in which
split and scene), ``look`` (camera and light), ``sprite`` and ``pieces`` (what is pasted), ``scene``
(who stands where and is seen), ``dataset`` (files).
"""

from fdps.data.collage.backgrounds import Background, backgrounds_with_people, find_backgrounds
from fdps.data.collage.config import CollageConfig
from fdps.data.collage.cutouts import Cutout, FoundPeople, Person, find_people
from fdps.data.collage.dataset import make_collages
from fdps.data.collage.doubles import join_doubles
from fdps.data.collage.scene import Collage, draw_collage
from fdps.data.collage.share import Share, share_out

__all__ = [
    "Background",
    "Collage",
    "CollageConfig",
    "Cutout",
    "FoundPeople",
    "Person",
    "Share",
    "backgrounds_with_people",
    "draw_collage",
    "find_backgrounds",
    "find_people",
    "join_doubles",
    "make_collages",
    "share_out",
]
