"""``fdps data check``, ``convert``, ``split``, ``stats`` and ``view``."""

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from fake.coco import write_coco, write_json
from fake.prw import write_prw
from fdps.cli.data.app import app
from fdps.cli.main import main
from fdps.data.readers import coco, folder
from fdps.errors import UsageError


def invoke(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def rows_of(out: str) -> dict[str, list[str]]:
    """Counts of a printed table, by the words in front."""
    found = {}
    for line in out.splitlines():
        cells = [cell.strip() for cell in line.split("  ") if cell.strip()]
        if len(cells) > 1:
            found[cells[0]] = cells[1:]
    return found


def test_check_prints_counts_beside_the_published_ones(tmp_path: Path) -> None:
    code, out = invoke("check", write_prw(tmp_path))
    assert code == 0
    assert out.startswith(f"prw {tmp_path}\n")
    rows = rows_of(out)
    assert rows["images"] == ["6", "5,704", "6", "6,112"]
    assert rows["identities"] == ["3", "483", "2", "544"]
    assert rows["queries"] == ["0", "2", "2,057"]
    assert out.endswith("\nNo fault\n")


def test_check_lists_faults_with_hints_and_ends_with_3(tmp_path: Path) -> None:
    content = write_coco(tmp_path)
    content["annotations"][0]["bbox"] = [1, 2, 0, 4]
    content["annotations"][1]["person_id"] = "Ann"
    write_json(tmp_path, content)
    code, out = invoke("check", tmp_path)
    assert code == 3
    assert "annotation 0 of '0000.jpg': bbox [1, 2, 0, 4] has no positive width" in out
    assert "annotation 1 of '0000.jpg': 'person_id' must be a whole number, got 'Ann'" in out
    assert out.count("correct the row or take it out") == 2
    assert out.endswith("\n2 faults\n")
    code, out = invoke("check", tmp_path, "--json")
    found = json.loads(out)["splits"]["test"]
    assert code == 3
    assert [fault["kind"] for fault in found["faults"]] == ["AnnotationError"] * 2
    assert found["statistics"]["images"] == 6


def test_check_shows_a_hundred_faults_at_most(tmp_path: Path) -> None:
    content = write_coco(tmp_path, n_images=1)
    content["annotations"] += [
        {"id": k, "image_id": 0, "bbox": 0, "category_id": 1} for k in range(130)
    ]
    write_json(tmp_path, content)
    _, out = invoke("check", tmp_path)
    assert "30 more; --json has all" in out


def test_check_takes_kind_and_split(tmp_path: Path) -> None:
    write_coco(tmp_path)
    _, out = invoke("check", tmp_path, "--data", "coco", "--split", "a", "--split", "b")
    assert rows_of(out)["images"] == ["6", "6"]
    with pytest.raises(UsageError, match="unknown kind"):
        invoke("check", tmp_path, "--data", "coca")


@pytest.mark.parametrize("to", ["folder", "coco"])
def test_convert(tmp_path: Path, to: str) -> None:
    write_prw(tmp_path / "prw")
    code, out = invoke("convert", tmp_path / "prw", tmp_path / "out", "--to", to)
    assert code == 0
    assert "test    6 images, 18 boxes, 2 identities, 2 queries" in out
    read = folder.read if to == "folder" else coco.read
    assert read(tmp_path / "out", "train").person_ids == [0, 1, 2]
    assert [query.person_id for query in read(tmp_path / "out", "test").queries] == [11, 12]
    assert invoke("check", tmp_path / "out")[0] == 0


def test_split_divides_people(tmp_path: Path) -> None:
    content = write_coco(tmp_path / "in", n_images=12, person_ids=(0,))
    for number, annotation in enumerate(content["annotations"]):
        annotation["person_id"] = number // 2  # six people, twice each
    write_json(tmp_path / "in", content | {"queries": []})
    parts = "train=0.5,test=0.5"
    code, out = invoke("split", tmp_path / "in", tmp_path / "out", "--parts", parts, "--json")
    assert code == 0
    found = json.loads(out)
    assert [found["splits"][name]["identities"] for name in ("train", "test")] == [3, 3]
    assert found["unnamed_boxes"] == 0
    test = folder.read(tmp_path / "out", "test")
    assert len(test.queries) == 3
    pictures = {image["file_name"] for image in content["images"]}
    both = [{s.name for s in folder.read(tmp_path / "out", k).scenes} for k in ("train", "test")]
    assert both[0] | both[1] == pictures
    assert not both[0] & both[1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["convert", "{in}", "{out}", "--to", "yolo"],
        ["convert", "{in}", "{in}"],  # not empty
        ["split", "{in}", "{out}", "--by", "camera"],
        ["split", "{in}", "{out}", "--parts", "train"],
        ["split", "{in}", "{out}", "--parts", "train=-1"],
        ["view", "{in}", "--out", "sheet.txt"],
    ],
)
def test_wrong_usage_writes_nothing(tmp_path: Path, arguments: list[str]) -> None:
    write_coco(tmp_path / "in")
    places = {"in": tmp_path / "in", "out": tmp_path / "out"}
    assert main(["data", *(word.format(**places) for word in arguments)]) == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.long
def test_stats_prints_and_plots(tmp_path: Path) -> None:
    write_prw(tmp_path / "prw")
    code, out = invoke("stats", tmp_path / "prw", "--plot", tmp_path / "plots")
    assert code == 0
    assert rows_of(out)["boxes"] == ["18", "18,048", "18", "25,062"]
    names = ["boxes_per_identity.png", "boxes_per_image.png", "heights.png", "statistics.html"]
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == names
    page = (tmp_path / "plots/statistics.html").read_text()
    assert "18,048" not in page
    assert page.count("<svg") == 3
    _, out = invoke("stats", tmp_path / "prw", "--json")
    assert json.loads(out)["splits"]["test"]["heights"]["low"] > 0


def test_view_draws_a_sheet(tmp_path: Path) -> None:
    write_coco(tmp_path / "in", person_ids=(4, -1))
    sheet = tmp_path / "new" / "sheet.png"
    code, out = invoke(
        "view", tmp_path / "in", "-o", sheet, "--scenes", 5, "--columns", 2, "--width", 160
    )
    assert code == 0
    assert "5 of 6 scenes of coco/test" in out
    with Image.open(sheet) as picture:
        assert picture.size == (2 * 172 + 12, 3 * (120 + 20 + 12) + 12)
