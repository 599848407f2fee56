"""Everything that README and guides tell a reader to type works, in the order in which it stands.

Each page begins in an empty folder that holds a checkout, as a reader has it after the first lines
of the README. What a reader brings besides, such as a video or a copy of PRW, is laid there first;
it is listed here and said on the page. A block that cannot run here says why, in a comment in front
of it.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from fake.pages import ROOT, Block, blocks, follow, make_checkout

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guides").glob("*.md"))]
REASONS = {
    "CI runs this by itself",
    "needs a server",
    "needs several machines",
    "needs a model that others have made",
    "needs the data sets of the paper",
    "installs packages",
    "needs photographs of people",
}


def walk_video(folder: Path) -> None:
    """Make a short video of people who walk."""
    from fake.videos import people_frames, write_video

    write_video(folder / "gate_cam.mp4", people_frames(8), created="2026-05-02T12:00:00Z")


def data_sets(folder: Path) -> None:
    """Write miniatures of PRW and MOT17 in their real formats, and a set of one's own."""
    from fake.mot import write_sequence
    from fake.prw import write_prw
    from fdps.data.synthetic import SyntheticConfig, draw_dataset

    write_prw(folder / "PRW-v16.04.20")
    write_sequence(folder / "MOT17" / "train" / "MOT17-02")
    config = SyntheticConfig(n_train_scenes=8, n_test_scenes=6, n_train_persons=6, n_test_persons=4)
    draw_dataset(config, folder / "mydata")


def cut_outs(folder: Path) -> None:
    """Draw people with a transparent background, and places without anybody."""
    from fake.cutouts import write_cutouts, write_places

    write_cutouts(folder / "cutouts", 12)
    write_places(folder / "places", 4)


BRINGS: dict[str, list[Callable[[Path], None]]] = {
    "search.md": [walk_video],
    "data.md": [data_sets],
    "collages.md": [cut_outs],
}


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_what_is_not_run_says_why(page: Path) -> None:
    assert {block.reason for block in blocks(page)} <= {"", *REASONS}


def test_most_blocks_are_run() -> None:
    every = [block for page in PAGES for block in blocks(page)]
    assert len([block for block in every if block.reason]) < len(every) / 3


@pytest.mark.slow
@pytest.mark.timeout(1800)  # a page may train several times
@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_a_reader_can_follow_the_page(page: Path, tmp_path: Path) -> None:
    to_run = [block for block in blocks(page) if not block.reason]
    if not to_run:
        return
    make_checkout(tmp_path)
    for bring in BRINGS.get(page.name, []):
        bring(tmp_path)
    for block in to_run:
        ended = follow(block, tmp_path)
        assert ended.returncode == 0, told(page, block, ended.stdout + ended.stderr)


def told(page: Path, block: Block, output: str) -> str:
    """Say where it went wrong, and what the reader would have seen."""
    return f"{page_id(page)}, line {block.line}:\n{block.code}\n{output[-3000:]}"
