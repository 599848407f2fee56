"""A real server process over drawn scenes, and a real browser in front of it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CAMERAS = ("gate", "hall")
TIMEOUT_MS = 60_000  # a machine with other work on it may take long

# What a page may not do: move by itself, and break its own policy of content.
WATCH = """
window.shifted = [];
window.refused = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    // A field that is filled by the test changes inside without going anywhere.
    const parts = entry.sources
      .filter(({ previousRect: from, currentRect: to }) => from.x !== to.x || from.y !== to.y)
      .map(({ node, previousRect: from, currentRect: to }) =>
        `${node?.id || node?.className || node?.nodeName} ${from.x},${from.y} to ${to.x},${to.y}`);
    if (!entry.hadRecentInput) window.shifted.push(...parts);
  }
}).observe({ type: "layout-shift", buffered: true });
addEventListener("securitypolicyviolation", ({ violatedDirective }) => {
  window.refused.push(violatedDirective);
});
"""


def find_browser() -> str | None:
    """Return the browser: ``FDPS_CHROMIUM``, or Debian's where there is one."""
    named = os.environ.get("FDPS_CHROMIUM")
    return named or next(filter(None, map(shutil.which, BROWSERS)), None)


def find_axe() -> Path | None:
    """Return the script of axe-core: ``FDPS_AXE``, or that of a folder ``node_modules``."""
    root = Path(__file__).resolve().parents[2]
    places = [os.environ.get("FDPS_AXE", ""), root / "node_modules" / "axe-core" / "axe.min.js"]
    return next((Path(place) for place in places if place and Path(place).is_file()), None)


def write_drawn_archive(folder: Path) -> Path:
    """Draw scenes of two cameras, one every five minutes, and index them with ``drawn-people``."""
    from fdps.data.synthetic import SyntheticConfig, draw_dataset

    config = SyntheticConfig(
        n_train_scenes=1, n_test_scenes=14, n_train_persons=2, n_test_persons=6, n_cameras=2
    )
    draw_dataset(config, folder / "scenes")
    for number, drawn in enumerate(sorted((folder / "scenes" / "images" / "test").glob("*.jpg"))):
        named = (
            folder
            / "photos"
            / CAMERAS[number % 2]
            / f"20260502_{9 + number // 12:02}{number % 12 * 5:02}00.jpg"
        )
        named.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(drawn, named)
    (folder / "photos" / "gate" / "20260502_120000.jpg").write_bytes(b"no picture")
    archive = folder / "event.fdps"
    words = ["index", "photos", "-o", archive.name, "--model", "drawn-people", "-q"]
    words += ["--camera-from", f"(?P<camera>{'|'.join(CAMERAS)})"]
    words += ["--time-from", "name:%Y%m%d_%H%M%S"]
    subprocess.run(
        [sys.executable, "-m", "fdps", *words], cwd=folder, check=True, capture_output=True
    )
    return archive


@contextmanager
def a_browser() -> Iterator[Any]:
    """Start the browser without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=find_browser(), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        try:
            yield started
        finally:
            started.close()


@contextmanager
def running(archive: Path, *options: str) -> Iterator[str]:
    """Serve an archive in a process of its own; yields the address with the token."""
    words = [sys.executable, "-m", "fdps", "serve", archive.name, "--port", "0", "--json", *options]
    server = subprocess.Popen(
        words, cwd=archive.parent, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert server.stdout is not None
        yield json.loads(server.stdout.readline())["address"]
    finally:
        server.terminate()
        server.communicate(timeout=60)


class Visit:
    """A visit to the pages, which notes everything that should not have happened.

    Args:
        context: A context of Playwright.
        address: The address with the token.
    """

    def __init__(self, context: Any, address: str) -> None:
        self.home = address.partition("/?")[0]
        self.faults: list[str] = []
        context.set_default_timeout(TIMEOUT_MS)
        context.add_init_script(WATCH)
        self.page = context.new_page()
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        self.page.on("request", self._on_request)
        self.page.goto(address)

    def _on_console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"console: {message.text} {message.location}")

    def _on_request(self, request: Any) -> None:
        if not request.url.startswith((self.home, "blob:")):
            self.faults.append(f"request: {request.url}")

    def open(self, path: str, until: str) -> None:
        """Open a page and wait for an element."""
        self.page.goto(self.home + path)
        self.page.wait_for_selector(until)

    def check(self) -> None:
        """Hold the page to what pages promise."""
        assert self.faults == [], self.faults
        for what in ("refused", "shifted"):
            found = self.page.evaluate(f"window.{what}")
            assert found == [], f"{what}: {found}"
        wide = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, "the page is wider than the window"
