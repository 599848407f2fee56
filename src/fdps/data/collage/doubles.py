"""Find people who were cut out twice, of two copies of one picture.

Collections of pictures have copies of other size, crop or compression. Taken as two people, they
would teach a network to tell one person from themself, and be in training and test at once.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float32
from PIL import Image

from fdps.data.collage.cutouts import Person, extent, read_cutout

_SMALL, _TINY = (16, 32), (2, 4)  # width and height; the tiny one divides the small one
_ALIKE = 12.0
"""Most mean difference of two copies, in steps of 0 to 255: copies among a thousand street pictures
differ by 3.6 to 9.7, the most alike of different people by 16.6."""


def join_doubles(
    people: Sequence[Person],
) -> tuple[tuple[Person, ...], tuple[tuple[str, str], ...]]:
    """Make one person of those who share a picture.

    Args:
        people: People, each with one or several cut-outs.

    Returns:
        The people, each as often as they are different; and for each one who was joined to another
        the name that stays and the name that goes.

    Raises:
        MissingDataError: A file is not there any more.
        PictureError: A file cannot be decoded.
    """
    owner = [k for k, who in enumerate(people) for _ in who.cutouts]
    first = list(range(len(people)))  # the person that each belongs to: the first of them
    for i, j in _alike([_thumbnail(who, k) for who in people for k in range(len(who.cutouts))]):
        a, b = sorted((first[owner[i]], first[owner[j]]))
        first = [a if k == b else k for k in first] if a != b else first
    joined: dict[int, Person] = {}
    doubles = []
    for k, who in zip(first, people, strict=True):
        if k in joined:
            doubles.append((joined[k].name, who.name))
            who = Person(joined[k].name, joined[k].cutouts + who.cutouts)
        joined[k] = who
    return tuple(joined.values()), tuple(doubles)


def _thumbnail(person: Person, number: int) -> Float32[np.ndarray, "h w 3"]:
    """Return a small picture of a cut-out on grey."""
    rgba = read_cutout(person.cutouts[number]).rgba
    x1, y1, x2, y2 = extent(rgba[:, :, 3])
    cut = Image.fromarray(rgba[y1:y2, x1:x2])
    on_grey = Image.new("RGB", cut.size, (128, 128, 128))
    on_grey.paste(cut, (0, 0), cut)
    return np.asarray(on_grey.resize(_SMALL, Image.Resampling.BOX), dtype=np.float32)


def _alike(thumbnails: Sequence[Float32[np.ndarray, "h w 3"]]) -> Iterator[tuple[int, int]]:
    """Yield the pairs of thumbnails that differ by :data:`_ALIKE` at most."""
    small = np.stack(thumbnails)
    n, height, width, _ = small.shape
    blocks = (n, _TINY[1], height // _TINY[1], _TINY[0], width // _TINY[0], 3)
    tiny = small.reshape(blocks).mean(axis=(2, 4)).reshape(n, -1)
    small = small.reshape(n, -1)
    for i in range(n - 1):
        # Means of blocks never differ by more than what they are means of.
        near = i + 1 + np.flatnonzero(np.abs(tiny[i + 1 :] - tiny[i]).mean(axis=1) <= _ALIKE)
        for j in near[np.abs(small[near] - small[i]).mean(axis=1) <= _ALIKE]:
            yield i, int(j)
