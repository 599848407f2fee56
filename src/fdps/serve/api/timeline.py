"""Who was seen where and when: the candidates of a search, by camera."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query

from fdps.errors import UsageError
from fdps.search.index import Index
from fdps.search.times import instant
from fdps.serve.api import asking
from fdps.serve.api.asking import Asking, item_of
from fdps.serve.api.schemas import MOST_RESULTS, BarOut, RowOut, SearchIn, TimelineOut
from fdps.serve.api.shown import person_of
from fdps.serve.dependencies import AllArchives, Archive, Viewer

router = APIRouter(prefix="/api/v1/timeline", tags=["timeline"])

GAP_S = 30.0
"""Sightings at one camera that are no further apart become one bar."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """Somebody at a camera for a while.

    Args:
        camera: Name of the camera; empty where it is not known.
        first: Time of the first sighting, ISO 8601; ``None`` where it is not known.
        last: Time of the last.
        item: The most similar person.
        similarity: How similar; ``None`` where nobody was looked for.
        n: Number of sightings.
    """

    camera: str
    first: str | None
    last: str | None
    item: int
    similarity: float | None = None
    n: int = 1


@router.get("")
async def of_people(
    archive: Archive, user: Viewer, items: Annotated[str, Query(max_length=10_000)]
) -> TimelineOut:
    """Show people by their numbers, ``1,2,3``."""
    numbers = [item_of(text) for text in items.split(",")]
    if len(numbers) > MOST_RESULTS:
        raise UsageError(f"at most {MOST_RESULTS} people fit on a timeline, got {len(numbers)}")
    return timeline(await archive.read(partial(_sightings, numbers)))


@router.post("")
async def of_search(body: SearchIn, archives: AllArchives, asker: Asking) -> TimelineOut:
    """Show the candidates of a search."""
    found = await asking.search(archives.get(body.archive), body, asker)
    return timeline(
        Sighting(
            hit.scene.camera or "",
            hit.appearance.first if hit.appearance else hit.scene.time,
            hit.appearance.last if hit.appearance else hit.scene.time,
            hit.item,
            hit.similarity,
            hit.appearance.n if hit.appearance else 1,
        )
        for hit in found.hits
    )


def timeline(sightings: Iterable[Sighting]) -> TimelineOut:
    """Order sightings by camera and time, and join those that are close to each other."""
    by_camera: dict[str, list[BarOut]] = defaultdict(list)
    n_without_time = 0
    for sighting in sightings:
        if sighting.first is None or sighting.last is None:
            n_without_time += sighting.n
            continue
        by_camera[sighting.camera].append(
            BarOut(
                first=sighting.first,
                last=sighting.last,
                item=sighting.item,
                similarity=sighting.similarity,
                n=sighting.n,
            )
        )
    rows = [RowOut(name=name, bars=_joined(bars)) for name, bars in sorted(by_camera.items())]
    bars = [bar for row in rows for bar in row.bars]
    return TimelineOut(
        cameras=rows,
        first=min((bar.first for bar in bars), key=instant, default=None),
        last=max((bar.last for bar in bars), key=instant, default=None),
        n_without_time=n_without_time,
    )


def _joined(bars: list[BarOut]) -> list[BarOut]:
    joined: list[BarOut] = []
    for bar in sorted(bars, key=lambda bar: (instant(bar.first), bar.item)):
        if joined and instant(bar.first) - instant(joined[-1].last) <= GAP_S:
            joined[-1] = _join(joined[-1], bar)
        else:
            joined.append(bar)
    return joined


def _join(one: BarOut, other: BarOut) -> BarOut:
    best = max(one, other, key=lambda bar: bar.similarity or 0.0)
    last = max(one.last, other.last, key=instant)
    return BarOut(
        first=one.first, last=last, item=best.item, similarity=best.similarity, n=one.n + other.n
    )


def _sightings(numbers: list[int], index: Index) -> list[Sighting]:
    found = []
    for number in numbers:
        person, scene = person_of(index, number)
        found.append(Sighting(scene.camera or "", scene.time, scene.time, person.item))
    return found
