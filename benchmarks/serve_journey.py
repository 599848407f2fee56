r"""Walk through the pages on an archive as somebody who is new to them, and measure the way.

A copy of the archive is served, and Chromium is led through three tasks: find a person of a
picture, hand the confirmed candidates to a colleague, and erase the person; once by mouse and once
by keyboard alone. On the way a box is dragged, the slider moved, candidates filtered by camera and
time, three confirmed and two rejected: with ``--items``, the numbers of the sightings that are the
person, three of these and two others; without, the first of the list. Each task is counted in
clicks (or keys) and seconds; the seconds are those of pages and server, because nobody stops to
think.

    python benchmarks/serve_journey.py event.fdps child.jpg --camera hall --shots /tmp/shots
    python benchmarks/serve_journey.py event.fdps child.jpg --camera hall --items 40,41,43-48

Prints one JSON object: the tasks, how many candidates were the person before and after the
verdicts and after they were erased, how long results took to be painted after the answer had
arrived, requests to other hosts, errors of the console, and what moved by itself. Ends with 1 if
something was not so. It needs Chromium and the package ``playwright``.
"""

import argparse
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SIZE, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
MOST_PAINT_MS = 100.0
TIMEOUT_MS = 120_000
ASKED = "like=item:40&yes=41&no=200"
PAGES = {
    "start": "/",
    "results": f"/?{ASKED}",
    "crops": f"/?{ASKED}&view=crops",
    "timeline": f"/timeline?{ASKED}",
    "timeline_empty": "/timeline",
    "cases": "/cases",
    "library": "/library",
    "privacy": "/privacy?items=40,41",
    "model": "/model",
    "login": "/login",
}

# Notes when cards were painted after the answer of a search was there, and what moved by itself.
WATCH = """
window.painted = []; window.shifted = []; window.refused = [];
addEventListener("DOMContentLoaded", () => {
  const cards = document.getElementById("cards");
  if (!cards) return;
  new MutationObserver(() => requestAnimationFrame(() => setTimeout(() => {
    const now = performance.now();
    const last = performance.getEntriesByType("resource")
      .filter(({ name }) => name.endsWith("/api/v1/search")).at(-1);
    if (last && last !== window.told) {
      window.told = last;
      window.painted.push(now - last.responseEnd);
    }
  }))).observe(cards, { childList: true });
});
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    const moved = entry.sources
      .filter(({ previousRect: from, currentRect: to }) => from.x !== to.x || from.y !== to.y)
      .map(({ node, previousRect: from, currentRect: to }) =>
        `${node?.id || node?.className || node?.nodeName} ${from.x},${from.y} to ${to.x},${to.y}`);
    if (entry.hadRecentInput || !moved.length) continue;
    window.shifted.push(`${location.pathname}: ${moved}`);
  }
}).observe({ type: "layout-shift", buffered: true });
addEventListener("securitypolicyviolation", ({ violatedDirective }) =>
  window.refused.push(violatedDirective));
"""

ASK_AGAIN = """
async (body) => {
  const headers = { "Content-Type": "application/json" };
  const asked = { method: "POST", headers, body: JSON.stringify(body) };
  return (await (await fetch("/api/v1/search", asked)).json()).hits;
}
"""


class Walk:
    """Somebody on the pages, whose clicks and keys are counted.

    Args:
        page: A page of Playwright.
        home: Address of the service.
        shots: Folder for pictures of the window; ``None`` for none.
        name: Beginning of their names.
    """

    def __init__(self, page: Any, home: str, shots: Path | None, name: str) -> None:
        self.page, self.home, self._shots, self._name = page, home, shots, name
        self.clicks = self.keys = self.letters = 0
        self.away_s = 0.0  # spent on pictures of the window
        self.hits: list[dict[str, Any]] = []
        self.asked: dict[str, Any] = {}  # the first question
        self.right: dict[str, str] = {}
        self.faults: list[str] = []
        self.painted: list[float] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("request", self._on_request)
        # Playwright takes over the dialog of files while somebody listens; begun only when a key
        # opens it, that comes too late on a busy machine.
        page.on("filechooser", lambda _: None)

    def _on_console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"console: {message.text}")

    def _on_request(self, request: Any) -> None:
        if not request.url.startswith((self.home, "blob:")):
            self.faults.append(f"request: {request.url}")

    def click(self, what: Any) -> None:
        """Click on something."""
        self.clicks += 1
        what.click()

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            self.keys += 1
            self.page.keyboard.press(key)

    def write(self, text: str) -> None:
        """Write where the focus is."""
        self.letters += len(text)
        self.page.keyboard.type(text)

    def searched(self, act: Callable[[], None]) -> Any:
        """Do something that searches; the answer, when its candidates are on the page."""
        with self.page.expect_response("**/api/v1/search") as answered:
            act()
        found = answered.value.json()
        self.hits = found["hits"]
        self.asked = self.asked or answered.value.request.post_data_json
        self.page.wait_for_selector("#found:not([aria-busy])")
        self.page.wait_for_selector(".card .level, #cards .empty")
        return found

    def order(self) -> list[int]:
        """The candidates in the order in which they are shown."""
        found: list[int] = self.page.evaluate(
            "[...document.querySelectorAll('#cards .card')].map((card) => +card.dataset.item)"
        )
        return found

    def shoot(self, name: str) -> None:
        """Take a picture of the window."""
        if not self._shots:
            return
        start = time.perf_counter()
        self.page.wait_for_timeout(800)
        self.page.screenshot(path=self._shots / f"{self._name}_{name}.png")
        self.away_s += time.perf_counter() - start

    def look(self) -> None:
        """Note what the page has measured, before it is left."""
        self.painted += self.page.evaluate("window.painted.splice(0)")
        for what in ("shifted", "refused"):
            self.faults += [
                f"{what}: {one}" for one in self.page.evaluate(f"window.{what}.splice(0)")
            ]


def main() -> None:
    """Serve, walk, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("picture", type=Path, help="shows the person to look for")
    parser.add_argument("--box", default="", help="X,Y,W,H: where the person is; else the first")
    parser.add_argument("--camera", required=True, help="a camera that saw the person")
    parser.add_argument("--items", type=numbers, default=(), help="sightings of the person")
    parser.add_argument("--shots", type=Path, help="folder for pictures of the window")
    options = parser.parse_args()
    if options.shots:
        options.shots.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, a_browser() as browser:
        for way, walk_through in (("mouse", by_mouse), ("keyboard", by_keyboard)):
            copy = Path(folder, way, options.archive.name)
            shutil.copytree(options.archive, copy)
            with running(copy) as address:
                figures[way] = walked(browser, address, way, walk_through, options)
                if way == "mouse" and options.shots:
                    figures["looks"] = looked_at(browser, address, options)
    faults = [fault for one in figures.values() for fault in one.pop("faults")]
    print(json.dumps({**figures, "load": os.getloadavg()[0], "faults": faults}, indent=1))
    sys.exit(bool(faults))


def walked(
    browser: Any,
    address: str,
    way: str,
    walk_through: "Callable[[Walk, argparse.Namespace], Iterator[str]]",
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Walk one way; clicks and seconds of each task."""
    context = browser.new_context(viewport=SIZE, accept_downloads=True)
    context.set_default_timeout(TIMEOUT_MS)
    context.add_init_script(WATCH)
    walk = Walk(context.new_page(), address.partition("/?")[0], options.shots, way)
    walk.page.goto(address)
    walk.page.wait_for_selector(".tile")
    tasks, before, start, away_s = {}, (0, 0, 0), time.perf_counter(), 0.0
    for name in walk_through(walk, options):
        walk.look()
        now = (walk.clicks, walk.keys, walk.letters)
        clicks, keys, letters = (b - a for a, b in zip(before, now, strict=True))
        seconds = round(time.perf_counter() - start - (walk.away_s - away_s), 1)
        tasks[name] = {"clicks": clicks, "keys": keys, "letters": letters, "seconds": seconds}
        before, start, away_s = now, time.perf_counter(), walk.away_s
    context.close()
    late = [ms for ms in walk.painted if ms > MOST_PAINT_MS]
    faults = [*walk.faults, *(f"painted {ms:.0f} ms after the answer" for ms in late)]
    painted = {"n": len(walk.painted), "most_ms": round(max(walk.painted), 1)}
    faults = [f"{way}: {one}" for one in faults]
    return {"tasks": tasks, "right": walk.right, "painted": painted, "faults": faults}


def by_mouse(walk: Walk, options: argparse.Namespace) -> Iterator[str]:
    """Walk by mouse; yields the name of each task when it is done."""
    page = walk.page
    with page.expect_file_chooser() as asked:
        walk.click(page.locator("#pick"))
    asked.value.set_files(options.picture)
    page.wait_for_selector(".person-box")
    walk.shoot("1_choose")
    walk.searched(lambda: walk.click(person(page, options)))
    note_right(walk, options, "at first")
    walk.shoot("2_results")
    yield "find the person"

    explore(walk, options)
    yield "look around: drag a box, slider, camera, time"

    before = walk.order()
    for name in ("Confirm", "Confirm", "Confirm", "Reject", "Reject"):
        item = next_item(walk, options, is_right=name == "Confirm")
        card = page.locator(f'#cards .card[data-item="{item}"]')
        button = card.get_by_role("button", name=name, exact=True)
        walk.searched(lambda button=button: walk.click(button))
    check_order(walk, before)
    note_right(walk, options, "after the verdicts")
    walk.shoot("3_judged")
    walk.click(page.get_by_role("button", name="Export"))
    page.get_by_role("dialog").wait_for()
    walk.write("Grey shirt")
    walk.click(page.get_by_label("Purpose"))
    walk.write("asked by the desk")
    walk.click(page.get_by_role("button", name="Begin the case"))
    page.get_by_role("dialog", name="Export the case").wait_for()
    walk.shoot("4_export")
    with page.expect_download() as saved:
        walk.click(page.get_by_role("dialog").get_by_role("button", name="Export"))
    assert saved.value.suggested_filename.endswith(".zip")
    yield "hand the confirmed candidates to a colleague"

    walk.click(page.get_by_role("link", name="Case:"))
    page.wait_for_selector("#case .card")
    walk.shoot("5_case")
    walk.look()
    walk.click(page.get_by_role("link", name="Forget the confirmed people"))
    page.wait_for_selector("#forget .judged")
    page.wait_for_selector("#forget-more[data-known]", state="attached")
    whole = page.get_by_role("button", name="Add them")
    if whole.count():
        walk.click(whole)
        page.wait_for_selector("#forget-more[data-known]", state="attached")
    walk.click(page.get_by_role("button", name="See what would be erased"))
    page.get_by_label("Reason").wait_for()
    walk.shoot("6_forget")
    walk.write("asked for it")
    walk.click(page.get_by_role("button", name="Erase"))
    note_erased(walk, options)
    walk.shoot("7_erased")
    yield "erase the person"


def by_keyboard(walk: Walk, options: argparse.Namespace) -> Iterator[str]:
    """Walk by keyboard alone; yields the name of each task when it is done."""
    page = walk.page
    with page.expect_file_chooser() as asked:
        walk.press("a")
    asked.value.set_files(options.picture)
    page.wait_for_selector(".person-box")
    number = person(page, options).get_attribute("data-n")
    walk.searched(lambda: walk.press(number))
    note_right(walk, options, "at first")
    yield "find the person"

    before = walk.order()
    for key in "yyynn":
        item = next_item(walk, options, is_right=key == "y")
        go_to_card(walk, item)
        walk.searched(lambda key=key: walk.press(key))
    check_order(walk, before)
    note_right(walk, options, "after the verdicts")
    walk.press("e")
    page.get_by_role("dialog").wait_for()
    walk.write("By keys")
    walk.press("Tab")
    walk.write("asked by the desk")
    walk.press("Enter")
    page.get_by_role("dialog", name="Export the case").wait_for()
    with page.expect_download():
        walk.press("Enter")
    page.wait_for_selector("dialog", state="detached")
    yield "hand the confirmed candidates to a colleague"

    walk.press("c")
    page.wait_for_selector("#case .card")
    walk.look()
    tab_to(walk, page.get_by_role("link", name="Forget the confirmed people"))
    walk.press("Enter")
    page.wait_for_selector("#forget .judged")
    page.wait_for_selector("#forget-more[data-known]", state="attached")
    whole = page.get_by_role("button", name="Add them")
    if whole.count():
        tab_to(walk, whole)
        walk.press("Enter")
    tab_to(walk, page.get_by_role("button", name="See what would be erased"))
    walk.press("Enter")
    page.get_by_label("Reason").wait_for()
    walk.write("asked for it")
    walk.press("Enter")
    note_erased(walk, options)
    yield "erase the person"


def explore(walk: Walk, options: argparse.Namespace) -> None:
    """Drag a box, move the slider, filter by camera and by time, and take it all back."""
    page = walk.page
    drop(walk, options.picture)
    page.wait_for_selector("#choose .person-box")
    frame, board = person(page, options).bounding_box(), page.locator("#choose .board")
    edge = board.bounding_box()  # somebody may stand at the edge of the picture
    left, top = max(frame["x"] - 3, edge["x"] + 2), max(frame["y"] - 3, edge["y"] + 2)
    page.mouse.move(left, top)
    page.mouse.down()
    page.mouse.move(frame["x"] + frame["width"] / 2, frame["y"] + 40)
    page.mouse.move(frame["x"] + frame["width"] + 3, frame["y"] + frame["height"] + 3)
    walk.clicks += 1
    walk.searched(page.mouse.up)
    every = walk.order()
    slider = page.locator("#least").bounding_box()
    page.mouse.click(slider["x"] + slider["width"] * 0.9, slider["y"] + slider["height"] / 2)
    walk.clicks += 1
    assert len(walk.order()) < len(every), "the slider leaves everybody"
    walk.shoot("2_slider")
    page.mouse.click(slider["x"] + 2, slider["y"] + slider["height"] / 2)
    walk.clicks += 1
    chip = page.locator(".chip", has_text=options.camera)
    found = walk.searched(lambda: walk.click(chip))
    assert {hit["scene"]["camera"] for hit in found["hits"]} == {options.camera}
    last = max(hit["scene"]["time"] for hit in found["hits"])[:16]
    found = walk.searched(lambda: page.get_by_label("From", exact=True).fill(last))
    assert found["hits"], "nobody after that time"
    assert all(hit["scene"]["time"] >= last for hit in found["hits"])
    walk.searched(lambda: walk.click(page.get_by_role("button", name="Clear filters")))


def person(page: Any, options: argparse.Namespace) -> Any:
    """The box that lies best on the one that was named, or the first."""
    boxes = page.locator("#choose .person-box")
    if not options.box:
        return boxes.first
    x, y, width, height = (float(part) for part in options.box.split(","))
    at = page.locator("#choose .board").bounding_box()
    with Image.open(options.picture) as picture:
        scale = at["width"] / picture.width
    middle = (at["x"] + (x + width / 2) * scale, at["y"] + (y + height / 2) * scale)

    def distance(number: int) -> float:
        box = boxes.nth(number).bounding_box()
        left, top = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        return float((left - middle[0]) ** 2 + (top - middle[1]) ** 2)

    return boxes.nth(min(range(boxes.count()), key=distance))


def drop(walk: Walk, picture: Path) -> None:
    """Drop a picture on the page, as from a folder of the desktop."""
    carried = walk.page.evaluate_handle(
        """(bytes) => {
          const carried = new DataTransfer();
          const content = Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0));
          carried.items.add(new File([content], "dropped", { type: "image/jpeg" }));
          return carried;
        }""",
        base64.b64encode(picture.read_bytes()).decode(),
    )
    walk.clicks += 1
    walk.page.dispatch_event("body", "drop", {"dataTransfer": carried})


def numbers(text: str) -> tuple[int, ...]:
    """Read ``40,43-45`` as 40, 43, 44, 45."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return tuple(found)


def next_item(walk: Walk, options: argparse.Namespace, *, is_right: bool) -> int:
    """The first candidate who is the person, or is not; without ``--items`` the first of all."""
    shown = {*walk.order()}
    for hit in walk.hits:
        if hit["item"] in shown and (
            not options.items or (hit["item"] in options.items) == is_right
        ):
            return int(hit["item"])
    found = [hit["item"] for hit in walk.hits]
    raise AssertionError(f"nobody is left to judge: {len(shown)} shown of {found[:40]}")


def go_to_card(walk: Walk, item: int) -> None:
    """Press ``j`` or ``k`` until a candidate is the one that keys act on."""
    current = "document.querySelector('#cards .card.current')?.dataset.item"
    for _ in range(200):
        now, order = walk.page.evaluate(current), walk.order()
        if now == str(item):
            return
        is_before = (
            now is not None and int(now) in order and order.index(int(now)) > order.index(item)
        )
        walk.press("k" if is_before else "j")
    raise AssertionError(f"the keys do not reach candidate {item}")


def note_right(walk: Walk, options: argparse.Namespace, moment: str) -> None:
    """Note how many of the candidates are the person."""
    if options.items:
        right = [hit["item"] in options.items for hit in walk.hits]
        walk.right[moment] = f"{sum(right[:10])} of 10, {sum(right)} of {len(right)}"


def note_erased(walk: Walk, options: argparse.Namespace) -> None:
    """Note how many sightings were erased, and how many of the person are still found."""
    told = walk.page.get_by_text("erased. The audit has an entry")
    told.wait_for()
    walk.right["erased"] = told.inner_text().partition(".")[0]
    if options.items:
        walk.hits = walk.page.evaluate(ASK_AGAIN, walk.asked)
        note_right(walk, options, "left")


def check_order(walk: Walk, before: list[int]) -> None:
    """Hold that the verdicts have changed the order of the others."""
    after = walk.order()
    left = [item for item in before if item in after]
    assert left != [item for item in after if item in before], "the order is as it was"


def tab_to(walk: Walk, what: Any) -> None:
    """Press the tabulator until something has the focus."""
    what.wait_for()
    for _ in range(400):
        if what.evaluate("(element) => element === document.activeElement"):
            return
        walk.press("Tab")
    raise AssertionError(f"the keyboard does not reach {what}")


def looked_at(browser: Any, address: str, options: argparse.Namespace) -> dict[str, Any]:
    """Take pictures of every page in both themes and on a phone."""
    faults: list[str] = []
    for name, size, theme in (
        ("light", SIZE, "light"),
        ("dark", SIZE, "dark"),
        ("phone", PHONE, "light"),
    ):
        context = browser.new_context(viewport=size, color_scheme=theme)
        context.set_default_timeout(TIMEOUT_MS)
        context.add_init_script(WATCH)
        walk = Walk(context.new_page(), address.partition("/?")[0], options.shots, name)
        walk.page.goto(address)
        pages = dict(PAGES)
        for page, kind in (("/", "scene"), ("/cases", "case")):
            walk.page.goto(walk.home + page)
            link = walk.page.wait_for_selector(f"a[href^='/{kind}'].tile, .case-entry a")
            pages[kind] = link.get_attribute("href")
        for page, path in pages.items():
            walk.page.goto(walk.home + path)
            walk.page.wait_for_load_state("networkidle")
            walk.shoot(page)
            walk.look()
        walk.page.goto(walk.home + PAGES["results"])
        walk.page.wait_for_selector(".card .level")
        walk.press("j", " ")
        walk.shoot("look")
        walk.press("Escape", "?")
        walk.shoot("help")
        walk.look()
        context.close()
        faults += [f"{name}: {fault}" for fault in walk.faults]
    return {"faults": faults}


@contextmanager
def a_browser() -> Iterator[Any]:
    """Start Chromium without a window."""
    from playwright.sync_api import sync_playwright

    found = os.environ.get("FDPS_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield started
        started.close()


@contextmanager
def running(archive: Path) -> Iterator[str]:
    """Serve an archive in a process of its own; yields the address with the token."""
    words = [sys.executable, "-m", "fdps", "serve", str(archive), "--port", "0", "--json"]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        yield json.loads(server.stdout.readline())["address"]
    finally:
        server.terminate()
        server.wait(60)


if __name__ == "__main__":
    main()
