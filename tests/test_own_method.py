"""The guide to a system of one's own leads there: its file is short, and its commands work."""

import json
import re
from pathlib import Path

import pytest
from safetensors import safe_open

from fake.pages import ROOT, blocks, follow, make_checkout

PAGE = ROOT / "docs" / "guides" / "own_method.md"


def test_the_toy_system_is_one_short_file() -> None:
    (source,) = re.findall(r"<<'END'\n(.*?)^END$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert len(source.splitlines()) <= 60


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_who_follows_the_page_has_a_system_of_their_own(tmp_path: Path) -> None:
    make_checkout(tmp_path)
    for block in blocks(PAGE):
        ended = follow(block, tmp_path)
        assert ended.returncode == 0, f"{block.code}\n{ended.stdout}{ended.stderr}"
    weights = tmp_path / "runs" / "train" / "average" / "weights.safetensors"
    with safe_open(weights, framework="np") as file:
        assert json.loads(file.metadata()["fdps"])["model"]["system"] == "average"
