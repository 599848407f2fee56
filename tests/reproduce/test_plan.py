"""The runs of a target: their recipes, their addresses, and what they share."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from fake.reproduced import tiny_bench, tiny_choice
from fdps.config import TwoStepConfig, systems
from fdps.errors import ConfigError, MissingDataError, UsageError
from fdps.reproduce.bench import Bench, find_bench
from fdps.reproduce.paper import TABLE_1 as REPORTED_1
from fdps.reproduce.paper import TABLE_2 as REPORTED_2
from fdps.reproduce.plan import CONFIGS, Choice, PlannedRun, Planner, in_order
from fdps.reproduce.variants import FIGURE_5, TABLE_1, TABLE_2, VARIANTS, table_3


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return tiny_bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture
def planner(bench: Bench, tmp_path: Path) -> Planner:
    return Planner(bench, tiny_choice(), tmp_path, bench.training())


def difference(one: PlannedRun, other: PlannedRun) -> set[str]:
    """Fields in which two recipes differ, the name apart."""
    ours, theirs = asdict(one.recipe), asdict(other.recipe)
    return {
        f"{section}.{field}"
        for section in ("data", "model", "loss", "train")
        for field in ours[section]
        if ours[section][field] != theirs[section][field]
    }


def test_the_recipes_of_table_2_differ_in_two_switches_alone(planner: Planner) -> None:
    first, *others = (planner.run(VARIANTS[key], 0) for key in TABLE_2)
    switches = {"loss.use_dispersion", "loss.use_negatives"}
    assert [difference(first, other) for other in others] == [
        {"loss.use_dispersion"},
        {"loss.use_negatives"},
        switches,
    ]
    assert not first.recipe.loss.use_dispersion
    assert not first.recipe.loss.use_negatives


@pytest.mark.long
def test_table_2_of_the_paper_setting_differs_in_what_the_loss_is_called(tmp_path: Path) -> None:
    # No data are needed to plan: the recipes of PRW, with the scenes of a miniature.
    bench = replace(tiny_bench(tmp_path), kind="prw", drawing=None)
    scenes = replace(bench, kind="folder").training()
    planner = Planner(bench, Choice("paper"), tmp_path, scenes)
    first, *others = (planner.run(VARIANTS[key], 0) for key in TABLE_2)
    switches = {"loss.use_dispersion", "loss.use_negatives"}
    assert all(difference(first, other) <= switches for other in others)
    assert first.recipe.model.backbone == "resnet50"
    assert first.recipe.model.short_side == (900,)


def test_the_systems_of_table_1_differ_in_their_sub_features_alone(planner: Planner) -> None:
    first, *others = (planner.run(VARIANTS[key], 0) for key in TABLE_1)
    for other in others[:-1]:
        assert difference(first, other) == {"model.system"}
    # With neither switch the balanced loss is OIM.
    fdps = {"model.system", "loss.name", "loss.use_dispersion", "loss.use_negatives"}
    assert difference(first, others[-1]) == fdps | {"train.keep_last"}  # files, not science


def test_every_seed_is_another_run_and_nothing_else_is(planner: Planner) -> None:
    runs = [planner.run(VARIANTS["fdps"], seed) for seed in range(3)]
    assert len({run.address for run in runs}) == 3
    assert difference(runs[0], runs[2]) == {"train.seed"}


@pytest.mark.parametrize(
    ("setting", "is_same"),
    [
        ("train.workers=1", True),  # how it is computed
        ("train.log_every=7", True),
        ("train.lr=0.02", False),  # what is learnt
        ("loss.sigma=0.4", False),
        ("model.embedding_dim=8", False),
    ],
)
def test_an_address_follows_what_is_learnt(
    bench: Bench, tmp_path: Path, planner: Planner, setting: str, is_same: bool
) -> None:
    scenes = bench.training()
    changed = Planner(bench, tiny_choice(setting), tmp_path, scenes).run(VARIANTS["fdps"], 0)
    assert (changed.address == planner.run(VARIANTS["fdps"], 0).address) == is_same


def test_an_address_follows_the_data(planner: Planner, tmp_path: Path) -> None:
    other = tiny_bench(tmp_path / "other", seed=5)
    changed = Planner(other, tiny_choice(), tmp_path, other.training())
    run = planner.run(VARIANTS["fdps"], 0)
    assert changed.run(VARIANTS["fdps"], 0).address != run.address


def test_the_same_data_elsewhere_are_the_same_data(planner: Planner, tmp_path: Path) -> None:
    copy = tiny_bench(tmp_path / "copy")
    moved = Planner(copy, tiny_choice(), tmp_path, copy.training())
    assert moved.run(VARIANTS["fdps"], 0).address == planner.run(VARIANTS["fdps"], 0).address


def test_an_address_follows_the_content_of_backbone_weights(bench: Bench, tmp_path: Path) -> None:
    def planned(file: Path) -> str:
        choice = tiny_choice(f"model.backbone_weights={file}")
        return Planner(bench, choice, tmp_path, bench.training()).run(VARIANTS["fdps"], 0).address

    one, copy, other = (tmp_path / name for name in ("one", "copy", "other"))
    one.write_bytes(b"1"), copy.write_bytes(b"1"), other.write_bytes(b"2")
    assert planned(one) == planned(copy) != planned(other)


def test_a_run_is_found_by_its_address_whatever_it_was_called(planner: Planner) -> None:
    run = planner.run(VARIANTS["fdps"], 0)
    older = planner.out / "runs" / f"another-name-{run.address}"
    older.mkdir(parents=True)
    again = Planner(planner.bench, planner.choice, planner.out, planner.bench.training())
    assert again.run(VARIANTS["fdps"], 0).folder == older


def test_nae_plus_begins_from_nae_of_the_same_seed(planner: Planner) -> None:
    run = planner.run(VARIANTS["nae_plus"], 1)
    assert run.begins_from == planner.run(VARIANTS["nae"], 1)
    assert run.recipe.train.start_from == str(run.begins_from.folder.absolute())
    assert [one.variant.key for one in in_order([run, run])] == ["nae", "nae_plus"]


@pytest.mark.parametrize("key", ["two_step", "clsa", "rdlr", "tcts"])
def test_two_steps_follow_the_detector_of_the_same_seed(key: str, planner: Planner) -> None:
    run = planner.run(VARIANTS[key], 1)
    before = planner.run(VARIANTS["fdps"], 1)
    assert run.begins_from == before
    assert isinstance(run.recipe.model, TwoStepConfig)
    assert run.recipe.model.detector == str(before.folder.absolute())
    assert run.recipe.model.embedding_dim == 16  # a setting of everybody, unlike model.short_side
    assert [one.variant.key for one in in_order([run])] == ["fdps", key]


def test_igpn_follows_a_detector_of_its_own(planner: Planner) -> None:
    run = planner.run(VARIANTS["igpn"], 1)
    assert [one.variant.key for one in in_order([run])] == ["igpn_detector", "igpn"]
    assert isinstance(run.recipe.model, TwoStepConfig)
    assert run.begins_from is not None
    assert run.recipe.model.detector == str(run.begins_from.folder.absolute())


def test_the_address_of_two_steps_follows_their_detector(
    bench: Bench, planner: Planner, tmp_path: Path
) -> None:
    run = planner.run(VARIANTS["two_step"], 0)
    scenes = bench.training()
    other = Planner(bench, tiny_choice("model.regions_per_image=4"), tmp_path, scenes)
    assert other.run(VARIANTS["two_step"], 0).address != run.address
    moved = Planner(bench, tiny_choice(), tmp_path / "elsewhere", scenes)
    assert moved.run(VARIANTS["two_step"], 0).address == run.address


def test_two_step_systems_stand_in_table_3_new_ones_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(systems.TWO_STEP_SYSTEMS, "newer", "fdps.models.reid.plain:PlainReid")
    rows = {row.key: row for row in table_3()}
    assert {"two_step", "clsa", "rdlr", "igpn", "tcts", "newer"} <= rows.keys()
    assert rows["newer"].detector == "fdps"
    assert rows["newer"].switches == ("model.system=newer",)


def test_every_system_stands_in_table_3_new_ones_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(systems.SYSTEMS, "brand_new", "fdps.models.systems.table_1:FDPS")
    rows = table_3()
    named = {"fdps"} | {
        setting.partition("=")[2]
        for row in rows
        for setting in row.settings
        if setting.startswith("model.system=")
    }
    assert named == set(systems.system_names())
    assert rows[-1].key == "brand_new"
    assert len({row.key for row in rows}) == len(rows)


def test_every_row_can_be_planned(planner: Planner) -> None:
    for variant in [*VARIANTS.values(), *table_3()]:
        assert planner.run(variant, 0).recipe.name == f"{variant.key}-seed0"
    assert set(FIGURE_5) <= set(VARIANTS)
    assert (set(REPORTED_1), set(REPORTED_2)) == (set(TABLE_1), set(TABLE_2))


@pytest.mark.parametrize("family", ["prw", "cuhk_sysu"])
def test_every_row_has_its_recipe_of_the_paper_setting(family: str) -> None:
    has_own = {path.stem for path in (CONFIGS / family).glob("*.toml")}
    assert has_own >= {variant.key for variant in table_3()} & {
        path.stem for path in (CONFIGS / "prw_c6").glob("*.toml")
    }


@pytest.mark.parametrize(
    ("data", "root", "error", "words"),
    [
        ("synthetic-smal", None, UsageError, "did you mean 'synthetic-small'"),
        ("prw", None, UsageError, "--root DIR"),
        ("prw_c6", Path("nowhere"), MissingDataError, "no data at nowhere"),
    ],
)
def test_data_that_are_not_there_are_refused(
    data: str, root: Path | None, error: type[Exception], words: str, tmp_path: Path
) -> None:
    with pytest.raises(error) as raised:
        find_bench(data, root, tmp_path)
    assert words in f"{raised.value} {getattr(raised.value, 'hint', '')}"


def test_scenes_without_queries_are_refused(bench: Bench, tmp_path: Path) -> None:
    broken = tiny_bench(tmp_path)
    (broken.root / "queries.csv").write_text("image,x1,y1,x2,y2,person_id\n")
    with pytest.raises(UsageError, match="has no queries"):
        broken.test()


def test_a_budget_without_recipes_is_refused(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="recipes for cuhk_sysu and prw, not for tiny"):
        Planner(bench, Choice("paper"), tmp_path, bench.training())


def test_missing_recipes_are_named(bench: Bench, tmp_path: Path) -> None:
    planner = Planner(
        replace(bench, kind="prw"), Choice("paper", (), tmp_path), tmp_path, bench.training()
    )
    with pytest.raises(MissingDataError, match="no recipes at"):
        planner.run(VARIANTS["fdps"], 0)


def test_an_unknown_field_is_named(bench: Bench, tmp_path: Path) -> None:
    planner = Planner(bench, tiny_choice("loss.sigmaa=1"), tmp_path, bench.training())
    with pytest.raises(ConfigError, match=r"loss\.sigmaa"):
        planner.run(VARIANTS["fdps"], 0)


def test_prw_c6_is_the_layout_of_prw_and_cuhk_sysu_has_its_gallery(tmp_path: Path) -> None:
    assert find_bench("prw_c6", tmp_path, tmp_path).kind == "prw"
    assert find_bench("prw_c6", tmp_path, tmp_path).gallery == "all"
    assert find_bench("cuhk_sysu", tmp_path, tmp_path).gallery == 100
    drawn = find_bench("synthetic-small", None, tmp_path)
    assert drawn.root == tmp_path / "data" / "synthetic-small"
