import dataclasses
import math
import subprocess
import sys
import typing
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdps.config import (
    MACHINE_FIELDS,
    RANGES,
    DataConfig,
    LossConfig,
    ModelConfig,
    Recipe,
    Source,
    TrainConfig,
    from_dict,
    load_recipe,
    to_toml,
    with_base,
    with_root,
)
from fdps.errors import ConfigError, MissingDataError

RECIPES = sorted((Path(__file__).resolve().parents[1] / "configs").rglob("*.toml"))
SECTIONS = {"model": ModelConfig, "loss": LossConfig, "train": TrainConfig}


def write(folder: Path, text: str) -> Path:
    path = folder / "small.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str = "", *overrides: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_recipe(write(folder, text), overrides)
    return caught.value


def is_number(hint: object) -> bool:
    return bool({int, float} & {hint, *typing.get_args(hint)})


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_recipe_of_the_project_loads(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert recipe.data.train
    assert recipe.data.test is not None


def test_an_empty_recipe_is_the_paper_under_the_name_of_the_file(tmp_path: Path) -> None:
    assert load_recipe(write(tmp_path, "")) == Recipe(name="small")


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(),
        Recipe(loss=LossConfig(name="boim", alpha=-3.5)),
        Recipe(
            name='a "quoted" name, ünicode',
            data=DataConfig(
                train=(Source("prw", "a\\b"), Source("coco", "ü\n\t\x7f", "all")),
                test=Source("folder", "", "test"),
            ),
            model=ModelConfig(
                short_side=(480, 640), anchor_ratios=(1.5,), region_size=(14, 8), box_norm=False
            ),
            train=TrainConfig(milestones=(), lr=1e-7, weight_decay=0.0, epochs=1),
        ),
    ],
    ids=["defaults", "alpha", "everything awkward"],
)
def test_round_trip(tmp_path: Path, recipe: Recipe) -> None:
    assert load_recipe(write(tmp_path, to_toml(recipe))) == recipe


@pytest.mark.long
@settings(deadline=None)  # writes files
@given(root=st.text(st.characters(codec="utf-8")), lr=st.floats(1e-300, 1e300))
def test_round_trip_of_any_text_and_number(
    tmp_path_factory: pytest.TempPathFactory, root: str, lr: float
) -> None:
    recipe = Recipe(data=DataConfig(test=Source("prw", root)), train=TrainConfig(lr=lr))
    assert load_recipe(write(tmp_path_factory.mktemp("recipe"), to_toml(recipe))) == recipe


@pytest.mark.parametrize(
    ("override", "section", "field", "value"),
    [
        ("train.lr=0.01", "train", "lr", 0.01),
        ("train.lr=1", "train", "lr", 1.0),  # a whole number where any number goes
        ("train.epochs=3", "train", "epochs", 3),
        ("model.system=flatten", "model", "system", "flatten"),  # a bare word
        ('model.system="flatten"', "model", "system", "flatten"),  # the same in TOML
        ("model.backbone_weights=../a b.st", "model", "backbone_weights", "../a b.st"),
        ("model.backbone_weights=a=b", "model", "backbone_weights", "a=b"),
        ("model.box_norm=false", "model", "box_norm", False),
        ("model.short_side=[480, 512]", "model", "short_side", (480, 512)),
        ("model.anchor_ratios=[1, 2.5]", "model", "anchor_ratios", (1.0, 2.5)),
        ("train.milestones=[]", "train", "milestones", ()),
        ("loss.alpha=-3", "loss", "alpha", -3.0),
    ],
)
def test_set_changes_one_field(
    tmp_path: Path, override: str, section: str, field: str, value: object
) -> None:
    base = Recipe(name="small")
    changed = dataclasses.replace(getattr(base, section), **{field: value})
    expected = dataclasses.replace(base, **{section: changed})
    assert load_recipe(write(tmp_path, ""), [override]) == expected


def test_set_wins_over_the_file_and_the_last_one_wins(tmp_path: Path) -> None:
    path = write(tmp_path, "[train]\nlr = 0.5\nepochs = 2")
    train = load_recipe(path, ["train.lr=0.1", "train.lr=0.2"]).train
    assert (train.lr, train.epochs) == (0.2, 2)


def test_set_reaches_sections_below_sections_and_the_top(tmp_path: Path) -> None:
    recipe = load_recipe(
        write(tmp_path, '[data.test]\nkind = "prw"\nroot = "a"'), ["data.test.root=b", "name=c"]
    )
    assert recipe.data.test == Source("prw", "b")
    assert recipe.name == "c"


@pytest.mark.parametrize("override", ["train.lr", "=3", ""])
def test_raises_set_of_another_form(tmp_path: Path, override: str) -> None:
    error = refusal(tmp_path, "", override)
    assert str(error) == f"--set {override}: expected section.field=value"


def test_raises_set_through_something_that_is_no_section(tmp_path: Path) -> None:
    error = refusal(tmp_path, "[[data.train]]\nkind='prw'\nroot='a'", "data.train.root=b")
    assert "train is not a section" in str(error)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[train]\nlrr = 1.0", "unknown recipe key train.lrr", "did you mean train.lr?"),
        ("[modle]\nx = 1", "unknown recipe key modle", "did you mean model?"),
        ("[data.test]\nroott='a'", "unknown recipe key data.test.roott", "data.test.root?"),
        ("[loss]\nzzz = 1", "unknown recipe key loss.zzz", "known: name, temperature,"),
    ],
)
def test_raises_unknown_key_with_the_nearest(
    tmp_path: Path, text: str, message: str, hint: str
) -> None:
    error = refusal(tmp_path, text)
    assert str(error) == message
    assert hint in error.hint


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            '[model]\ndetector = "runs/x"',
            "recipe key model.detector is not for model.kind = 'one_step'",
            "it belongs to model.kind = 'two_step'",
        ),
        (
            '[model]\nkind = "two_step"\ndetector = "runs/x"\nshort_side = [64]',
            "recipe key model.short_side is not for model.kind = 'two_step'",
            "it belongs to model.kind = 'one_step'",
        ),
        (
            '[model]\nsystem = "tcts"',
            "recipe key model.system must be one of ",
            "set model.kind = 'two_step' and model.detector",
        ),
        (
            '[model]\nkind = "two_step"\ndetector = "runs/x"\nsystem = "igpn_detector"',
            "recipe key model.system must be one of plain, ",
            "it is a system of one step: train it by itself, as model.detector",
        ),
        (
            '[model]\nkind = "two_step"\ndetector = "runs/x"\ncrop_sise = [64, 32]',
            "unknown recipe key model.crop_sise",
            "did you mean model.crop_size?",
        ),
    ],
)
def test_what_another_kind_of_model_has_is_no_misspelling(
    tmp_path: Path, text: str, message: str, hint: str
) -> None:
    error = refusal(tmp_path, text)
    assert str(error).startswith(message)
    assert hint in error.hint


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epochs=1.5", "train.epochs must be int, got 1.5"),
        ("train.epochs=true", "train.epochs must be int, got True"),
        ("train.lr=fast", "train.lr must be float, got 'fast'"),
        ("train.lr=true", "train.lr must be float, got True"),
        ("loss.alpha=x", "loss.alpha must be float, got 'x'"),
        ("model.box_norm=1", "model.box_norm must be bool, got 1"),
        ("name=7", "name must be str, got 7"),
        ("model.short_side=480", "model.short_side must be a list of int, got 480"),
        ("model.short_side=[1.5]", "model.short_side must be int, got 1.5"),
        ("model.region_size=[7]", "model.region_size must be a list of int (2), got [7]"),
        ("model=3", "model must be a section of its own, got 3"),
        ("data.train=[3]", "data.train must be a section of its own, got 3"),
        ("train.device=tpu", "train.device must be one of 'auto', 'cpu', 'cuda', got 'tpu'"),
    ],
)
def test_raises_value_of_the_wrong_type(tmp_path: Path, override: str, message: str) -> None:
    assert str(refusal(tmp_path, "", override)) == f"recipe key {message}"


@pytest.mark.parametrize(
    ("text", "words", "way_out"),
    [
        ("[train]\naccumulate = 6", "train.accumulate must be at most train.batch_size (5)", ""),
        ("[train]\npatience = 2", "train.patience is 2, but nothing is validated", "patience=0"),
        ("[train]\nvalidate_every = 1", "there is nothing to validate on", "validation = {"),
        (
            "[train]\ncompile = true\nrecompute_trunk = true",
            "train.compile and train.recompute_trunk exclude each other",
            "false",
        ),
    ],
)
def test_raises_fields_that_do_not_go_together(
    tmp_path: Path, text: str, words: str, way_out: str
) -> None:
    error = refusal(tmp_path, text)
    assert words in str(error)
    assert way_out in error.hint


def test_relative_folders_start_where_the_run_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("here", "there/moved", "there/here"):
        (tmp_path / folder).mkdir(parents=True)
    sources = [Source("coco", root) for root in ("here", "moved", "gone", str(tmp_path / "here"))]
    recipe = Recipe(data=DataConfig(train=tuple(sources), test=sources[1], validation=sources[1]))
    data = with_base(recipe, tmp_path / "there").data
    moved = str(tmp_path / "there" / "moved")
    there = str(tmp_path / "there" / "here")
    assert [s.root for s in data.train] == [there, moved, "gone", str(tmp_path / "here")]
    assert data.test is not None
    assert data.validation is not None
    assert (data.test.root, data.validation.root) == (moved, moved)
    assert with_base(recipe, tmp_path) == recipe  # they start here already


def test_machine_fields_are_fields_of_training() -> None:
    assert set(MACHINE_FIELDS) < {field.name for field in dataclasses.fields(TrainConfig)}


def test_raises_near_miss_of_a_name_with_the_nearest(tmp_path: Path) -> None:
    assert refusal(tmp_path, "", "model.system=fpds").hint == "did you mean 'fdps'?"
    assert refusal(tmp_path, "", "model.system=9").hint == ""


def test_raises_missing_key(tmp_path: Path) -> None:
    error = refusal(tmp_path, "[[data.train]]\nkind = 'prw'")
    assert str(error) == "recipe key data.train.root is missing"


def test_raises_file_that_is_absent_or_not_toml(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"no recipe at .*absent\.toml"):
        load_recipe(tmp_path / "absent.toml")
    assert "is not TOML" in str(refusal(tmp_path, "lr 3"))
    (tmp_path / "latin.toml").write_bytes(b"name = '\xe9'")
    with pytest.raises(ConfigError, match="is not TOML"):
        load_recipe(tmp_path / "latin.toml")


@pytest.mark.parametrize("section", SECTIONS)
def test_every_number_of_a_recipe_has_a_range(section: str) -> None:
    hints = typing.get_type_hints(SECTIONS[section])
    assert {name for name, hint in hints.items() if is_number(hint)} <= set(RANGES)


@pytest.mark.parametrize(
    ("section", "name", "inside", "outside", "expected"),
    [
        ("model", "frozen_stages", 0, -1, "at least 0"),
        ("model", "short_side", (1,), (480, 0), "at least 1"),
        ("model", "region_size", (1, 1), (7, 0), "at least 1"),
        ("model", "anchor_ratios", (0.1,), (1.0, 0.0), "above 0"),
        ("model", "rpn_after_nms", (1, 1), (0, 1), "at least 1"),
        ("model", "positive_fraction", 1.0, 0.0, "above 0 and at most 1"),
        ("model", "nms_iou", 1.0, 1.1, "above 0 and at most 1"),
        ("model", "score_threshold", 0.0, 1.1, "in 0..1"),
        ("model", "score_threshold", 1.0, -0.1, "in 0..1"),
        ("loss", "momentum", 0.0, 1.0, "in 0..1, below 1"),
        ("loss", "temperature", 1e-3, 0.0, "above 0"),
        ("loss", "queue_size", 0, -1, "at least 0"),
        ("loss", "beta", -1.0, 1.1, "in -1..1"),
        ("loss", "alpha", -50.0, 51.0, "in -50..50"),
        ("train", "batch_size", 1, 0, "at least 1"),
        ("train", "epochs", 1, 0, "at least 1"),
        ("train", "lr", 1e-9, 0.0, "above 0"),
        ("train", "lr", 1.0, math.inf, "above 0"),
        ("train", "max_grad_norm", 1.0, math.nan, "above 0"),
        ("train", "milestones", (0.0,), (3.0, math.inf), "at least 0"),
        ("train", "sgd_momentum", 0.0, 1.0, "in 0..1, below 1"),
        ("train", "log_every", 1, 0, "at least 1"),
        ("train", "seed", 0, 2**32, "in 0..4294967295"),
    ],
)
def test_raises_number_out_of_range(
    section: str, name: str, inside: object, outside: object, expected: str
) -> None:
    assert getattr(SECTIONS[section](**{name: inside}), name) == inside
    with pytest.raises(ConfigError) as caught:
        SECTIONS[section](**{name: outside})
    assert str(caught.value) == f"recipe key {section}.{name} must be {expected}, got {outside}"


WRONG_VALUES = """
import functools, math, typing
from fdps.config import LossConfig, ModelConfig, Recipe, Source, TrainConfig
from fdps.errors import ConfigError

wrong = [math.nan, math.inf, -math.inf, -(10**9), 10**400, "3", True, None, b"3", {}, [[]]]
n_refused = 0

def refuse(kind, section, name, value):
    global n_refused
    try:
        made = kind(**{name: value})
    except ConfigError as error:
        assert str(error).startswith(f"recipe key {section}{name} must be "), error
        n_refused += 1
    else:
        raise AssertionError(f"{section}{name} took {value!r}")

for section, kind in {"model.": ModelConfig, "loss.": LossConfig, "train.": TrainConfig}.items():
    for name, hint in typing.get_type_hints(kind).items():
        parts = {hint, *typing.get_args(hint)}
        if not {int, float} & parts:
            refuse(kind, section, name, 3)
            continue
        for value in wrong:
            if value is not None or type(None) not in parts:
                is_list = typing.get_origin(hint) is tuple
                refuse(kind, section, name, [value] * 2 if is_list else value)
refuse(Recipe, "", "train", 3)
refuse(Recipe, "", "name", 3)
refuse(functools.partial(Source, root=""), "data.", "kind", None)
assert ModelConfig(short_side=[480], anchor_ratios=[1]) == ModelConfig(
    short_side=(480,), anchor_ratios=(1.0,)
)
assert type(TrainConfig(lr=1).lr) is float
print(n_refused)
"""


def test_no_field_takes_a_value_of_another_kind() -> None:
    """In a process of its own: here the types of all arguments are checked before ours are."""
    ended = subprocess.run([sys.executable, "-c", WRONG_VALUES], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) > 500


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train=3", "recipe key train must be a section of its own, got 3"),
        ("data.train=3", "recipe key data.train must be a list of Source, got 3"),
        ("data.train=[3]", "recipe key data.train must be a section of its own, got 3"),
        ("train.lr=1" + "0" * 400, "recipe key train.lr must be a number below 1e308"),
        ("train.epochs=99999999999", "recipe key train.epochs must be at most 2147483647"),
        ("train.workers=1025", "recipe key train.workers must be in 0..1024, got 1025"),
    ],
)
def test_raises_wrong_values_of_the_command_line(
    tmp_path: Path, override: str, message: str
) -> None:
    assert message in str(refusal(tmp_path, "", override))


def test_a_number_of_thousands_of_digits_is_refused(tmp_path: Path) -> None:
    assert "is not TOML" in str(refusal(tmp_path, f"[train]\nepochs = 1{'0' * 5000}"))


@pytest.mark.parametrize("name", ["short_side", "anchor_sizes", "anchor_ratios"])
def test_raises_empty_list(name: str) -> None:
    with pytest.raises(ConfigError, match=f"recipe key model.{name} must not be empty"):
        ModelConfig(**{name: ()})


def test_raises_background_above_foreground() -> None:
    assert ModelConfig(foreground_iou=0.6, background_iou=0.6).background_iou == 0.6
    with pytest.raises(ConfigError, match=r"at most model.foreground_iou \(0.5\), got 0.6"):
        ModelConfig(background_iou=0.6)


def test_raises_embedding_that_cannot_be_halved() -> None:
    assert ModelConfig(embedding_dim=33).embedding_dim == 33
    with pytest.raises(ConfigError, match="embedding_dim must be even for res4"):
        ModelConfig(reid_features="res4+res5", embedding_dim=33)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "a/", "a\0b", "a\x1b[2Jb", "a\nb"])
def test_raises_name_that_is_no_folder(name: str) -> None:
    with pytest.raises(ConfigError, match="recipe key name must name a folder"):
        Recipe(name=name)


def test_raises_out_of_range_in_a_file(tmp_path: Path) -> None:
    assert "train.lr must be above 0, got -1.0" in str(refusal(tmp_path, "[train]\nlr = -1"))


def test_from_dict_names_keys_below_a_prefix() -> None:
    assert from_dict(LossConfig, {"alpha": 2}, "loss.") == LossConfig(alpha=2.0)
    with pytest.raises(ConfigError, match=r"loss\.sigma must be at least 0"):
        from_dict(LossConfig, {"sigma": -1}, "loss.")


def test_with_root_moves_all_sources_of_one_folder() -> None:
    one = (Source("prw", "a"), Source("prw", "a", "test"))
    moved = with_root(Recipe(data=DataConfig(train=one[:1], test=one[1])), "b")
    assert moved.data == DataConfig((Source("prw", "b"),), Source("prw", "b", "test"))
    assert with_root(Recipe(data=DataConfig(train=one)), "b").data.test is None
    assert with_root(Recipe(), "b") == Recipe()


def test_raises_one_root_for_several_folders() -> None:
    recipe = Recipe(data=DataConfig((Source("prw", "a"), Source("coco", "c"))))
    for root in ("b", "x=b", "="):  # none of them is one of the recipe's
        with pytest.raises(ConfigError, match=r": the recipe reads 2 folders \(a, c\)") as caught:
            with_root(recipe, root)
        assert "--root a=DIR" in caught.value.hint


def test_with_root_moves_one_of_several_folders_by_name() -> None:
    data = DataConfig((Source("prw", "a"), Source("coco", "c")), Source("prw", "a", "test"))
    moved = with_root(with_root(Recipe(data=data), "a=new"), "c=x=y")
    assert [source.root for source in moved.data.train] == ["new", "x=y"]
    assert moved.data.test == Source("prw", "new", "test")
    assert with_root(Recipe(data=DataConfig(data.train[:1])), "k=v").data.train[0].root == "k=v"


def test_the_recipe_of_the_demo_is_that_of_the_configs() -> None:
    """Two files, not a link: a copy of configs/ must be whole, and so must an installed package."""
    configs = Path(__file__).resolve().parents[1] / "configs"
    assert not [path for path in configs.rglob("*") if path.is_symlink()]
    packaged = resources.files("fdps.cli") / "demo.toml"
    assert packaged.read_bytes() == (configs / "synthetic.toml").read_bytes()
