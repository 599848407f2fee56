"""The page of the people of somebody's own pictures: strips, a timeline, and how sure it is.

Nobody knows the truth here, so nothing is called right or wrong. What can be known is said: which
sightings are linked in a video, which are joined by looks alone, how often strangers in these
pictures are as alike, and what stays open.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from fdps.analysis.curves import PairSimilarities, plot_similarities
from fdps.analysis.page import RESPONSIBLE_USE, Plot, Strip, Table, Tile
from fdps.analysis.rendering import render
from fdps.analysis.tiles import (
    FRAME,
    PAPER,
    person_panel,
    scene_panel,
    shrunk,
    text_block,
    without_bystanders,
)
from fdps.analysis.timeline import Bar, Kind, is_one_video, place_of, plot_timeline
from fdps.durable import write_file
from fdps.names import counted
from fdps.search.care.scene_pictures import each_scene_picture
from fdps.search.query.joining import ENOUGH_STRANGERS
from fdps.search.results.calibration import Calibration
from fdps.search.results.seen_people import SeenAppearance, SeenPeople, SeenPerson
from fdps.structures import Hit, Picture

if TYPE_CHECKING:
    from fdps.search.store import SceneRecord

MOST_TILES = 12
"""Most sightings of a person on the page, without those of which it stays open."""

_HEIGHT_PX = 190  # of a tile

STAYS = "At one place in most pictures: somebody who sits there, or a thing taken for a person."


@dataclass(frozen=True, slots=True, eq=False)
class PersonStrips:
    """A person on the page.

    Args:
        sightings: The sighting that stands for the person, then others in order of time.
        perhaps: Appearances of which it stays open; its tiles may be none.
        notes: Sentences below the heading.
    """

    sightings: Strip
    perhaps: Strip
    notes: tuple[str, ...]


def write_people_page(
    path: Path,
    title: str,
    seen: SeenPeople,
    *,
    summary: str = "",
    sure: Sequence[str] = (),
    calibration: Calibration | None = None,
    notes: Mapping[str, str] | None = None,
    bystanders: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write one self-contained HTML file; an older one is replaced whole or not at all.

    Args:
        path: The file, in a folder that exists.
        title: Title of the page.
        seen: The people, at least one, in pictures that are still where they were indexed.
        summary: One or two sentences below the title.
        sure: Sentences on what is certain and what is not; those on these pictures come with them.
        calibration: Calibration of the model, which tells levels.
        notes: Facts by name on how the page was made.
        bystanders: Whether to show other people too; otherwise all around a person is blurred.
        progress: Called after every picture with the number that is drawn and that of all.

    Raises:
        ResourceError: No decoder can be started, or the disk is full.
    """
    tiles = _Tiles(seen, calibration, bystanders=bystanders)
    shown = [
        hit
        for person in seen.people
        for hit in (person.key, *chosen_sightings(person), *(one.best for one in person.perhaps))
    ]
    tiles.draw(shown, progress)
    strips = [tiles.strips(number, person) for number, person in enumerate(seen.people, start=1)]
    page = render(
        "people.html",
        title=title,
        summary=summary,
        responsible_use=RESPONSIBLE_USE,
        people=strips,
        plots=_plots(seen, calibration),
        table_of_people=people_table(seen, calibration),
        sure=[*about_joining(seen, is_calibrated=calibration is not None), *sure],
        notes=notes or {},
    )
    write_file(path, page.encode())


def people_table(
    seen: SeenPeople, calibration: Calibration | None = None, *, with_places: bool = True
) -> Table:
    """Make a table of the people: how often, when, and how sure it is that each is one person.

    Args:
        seen: The people.
        calibration: Calibration of the model, which tells levels.
        with_places: Whether to say where each is seen first and last; names of files are long.
    """
    places = ("first", "last") if with_places else ()
    levels = ("level",) if calibration is not None else ()
    columns = ("person", "pictures", "appearances", *places, "least similarity", *levels)
    in_video = is_one_video(seen.scenes)
    rows = []
    for number, person in enumerate(seen.people, start=1):
        cells = [str(number), f"{person.n_scenes:,}", f"{len(person.appearances):,}"]
        ends = (person.appearances[0].hits[0].record, person.appearances[-1].hits[-1].record)
        cells += [place_of(end, is_only_video=in_video) for end in ends if end and with_places]
        rows.append((*cells, *_joins(seen, person, calibration)))
    note = (
        "Least similarity: that of the appearance which is least like the others of the person. "
        "Strangers so alike: pairs of people, side by side in one picture, who are as alike. "
        "A dash: there is one appearance only, and nothing was joined."
    )
    if levels:
        note += " Level: the lowest of a joined appearance, by its sighting most like the first."
    caption = f"{len(rows)} of {seen.n_people:,} people, those seen most often"
    if len(rows) == seen.n_people:
        caption = "Everybody, by how often they are seen"
    return Table(caption, (*columns, "strangers so alike"), tuple(rows), note)


def _joins(seen: SeenPeople, person: SeenPerson, calibration: Calibration | None) -> list[str]:
    """Write the cells that tell how sure the weakest join of a person is."""
    joined = [one.best.similarity for one in person.appearances if not _shows(one, person.key)]
    levels = [] if calibration is None else [calibration]
    if not joined:
        return ["–", *("–" for _ in levels), "–"]
    n_strangers, least = len(seen.strangers), person.least_similarity
    alike = f"{seen.strangers_as_alike(least):,} of {n_strangers:,}" if n_strangers else "not known"
    return [f"{least:.2f}", *(known.level(min(joined)) for known in levels), alike]


def about_joining(seen: SeenPeople, *, is_calibrated: bool) -> list[str]:
    """Say by what appearances were joined, and how often strangers here are as alike."""
    least, n_strangers = seen.min_similarity, len(seen.strangers)
    begin = f"Appearances were joined by looks alone, from a mean similarity of {least:.2f} on. "
    if seen.n_people == seen.n_appearances:
        begin = f"Nobody was joined: no two appearances have a similarity of {least:.2f} or more. "
    if n_strangers < ENOUGH_STRANGERS:
        source = "is that of a calibration" if is_calibrated else "is an assumption"
        pairs = f"only {n_strangers} pairs of people were" if n_strangers else "nobody was"
        return [
            f"{begin}This limit {source}: {pairs} side by side in one picture, so these pictures "
            "do not tell how alike strangers are. Look at every strip with that in mind."
        ]
    n_alike = seen.strangers_as_alike(least)
    return [
        f"{begin}These pictures gave the limit: {n_alike:,} of {n_strangers:,} pairs of people "
        f"who were side by side in one picture, and so are two people each, are as alike "
        f"({n_alike / n_strangers:.1%}). People who were side by side were never joined."
    ]


def chosen_sightings(person: SeenPerson) -> list[Hit]:
    """Choose sightings to show beside the one that stands for a person, in order of time.

    Every appearance shows the sighting that is most like that one; where there is room, the longest
    appearances show more, from their beginning to their end.
    """
    best = [one.best for one in person.appearances if not _shows(one, person.key)]
    chosen = {hit.item: hit for hit in _spread(best, MOST_TILES - 1)}
    for appearance in sorted(person.appearances, key=lambda one: -len(one.hits)):
        others = [hit for hit in appearance.hits if hit.item not in {*chosen, person.key.item}]
        room = MOST_TILES - 1 - len(chosen)
        chosen |= {hit.item: hit for hit in _spread(others, room)}
    return [hit for one in person.appearances for hit in one.hits if hit.item in chosen]


def _spread(hits: Sequence[Hit], most: int) -> list[Hit]:
    """Take so many in equal steps, from the first to the last."""
    places = np.linspace(0, len(hits) - 1, min(most, len(hits))).round().astype(int)
    return [hits[place] for place in places]


def _shows(appearance: SeenAppearance, hit: Hit) -> bool:
    return any(member.item == hit.item for member in appearance.hits)


class _Tiles:
    """Draws sightings, picture by picture, so that few pictures are in memory at once."""

    def __init__(
        self, seen: SeenPeople, calibration: Calibration | None, *, bystanders: bool
    ) -> None:
        self._in_video = is_one_video(seen.scenes)
        self._calibration, self._bystanders = calibration, bystanders
        self._drawn: dict[int, Image.Image] = {}

    def draw(self, hits: Sequence[Hit], progress: Callable[[int, int], None] | None) -> None:
        """Draw the sightings that strips are made of."""
        of_scene: dict[str, list[Hit]] = defaultdict(list)
        scenes: dict[str, SceneRecord] = {}
        for hit in hits:
            assert hit.record
            scenes[hit.scene] = hit.record
            of_scene[hit.scene].append(hit)
        for n_done, (name, picture) in enumerate(each_scene_picture(scenes.values()), start=1):
            self._drawn |= {hit.item: self._sighting(picture, hit) for hit in of_scene[name]}
            if progress:
                progress(n_done, len(scenes))

    def _sighting(self, picture: Picture | str, hit: Hit) -> Image.Image:
        """Draw a person enlarged and, beside it, the scene; or write why there is no picture."""
        if isinstance(picture, str):
            return text_block(picture, 2 * _HEIGHT_PX, size_px=15)
        picture, box = shrunk(picture, hit.box, _HEIGHT_PX)
        if not self._bystanders:
            picture = without_bystanders(picture, box)
        panel = person_panel(picture, box, _HEIGHT_PX)
        scene = scene_panel(picture, box, _HEIGHT_PX)
        tile = Image.new("RGB", (panel.width + FRAME + scene.width, _HEIGHT_PX), PAPER)
        tile.paste(panel, (0, 0))
        tile.paste(scene, (panel.width + FRAME, 0))
        return tile

    def strips(self, number: int, person: SeenPerson) -> PersonStrips:
        """Make the strips of a person of whom everything is drawn."""
        n_appearances = len(person.appearances)
        heading = (
            f"Person {number}: in {counted(person.n_scenes, 'picture')}, "
            f"{counted(n_appearances, 'appearance')}"
        )
        first = self._tile(number, person.key, is_key=True)
        tiles = [first, *(self._tile(number, hit) for hit in chosen_sightings(person))]
        perhaps = [self._tile(number, appearance.best) for appearance in person.perhaps]
        return PersonStrips(
            Strip(heading, tiles),
            Strip("Not counted, perhaps the same person: compare", perhaps),
            (STAYS,) if person.stays else (),
        )

    def _tile(self, number: int, hit: Hit, *, is_key: bool = False) -> Tile:
        assert hit.record
        place = place_of(hit.record, is_only_video=self._in_video)
        image = self._drawn[hit.item]
        if is_key:
            return Tile(image, f"Person {number} · {place}", f"Person {number}: {place}.", "query")
        words = [f"{hit.similarity:.2f}"]
        if self._calibration:
            words.append(self._calibration.level(hit.similarity))
        told = f"To compare with person {number}: {place}, similarity {', '.join(words)}."
        return Tile(image, " · ".join([place, *words]), told)


def _plots(seen: SeenPeople, calibration: Calibration | None) -> list[Plot]:
    names = [f"Person {number}" for number in range(1, len(seen.people) + 1)]
    bars = [
        bar for row, person in enumerate(seen.people) for bar in _bars(row, person, calibration)
    ]
    pairs = PairSimilarities(same=seen.joined, different=seen.strangers)
    figure = plot_similarities(
        pairs,
        names=("joined", "side by side"),
        limit=seen.min_similarity,
    )
    return [
        Plot(
            plot_timeline(names, bars, seen.scenes),
            "When each person is seen. A wide bar is linked from picture to picture in one video; "
            "the others belong to it by looks alone.",
        ),
        Plot(
            figure,
            "How alike appearances are that were joined, and people who are two for certain. "
            "The less the two overlap, the surer is a join.",
        ),
    ]


def _bars(row: int, person: SeenPerson, calibration: Calibration | None) -> list[Bar]:
    bars = []
    for appearance in (*person.perhaps, *person.appearances):
        kind: Kind = "joined"
        if appearance in person.perhaps:
            kind = "perhaps"
        elif _shows(appearance, person.key):
            kind = "shown"
        elif calibration is not None:
            kind = calibration.level(appearance.best.similarity)
        found = appearance.as_found
        bars.append(Bar(row, found.first, found.last, kind))
    return bars
