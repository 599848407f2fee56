import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "concepts" / "losses.md"


def test_value_example_prints_what_the_page_says(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = dict(re.findall(r"^```(python|text)\n(.*?)^```$", PAGE.read_text(), re.M | re.S))
    exec(blocks["python"], {})
    assert capsys.readouterr().out == blocks["text"]
