import json
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path

import pytest

from fake.commands import assert_same_end, train
from fake.runs import SignalAt, tiny_recipe, write_scenes
from fdps.cli.train.sweep import combinations
from fdps.config import Recipe, Source, load_recipe, to_toml
from fdps.errors import ConfigError

pytestmark = pytest.mark.usefixtures("one_thread")


# --- what a sweep is of


@pytest.mark.parametrize(
    ("sweeps", "expected"),
    [
        ([], {"": []}),
        (
            ["loss.sigma=0.3,0.5"],
            {"loss.sigma=0.3": ["loss.sigma=0.3"], "loss.sigma=0.5": ["loss.sigma=0.5"]},
        ),
        (  # all combinations, the last field fastest
            ["loss.name=oim,boim", "train.seed=1, 2"],
            {
                "loss.name=oim,train.seed=1": ["loss.name=oim", "train.seed=1"],
                "loss.name=oim,train.seed=2": ["loss.name=oim", "train.seed=2"],
                "loss.name=boim,train.seed=1": ["loss.name=boim", "train.seed=1"],
                "loss.name=boim,train.seed=2": ["loss.name=boim", "train.seed=2"],
            },
        ),
        (  # strings in quotes are the same, as a folder too
            ['loss.name="oim","boim"'],
            {"loss.name=oim": ['loss.name="oim"'], "loss.name=boim": ['loss.name="boim"']},
        ),
        (  # lists have commas of their own
            ["model.short_side=[600],[480, 600]"],
            {
                "model.short_side=600": ["model.short_side=[600]"],
                "model.short_side=480,600": ["model.short_side=[480, 600]"],
            },
        ),
        (["loss.use_negatives=true"], {"loss.use_negatives=true": ["loss.use_negatives=true"]}),
        (  # a path makes no folders, and quotes and spaces would confuse a shell
            ["model.backbone_weights=none,/w/a b.safetensors"],
            {
                "model.backbone_weights=none": ["model.backbone_weights=none"],
                "model.backbone_weights=%2Fw%2Fa%20b.safetensors": [
                    "model.backbone_weights=/w/a b.safetensors"
                ],
            },
        ),
        (  # TOML has them, JSON does not; what they are worth, the recipe says
            ["loss.alpha=inf,2026-11-24"],
            {
                "loss.alpha=inf": ["loss.alpha=inf"],
                "loss.alpha=2026-11-24": ["loss.alpha=2026-11-24"],
            },
        ),
    ],
)
def test_every_combination_has_a_name_and_its_overrides(
    sweeps: list[str], expected: dict[str, list[str]]
) -> None:
    found = combinations(sweeps)
    assert found == expected
    assert list(found) == list(expected)


@pytest.mark.parametrize(
    ("sweeps", "words"),
    [
        (["loss.sigma"], "--sweep loss.sigma: expected section.field=value,value,…"),
        (["loss.sigma="], "--sweep loss.sigma=: expected"),
        (["=1,2"], "--sweep =1,2: expected"),
        (["loss.name=oim,,boim"], "expected"),
        ([""], "expected"),
        (["loss.sigma=0.5,0.50"], "--sweep loss.sigma=0.5,0.50: a value stands there twice"),
        (["loss.name=oim,oim"], "twice"),
        (["train.seed=1", "train.seed=2"], "names a field twice: train.seed, train.seed"),
    ],
)
def test_another_form_is_refused(sweeps: list[str], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        combinations(sweeps)
    assert words in str(caught.value)


# --- runs


def recipe_of(data: Path, **changes: object) -> Recipe:
    recipe = tiny_recipe(data, epochs=1)
    return replace(recipe, data=replace(recipe.data, **changes))


@pytest.fixture(scope="module")
def recipe(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe of one epoch with scenes to compare runs on."""
    folder = tmp_path_factory.mktemp("recipe")
    write_scenes(folder / "data")
    content = recipe_of(folder / "data", test=Source("coco", str(folder / "data"), "test"))
    (folder / "tiny.toml").write_text(to_toml(content))
    return folder / "tiny.toml"


SWEEP = ("--sweep", "loss.name=oim,boim", "--sweep", "train.seed=3")
NAMES = ["loss.name=oim,train.seed=3", "loss.name=boim,train.seed=3"]


@pytest.fixture(scope="module")
def swept(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("swept") / "runs"
    assert train(recipe, folder, *SWEEP, "--quiet") == 0
    return folder


@pytest.mark.long
def test_every_combination_is_a_run_of_its_own(swept: Path, recipe: Path, tmp_path: Path) -> None:
    assert {path.name for path in swept.iterdir()} == {*NAMES, "sweep.json", "cache"}
    for name, loss in zip(NAMES, ("oim", "boim"), strict=True):
        kept = load_recipe(swept / name / "recipe.toml")
        assert (kept.loss.name, kept.train.seed) == (loss, 3)
    alone = ("--set", "loss.name=boim", "--set", "train.seed=3", "--quiet")
    assert train(recipe, tmp_path / "alone", *alone) == 0
    assert_same_end(swept / NAMES[1], tmp_path / "alone")


def test_what_the_runs_reached_is_kept(swept: Path) -> None:
    records = json.loads((swept / "sweep.json").read_text())
    assert [record["set"] for record in records] == NAMES
    assert [record["run"] for record in records] == [str(swept / name) for name in NAMES]
    for record in records:
        assert all(0 <= record[figure] <= 1 for figure in ("recall", "ap", "mAP", "top1"))


@pytest.mark.long
def test_a_table_says_which_is_best(
    swept: Path, recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Nothing is trained: the runs are finished.
    finished = {path: path.stat().st_mtime_ns for path in swept.glob("*/ckpt/*/*")}
    assert finished
    assert train(recipe, swept, *SWEEP) == 0
    out, err = capsys.readouterr()
    assert {path: path.stat().st_mtime_ns for path in swept.glob("*/ckpt/*/*")} == finished
    assert "step 1/3" not in err
    assert [line for line in err.splitlines() if line.startswith("Run ")] == [
        f"Run     1/2  {NAMES[0]}",
        f"Run     2/2  {NAMES[1]}",
    ]
    rows = [line for line in out.splitlines() if any(name in line for name in NAMES)]
    best = max(record["mAP"] for record in json.loads((swept / "sweep.json").read_text()))
    for row, record in zip(rows, json.loads((swept / "sweep.json").read_text()), strict=True):
        assert f"{record['mAP']:.3f}" in row
        assert ("(best mAP)" in row) == (record["mAP"] == best)
    assert out.splitlines()[-1] == f"Table   {swept / 'sweep.json'}"


@pytest.mark.long
def test_json_is_one_object_and_quiet_is_quiet(
    swept: Path, recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(recipe, swept, *SWEEP, "--json", "--quiet") == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"sweep": json.loads((swept / "sweep.json").read_text())}
    assert err == ""


@pytest.mark.long
def test_an_interrupted_sweep_goes_on_where_it_was(
    recipe: Path, swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, first, second = tmp_path / "runs", *(tmp_path / "runs" / name for name in NAMES)
    with redirect_stderr(_InSecondRun(2)) as stream:
        assert train(recipe, folder, *SWEEP) == 130
    shown = stream.getvalue()
    assert f"Stopped {second}\nNext    fdps resume {second}\n" in shown
    assert "Sweep   the same command goes on with all its runs\n" in shown
    assert (first / "weights.safetensors").is_file()
    assert not (second / "weights.safetensors").exists()
    assert len(json.loads((folder / "sweep.json").read_text())) == 1
    before = {path: path.stat().st_mtime_ns for path in (first / "ckpt").rglob("*")}

    assert train(recipe, folder, *SWEEP) == 0
    error = capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in (first / "ckpt").rglob("*")} == before
    assert f"Continue at step 2, from {second / 'ckpt' / 'e000s00002'}\n" in error
    for name in NAMES:
        assert_same_end(folder / name, swept / name)
    records, expected = (
        json.loads((place / "sweep.json").read_text()) for place in (folder, swept)
    )
    for record, other in zip(records, expected, strict=True):
        assert record | {"run": ""} == other | {"run": ""}


class _InSecondRun(SignalAt):
    """Ctrl-C when a step of the second run is shown."""

    def __init__(self, step: int) -> None:
        super().__init__(10**9)
        self.wanted = step

    def write(self, text: str) -> int:
        if text.startswith("Run     2/2"):
            self.step = self.wanted
        return super().write(text)


@pytest.mark.long
def test_validation_scenes_come_before_test_scenes(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = recipe.parent / "data"
    gone = Source("coco", str(tmp_path / "gone"), "test")
    content = recipe_of(data, validation=Source("coco", str(data), "test"), test=gone)
    (tmp_path / "tiny.toml").write_text(to_toml(content))
    epochs = ("--set", "train.epochs=1", "--sweep", "train.seed=1")
    assert train(tmp_path / "tiny.toml", tmp_path / "runs", *epochs, "--json") == 0
    (record,) = json.loads(capsys.readouterr().out)["sweep"]
    assert record["set"] == "train.seed=1"
    assert "mAP" in record


def test_without_scenes_to_compare_on_nothing_is_trained(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tiny.toml").write_text(to_toml(recipe_of(recipe.parent / "data")))
    assert train(tmp_path / "tiny.toml", tmp_path / "runs", "--sweep", "train.seed=1,2") == 2
    out, err = capsys.readouterr()
    assert err.startswith("error: a sweep needs data to compare its runs on\n")
    assert "validation = {" in err
    assert not out
    assert not (tmp_path / "runs").exists()


def test_a_value_that_no_run_can_have_stops_all_runs(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(recipe, tmp_path / "runs", "--sweep", "loss.name=oim,bom") == 2
    assert "recipe key loss.name" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
