"""The claims of a search: levels and a verdict hold only for what the calibration counted.

Axes in shapes: H hits, K pictures of the person, D embedding dimension.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Float64

from fdps.search.results.calibration import Calibration, Level
from fdps.search.store import EVERYBODY, Filters, Store
from fdps.structures import Hit

LEVELS_OF_SEVERAL = (
    "The order counts all pictures and verdicts; the level of a candidate compares it with the one "
    "picture of the person that it is most like."
)
LEVELS_OF_RERANKED = (
    "The order is not that of the similarity; the level of a candidate goes by its similarity."
)


def levels_go_by(n_like: int, n_unlike: int, rerank: str) -> str:
    """Say what the levels of a search go by where its order goes by something else.

    A calibration counts comparisons of one picture with one sighting. Other scores, such as a mean
    over several pictures, are distributed otherwise, so levels do not go by those.

    Args:
        n_like: Number of pictures of the person.
        n_unlike: Number of pictures of others.
        rerank: Order of the hits, if it is not that of the similarity.

    Returns:
        A sentence; empty where levels and order go by the same similarity.
    """
    if n_unlike or n_like > 1:
        return LEVELS_OF_SEVERAL
    return LEVELS_OF_RERANKED if rerank else ""


def levels_of(
    hits: Sequence[Hit],
    calibration: Calibration | None,
    store: Store,
    like: Sequence[Float[np.ndarray, " D"]],
    *,
    n_unlike: int = 0,
) -> dict[int, Level]:
    """Return the level of each hit, by item: that of the one picture it is most like.

    Args:
        hits: What a search found.
        calibration: Of the model; without one there are no levels.
        store: The archive that was searched.
        like: Embeddings of the pictures of the person, of unit length, at least one.
        n_unlike: Number of pictures of others, which order the hits as well.
    """
    if calibration is None:
        return {}
    if len(like) == 1 and not n_unlike:  # the similarity is that to the picture
        return {hit.item: calibration.level(hit.similarity) for hit in hits}
    people = store.people([hit.item for hit in hits])
    likeness = most_alike(like, [person.embedding for person in people])
    return {
        person.item: calibration.level(similarity)
        for person, similarity in zip(people, likeness.tolist(), strict=True)
    }


def most_alike(
    pictures: Sequence[Float[np.ndarray, " D"]], hits: Sequence[Float32[np.ndarray, " D"]]
) -> Float64[np.ndarray, " H"]:
    """Return the similarity of each hit to the one picture of the person that it is most like.

    It is a comparison of one picture with one sighting, which is what a calibration counts, so a
    hit has a level by it however many pictures order the hits. With K pictures there are K times as
    many comparisons: at most K times as many wrong hits reach a level (the union bound).

    Args:
        pictures: Embeddings of the person looked for, of unit length, at least one.
        hits: Embeddings of the hits, of unit length.
    """
    if not hits:
        return np.zeros(0)
    rows = np.stack([np.asarray(hit, dtype=np.float64) for hit in hits])
    columns = np.stack([np.asarray(picture, dtype=np.float64) for picture in pictures], axis=1)
    likeness: Float64[np.ndarray, " H"] = np.max(rows @ columns, axis=1)
    return likeness


def why_no_verdict(filters: Filters, min_similarity: float, *, is_in_a_row: bool) -> str:
    """Say why a search cannot tell whether the person is in the archive.

    Args:
        filters: Conditions on the people who were searched.
        min_similarity: Least similarity; less similar hits were left out.
        is_in_a_row: Whether appearances were searched, which are ordered by more than their best
            sighting.

    Returns:
        The reason; empty where a verdict is possible.
    """
    if filters != EVERYBODY:
        return "the filters leave people out"
    if min_similarity > -1:
        return f"hits below {min_similarity:g} are left out"
    return "appearances are not ordered by their best sighting" if is_in_a_row else ""


@dataclass(frozen=True, slots=True)
class Emptied:
    """The filter that leaves nobody, where filters are applied one after the other.

    Args:
        name: Field of :class:`~fdps.search.Filters`.
        value: Value that the filter asks for.
        before: Fields of the filters that were applied before it.
        n_before: Number of people whom these leave.
    """

    name: str
    value: Any
    before: tuple[str, ...]
    n_before: int


def emptied_by(store: Store, filters: Filters) -> Emptied | None:
    """Tell which filter leaves nobody, so that users know which one to loosen.

    Args:
        store: The archive that was searched.
        filters: Filters of the search.

    Returns:
        The first filter after which nobody is left, in the order of their fields; ``None`` where
        somebody passes all of them.
    """
    passed, n_before = EVERYBODY, len(store)
    before: tuple[str, ...] = ()
    for field in fields(Filters):
        value = getattr(filters, field.name)
        if value == getattr(EVERYBODY, field.name):
            continue
        passed = passed.narrowed(**{field.name: value})
        n_people = store.count(passed)
        if not n_people:
            return Emptied(field.name, value, before, n_before)
        before, n_before = (*before, field.name), n_people
    return None


def expectation(
    calibration: Calibration, n_people: int, *, about: str = "about", n_pictures: int = 1
) -> str:
    """Say how many wrong hits a search in an archive of so many people brings at each level."""
    strong, look = (
        _number(calibration.expected_wrong(at, n_people * n_pictures).mean)
        for at in (calibration.strong, calibration.worth_a_look)
    )
    pictures = f" and {n_pictures} pictures of the person" if n_pictures > 1 else ""
    return (
        f"With {n_people:,} people indexed{pictures}, expect {about} {strong} wrong hits at "
        f'"strong" and {look} at "worth a look".'
    )


def sentences(
    calibration: Calibration,
    hits: Sequence[Hit],
    n_people: int,
    *,
    n_like: int,
    go_by: str,
    no_verdict: str,
) -> list[str]:
    """Say how the hits of a search are to be read, in one sentence or two.

    Args:
        calibration: Of the model.
        hits: What was found.
        n_people: In the archive.
        n_like: Number of pictures of the person.
        go_by: What :func:`levels_go_by` says.
        no_verdict: What :func:`why_no_verdict` says.
    """
    about = "at most about" if go_by or no_verdict else "about"  # filters leave fewer people
    said = [expectation(calibration, n_people, about=about, n_pictures=n_like)]
    if go_by:
        said.append(go_by)
    elif no_verdict:
        said.append(f"No verdict on whether the person is here: {no_verdict}.")
    elif calibration.verdict(hit.similarity for hit in hits) == "probably_not_present":
        share = calibration.found_at(calibration.worth_a_look)
        said.append(
            'Probably not here: nobody reaches "worth a look". Of people who were, '
            f"{share:.0%} did ({calibration.data or 'calibration data'})."
        )
    return said


def _number(value: float) -> str:
    """Two digits are as many as anybody knows.

    Example:
        >>> [_number(x) for x in (0.0, 0.0049, 0.123, 2.34, 1234.5)]
        ['0', '0.0049', '0.12', '2.3', '1,200']
    """
    rounded = float(f"{value:.2g}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:.2g}"
