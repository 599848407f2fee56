"""How a system is named, told its options, and brought along from outside."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from fake.tiny import CONFIG, picture, target
from fdps.config import LossConfig, ModelConfig, load_recipe
from fdps.config.systems import SYSTEMS, _installed, system_names
from fdps.errors import ConfigError, ModelError
from fdps.models import System, build_model, build_system, register
from fdps.models.sub_features import SharedMean, SharedPeak
from fdps.models.systems import system_of
from fdps.models.weights import load_weights, save_weights


@dataclass(frozen=True)
class Halves:
    share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ConfigError(f"recipe key model.options.share must be in 0..1, got {self.share}")


class Averaged(System):
    Options = Halves
    sub_features = SharedMean


@pytest.fixture
def known() -> Iterator[str]:
    """The name of :class:`Averaged` while a test runs."""
    register("averaged")(Averaged)
    yield "averaged"
    SYSTEMS.pop("averaged", None)


@pytest.mark.parametrize("name", list(SYSTEMS))
def test_every_system_of_the_table_is_where_the_table_says(name: str) -> None:
    assert isinstance(system_of(ModelConfig(system=name)), System)


def test_the_skeleton_is_oim_base() -> None:
    assert System.sub_features is SharedPeak


def test_a_registered_system_is_built_and_learns(known: str) -> None:
    config = replace(CONFIG, system=known)
    net, criterion = build_system(config, LossConfig(queue_size=4), 3)
    assert type(net.roi_heads.heads.sub_features) is SharedMean
    person = target((8.0, 8.0, 40.0, 60.0, 1))
    losses = net.train()([picture()], [person], criterion).losses
    assert sum(loss.value for loss in losses.values()).isfinite()


def test_an_unknown_system_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r"must be one of oim, .*'oim_bas'") as it:
        ModelConfig(system="oim_bas")
    assert it.value.hint == "did you mean 'oim_base'?"


def test_options_reach_the_system(known: str) -> None:
    config = ModelConfig(system=known, options={"share": 1})
    assert system_of(config).options == Halves(1.0)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"shar": 0.5}, "model.options.shar"),
        ({"share": "half"}, "model.options.share must be float, got 'half'"),
        ({"share": 2.0}, "model.options.share must be in 0..1, got 2.0"),
    ],
)
def test_wrong_options_are_refused_by_name(
    known: str, options: dict[str, object], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        system_of(ModelConfig(system=known, options=options))


def test_a_system_without_options_takes_none() -> None:
    with pytest.raises(ConfigError, match=r"unknown recipe key model\.options\.parts"):
        system_of(ModelConfig(system="fdps", options={"parts": 3}))


def test_options_must_be_a_table(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("[model]\noptions = 3\n")
    with pytest.raises(ConfigError, match=r"model\.options must be a table, got 3"):
        load_recipe(tmp_path / "recipe.toml")


def test_a_name_is_given_once(known: str) -> None:
    assert register(known)(Averaged) is Averaged  # a script is imported anew by its processes
    with pytest.raises(ValueError, match="there is a system named 'fdps' already"):
        register("fdps")(Averaged)


def test_weights_of_a_system_are_read_where_it_is_known_and_refused_where_not(
    known: str, tmp_path: Path
) -> None:
    config = replace(CONFIG, system=known, options={"share": 0.25})
    net, _ = build_system(config, LossConfig(), 3)
    save_weights(net, config, LossConfig(), 3, path := tmp_path / "weights.safetensors")
    loaded, _ = load_weights(path)
    assert type(loaded.roi_heads.heads.sub_features) is SharedMean
    del SYSTEMS[known]
    with pytest.raises(ModelError, match="averaged"):
        load_weights(path)


def test_an_installed_package_brings_a_system_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_search.py").write_text(
        "from fdps.models import System\nclass Mine(System):\n    pass\n"
    )
    info = tmp_path / "my_search-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-search\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fdps.systems]\nmine = my_search:Mine\n")
    monkeypatch.syspath_prepend(tmp_path)
    _installed.cache_clear()
    try:
        assert "mine" in system_names()
        assert type(system_of(ModelConfig(system="mine"))) is sys.modules["my_search"].Mine
    finally:
        monkeypatch.undo()
        _installed.cache_clear()


def test_networks_begin_with_the_same_weights_at_the_same_seed(known: str) -> None:
    torch.manual_seed(3)
    one = build_model(replace(CONFIG, system=known)).state_dict()
    torch.manual_seed(3)
    other = build_model(replace(CONFIG, system="oim")).state_dict()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_configurations_with_options_can_be_grouped_and_told_apart(known: str) -> None:
    one, other = (ModelConfig(system=known, options={"share": share}) for share in (0.25, 0.5))
    assert {one: 1, other: 2, ModelConfig(system=known, options={"share": 0.25}): 3}[one] == 3
    assert one != other
