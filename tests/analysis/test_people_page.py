"""The page of the people of one's own pictures: who is shown and what is said of them."""

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fake.embedder import ColourEmbedder
from fake.people import draw_scene, write_picture
from fake.videos import walking_frames, write_video
from fdps.analysis.people_page import MOST_TILES, about_joining, people_table, write_people_page
from fdps.analysis.tiles import shrunk
from fdps.search import Index
from fdps.search.results.calibration import Calibration
from fdps.search.results.seen_people import SeenPeople, find_seen_people

WHO = [(0, 1, 2), (0, 1), (0, 2), (0, 3), (0,), (1,), (4, 5, 6), (0, 7, 8), (9, 10, 11)]
WHO += [(0, 4), (1, 5), (2, 6)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures of twelve people, the first of whom is in seven."""
    folder = tmp_path_factory.mktemp("people")
    rng = np.random.default_rng(1)
    for number, ids in enumerate(WHO):
        write_picture(folder / "photos" / f"{number:02}.png", draw_scene(rng, ids)[0])
    with Index.create(folder / "a.fdps", ColourEmbedder()) as index:
        index.add(folder / "photos")
    return folder


def seen_in(folder: Path, top: int = 3) -> SeenPeople:
    with Index.open(folder / "a.fdps") as index:
        return find_seen_people(index.store, top)


def calibration(strong: float, look: float) -> Calibration:
    return Calibration(
        *("a" * 64, "a set", "", 0, 60, 100, 100, 1000, strong, look, 0.9, 0.0),
        similarity=(-1.0, 0.5, 1.0),
        rate=(1.0, 1e-3, 1e-9),
        low=(1.0, 1e-3, 1e-9),
        high=(1.0, 1e-3, 1e-9),
        kept=(1.0, 0.9, 0.5),
        found=(1.0, 0.9, 0.5),
    )


def pictures_of(page: str) -> list[np.ndarray]:
    encoded = re.findall(r"data:image/jpeg;base64,([\w+/=]+)", page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))) for one in encoded]


@pytest.mark.long
def test_the_page_shows_everybody_chosen_and_loads_nothing(folder: Path, tmp_path: Path) -> None:
    seen, told = seen_in(folder), []
    write_people_page(
        tmp_path / "report.html",
        "The people of <photos>",
        seen,
        summary="Twelve pictures.",
        sure=["Looks are mostly clothes."],
        notes={"Model": "colours & stripes"},
        progress=lambda done, total: told.append((done, total)),
    )
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Person 1: in 7 pictures, 7 appearances" in page
    for text in (
        "&lt;photos&gt;",
        "colours &amp; stripes",
        "Looks are mostly clothes",
        "candidates",
    ):
        assert text in page
    assert "<script" not in page
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", page.replace("xlink:href", "href"))
    n_tiles = sum(min(len(person.appearances), MOST_TILES) for person in seen.people)
    n_open = sum(len(person.perhaps) for person in seen.people)
    assert page.count('class="query"') == 3
    assert len(pictures_of(page)) == n_tiles + n_open
    assert told[-1] == (told[-1][1],) * 2
    assert [done for done, _ in told] == list(range(1, len(told) + 1))


@pytest.mark.long
def test_no_more_than_the_most_sightings_of_a_long_appearance(tmp_path: Path) -> None:
    frames = walking_frames(40, {0: lambda n: 5 + 3 * n, 3: lambda n: 130 if n < 2 else None})
    write_video(tmp_path / "clip.mp4", frames, times_ms=[200 * k for k in range(40)])
    with Index.create(tmp_path / "a.fdps", ColourEmbedder()) as index:
        index.add(tmp_path / "clip.mp4", every="1f")
    write_people_page(tmp_path / "page.html", "Walk", seen_in(tmp_path, 1))
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count('class="unknown"') == MOST_TILES - 1
    places = re.findall(r"<span>([\d:.]+) · ", page)
    assert places == sorted(places, key=float_of)
    assert float_of(places[-1]) - float_of(places[0]) > 6


def float_of(clock: str) -> float:
    minutes, seconds = clock.split(":")
    return 60 * int(minutes) + float(seconds)


@pytest.mark.long
def test_others_are_shown_only_when_asked_for(folder: Path, tmp_path: Path) -> None:
    def colourful(*, bystanders: bool) -> int:
        file = tmp_path / "page.html"
        write_people_page(file, "People", seen_in(folder, 1), bystanders=bystanders)
        pictures = pictures_of(file.read_text(encoding="utf-8"))
        return sum(int((np.ptp(picture.astype(int), axis=2) > 150).sum()) for picture in pictures)

    assert colourful(bystanders=True) > 1.2 * colourful(bystanders=False)


def test_a_picture_that_is_gone_is_said_to_be(folder: Path, tmp_path: Path) -> None:
    seen = seen_in(folder, 1)
    file = folder / "photos" / "00.png"
    kept = file.read_bytes()
    file.unlink()
    try:
        write_people_page(tmp_path / "page.html", "People", seen)
    finally:
        file.write_bytes(kept)
    assert "Person 1: in 7 pictures" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_the_table_has_a_dash_where_nothing_was_joined(folder: Path) -> None:
    seen = seen_in(folder, 20)
    table = people_table(seen)
    assert table.columns[:3] == ("person", "pictures", "appearances")
    assert table.rows[0][:5] == ("1", "7", "7", "00.png", "09.png")
    assert table.rows[0][-1] == f"0 of {len(seen.strangers)}"
    assert table.rows[-1][2:3] + table.rows[-1][-2:] == ("1", "–", "–")
    assert table.caption == "Everybody, by how often they are seen"
    assert all(len(row) == len(table.columns) for row in table.rows)
    narrow = people_table(seen, with_places=False)
    assert [len(row) for row in narrow.rows] == [5] * len(table.rows)


@pytest.mark.parametrize(
    ("strong", "look", "level"),
    [(0.2, 0.1, "strong"), (1.0, 0.2, "worth a look"), (1.0, 1.0, "weak")],
)
def test_levels_are_those_of_the_weakest_join(
    folder: Path, strong: float, look: float, level: str
) -> None:
    table = people_table(seen_in(folder, 1), calibration(strong, look))
    assert dict(zip(table.columns, table.rows[0], strict=True))["level"] == level


@pytest.mark.long
def test_levels_are_claimed_with_a_calibration_alone(folder: Path, tmp_path: Path) -> None:
    seen, claim = seen_in(folder, 1), re.compile("(?:strong|worth a look|weak)<")
    for known, n_claims in ((None, 0), (calibration(1.0, 0.2), 6)):
        write_people_page(tmp_path / "page.html", "People", seen, calibration=known)
        page = (tmp_path / "page.html").read_text(encoding="utf-8")
        assert len(claim.findall(page.split('id="when"')[0])) >= n_claims
        assert bool(claim.search(page)) == (known is not None)
        assert ("joined, worth a look" in page) == (known is not None)


def test_what_gave_the_limit_is_said(folder: Path, tmp_path: Path) -> None:
    seen = seen_in(folder)
    (sentence,) = about_joining(seen, is_calibrated=False)
    assert len(seen.strangers) < 30
    assert f"only {len(seen.strangers)} pairs of people were side by side" in sentence
    enough = replace(seen, strangers=np.linspace(-0.5, 0.7, 40), min_similarity=0.68)
    (sentence,) = about_joining(enough, is_calibrated=False)
    assert "These pictures gave the limit: 1 of 40 pairs" in sentence
    assert "(2.5%)" in sentence

    with Index.create(tmp_path / "b.fdps", ColourEmbedder()) as index:
        index.add(folder / "photos" / "05.png")
        alone = find_seen_people(index.store, 3)
    (sentence,) = about_joining(alone, is_calibrated=False)
    assert "Nobody was joined" in sentence
    assert "is an assumption: nobody was side by side" in sentence
    (sentence,) = about_joining(alone, is_calibrated=True)
    assert "that of a calibration" in sentence


def test_a_picture_is_shrunk_as_far_as_nobody_sees() -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (900, 1200, 3), dtype=np.uint8)
    box = np.array([300, 200, 500, 700], dtype=np.float32)
    small, moved = shrunk(picture, box, 100)
    assert small.shape == (180, 240, 3)
    assert moved.tolist() == [60, 40, 100, 140]
    same, kept = shrunk(picture, box, 300)
    assert same is picture
    assert kept is box
