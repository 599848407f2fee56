"""Tables: their numbers are those of the evaluation, and their files can be read by others."""

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fake.reproduced import tiny_bench, tiny_choice, write_predictions
from fdps.errors import ModelError
from fdps.evaluation import evaluate
from fdps.predictions import load_predictions
from fdps.reproduce.one_run import DONE_FILE
from fdps.reproduce.reproduction import Reproduction
from fdps.reproduce.table_files import as_csv, as_latex, as_markdown, as_page_table, escaped
from fdps.reproduce.tables import Measured, PValue, ResultTable
from fdps.reproduce.targets import find_targets

ODD = ResultTable(
    "odd",
    "50 % & more_of {it} | # $1 ~ ^ \\",
    ("method", "mAP", "paper mAP", "p of mAP"),
    (
        ("a_b | c", Measured(45.125, 0.25), 45.1, "base"),
        ("d & e", Measured(1 / 3, float("nan")), "–", PValue(0.00042)),
        ("f", "failed", 9.0, PValue(float("nan"))),
    ),
    "a <note> with *stars*",
)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Reproduction:
    """Table 1 to 3 and Fig. 5 of predictions that no network made."""
    folder = tmp_path_factory.mktemp("work")
    targets = find_targets("table1") | find_targets("table3") | find_targets("fig5")
    bench = tiny_bench(folder)
    made = Reproduction(targets, bench, tiny_choice(), folder / "out", seeds=2)
    write_predictions(made.orders(), made.test)
    made.write({}, command="fdps reproduce")
    return made


def rows_of(file: Path) -> dict[str, dict[str, str]]:
    with file.open(newline="") as lines:
        return {row["method"]: row for row in csv.DictReader(lines)}


def test_the_numbers_are_those_of_the_evaluation(work: Reproduction) -> None:
    rows = rows_of(work.out / "table1.csv")
    assert [*rows] == ["OIM-base", "Flatten", "Parameter-base", "FDPS"]
    for key, row in zip(work.runs["table1"], rows.values(), strict=True):
        reports = [
            evaluate(load_predictions(run.folder / "predictions.safetensors"), work.test).json()
            for run in work.runs["table1"][key]
        ]
        for group, name, head in [
            ("detection", "recall", "recall"),
            ("detection", "ap", "AP"),
            ("search", "mAP", "mAP"),
            ("search", "top1", "top-1"),
        ]:
            values = [100 * report[group][name] for report in reports]
            assert float(row[head]) == pytest.approx(np.mean(values), abs=1e-9)
            deviation = float(row[f"{head} deviation"])
            assert deviation == pytest.approx(np.std(values, ddof=1), abs=1e-9)


def test_the_values_of_the_paper_stand_beside_ours(work: Reproduction) -> None:
    row = rows_of(work.out / "table1.csv")["Flatten"]
    reported = [float(row[f"paper {name}"]) for name in ("recall", "AP", "mAP", "top-1")]
    assert reported == [92.5, 86.9, 91.5, 92.6]
    rows = rows_of(work.out / "table3.csv")
    assert float(rows["NAE+"]["paper mAP, CUHK-SYSU"]) == 92.1
    assert float(rows["FDPS + BOIM"]["paper top-1, PRW"]) == 83.7
    assert float(rows["TCTS, each picture alone, two-step"]["paper mAP, PRW"]) == 46.8
    assert float(rows["CLSA, two-step"]["paper top-1, CUHK-SYSU"]) == 88.5
    assert float(rows["CLSA, two-step"]["mAP"]) > 0
    assert float(rows["IGPN, each picture alone, two-step"]["paper mAP, PRW"]) == 47.2
    assert float(rows["IGPN, each picture alone, two-step"]["mAP"]) > 0
    assert rows["SeqNet"]["paper mAP, PRW"] == ""


def test_systems_that_weigh_by_the_score_are_scored_so(work: Reproduction) -> None:
    run = work.runs["table3"]["seqnet"][0]
    found = load_predictions(run.folder / "predictions.safetensors")
    other = load_predictions(work.runs["table3"]["seqnet"][1].folder / "predictions.safetensors")
    weighed = [evaluate(p, work.test, weight_by_score=True).search.mean_ap for p in (found, other)]
    row = rows_of(work.out / "table3.csv")["SeqNet"]
    assert float(row["mAP"]) == pytest.approx(100 * np.mean(weighed), abs=1e-9)


def test_p_values_are_those_of_the_comparison(work: Reproduction) -> None:
    facts = json.loads((work.out / "figures.json").read_text())
    systems = facts["table1"]["comparison"]["systems"]
    rows = rows_of(work.out / "table1.csv")
    assert rows["OIM-base"]["p of mAP"] == "base"
    for system in systems[1:]:
        corrected = system["differences"]["mAP"]["p_corrected"]
        assert float(rows[system["name"]]["p of mAP"]) == corrected


@pytest.mark.long
def test_how_it_was_made_is_kept_with_the_figures(work: Reproduction) -> None:
    done = work.orders()[0].run.folder / DONE_FILE
    done.write_text(json.dumps({"train_seconds": 5400.0, "predict_seconds": 720.0}))
    work.write({}, command="fdps reproduce")
    done.unlink()
    made = json.loads((work.out / "figures.json").read_text())["made"]
    assert made["Command"] == "fdps reproduce"
    assert made["Hours"] == "1.5 of training and 0.2 of predicting, summed over the runs"
    assert "1.5 of training" in (work.out / "index.html").read_text()
    work.write({}, command="fdps reproduce")


def test_the_page_holds_everything_and_loads_nothing(work: Reproduction) -> None:
    page = (work.out / "index.html").read_text()
    assert page.count("<table>") == 2
    assert page.count("<svg") == 2  # ours, and the published curves
    assert "<script" not in page
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    for name in ("fig5.svg", "fig5.png", "fig5_published.png", "table1.tex", "table3.md"):
        assert (work.out / name).stat().st_size > 200


@pytest.mark.long
def test_equal_runs_give_equal_files(work: Reproduction) -> None:
    names = ["table1.md", "table1.csv", "table3.tex", "fig5.svg", "fig5.png", "figures.json"]
    before = {name: (work.out / name).read_bytes() for name in names}
    work.write({}, command="fdps reproduce")
    assert {name: (work.out / name).read_bytes() for name in names} == before


def test_a_run_that_failed_leaves_its_row_and_a_word(work: Reproduction) -> None:
    flatten = work.runs["table1"]["flatten"]
    failed = {run.address: ModelError("no such weights") for run in flatten}
    smaller = replace_targets(work, "table1")
    page, problems = smaller.write(failed, command="")
    assert len(problems) == 2
    assert rows_of(smaller.out / "table1.csv")["Flatten"]["mAP"] == "failed"
    assert "no such weights" in page.read_text()


def test_a_table_of_which_all_failed_is_a_problem(work: Reproduction) -> None:
    smaller = replace_targets(work, "table1")
    failed = {order.run.address: ModelError("broken") for order in smaller.orders()}
    _, problems = smaller.write(failed, command="")
    assert "nothing to compare" in problems[-1]


def replace_targets(work: Reproduction, name: str) -> Reproduction:
    made = Reproduction(find_targets(name), work.bench, work.choice, work.out, seeds=2)
    made.out = work.out.parent / "other"
    return made


def test_latex_is_balanced_and_escaped() -> None:
    text = as_latex(ODD)
    bare = re.sub(r"\\\\$|\\textbackslash\{\}|\\[&%$#_{}]", "", text, flags=re.M)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    begun = re.findall(r"\\begin\{(\w+)\}", text)
    assert begun == re.findall(r"\\end\{(\w+)\}", text)[::-1]
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(lines) == 1 + len(ODD.rows)
    assert all(len(re.findall(r"(?<!\\)&", line)) == len(ODD.heads) - 1 for line in lines)
    assert not re.search(r"(?<!\\)[%#_]", text.replace(r"\label{tab:odd}", ""))
    assert r"$<$0.001" in text
    assert text.isascii()


def test_every_letter_that_latex_reads_is_escaped() -> None:
    assert escaped("&%$#_{}") == r"\&\%\$\#\_\{\}"
    assert escaped("\\~^") == r"\textbackslash{}\textasciitilde{}\textasciicircum{}"


def test_csv_has_every_digit_and_a_column_for_each_deviation() -> None:
    rows = [*csv.DictReader(io.StringIO(as_csv(ODD)))]
    assert [*rows[0]] == ["method", "mAP", "mAP deviation", "paper mAP", "p of mAP"]
    assert float(rows[1]["mAP"]) == 1 / 3
    assert rows[1]["mAP deviation"] == rows[1]["paper mAP"] == rows[2]["p of mAP"] == ""
    assert rows[1]["p of mAP"] == "0.00042"


def test_markdown_has_as_many_cells_everywhere() -> None:
    lines = [line for line in as_markdown(ODD).splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {5}
    assert "45.1 ± 0.2" in as_markdown(ODD)
    assert r"\<note>" in as_markdown(ODD)


def test_the_page_prints_what_the_files_print() -> None:
    table = as_page_table(replace(ODD, caption="plain"))
    assert table.rows[0] == ("a_b | c", "45.1 ± 0.2", "45.1", "base")
    assert table.rows[2] == ("f", "failed", "9.0", "–")
