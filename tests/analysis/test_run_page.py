import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from fdps.analysis import run_page
from fdps.analysis.run_page import RunPage
from fdps.analysis.run_records import (
    MAX_LINES,
    N_NEWEST,
    find_best,
    find_standing,
    read_records,
)

HOSTILE = '<script>alert("&")</script>'
STEP = {
    "lr": 0.003,
    "rpn_score": 0.5,
    "rpn_box": 0.25,
    "person": 0.4,
    "box": 0.03,
    "reid": 8.25,
    "oim": 8.0,
    "w": 1.0,
    "negative": 0.25,
    "n_hard": 3.0,
    "positive_similarity": 0.5,
    "negative_similarity": 0.25,
    "grad_trunk": 20.0,
    "grad_rpn": 1.5,
    "grad_heads": 40.0,
    "people": 34,
    "images_per_s": 9.5,
    "data_share": 0.125,
    "memory_gib": 6.5,
}


class Page(HTMLParser):
    """Collects the tags with their attributes, the text, and the rows of tables."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.text, self.open, self.rows = [], "", [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "img"}:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"th", "td"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if self.open and self.open[-1] in {"th", "td"}:
            self.rows[-1][-1] += data

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

    def row(self, head):
        return next(row for row in self.rows if row[0] == head)

    @property
    def charts(self):
        """What each chart says in words."""
        return [attrs["aria-label"] for attrs in self.all("div") if attrs.get("role") == "img"]


def steps(n, per_epoch=10, **values):
    return [
        {"step": k, "epoch": k / per_epoch, **STEP, "seconds": 2.0 * k, **values}
        for k in range(1, n + 1)
    ]


def write_lines(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def page_of(run, *, total_steps=100, is_running=True):
    page = Page(RunPage(run).write(total_steps=total_steps, is_running=is_running))
    assert page.open == []
    return page


@pytest.fixture
def full(tmp_path):
    """A run with everything that a run folder can have."""
    run = tmp_path / "runs" / "first_try"
    (run / "samples").mkdir(parents=True)
    write_lines(run / "log.jsonl", steps(30))
    means = {name: STEP[name] for name in ("rpn_score", "rpn_box", "person", "box", "reid")}
    found = {"recall": 0.9, "ap": 0.85, "mAP": 0.5, "top1": 0.75}
    write_lines(
        run / "epochs.jsonl",
        [
            {"epoch": 1, "step": 10, **means, "images_per_s": 9.0, "seconds": 20.0},
            {"epoch": 2, "step": 20, **means, "seconds": 40.0, **found, "is_best": True},
            {"epoch": 3, "step": 30, **means, "seconds": 4000.0, **(found | {"mAP": 0.4})},
        ],
    )
    (run / "recipe.toml").write_text('name = "first"\n[loss]\nname = "boim"\n[train]\nlr = 0.003\n')
    (run / "environment.json").write_text('{"torch": "2.11.0", "cores": 2, "gpu": ""}')
    for name in ("e001.jpg", "e002.jpg", "e1000.jpg", "e003.jpg.part", "notes.jpg"):
        (run / "samples" / name).touch()
    return run


def test_a_run_without_a_step_has_a_page(tmp_path):
    page = page_of(tmp_path / "new" / "run")
    assert "No step is logged yet" in page.text
    assert "0 of 100" in page.text
    assert page.charts == []
    assert page.all("progress")[0]["value"] == "0.00"


@pytest.mark.long
def test_the_head_says_where_the_run_stands(full):
    page = page_of(full)
    assert "first_try" in page.text
    assert "loss boim · learning rate 0.003" in page.text
    facts = dict(re.findall(r"<div><dt>(.*?)</dt><dd>(.*?)</dd></div>", page.source))
    assert facts == {
        "Step": "30 of 100",
        "Epoch": "3.0 of 10",
        "Time so far": "0:01:00",
        "Time left": "about 0:02:20",  # 70 steps of 2 s
        "Best mAP": "50.0 % in epoch 2",
    }
    assert page.all("progress")[0]["value"] == "30.00"


@pytest.mark.long
def test_newest_figures_stand_beside_their_mean(tmp_path):
    records = steps(N_NEWEST + 50)
    for record, box in zip(records[-2:], (0.1, 0.02), strict=True):
        record["box"] = box
    write_lines(tmp_path / "log.jsonl", records)
    page = page_of(tmp_path)
    mean = ((N_NEWEST - 2) * 0.03 + 0.1 + 0.02) / N_NEWEST
    assert page.row("box") == ["box", "0.0200", f"{mean:#.3g}"]
    assert page.row("people") == ["people", "34", "34.0"]
    assert page.row("waiting for pictures, %") == ["waiting for pictures, %", "12.5", "12.5"]
    assert page.row("gradient of heads")[1] == "40.0"
    assert page.row("")[2] == f"mean of {N_NEWEST}"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.016, "0.0160"),
        (2.0, "2.00"),
        (123.4, "123"),
        (21170.85, "21,171"),
        (12345, "12,345"),
        (2.675e-5, "2.67e-05"),
        (0.0, "0"),
        (-0.5, "-0.500"),
    ],
)
def test_figures_are_short_and_line_up(tmp_path, value, shown):
    write_lines(tmp_path / "log.jsonl", [{"step": 1, "reid": value}])
    assert page_of(tmp_path).row("reid")[1] == shown


@pytest.mark.long
def test_a_value_that_the_page_does_not_know_is_in_the_table(tmp_path):
    write_lines(tmp_path / "log.jsonl", steps(3, novelty=1.5))
    assert page_of(tmp_path).row("novelty")[1] == "1.50"


@pytest.mark.long
def test_every_value_has_its_chart(full):
    titles = [told.partition(" over epochs")[0] for told in page_of(full).charts]
    assert titles == [
        "Detection losses (loss)",
        "Re-ID loss (loss)",
        "Similarity (similarity)",
        "Search on validation (%)",
        "Detection on validation (%)",
        "Weight w of OIM (weight)",
        "Hard negatives (per labelled person)",
        "Gradient norms (norm before clipping)",
        "Learning rate (learning rate)",
        "Speed (images per second)",
        "Waiting for pictures (%)",
        "Memory (GiB)",
    ]


@pytest.mark.long
def test_fractions_are_drawn_in_percent(full):
    charts = page_of(full).charts
    assert any("mAP: newest 40, between 40 and 50." in told for told in charts)
    assert any("waiting for pictures, %: newest 12.5" in told for told in charts)


@pytest.mark.long
def test_charts_are_well_formed_xml(full):
    page = page_of(full)
    drawn = re.findall(r"<svg.*?</svg>", page.source, re.S)
    assert len(drawn) == len(page.charts) == 12
    for svg in drawn:
        ElementTree.fromstring(svg)


def test_a_run_under_plain_oim_has_no_charts_of_other_terms(tmp_path):
    write_lines(
        tmp_path / "log.jsonl",
        [{"step": k, "epoch": k / 3, "reid": 2.0, "oim": 2.0, "grad_all": 3.0} for k in range(5)],
    )
    titles = [told.partition(" over")[0] for told in page_of(tmp_path).charts]
    assert titles == ["Re-ID loss (loss)", "Gradient norms (norm before clipping)"]


@pytest.mark.long
def test_epochs_are_listed_newest_first_and_the_best_is_named(full):
    page = page_of(full)
    heads = [row[0] for row in page.rows if re.match(r"\d", row[0])]
    assert heads == ["3", "2 · best", "1"]
    head = page.row("epoch")
    best = dict(zip(head, page.row("2 · best"), strict=True))
    assert (best["mAP"], best["top-1"], best["reid"]) == ("50.0", "75.0", "8.25")
    assert best["images/s"] == "–"
    assert dict(zip(head, page.row("3"), strict=True))["time so far"] == "1:06:40"
    assert dict(zip(head, page.row("1"), strict=True))["mAP"] == "–"


def test_a_run_without_validation_has_no_column_for_it(tmp_path):
    write_lines(tmp_path / "epochs.jsonl", [{"epoch": 1, "step": 10, "reid": 2.0}])
    page = page_of(tmp_path)
    assert page.row("epoch") == ["epoch", "reid"]
    assert page.row("1") == ["1", "2.00"]
    assert "percent" not in page.text


@pytest.mark.long
def test_the_newest_sheet_is_shown_and_older_ones_are_linked(full):
    page = page_of(full)
    assert [image["src"] for image in page.all("img")] == ["samples/e1000.jpg"]
    assert "epoch 1000" in page.all("img")[0]["alt"]
    assert [link["href"] for link in page.all("a")] == [
        f"samples/{name}.jpg" for name in ("e1000", "e002", "e001")
    ]


@pytest.mark.long
def test_recipe_and_environment_are_at_the_end(full):
    page = page_of(full)
    assert '[loss]\nname = "boim"' in page.text
    assert "<dt>torch</dt><dd>2.11.0</dd>" in page.source
    assert "<dt>cores</dt><dd>2</dd>" in page.source
    assert "gpu" not in page.source


@pytest.mark.long
@pytest.mark.parametrize(
    ("is_running", "n_steps", "state"),
    [
        (True, 30, "Running"),
        (False, 30, "Stopped"),
        (False, 100, "Finished"),
        (False, 0, "Stopped"),
    ],
)
def test_only_a_running_page_loads_itself_again(tmp_path, is_running, n_steps, state):
    write_lines(tmp_path / "log.jsonl", steps(n_steps))
    page = page_of(tmp_path, is_running=is_running)
    refreshes = [m["content"] for m in page.all("meta") if m.get("http-equiv") == "refresh"]
    assert refreshes == (["10"] if is_running else [])
    assert re.search(r'<p class="state \w+">(\w+)</p>', page.source)[1] == state
    assert ("Time left" in page.text) == is_running
    assert ("fdps resume continues it" in page.text) == (state == "Stopped")


@pytest.mark.long
def test_the_page_loads_and_runs_nothing(full):
    page = page_of(full)
    source = re.sub(r' xmlns(:\w+)?="[^"]*"', "", page.source)  # names of SVG, which nothing loads
    assert not re.search(r"https?://|@import|url\((?!#)|<script", source)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "iframe", "object", "embed", "base", "form"}
    assert not any(name.startswith("on") for _, a in page.tags for name in a)


@pytest.mark.long
def test_the_policy_allows_style_and_pictures_only(full):
    page = page_of(full)
    (policy,) = (
        m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"
    )
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules == {
        "default-src": "'none'",
        "img-src": "data: 'self' file:",
        "style-src": "'unsafe-inline'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


@pytest.mark.long
def test_every_text_is_escaped(tmp_path):
    run = tmp_path / "a <b> & c"
    run.mkdir()
    write_lines(run / "log.jsonl", steps(3, **{HOSTILE: 1.0}))
    (run / "recipe.toml").write_text(f"[loss]\nname = '{HOSTILE}'\n")
    (run / "environment.json").write_text(json.dumps({HOSTILE: HOSTILE}))
    page = page_of(run)
    assert "<script" not in page.source
    assert "<b>" not in page.source
    assert page.text.count(HOSTILE) == 5  # table, line below the title, recipe, environment twice
    assert "a <b> & c" in page.text


@pytest.mark.long
def test_a_line_that_is_half_written_is_passed_over(tmp_path):
    write_lines(tmp_path / "log.jsonl", steps(3))
    with (tmp_path / "log.jsonl").open("ab") as file:
        file.write(b'[1, 2]\nnull\n\n{"step": 4, "box": 0.9, "n\xc3')
    (tmp_path / "epochs.jsonl").write_text('{"epoch": 1, "ste')
    page = page_of(tmp_path)
    assert "3 of 100" in page.text
    assert page.row("box")[1] == "0.0300"


@pytest.mark.long
def test_what_is_no_finite_number_is_left_out(tmp_path):
    bad = [float("nan"), float("inf"), -float("inf"), None, "0.5", [1.0], {"a": 1}]
    records = steps(len(bad) + 2)
    for record, value in zip(records[1:-1], bad, strict=True):
        record["w"] = value
    records[-1]["reid"] = float("nan")
    write_lines(tmp_path / "log.jsonl", records)
    page = page_of(tmp_path)
    assert not re.search(r"\b(nan|inf|None)\b", page.source)
    assert page.row("reid") == ["reid", "8.25", "8.25"]
    assert any("Weight w of OIM" in told and "newest 1" in told for told in page.charts)


@pytest.mark.long
@pytest.mark.parametrize("text", ["", "not toml [", "[[loss]]\nname = 1\n", "loss = 3\n"])
def test_damaged_files_leave_the_rest_of_the_page(tmp_path, text):
    write_lines(tmp_path / "log.jsonl", steps(3))
    (tmp_path / "recipe.toml").write_text(text)
    for environment in ("", "[]", "{"):
        (tmp_path / "environment.json").write_text(environment)
        assert "3 of 100" in page_of(tmp_path).text


def test_lines_may_lack_step_epoch_and_time(tmp_path):
    write_lines(tmp_path / "log.jsonl", [{"box": 0.5}, {"step": 7, "seconds": 14.0, "box": 0.25}])
    write_lines(tmp_path / "epochs.jsonl", [{"mAP": 0.5}])
    page = page_of(tmp_path)
    assert page.charts == []
    assert "7 of 100" in page.text
    assert "about 0:03:06" in page.text  # 93 steps of 2 s


def test_an_older_page_is_replaced_and_nothing_else_is_left(tmp_path):
    page_of(tmp_path, is_running=True)
    page_of(tmp_path, is_running=False)
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


@pytest.mark.long
def test_a_long_log_is_read_in_part_and_drawn_thin(tmp_path):
    n = 2 * MAX_LINES + 500
    write_lines(tmp_path / "log.jsonl", [{"step": k, "epoch": k / 100, "w": 1.0} for k in range(n)])
    records = read_records(tmp_path / "log.jsonl")
    assert len(records) <= MAX_LINES + N_NEWEST
    assert [r["step"] for r in records[:2]] == [0, 3]
    assert [r["step"] for r in records[-N_NEWEST:]] == list(range(n - N_NEWEST, n))
    assert page_of(tmp_path, total_steps=n).charts


@pytest.mark.long
def test_curves_of_a_running_run_are_not_drawn_with_every_page(tmp_path, monkeypatch):
    times, drawn = iter(range(0, 1000, 2)), []

    def draw_charts(steps, epochs):
        drawn.append(len(steps))
        return []

    monkeypatch.setattr(run_page.time, "monotonic", lambda: next(times))
    monkeypatch.setattr(run_page, "draw_charts", draw_charts)
    page = RunPage(tmp_path)
    for n in range(1, 60):
        write_lines(tmp_path / "log.jsonl", steps(n))
        page.write(total_steps=100, is_running=True)
    assert drawn[0] == 1
    # A drawing takes 2 s on this clock, so the next one comes after 100 s.
    assert len(drawn) == 2
    page.write(total_steps=100, is_running=False)
    assert drawn[-1] == 59


def test_a_log_of_some_lines_is_read_whole(tmp_path):
    write_lines(tmp_path / "log.jsonl", [{"step": k} for k in range(MAX_LINES)])
    assert len(read_records(tmp_path / "log.jsonl")) == MAX_LINES


def test_the_time_left_follows_the_newer_half():
    slow = [{"step": k, "seconds": 1.0 * k} for k in range(1, 11)]
    slow += [{"step": 10 + k, "seconds": 10.0 + 5 * k} for k in range(1, 11)]
    assert find_standing(slow, 100, is_running=True).seconds_left == pytest.approx(80 * 5)
    assert find_standing(slow, 15, is_running=True).seconds_left == 0
    one = find_standing([{"step": 4, "seconds": 12.0}], 10, is_running=True)
    assert one.seconds_left == pytest.approx(18.0)


def test_the_best_epoch_is_marked_or_has_the_highest_map():
    rows = [{"epoch": k, "mAP": value} for k, value in enumerate((0.2, 0.5, 0.4), start=1)]
    assert find_best(rows) is rows[1]
    assert find_best([{"epoch": 1}]) is None
    # Each was the best of its time; the last is the best of all.
    marked = [rows[0] | {"is_best": True}, rows[1] | {"is_best": True}, rows[2]]
    assert find_best(marked) is marked[1]
