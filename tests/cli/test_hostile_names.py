"""Names that a terminal would obey, or that are no text, in what verbs say."""

import os
import re
from pathlib import Path

import pytest

from fake.coco import write_coco
from fake.found import perfect
from fdps.cli.main import main
from fdps.data import load_scenes
from fdps.predictions import save_predictions

HOSTILE = {
    "escape codes": "\x1b[31mred\x1b]0;title\x07",
    "a newline": "first\nsecond",
    "not UTF-8": os.fsdecode(b"set\xff"),
    "markup": "[red]set",
}
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f\ud800-\udfff]")

Capture = pytest.CaptureFixture[str]


@pytest.fixture(params=HOSTILE.values(), ids=HOSTILE)
def name(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a data set in the working folder."""
    monkeypatch.chdir(tmp_path)
    try:
        write_coco(Path(request.param))
    except OSError:
        pytest.skip("the file system has no such names")
    return str(request.param)


def lines(words: list[str], capsys: Capture) -> list[str]:
    """Lines of a verb that succeeds, none of which a terminal obeys."""
    capsys.readouterr()
    assert main(words) == 0, capsys.readouterr().err
    printed = capsys.readouterr()
    assert not CONTROL.search(printed.out)
    assert not CONTROL.search(printed.err)
    return printed.out.splitlines()


@pytest.mark.long
def test_verbs_of_data(name: str, capsys: Capture) -> None:
    lines(["data", "check", name], capsys)
    lines(["data", "stats", name, "--plot", f"plots {name}"], capsys)
    assert lines(["data", "view", name, "--out", f"{name}.jpg"], capsys)[-1].startswith("Wrote")
    said = lines(["data", "convert", name, f"copy {name}"], capsys)
    assert said[-1].startswith("Next    fdps data check 'copy ")
    lines(["data", "check", f"copy {name}"], capsys)
    lines(["data", "split", name, f"parts {name}", "--parts", "train=0.5,test=0.5"], capsys)


def test_scoring(name: str, capsys: Capture) -> None:
    found = perfect(load_scenes("coco", name, "test"), 10)
    files = [f"{name} {number}.safetensors" for number in range(2)]
    for file in files:
        save_predictions(found, file)
    data = ["--data", "coco", "--root", name, "--split", "test"]
    written = ["--csv", f"{name}.csv", "--out", f"{name}.json"]
    assert "1.000" in "".join(
        lines(["evaluate", "--predictions", files[0], *data, *written], capsys)
    )
    said = "".join(lines(["compare", *files, *data], capsys))
    if "[red]" in name:
        assert "Difference to [red]" in said  # a name is no markup


def test_what_is_not_there(name: str, capsys: Capture) -> None:
    assert main(["train", name]) == 3
    assert main(["doctor", "--recipe", name]) == 3
    assert main(["evaluate", name]) == 3
    assert not CONTROL.search(capsys.readouterr().err)


def test_an_error_stays_on_its_line(name: str, capsys: Capture) -> None:
    missing = f"{name} that is not there"
    for words in (
        ["data", "check", missing],
        ["index", missing, "-o", "e.fdps", "--model", missing],
        ["search", missing, "--item", "1"],
        ["models", "info", missing],
        ["detect", missing, "--model", "drawn-people"],
    ):
        capsys.readouterr()
        assert main(words) in (2, 3)
        first, *rest = capsys.readouterr().err.splitlines()
        assert first.startswith("error: "), words
        assert all(line.startswith("  ") for line in rest)
        assert "second that is not there" not in rest
