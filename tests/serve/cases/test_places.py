"""People are found again by their place, whatever their number is by now."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake.embedder import ColourEmbedder
from fake.photos import write_photos
from fdps.boxes import iou
from fdps.search import Index
from fdps.serve.cases.places import SAME_PLACE, assigned, people_at, places_of

CORNER = st.tuples(st.integers(0, 40), st.integers(0, 40))
BOXES = st.lists(CORNER, max_size=6).map(
    lambda corners: (
        np.array([[x, y, x + 20, y + 30] for x, y in corners], dtype=np.float32)
        .reshape(-1, 4)
        .astype(np.float32)
    )
)


@given(BOXES, BOXES)
def test_nobody_is_assigned_twice_and_only_those_who_overlap(
    places: np.ndarray, people: np.ndarray
) -> None:
    found = assigned(places, people)
    rows = [row for row in found if row is not None]
    assert len(found) == len(places)
    assert len(rows) == len(set(rows))
    overlap = iou(places, people) if len(places) and len(people) else np.zeros((0, 0))
    for place, row in enumerate(found):
        if row is not None:
            assert overlap[place, row] >= SAME_PLACE
        elif len(people):  # whoever overlaps it was assigned to a place that overlaps more
            better = [
                max(overlap[other, one] for other in range(len(places)) if found[other] == one)
                if one in rows
                else 0.0
                for one in range(len(people))
            ]
            assert all(
                overlap[place, one] < SAME_PLACE or better[one] >= overlap[place, one]
                for one in range(len(people))
            )


@given(BOXES)
def test_everybody_is_found_where_they_were(people: np.ndarray) -> None:
    apart = np.unique(people, axis=0).astype(np.float32).reshape(-1, 4)
    assert assigned(apart, apart) == list(range(len(apart)))


@pytest.mark.long
def test_after_indexing_anew_everybody_has_another_number_and_the_old_place(
    tmp_path: Path,
) -> None:
    write_photos(tmp_path / "photos", 4)
    with Index.create(tmp_path / "a.fdps", ColourEmbedder()) as index:
        index.add(tmp_path / "photos")
        items = list(range(1, len(index) + 1))
        before = places_of(index.store, items)
        assert sorted(before) == items
        index.add(tmp_path / "photos", again=True)
        assert index.store.people(items) == []
        found = people_at(index.store, before.values())
        assert len(found) == len(items)
        for place, (scene, person) in found.items():
            assert (scene.sha256, scene.frame) == (place.sha256, place.frame)
            assert np.allclose(person.box, place.box)
        assert len({person.item for _, person in found.values()}) == len(items)
        assert places_of(index.store, items) == {}
