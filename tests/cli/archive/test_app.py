"""``fdps archive``: what users see, and the exit codes."""

import csv
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fake.embedder import ColourEmbedder
from fake.network import write_network
from fake.photos import write_photos
from fdps.cli.main import main
from fdps.search import Index
from fdps.search.audit import Note
from fdps.search.open_store import open_store
from fdps.serve.cases.forgetting import archive_key
from fdps.serve.cases.places import places_of
from fdps.serve.cases.store import CaseStore

if TYPE_CHECKING:
    from fake.postgres import PostgresServer

PEOPLE = 2


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``event.fdps`` of three photos by a network, all in one folder."""
    folder = tmp_path_factory.mktemp("archive")
    network = write_network(folder / "weights.safetensors", n_people=PEOPLE)
    write_photos(folder / "photos", 3)
    command = ["index", folder / "photos", "-o", folder / "event.fdps", "--model", network]
    assert main([*map(str, command), "--quiet", "--camera", "gate"]) == 0
    return folder


@pytest.fixture
def archive(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    shutil.copytree(built / "event.fdps", tmp_path / "event.fdps")
    monkeypatch.chdir(tmp_path)
    return "event.fdps"


def run(*arguments: object) -> int:
    return main(["archive", *map(str, arguments)])


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, object]:
    capsys.readouterr()
    assert run(*arguments, "--json") == 0
    figures: dict[str, object] = json.loads(capsys.readouterr().out)
    return figures


def execute(archive: str, statement: str) -> None:
    with closing(sqlite3.connect(f"{archive}/index.sqlite", isolation_level=None)) as connection:
        connection.execute(statement)


def test_info_counts_what_is_there(
    archive: str, built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("info", archive) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith(f"Model   {built / 'weights.safetensors'} (")
    assert lines[2:5] == [
        "People  6 in 3 scenes",
        "Camera  gate: 3 scenes",
        f"Source  {built / 'photos'}: 3 scenes",
    ]
    assert lines[-2:-1] == ["Keeps   everything for ever"]
    info = printed(capsys, "info", archive)
    assert (info["n_people"], info["n_scenes"], info["calibrated"]) == (6, 3, False)
    contents = info["contents"]
    assert isinstance(contents, dict)
    assert contents["sources"] == {str(built / "photos"): 3}
    assert contents["n_entries"] == 4  # create, note (of the least score), index, indexed


def test_verify_ends_with_6_and_names_the_fault(
    archive: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("verify", archive) == 0
    assert capsys.readouterr().out == f"Whole   {archive}: 6 people in 3 scenes\n"
    execute(archive, "UPDATE people SET score = 2 WHERE id = 1")
    assert run("verify", archive) == 6
    assert "Fault   scenes: 'photos/000.png' or its people" in capsys.readouterr().out
    assert run("verify", archive, "--json") == 6
    assert len(json.loads(capsys.readouterr().out)["faults"]) == 1
    assert run("verify", "none.fdps") == 3


def test_audit_lists_checks_and_compares_the_head(
    archive: str, capsys: pytest.CaptureFixture[str]
) -> None:
    head = str(printed(capsys, "audit", archive)["head"])
    with Index.open(archive, purpose="lost child") as index:
        index.search(np.eye(1, index.info.dim, dtype=np.float32)[0], 1)
    assert run("audit", archive, "--limit", 1, "--expect", head) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith('search "lost child"')
    assert json.loads(lines[1])["top"] == 1
    assert lines[2].startswith("Head    ")
    assert run("audit", archive, "--expect", "f" * 64) == 6
    execute(archive, "UPDATE audit SET who = 'nobody' WHERE seq = 2")
    assert run("audit", archive) == 6
    assert "Fault   audit: entry 2 was changed" in capsys.readouterr().out
    assert run("audit", archive, "--json") == 6


def test_remove_asks_unless_told_not_to(
    archive: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("remove", archive, "--scene", "*/000*") == 2
    assert "add --yes" in capsys.readouterr().err
    assert run("remove", archive, "--scene", "*/00[01]*", "--dry-run") == 0
    assert capsys.readouterr().out.splitlines() == [
        "  photos/000.png",
        "  photos/001.png",
        f"Would erase 2 scenes from {archive}. Nothing changed.",
    ]
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: True)
    assert run("remove", archive, "--scene", "*/000*") == 0
    assert capsys.readouterr().out == f"Erased  2 people in 1 scenes from {archive}\n"
    figures = printed(capsys, "remove", archive, "--item", 3, "--yes", "--purpose", "blurred")
    assert (figures["n_people"], figures["log_is_empty"]) == (1, True)
    assert printed(capsys, "info", archive)["n_people"] == 3
    entries = printed(capsys, "audit", archive, "--limit", 1)["entries"]
    assert isinstance(entries, list)
    assert (entries[0]["action"], entries[0]["purpose"]) == ("remove", "blurred")


@pytest.mark.parametrize(
    ("conditions", "n_scenes"),
    [
        (("--scene", "photos/*"), 3),
        (("--scene", "*0.png", "--scene", "*1.png"), 2),
        (("--scene", "*0.png", "--camera", "hall"), 0),
        (("--camera", "gate"), 3),
        (("--source", "*/photos/002.png"), 1),
        (("--before", "2030-01-01"), 0),  # their time is unknown
    ],
)
def test_scenes_fulfil_all_conditions(
    archive: str, capsys: pytest.CaptureFixture[str], conditions: tuple[str, ...], n_scenes: int
) -> None:
    chosen = printed(capsys, "remove", archive, *conditions, "--dry-run")["would_erase"]
    assert isinstance(chosen, list)
    assert len(chosen) == n_scenes


def test_remove_needs_one_kind_of_choice(archive: str) -> None:
    assert run("remove", archive, "--yes") == 2
    assert run("remove", archive, "--yes", "--item", 1, "--scene", "*") == 2
    assert run("remove", archive, "--before", "yesterday", "--dry-run") == 2


def test_compact_says_what_it_won(archive: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("compact", archive) == 0
    assert capsys.readouterr().out.startswith(f"Compact {archive}: 0.1 MB, 0.0 MB less")
    sizes = printed(capsys, "compact", archive)
    assert sizes["after"] == sizes["before"]


@pytest.mark.long
def test_forget_by_picture_shows_first_and_erases_then(
    archive: str, built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    like = ("--like", built / "photos/001.png", "--person", 1, "--min-similarity", 0.999)
    assert run("forget", archive, *like, "--dry-run", "--out", "look") == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "    item  similarity  scene  box"
    assert out[-1].endswith(f"of {archive}. Nothing changed.")
    assert Path("look/sheet.jpg").stat().st_size > 1000
    with Path("look/people.csv").open(newline="") as file:
        items = [int(row["item"]) for row in csv.DictReader(file)]
    assert 3 in items or 4 in items
    assert printed(capsys, "info", archive)["n_people"] == 6
    command = ("forget", archive, "--ids-file", "look/people.csv", "--reason", "art. 17")
    assert run(*command) == 2
    assert run(*command, "--yes", "--out", "done") == 0
    out = capsys.readouterr().out.splitlines()
    assert out[-2:] == [
        f"Erased  {len(items)} people from {archive}",
        "Note    the files were not touched; done/originals.csv names them",
    ]
    assert str(built / "photos/001.png") in Path("done/originals.csv").read_text()
    assert printed(capsys, "info", archive)["n_people"] == 6 - len(items)
    entries = printed(capsys, "audit", archive)["entries"]
    assert isinstance(entries, list)
    assert [(entry["action"], entry["purpose"]) for entry in entries][-2:] == [
        ("search", "forget"),
        ("forget", "art. 17"),
    ]
    assert main(["index", str(built / "photos"), "-o", archive, "--all", "-q"]) == 0
    assert printed(capsys, "info", archive)["n_people"] == 6 - len(items)
    assert run("verify", archive) == 0


@pytest.mark.long
def test_forget_names_what_a_list_says_in_vain(
    archive: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "ids.csv").write_text("item\n1\n977\n1\n")
    assert run("forget", archive, "--ids-file", tmp_path / "ids.csv", "--dry-run") == 0
    assert "line 4: item 1 stands already in line 2" in caplog.text
    assert "1 of 2 items are not in the archive: 977" in caplog.text
    (tmp_path / "ids.csv").write_text("nonsense")
    assert run("forget", archive, "--ids-file", tmp_path / "ids.csv", "--yes") == 3
    assert "line 1: expected a column item, got 'nonsense'" in capsys.readouterr().err


def test_an_audit_names_few_of_many_and_json_all(
    archive: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"scene {n}\x1b[2J.png" for n in range(170)]
    with open_store(archive) as store:
        store.record(Note("search", "why\nnot", {"scenes": names, "few": [1, 2, 3]}))
    assert run("audit", archive, "--limit", 1) == 0
    entry, details, *_ = capsys.readouterr().out.splitlines()
    assert entry.endswith('"why\\nnot"')
    assert "and 167 more (170 in all)" in details
    assert '"few": [1, 2, 3]' in details
    assert len(details) < 200
    assert "\x1b" not in details
    listed = printed(capsys, "audit", archive)["entries"]
    assert isinstance(listed, list)
    assert json.loads(listed[-1]["details"])["scenes"] == names


@pytest.mark.long
def test_whoever_is_forgotten_leaves_the_cases_of_the_web_service(archive: str) -> None:
    folder = Path(archive)
    with closing(CaseStore(folder / "cases.sqlite")) as cases, Index.open(archive) as index:
        key, places = archive_key(index.store), places_of(index.store, [1, 3])
        case = cases.create(key, "a", by="ann").line.id
        for item in (1, 3):
            cases.judge(case, places[item], "confirmed", by="ann", note=f"note on {item}")
    assert run("forget", archive, "--item", 1, "--yes") == 0
    assert b"note on 1" not in (folder / "cases.sqlite").read_bytes()
    with closing(CaseStore(folder / "cases.sqlite")) as cases:
        assert [judged.note for judged in cases.case(case).judged] == ["note on 3"]


@pytest.mark.long
def test_forget_by_number(archive: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("forget", archive, "--item", 1, "--item", 5)
    assert len(str(printed(capsys, *command, "--dry-run")["would_forget"])) > 20
    assert printed(capsys, *command, "--yes")["n_people"] == 2
    assert run(*command, "--yes") == 3  # they are gone


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--item", 1, "--ids-file", "x.csv"),
        ("--like", "x.png"),
        ("--item", 1, "--min-similarity", 0.5),
    ],
)
def test_forget_needs_one_way_to_say_whom(archive: str, options: tuple[object, ...]) -> None:
    assert run("forget", archive, *options, "--yes") == 2


def test_nobody_is_so_similar(
    archive: str, built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The box begins beside the person, so that nobody is as similar as the person to themselves.
    like = ("--like", built / "photos/001.png", "--box", "0,0,30,40", "--min-similarity", 1)
    assert run("forget", archive, *like, "--yes") == 0
    assert "Would erase 0 people" in capsys.readouterr().out


@pytest.mark.long
def test_retention_is_set_shown_and_applied(
    archive: str, built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("retention", archive) == 0
    assert "keeps everything for ever" in capsys.readouterr().out
    assert run("retention", archive, "--apply", "--yes") == 2
    assert run("retention", archive, "--keep", "soon") == 2
    assert run("retention", archive, "--keep", "30d") == 0
    assert capsys.readouterr().out.splitlines() == [
        f"Keeps   {archive} keeps scenes for 30d from the time added",
        "Due     0 scenes are older",
    ]
    execute(archive, "UPDATE scenes SET added = added - 31 * 86400 WHERE id = 2")
    assert printed(capsys, "retention", archive)["due"] == ["photos/001.png"]
    assert main(["index", str(built / "photos"), "-o", archive, "-q"]) == 0
    warning = f"1 scene is older than 30d: fdps archive retention {archive} --apply"
    assert warning in capsys.readouterr().err
    assert run("retention", archive, "--apply") == 2  # nobody to ask
    assert printed(capsys, "retention", archive, "--apply", "--yes")["n_scenes"] == 1
    assert printed(capsys, "retention", archive, "--keep", "forever")["keep"] is None


@pytest.mark.long
def test_index_sets_the_retention(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = str(tmp_path / "new.fdps")
    command = ["index", str(built / "photos"), "-o", archive, "-q"]
    model = ["--model", str(built / "weights.safetensors")]
    assert main([*command, *model, "--keep", "never"]) == 2
    assert not Path(archive).exists()
    assert main([*command, *model, "--keep", "2w"]) == 0
    assert printed(capsys, "retention", archive)["keep"] == "2w"
    assert main(command) == 0  # says nothing of it, changes nothing
    assert printed(capsys, "retention", archive)["keep"] == "2w"


@pytest.mark.parametrize("verb", ["info", "verify", "audit", "compact", "retention"])
def test_a_server_that_is_away_is_named(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(verb, "postgresql://127.0.0.1:1/people") == 6
    assert "no answer from postgresql://127.0.0.1:1/people" in capsys.readouterr().err


@pytest.mark.long
def test_every_verb_works_on_a_server(
    postgres: "PostgresServer", built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"{postgres.url()}?archive=every_verb"
    with Index.create(address, ColourEmbedder()) as index:
        index.add(built / "photos")
        n_people, n_scenes = len(index), index.n_scenes
        (item, *_) = index.people_in("photos/000.png")
    assert printed(capsys, "info", address)["n_people"] == n_people
    assert printed(capsys, "verify", address)["faults"] == []
    assert printed(capsys, "retention", address, "--keep", "2w")["keep"] == "2w"
    assert printed(capsys, "remove", address, "--scene", "*001.png", "--yes")["n_scenes"] == 1
    assert printed(capsys, "forget", address, "--item", str(item.item), "--yes")["n_people"] == 1
    assert printed(capsys, "compact", address)["after"] > 0
    audit = printed(capsys, "audit", address)
    actions = [entry["action"] for entry in audit["entries"]]
    assert actions[0] == "create"
    assert actions[-4:] == ["retention", "remove", "forget", "compact"]
    assert audit["faults"] == []
    assert printed(capsys, "info", address)["n_scenes"] == n_scenes - 1
