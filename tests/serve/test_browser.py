"""The pages in a browser, on a server process over drawn scenes: by mouse, and by keyboard alone.

They need Debian's ``chromium`` (or ``FDPS_CHROMIUM``) and the package ``playwright``; the checks of
accessibility need axe-core (``npm install axe-core``, or its path in ``FDPS_AXE``).
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fake.browsing import (
    Visit,
    a_browser,
    find_axe,
    find_browser,
    running,
    write_drawn_archive,
)

pytest.importorskip("playwright.sync_api")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not find_browser(), reason="there is no Chromium: apt install chromium"),
]

DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 360, "height": 740}
ZOOMED = {"width": 640, "height": 430}  # what a window of 1280×860 has at 200 %
PAGES = {
    "/": ".tile",
    "/?like=item:3": ".card .level",
    "/?like=item:3&view=crops&yes=5&no=8": ".card .level",
    "/timeline?like=item:3": ".appearance",
    "/timeline": ".empty",
    "/cases": ".empty, .case-entry",
    "/library": "#skipped td",
    "/privacy?items=3": "#audit td, #audit p",
    "/model": ".facts",
    "/login": "form",
}
ORDER = "[...document.querySelectorAll('#cards .card')].map((card) => Number(card.dataset.item))"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_drawn_archive(tmp_path_factory.mktemp("browsed"))


@pytest.fixture(scope="module")
def address(archive: Path) -> Iterator[str]:
    with running(archive, "--root", f"photos={archive.parent / 'photos'}") as served:
        yield served


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with a_browser() as started:
        yield started


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Visit]:
    context = browser.new_context(viewport=DESKTOP, accept_downloads=True)
    yield Visit(context, address)
    context.close()


@pytest.fixture(scope="module")
def picture(archive: Path) -> Path:
    return sorted((archive.parent / "photos" / "hall").glob("*.jpg"))[2]


def order(visit: Visit) -> list[int]:
    found: list[int] = visit.page.evaluate(ORDER)
    return found


def wait_for_search(visit: Visit) -> None:
    visit.page.wait_for_selector("#found:not([aria-busy])")
    visit.page.wait_for_selector(".card .level")


def test_somebody_is_found_by_mouse(visit: Visit, picture: Path, tmp_path: Path) -> None:
    page = visit.page
    visit.open("/", ".tile")
    visit.check()
    # Drop the picture, as from a folder of the desktop.
    content = list(picture.read_bytes())
    carried = page.evaluate_handle(
        """(bytes) => {
          const carried = new DataTransfer();
          const file = new File([new Uint8Array(bytes)], "dropped.jpg", { type: "image/jpeg" });
          carried.items.add(file);
          return carried;
        }""",
        content,
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": carried})
    page.wait_for_selector(".person-box")
    # Drag a box around the first person instead of taking the one that was found.
    frame = page.locator(".person-box").first.bounding_box()
    page.mouse.move(frame["x"] - 3, frame["y"] - 3)
    page.mouse.down()
    page.mouse.move(frame["x"] + frame["width"] / 2, frame["y"] + 40)
    page.mouse.move(frame["x"] + frame["width"] + 3, frame["y"] + frame["height"] + 3)
    page.mouse.up()
    wait_for_search(visit)
    visit.check()
    before = order(visit)
    assert len(before) > 5

    # The slider leaves only the most similar, without another search.
    page.locator("#least").evaluate(
        "(slider) => { slider.value = slider.max * 0.6; slider.dispatchEvent(new Event('input')); }"
    )
    assert 0 < len(order(visit)) < len(before)
    page.locator("#least").evaluate(
        "(slider) => { slider.value = slider.min; slider.dispatchEvent(new Event('input')); }"
    )

    # One camera, and a part of the day.
    with page.expect_response("**/api/v1/search") as answered:
        page.locator(".chip", has_text="gate").click()
    assert {hit["scene"]["camera"] for hit in answered.value.json()["hits"]} == {"gate"}
    with page.expect_response("**/api/v1/search"):
        page.locator(".chip", has_text="gate").click()
    page.get_by_label("Time of day from").fill("09:00")
    with page.expect_response("**/api/v1/search") as answered:
        page.get_by_label("Time of day until").fill("09:30")
    assert all("T09:" in hit["scene"]["time"] for hit in answered.value.json()["hits"])
    with page.expect_response("**/api/v1/search"):
        page.get_by_role("button", name="Clear filters").click()
    wait_for_search(visit)

    # Three are confirmed, two rejected, and the order changes at once.
    for name, judged in (("Confirm", 3), ("Reject", 2)):
        for _ in range(judged):
            with page.expect_response("**/api/v1/search"):
                page.locator("#cards .card").first.get_by_role(
                    "button", name=name, exact=True
                ).click()
            wait_for_search(visit)
    after = order(visit)
    left = [item for item in before if item in after]
    assert len(left) == len(before) - 5
    assert left != [item for item in after if item in before]

    # It becomes a case, and the case a file.
    page.get_by_role("button", name="Keep as a case").click()
    page.get_by_label("Name").fill("Lost child")
    page.get_by_label("Purpose").fill("asked by the guardian")
    page.get_by_role("button", name="Begin the case").click()
    page.get_by_role("link", name="Case: Lost child").wait_for()
    page.get_by_role("button", name="Export").click()
    page.get_by_label("Table").check()
    with page.expect_download() as saved:
        page.get_by_role("dialog").get_by_role("button", name="Export").click()
    assert saved.value.suggested_filename.endswith(".csv")
    saved.value.save_as(tmp_path / "case.csv")
    with (tmp_path / "case.csv").open() as file:
        assert len(list(csv.DictReader(file))) >= 3
    visit.check()


def test_somebody_is_found_by_keyboard_alone(visit: Visit, picture: Path) -> None:
    page = visit.page
    choosers: list[Any] = []
    page.on("filechooser", lambda chooser: choosers.append(chooser))
    visit.open("/", ".tile")
    page.keyboard.press("a")
    page.wait_for_timeout(1000)
    choosers[0].set_files(picture)
    page.wait_for_selector(".person-box")
    page.keyboard.press("1")
    wait_for_search(visit)
    before = order(visit)
    page.keyboard.press("j")
    for key in ("y", "y", "y", "n", "n"):
        with page.expect_response("**/api/v1/search"):
            page.keyboard.press(key)
        wait_for_search(visit)
        assert page.evaluate("document.activeElement.closest('.card') !== null"), "focus was lost"
    assert [item for item in order(visit) if item in before] != [
        item for item in before if item in order(visit)
    ]
    page.keyboard.press("v")
    page.wait_for_selector("#cards[data-view=crops]")
    page.keyboard.press("j")
    page.keyboard.press(" ")
    page.get_by_role("dialog", name="A closer look").wait_for()
    page.keyboard.press("j")
    page.keyboard.press("Escape")
    page.keyboard.press("e")
    page.keyboard.type("By keys")
    page.keyboard.press("Tab")
    page.keyboard.type("a test")
    page.keyboard.press("Enter")
    page.get_by_role("dialog", name="Export the case").wait_for()
    page.keyboard.press("ArrowDown")  # from pictures to the table
    with page.expect_download() as saved:
        page.keyboard.press("Enter")
    assert saved.value.suggested_filename.endswith(".csv")
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keys").wait_for()
    visit.check()


def test_a_box_can_be_drawn_with_keys(visit: Visit, picture: Path) -> None:
    page = visit.page
    visit.open("/", ".tile")
    page.set_input_files("#file", picture)
    page.wait_for_selector(".person-box")
    page.get_by_role("button", name="Draw with keys").focus()
    page.keyboard.press("Enter")
    for key in ("ArrowLeft", "ArrowLeft", "Shift+ArrowRight", "Shift+ArrowDown"):
        page.keyboard.press(key)
    with page.expect_response("**/select") as answered:
        page.keyboard.press("Enter")
    x1, y1, x2, y2 = answered.value.json()["box"]
    assert x2 > x1
    assert y2 > y1
    wait_for_search(visit)
    visit.check()


def test_somebody_in_a_scene_is_searched_and_forgotten(visit: Visit) -> None:
    page = visit.page
    visit.open("/", ".tile")
    page.locator(".tile").nth(1).click()
    page.wait_for_selector("#scene-picture .person-box")
    page.locator(".person-row").first.click()
    with page.expect_response("**/picture?*blur=others-of*") as blurred:
        page.get_by_role("button", name="Preview of the blur").click()
    assert blurred.value.status == 200
    visit.check()
    page.get_by_role("link", name="Forget this person").click()
    page.get_by_role("button", name="See what would be erased").click()
    page.get_by_label("Reason").fill("asked for it")
    page.get_by_role("button", name="Erase 1 sighting").click()
    page.get_by_text("1 sighting was erased").wait_for()
    assert page.get_by_text("Chain verified").is_visible()
    visit.check()


def test_a_job_shows_its_progress(visit: Visit) -> None:
    page = visit.page
    visit.open("/library", "#skipped td")
    page.get_by_role("button", name="Add pictures").click()
    page.get_by_label("Folder").select_option(label="photos / hall")
    page.get_by_role("button", name="Begin", exact=True).click()
    page.locator(".job .state.done").wait_for()
    visit.check()


def test_a_stretch_of_time_is_brushed(visit: Visit) -> None:
    page = visit.page
    visit.open("/timeline?like=item:3", ".appearance")
    page.wait_for_selector("#brushed .card")
    every = page.locator("#brushed .card").count()
    chart = page.locator(".chart svg").bounding_box()
    page.mouse.move(chart["x"] + chart["width"] * 0.3, chart["y"] + 2)
    page.mouse.down()
    page.mouse.move(chart["x"] + chart["width"] * 0.6, chart["y"] + 20)
    page.mouse.up()
    assert 0 < page.locator("#brushed .card").count() < every
    page.get_by_role("button", name="Search in this time").click()
    wait_for_search(visit)
    assert "after=2026-05-02" in page.url
    visit.check()


@pytest.mark.parametrize("size", [PHONE, ZOOMED], ids=["phone", "200 %"])
def test_pages_fit_small_windows(browser: Any, address: str, size: dict[str, int]) -> None:
    context = browser.new_context(viewport=size)
    visit = Visit(context, address)
    for path, until in PAGES.items():
        visit.open(path, until)
        visit.check()
    context.close()


@pytest.mark.skipif(not find_axe(), reason="there is no axe-core: npm install axe-core")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_serious_stands_in_the_way_of_anybody(
    browser: Any, address: str, theme: str
) -> None:
    # The policy of the pages keeps foreign scripts out, the checker as well.
    context = browser.new_context(viewport=DESKTOP, color_scheme=theme, bypass_csp=True)
    visit = Visit(context, address)
    axe = find_axe()
    assert axe is not None
    found = {}
    for path, until in {**PAGES, "/nothing": "h1"}.items():
        visit.open(path, until)
        visit.page.add_script_tag(path=str(axe))
        violations = visit.page.evaluate("axe.run().then((found) => found.violations)")
        serious = [
            f"{one['id']}: {node['target']} {node['failureSummary']}"
            for one in violations
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"][:3]
        ]
        if serious:
            found[path] = serious
    context.close()
    assert found == {}
