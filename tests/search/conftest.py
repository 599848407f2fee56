"""Both kinds of store, for the tests of what every store promises."""

from collections.abc import Iterator

import pytest

from fake.stores import Archive, Place
from fdps.search import Store


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    if request.param == "sqlite":
        return Place(tmp_path_factory.mktemp("archives"))
    return Place(request.getfixturevalue("postgres").url())


@pytest.fixture
def archive(place: Place) -> Iterator[Archive]:
    """Twenty scenes, for one test alone."""
    with Archive.filled(place) as archive:
        yield archive


@pytest.fixture(scope="module")
def unchanging(place: Place) -> Iterator[Store]:
    """Twenty scenes, for tests that only read."""
    with Archive.filled(place) as archive:
        yield archive.open()
