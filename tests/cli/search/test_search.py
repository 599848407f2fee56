import json
import os
import shutil
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fake.embedder import ColourEmbedder
from fake.network import write_network
from fake.photos import write_photos
from fake.videos import walking_frames, write_video
from fdps.cli.main import main
from fdps.cli.search.options import Where
from fdps.search import Filters, Index
from fdps.search.results.calibration import Calibration
from fdps.search.results.candidates import NO_PROOF
from fdps.search.store import FilterWords
from fdps.searcher import load


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``photos``, and an archive of them with two people in each picture."""
    folder = tmp_path_factory.mktemp("search")
    write_photos(folder / "photos", 4)
    network = write_network(folder / "weights.safetensors", n_people=2)
    with Index.create(folder / "event.fdps", load(network), model=str(network)) as index:
        index.add([folder / "photos/000.png", folder / "photos/001.png"], camera="gate")
        index.add(folder / "photos", camera="hall")
    return folder


def search(folder: Path, *arguments: object) -> int:
    picture = folder / "photos/002.png"
    return main(
        ["search", str(folder / "event.fdps"), "--query", str(picture), *map(str, arguments)]
    )


def found(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def box_of_first(folder: Path) -> list[float]:
    people = load(folder / "weights.safetensors").detect(folder / "photos/002.png")
    return [float(value) for value in people.boxes[0]]


def test_a_person_is_found_where_they_were_indexed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search(folder, "--person", 1, "--top", 3, "--json") == 0
    result = found(capsys)
    best = result["hits"][0]
    assert (best["rank"], best["scene"], best["camera"]) == (1, "photos/002.png", "hall")
    assert best["box"] == result["queries"][0]["box"] == pytest.approx(box_of_first(folder))
    assert best["similarity"] == pytest.approx(1, abs=1e-5)
    assert best["path"] == str(folder / "photos/002.png")
    similarities = [hit["similarity"] for hit in result["hits"]]
    assert similarities == sorted(similarities, reverse=True)
    assert (len(result["hits"]), result["n_people"], result["n_scenes"]) == (3, 8, 4)


def test_a_drawn_box_and_a_point_choose_the_same_person(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    box = box_of_first(folder)
    assert search(folder, "--box", ",".join(map(str, box)), "--json") == 0
    by_box = found(capsys)
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    assert search(folder, "--point", f"{x},{y}", "--json") == 0
    by_point = found(capsys)
    assert by_box["queries"][0]["box"] == pytest.approx(box)
    assert by_box["hits"][0]["scene"] == by_point["hits"][0]["scene"] == "photos/002.png"


def test_the_table_says_that_these_are_candidates(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search(folder, "--person", 1, "--top", 2, "--json") == 0
    best = str(found(capsys)["hits"][0]["item"])
    assert search(folder, "--person", 1, "--top", 2) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].endswith("event.fdps: 8 people in 4 pictures")
    assert lines[2].split() == ["rank", "similarity", "item", "camera", "scene", "box"]
    assert lines[3].split()[:5] == ["1", "1.000", best, "hall", "photos/002.png"]
    assert lines[-1] == f"Note    {NO_PROOF}"


@pytest.mark.parametrize(
    ("options", "scenes"),
    [
        (["--camera", "gate"], {"photos/000.png", "photos/001.png"}),
        (["--camera", "gate", "--camera", "hall"], {f"photos/00{n}.png" for n in range(4)}),
        (["--scenes", "photos/*3.png"], {"photos/003.png"}),
        (["--min-height", "1000"], set()),
        (["--min-similarity", "0.99999"], {"photos/002.png"}),
    ],
)
def test_filters(
    folder: Path, options: list[str], scenes: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert search(folder, "--person", 1, *options, "--json") == 0
    assert {hit["scene"] for hit in found(capsys)["hits"]} == scenes


def test_several_people_are_listed_and_one_has_to_be_chosen(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search(folder) == 2
    out, err = capsys.readouterr()
    assert not out
    assert "2 people found, none chosen" in err
    assert "--person 1  (" in err
    assert "--person 2  (" in err


@pytest.mark.long
def test_the_only_person_needs_no_choice(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = write_network(tmp_path / "weights.safetensors", n_people=1)
    archive = tmp_path / "one.fdps"
    picture = folder / "photos/001.png"
    main(["index", str(folder / "photos"), "-o", str(archive), "--model", str(network), "-q"])
    capsys.readouterr()
    assert main(["search", str(archive), "--query", str(picture), "--json"]) == 0
    assert found(capsys)["hits"][0]["scene"] == "photos/001.png"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--person", "1", "--point", "3,4"], 2, "choose the person once"),
        (["--person", "3"], 2, "has no person 3; it has"),
        (["--box", "1,2,3"], 2, "--box takes x1,y1,x2,y2 in pixels, got '1,2,3'"),
        (["--point", "left"], 2, "--point takes x,y in pixels, got 'left'"),
        (["--box", "90,10,40,70"], 2, "has no area inside the picture (160×120)"),
        (["--point", "-5,3"], 2, "nobody found at point (-5, 3)\n  --person 1  ("),
        (["--person", "1", "--top", "0"], 2, "top must be at least 1, got 0"),
        (["--min-score", "0.9"], 3, "nobody found in the query picture"),
    ],
)
def test_what_cannot_be_searched(
    folder: Path,
    arguments: list[str],
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert search(folder, *arguments) == code
    out, err = capsys.readouterr()
    assert not out
    assert message in err


def test_fail_if_none(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nobody = ["--person", "1", "--min-height", "1000"]
    assert search(folder, *nobody) == 0
    assert "Nobody" in capsys.readouterr().out
    assert search(folder, *nobody, "--fail-if-none", "--json") == 10
    assert found(capsys)["hits"] == []


def test_another_model_is_refused(folder: Path, tmp_path: Path) -> None:
    other = write_network(tmp_path / "other.safetensors", n_people=2, seed=1)
    assert search(folder, "--person", 1, "--model", other) == 6


def test_an_archive_without_a_model_needs_one(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = folder / "weights.safetensors"
    archive = str(tmp_path / "a.fdps")
    Index.create(archive, load(network)).close()
    command = ["search", archive, "--query", str(folder / "photos/000.png"), "--person", "1"]
    assert main(command) == 5
    assert "does not remember its model" in capsys.readouterr().err
    assert main([*command, "--model", str(network)]) == 0


def test_no_archive(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = str(folder / "photos/000.png")
    assert main(["search", str(tmp_path / "none.fdps"), "--query", picture]) == 3
    assert "fdps index SOURCE" in capsys.readouterr().err


def test_a_damaged_archive(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.fdps").mkdir()
    (tmp_path / "a.fdps/index.sqlite").write_bytes(np.random.default_rng(0).bytes(9000))
    picture = str(folder / "photos/000.png")
    assert main(["search", str(tmp_path / "a.fdps"), "--query", picture]) == 6


@pytest.mark.long
def test_results_show_when_and_by_which_camera(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photos(tmp_path / "photos", 1)
    write_photos(tmp_path / "day", 3, seed=1)
    for number in range(3):
        (tmp_path / f"day/{number:03}.png").rename(tmp_path / f"day/20260502_14000{number}.png")
    network = write_network(tmp_path / "weights.safetensors", n_people=2)
    with Index.create(tmp_path / "a.fdps", load(network), model=str(network)) as index:
        index.add(tmp_path / "day", camera="gate", time_from="name:%Y%m%d_%H%M%S")
        index.add(tmp_path / "photos")
    command = ["search", str(tmp_path / "a.fdps"), "--query", str(tmp_path / "photos/000.png")]
    command += ["--person", "1"]
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["rank", "similarity", "item", "when", "camera", "scene", "box"]
    assert lines[3].split()[3:6] == ["—", "—", "photos/000.png"]
    assert any("2026-05-02 14:00:01  gate    day/20260502_140001.png" in line for line in lines)
    at_two = ["--after", "2026-05-02T14:00:01", "--before", "2026-05-02T14:00:02"]
    for filters, n_hits in (
        (at_two, 2),
        (["--time-of-day", "14:00-14:01"], 6),
        (["--source", "*/day/*2.png"], 2),
        (["--time-of-day", "14:00-14:01", "--source", "*/photos/*"], 0),
    ):
        assert main([*command, *filters, "--json"]) == 0
        assert len(found(capsys)["hits"]) == n_hits
    assert main([*command, "--after", "noon"]) == 2


def ask(folder: Path, *arguments: object) -> int:
    """Without a picture."""
    return main(["search", str(folder / "event.fdps"), *map(str, arguments)])


def test_somebody_of_the_archive_is_looked_for_without_a_model(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search(folder, "--person", 1, "--top", 8, "--json") == 0
    by_picture = found(capsys)["hits"]
    item = by_picture[0]["item"]
    moved = tmp_path / "gone.safetensors"
    assert ask(folder, "--item", item, "--top", 8, "--json", "--model", moved) == 0
    result = found(capsys)
    assert [hit["item"] for hit in result["hits"]] == [hit["item"] for hit in by_picture[1:]]
    (query,) = result["queries"]
    assert (query["item"], query["picture"], query["box"]) == (item, None, by_picture[0]["box"])
    assert ask(folder, "--item", item) == 0
    assert capsys.readouterr().out.startswith(f"Query   item {item}: (")


@pytest.mark.long
def test_several_pictures_and_others(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = [f"{folder / 'photos'}/00{k}.png@1" for k in (0, 1)]
    searcher = load(folder / "weights.safetensors")
    rows = [searcher.detect(folder / f"photos/00{k}.png").embeddings[0] for k in (0, 1)]
    other = searcher.detect(folder / "photos/003.png").embeddings[1]
    with Index.open(folder / "event.fdps") as index:
        expected = index.search(rows, 8, unlike=[other])
    arguments = ["--query", pictures[0], "--query", pictures[1]]
    arguments += ["--unlike", f"{folder / 'photos'}/003.png@2", "--top", "8"]
    assert ask(folder, *arguments, "--json") == 0
    result = found(capsys)
    assert [hit["item"] for hit in result["hits"]] == [hit.item for hit in expected]
    assert [query["unlike"] for query in result["queries"]] == [False, False, True]
    item = result["hits"][0]["item"]
    assert ask(folder, *arguments, "--unlike-item", item, "--json") == 0
    assert item not in [hit["item"] for hit in found(capsys)["hits"]]
    assert ask(folder, *arguments) == 0
    heads = [line.split()[0] for line in capsys.readouterr().out.splitlines()[:4]]
    assert heads == ["Query", "Query", "Unlike", "Archive"]


@pytest.mark.parametrize("way", ["number", "point", "box"])
def test_the_person_may_be_named_behind_the_picture(
    folder: Path, way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    x1, y1, x2, y2 = box_of_first(folder)
    behind = {"number": "1", "point": f"{(x1 + x2) / 2},{(y1 + y2) / 2}"}
    who = behind.get(way, f"{x1},{y1},{x2},{y2}")
    assert ask(folder, "--query", f"{folder}/photos/002.png@{who}", "--json") == 0
    assert found(capsys)["hits"][0]["scene"] == "photos/002.png"


def test_a_file_that_is_called_so_is_that_file(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "me@2"
    picture.write_bytes((folder / "photos/002.png").read_bytes())
    assert ask(folder, "--query", picture, "--person", 1, "--json") == 0
    assert found(capsys)["queries"][0]["picture"] == str(picture)


@pytest.mark.parametrize("rerank", ["expansion", "k-reciprocal"])
def test_reranking(folder: Path, rerank: str, capsys: pytest.CaptureFixture[str]) -> None:
    with Index.open(folder / "event.fdps") as index:
        expected = index.search(index.person(3), 8, rerank=rerank)
    assert ask(folder, "--item", 3, "--top", 8, "--rerank", rerank, "--json") == 0
    assert [hit["item"] for hit in found(capsys)["hits"]] == [hit.item for hit in expected]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nobody to look for"),
        (["--item", "4711"], "nobody in the archive has number 4711"),
        (["--item", "1", "--person", "1"], "--person does not say in which of 0 pictures"),
        (["--query", "a.jpg", "--query", "b.jpg", "--box", "1,2,3,4"], "in which of 2 pictures"),
        (["--query", "a.jpg@1", "--point", "3,4"], "choose the person once"),
        (["--query", "a.jpg@1,2,3"], "after @ comes a person's number"),
        (["--item", "1", "--rerank", "magic"], "no re-ranking is called 'magic'"),
        (["--item", "1", "--format", "mot"], "MOT is a format for one video"),
        (["--item", "1", "--format", "xml"], "Invalid value for '--format'"),
    ],
)
def test_what_cannot_be_asked(
    folder: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(folder, *arguments) == 2
    out, err = capsys.readouterr()
    assert not out
    assert message in err


@pytest.mark.long
def test_formats_and_the_saved_folder(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = {}
    for format_ in ("json", "csv", "coco"):
        assert ask(folder, "--item", 2, "--top", 5, "--format", format_) == 0
        printed[format_] = capsys.readouterr().out
    assert printed["csv"].count("\n") == 1 + 5
    assert len(json.loads(printed["coco"])["annotations"]) == 5
    place = tmp_path / "case/one"
    for _ in range(2):  # a later answer replaces the one before
        assert ask(folder, "--item", 2, "--top", 5, "--save", place) == 0
    assert capsys.readouterr().err.splitlines()[0].startswith(f"Saved   {place}: results.json")
    names = {path.name for path in place.iterdir()}
    assert names == {"results.json", "results.csv", "results.coco.json", "sheet.jpg"}
    assert (place / "results.json").read_text() == printed["json"]
    assert (place / "results.csv").read_text() == printed["csv"]
    assert (place / "results.coco.json").read_text() == printed["coco"]
    with Image.open(place / "sheet.jpg") as blurred:
        assert blurred.width > 300
        quiet = np.asarray(blurred.convert("L")).astype(float)
    assert ask(folder, "--item", 2, "--top", 5, "--save", place, "--bystanders") == 0
    with Image.open(place / "sheet.jpg") as sheet:
        everything = np.asarray(sheet.convert("L")).astype(float)
    assert np.abs(np.diff(everything)).mean() > np.abs(np.diff(quiet)).mean()


@pytest.mark.parametrize("place", ["file/case", "/proc/case"])
def test_a_folder_that_cannot_be_made(
    folder: Path, tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("here")
    case = tmp_path / place
    assert ask(folder, "--item", 2, "--save", case) == 7
    assert f"{case} cannot be made: " in capsys.readouterr().err


@pytest.mark.long
def test_appearances(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    walks = {1: lambda n: 4 + 5 * n, 6: lambda n: 120 - 4 * n, 9: lambda n: 70 if n > 5 else None}
    write_video(tmp_path / "clip.mp4", walking_frames(12, walks))
    with Index.create(tmp_path / "a.fdps", ColourEmbedder()) as index:
        index.add(tmp_path / "clip.mp4", every="1f")
        expected = index.search_appearances(index.person(1))
        n_people = len(index)
    assert 1 < len(expected) < n_people / 2
    command = ["search", str(tmp_path / "a.fdps"), "--item", "1", "--appearances", "--top", "50"]
    assert main([*command, "--json"]) == 0
    rows = found(capsys)["appearances"]
    assert [tuple(row["items"]) for row in rows] == [one.items for one in expected]
    assert [row["best"]["item"] for row in rows] == [one.best.item for one in expected]
    assert main([*command, "--save", str(tmp_path / "case")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["rank", "similarity", "item", "seen", "from-to", "best"]
    assert len(lines) > 3 + len(expected)
    with (tmp_path / "case/results.csv").open() as file:
        assert len(file.readlines()) == 1 + len(expected)
    with Image.open(tmp_path / "case/sheet.jpg") as sheet:
        assert sheet.width > 300
    assert main([*command, "--rerank", "expansion"]) == 2
    assert "appearances are not re-ranked" in capsys.readouterr().err


def test_the_audit_says_who_was_looked_for_and_what_for(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder / "event.fdps", tmp_path / "event.fdps")
    arguments = ["--item", "2", "--unlike-item", "5", "--camera", "hall", "--top", "3"]
    assert ask(tmp_path, *arguments, "--purpose", "lost child, case 17", "--json") == 0
    items = [hit["item"] for hit in found(capsys)["hits"]]
    assert main(["archive", "audit", str(tmp_path / "event.fdps"), "--json"]) == 0
    entry = found(capsys)["entries"][-1]
    assert (entry["action"], entry["purpose"]) == ("search", "lost child, case 17")
    details = entry["details"]
    details = json.loads(details) if isinstance(details, str) else details
    assert details["items"] == items
    assert details["asked"] == ["item 2", "item 5"]
    assert details["filters"] == {"cameras": ["hall"]}


def test_a_read_only_archive_is_searched_and_says_that_it_notes_nothing(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder / "event.fdps", tmp_path / "event.fdps")
    for path in [*(tmp_path / "event.fdps").iterdir(), tmp_path / "event.fdps"]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    if os.access(tmp_path / "event.fdps/index.sqlite", os.W_OK):
        pytest.skip("this user writes everywhere")
    assert ask(tmp_path, "--item", "2", "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["hits"]
    assert err.startswith("Audit   this search is not noted: ")


LEVELS = Calibration(
    *("", "counted", "", 0, 9, 9, 9, 999, 0.9, 0.5, 0.9, 0.0),
    *((-1.0, 1.0), (1.0, 1e-6), (1.0, 1e-6), (1.0, 1e-6), (1.0, 0.5), (1.0, 0.5)),
)


@pytest.fixture
def calibrated(folder: Path, tmp_path: Path) -> Path:
    """The same people, with levels."""
    shutil.copytree(folder / "event.fdps", tmp_path / "event.fdps")
    with Index.open(tmp_path / "event.fdps") as index:
        index.calibrate(replace(LEVELS, model_hash=index.info.model_hash))
    return tmp_path


def test_one_picture_and_everybody_give_levels_and_a_verdict(
    calibrated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(calibrated, "--item", 1, "--json") == 0
    result = found(capsys)
    levels = [LEVELS.level(hit["similarity"]) for hit in result["hits"]]
    assert [hit["level"] for hit in result["hits"]] == levels
    assert result["verdict"] == LEVELS.verdict(hit["similarity"] for hit in result["hits"])
    assert "why" not in result


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--min-similarity", "0.99"], "hits below 0.99 are left out"),
        (["--camera", "nope"], "filters"),
        (["--after", "2090-01-01"], "filters"),
        (["--min-height", "1"], "filters"),
        (["--scenes", "photos/*"], "filters"),
        (["--source", "*"], "filters"),
        (["--appearances"], "appearances"),
    ],
)
def test_there_is_no_verdict_where_people_are_left_out(
    calibrated: Path, options: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(calibrated, "--item", 1, *options, "--json") == 0
    result = found(capsys)
    assert result["verdict"] is None
    assert why in result["why"]
    assert ask(calibrated, "--item", 1, *options) == 0
    text = capsys.readouterr().out
    assert f"No verdict on whether the person is here: {result['why']}" in text
    assert "Probably not here" not in text


@pytest.mark.parametrize(
    ("options", "nobody"),
    [
        (["--camera", "nope"], "--camera nope leaves nobody of the 8 people"),
        (["--after", "2090-01-01"], "--after 2090-01-01 leaves nobody of the 8 people"),
        (
            ["--min-height", "1000", "--camera", "gate"],
            "--min-height 1000 leaves nobody of the 4 people whom --camera leaves",
        ),
        (
            ["--source", "*/photos/*", "--camera", "gate", "--scenes", "photos/003.png"],
            "--scenes photos/003.png leaves nobody of the 4 people whom --camera leaves",
        ),
        (
            ["--camera", "gate", "--scenes", "*0.png", "--source", "\n"],
            "--source \\n leaves nobody of the 2 people whom --camera and --scenes leave",
        ),
        (["--min-similarity", "1", "--scenes", "*0.png"], "nobody reaches --min-similarity 1"),
        (["--camera", "nope", "--appearances"], "--camera nope leaves nobody of the 8 people"),
    ],
)
def test_the_filter_that_leaves_nobody_is_named(
    calibrated: Path, options: list[str], nobody: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(calibrated, "--item", 8, *options, "--json") == 0
    result = found(capsys)
    assert (result.get("hits", result.get("appearances")), result["nobody"]) == ([], nobody)
    assert result["verdict"] is None
    assert ask(calibrated, "--item", 8, *options) == 0
    text = capsys.readouterr().out
    assert f"Nobody  in the archive fits: {nobody}" in text
    assert "Probably not here" not in text


def test_whoever_finds_somebody_reads_of_no_filter(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(folder, "--item", 1, "--camera", "gate", "--json") == 0
    assert "nobody" not in found(capsys)


def test_options_keywords_and_fields_of_filters_agree() -> None:
    words = set(FilterWords.__annotations__)
    assert {field.name for field in fields(Where)} == {field.name for field in fields(Filters)}
    assert {field.name for field in fields(Filters)} == words
    assert Where(cameras=["gate"], min_height=5.0).filters() == Filters(("gate",), min_height=5.0)


@pytest.mark.parametrize(
    ("camera", "meant"),
    [
        ("gaet", "; did you mean gate? fdps"),
        ("HALL", "; did you mean hall? fdps"),
        ("nope", "; fdps"),
    ],
)
def test_the_nearest_camera_is_named(
    folder: Path, camera: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(folder, "--item", 1, "--camera", camera, "--camera", "gate") == 0
    out, err = capsys.readouterr()
    assert f"Warning the archive has nobody of a camera called {camera}{meant} archive info" in err
    assert "Nobody" not in out


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--unlike-item", "2"], "the one picture of the person that it is most like"),
        (["--item", "2"], "the one picture of the person that it is most like"),
        (["--rerank", "expansion"], "goes by its similarity"),
    ],
    ids=["somebody else", "two pictures", "re-ranked"],
)
def test_levels_compare_with_the_one_picture_that_a_hit_is_most_like(
    calibrated: Path, options: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(calibrated, "--item", 1, *options, "--json") == 0
    result = found(capsys)
    pictures = [1, 2] if options[0] == "--item" else [1]
    with Index.open(calibrated / "event.fdps") as index:
        like = [index.person(item).embedding for item in pictures]
        for hit in result["hits"]:
            row = index.person(hit["item"]).embedding
            assert hit["level"] == LEVELS.level(max(float(one @ row) for one in like))
    assert result["verdict"] is None
    assert why in result["why"]
    strong = result["calibration"]["thresholds"]["strong"]
    wrong = LEVELS.expected_wrong(LEVELS.strong, result["n_people"] * len(pictures)).mean
    assert strong["expected_wrong"] == pytest.approx(wrong)
    assert ask(calibrated, "--item", 1, *options) == 0
    text = capsys.readouterr().out
    assert "expect at most about" in text
    assert why in text


def test_the_level_of_an_appearance_is_that_of_its_best_sighting(
    calibrated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(calibrated, "--item", 1, "--item", 2, "--appearances", "--json") == 0
    result = found(capsys)
    with Index.open(calibrated / "event.fdps") as index:
        like = [index.person(item).embedding for item in (1, 2)]
        for row in result["appearances"]:
            best = index.person(row["best"]["item"]).embedding
            assert row["level"] == LEVELS.level(max(float(one @ best) for one in like))


@pytest.mark.parametrize("value", ["nan", "7", "-1.01", "inf"])
def test_a_least_similarity_that_is_none_is_refused(
    folder: Path, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(folder, "--item", 1, f"--min-similarity={value}") == 2
    assert "from -1 to 1" in capsys.readouterr().err


def test_an_answer_is_saved_before_it_is_printed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1) as closed:
        monkeypatch.setattr("sys.stdout", closed)
        with suppress(BrokenPipeError):
            ask(folder, "--item", 1, "--save", tmp_path / "saved")
        monkeypatch.undo()
        with suppress(BrokenPipeError):
            closed.close()
    assert (tmp_path / "saved/results.json").stat().st_size > 0
