import json
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from fake.tiny import CONFIG, LOSS, N_PERSONS, picture, tiny_network
from fdps.errors import MissingDataError, ModelError
from fdps.models.weights import begin_from, describe_weights, load_weights, save_weights

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "pack_weights.py"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a tiny network, to be read only."""
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_weights(tiny_network(), CONFIG, LOSS, N_PERSONS, path)
    return path


def changed(saved: Path, path: Path, *, tensors: Any = None, **header: Any) -> Path:
    """A copy of a file with other tensors, or with changes to its description."""
    with safe_open(saved, framework="pt") as file:
        description = json.loads(file.metadata()["fdps"]) | header
        kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    left = {name: value for name, value in description.items() if value is not None}
    save_file(kept | (tensors or {}), path, metadata={"fdps": json.dumps(left)})
    return path


def refusal(path: Path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        load_weights(path)
    assert str(path) in str(caught.value)
    return caught.value


@pytest.mark.long
@pytest.mark.parametrize(
    ("config", "loss"),
    [
        (CONFIG, LOSS),
        (replace(CONFIG, system="parameter_base", box_norm=False), replace(LOSS, name="boim")),
        (replace(CONFIG, reid_features="res4+res5"), replace(LOSS, name="boim", alpha=-1.5)),
        (replace(CONFIG, norm="frozen", frozen_stages=2, backbone_weights="absent"), LOSS),
    ],
    ids=["defaults", "parameter_base boim", "res4+res5 alpha", "frozen"],
)
def test_round_trip_detects_the_same(tmp_path: Path, config: Any, loss: Any) -> None:
    built = replace(config, backbone_weights="none")
    net = tiny_network(**{name: getattr(built, name) for name in vars(built)})
    save_weights(net, config, loss, N_PERSONS, tmp_path / "new" / "w")
    read, _ = load_weights(tmp_path / "new" / "w")
    assert not read.training
    state = read.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    image = picture()
    (ours,), (theirs,) = net.detect([image]), read.detect([image])
    assert len(ours["boxes"]) > 0
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.long
def test_the_hash_names_the_weights(saved: Path, tmp_path: Path) -> None:
    read, name = load_weights(saved)
    assert len(name) == 16
    save_weights(read, CONFIG, LOSS, N_PERSONS, tmp_path / "again")
    assert load_weights(tmp_path / "again")[1] == name
    with torch.no_grad():
        read.roi_heads.heads.person.bias[0] += 1e-3
    save_weights(read, CONFIG, LOSS, N_PERSONS, tmp_path / "other")
    assert load_weights(tmp_path / "other")[1] != name


def test_saving_replaces_the_older_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "w").write_text("older")
    save_weights(tiny_network(), CONFIG, LOSS, N_PERSONS, tmp_path / "w")
    load_weights(tmp_path / "w")
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


def test_raises_absent_file(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no weights at"):
        load_weights(tmp_path / "absent")
    with pytest.raises(MissingDataError, match="no weights at"):
        load_weights(tmp_path)


def test_raises_pickle(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(3)}, tmp_path / "w.pth")
    error = refusal(tmp_path / "w.pth")
    assert "is not a safetensors file" in str(error)
    assert "never loads pickles" in error.hint


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_raises_truncated_file(saved: Path, tmp_path: Path, kept: int) -> None:
    (tmp_path / "w").write_bytes(saved.read_bytes()[:kept])
    assert "is not a safetensors file" in str(refusal(tmp_path / "w"))


@pytest.mark.parametrize("metadata", [None, {"other": "{}"}, {"fdps": "{"}, {"fdps": "[]"}])
def test_raises_file_that_does_not_describe_itself(
    tmp_path: Path, metadata: dict[str, str] | None
) -> None:
    save_file({"a": torch.zeros(3)}, tmp_path / "w", metadata=metadata)
    error = refusal(tmp_path / "w")
    assert "does not say which network it is for" in str(error)
    assert error.hint == "weights files are written by fdps train"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"version": 3}, "holds fdps-weights 3, expected fdps-weights 2"),
        ({"version": "2"}, "holds fdps-weights 2, expected fdps-weights 2"),
        ({"format": "other"}, "holds other 2, expected fdps-weights 2"),
        ({"version": None}, "does not say which network it is for: 'version'"),
        ({"model": {"sistem": "fdps"}}, "unknown recipe key model.sistem"),
        ({"model": {"system": "other"}}, "recipe key model.system must be one of"),
        ({"model": {"embedding_dim": 0}}, "model.embedding_dim must be at least 1, got 0"),
        ({"model": 3}, "recipe key model must be a section of its own, got 3"),
        ({"model": None}, "recipe key model is missing"),
        ({"loss": {"alpha": "x"}}, "recipe key loss.alpha must be float"),
        ({"n_persons": "3"}, "recipe key n_persons must be int, got '3'"),
        ({"n_persons": 0}, "n_persons must be at least 1, got 0"),
    ],
    ids=str,
)
def test_raises_description(
    saved: Path, tmp_path: Path, header: dict[str, Any], message: str
) -> None:
    assert message in str(refusal(changed(saved, tmp_path / "w", **header)))


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"backbone": "mobilenet_v2", "embedding_dim": 8}},
        {"tensors": {"roi_heads.heads.person.bias": torch.zeros(3)}},
        {"tensors": {"stranger": torch.zeros(3)}},
    ],
    ids=["other network", "other shape", "unknown tensor"],
)
def test_raises_tensors_that_do_not_fit(
    saved: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    error = refusal(changed(saved, tmp_path / "w", **change))
    assert "tensors do not fit its own description" in str(error)


def test_a_file_of_the_first_version_is_read_without_what_its_loss_remembered(
    saved: Path, tmp_path: Path
) -> None:
    memory = {"roi_heads.criterion.memory.table.rows": torch.eye(16)[:3]}
    older = changed(saved, tmp_path / "w", tensors=memory, version=1)
    read, _ = load_weights(older)
    current, _ = load_weights(saved)
    assert read.state_dict().keys() == current.state_dict().keys()
    assert describe_weights(older) == describe_weights(saved)


@pytest.mark.long
def test_packed_weights_find_the_same_in_half_the_space(saved: Path, tmp_path: Path) -> None:
    net, _ = load_weights(saved)
    runpy.run_path(str(SCRIPT))["pack_weights"](saved, tmp_path / "new" / "packed")
    packed, _ = load_weights(tmp_path / "new" / "packed")
    assert (tmp_path / "new" / "packed").stat().st_size < 0.6 * saved.stat().st_size
    assert describe_weights(tmp_path / "new" / "packed").model == CONFIG

    image = picture()
    boxes = [torch.tensor([[5.0, 5, 40, 60], [20, 2, 70, 50]])]
    (ours,), (theirs,) = net.embed([image], boxes), packed.embed([image], boxes)
    torch.testing.assert_close(ours, theirs, atol=5e-3, rtol=0)
    assert (theirs[0] - theirs[1]).norm() > 0.02  # far more than half precision takes


def test_a_description_is_read_without_the_network(saved: Path, tmp_path: Path) -> None:
    described = describe_weights(saved)
    assert (described.model, described.loss, described.n_persons) == (CONFIG, LOSS, N_PERSONS)
    with pytest.raises(MissingDataError, match="no weights"):
        describe_weights(tmp_path / "absent")
    (tmp_path / "text").write_text("no tensors")
    with pytest.raises(ModelError, match="not a safetensors file"):
        describe_weights(tmp_path / "text")


def written(path: Path, **change: Any) -> Path:
    """Weights of a tiny network with changes to its settings."""
    config = replace(CONFIG, **change)
    save_weights(tiny_network(**change), config, LOSS, N_PERSONS, path)
    return path


@pytest.mark.long
def test_a_network_begins_from_a_smaller_one_that_is_a_part_of_it(tmp_path: Path) -> None:
    oim = written(tmp_path / "oim.safetensors", system="oim_base")
    given, _ = load_weights(oim)
    net = tiny_network(system="qeeps")
    own = {name: value.clone() for name, value in net.state_dict().items()}
    new = begin_from(net, str(oim))
    assert {"excitations.0", "similarity.norm"} & {*new}
    for name, value in net.state_dict().items():
        expected = given.state_dict().get(name, own[name])
        assert torch.equal(value, expected), name


@pytest.mark.parametrize(
    ("given", "wanted", "told"),
    [
        ({"stages": "two"}, {}, "it has no roi_heads"),
        ({"embedding_dim": 8}, {}, "the shape of roi_heads.heads.embedding.* differs"),
        ({"system": "qeeps"}, {"system": "oim_base"}, "it has no "),
    ],
)
def test_a_network_does_not_begin_from_one_that_has_more_or_is_another(
    given: dict[str, Any], wanted: dict[str, Any], told: str, tmp_path: Path
) -> None:
    net = tiny_network(**wanted)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(ModelError, match=told) as caught:
        begin_from(net, str(written(tmp_path / "weights.safetensors", **given)))
    assert "[model] section" in (caught.value.hint or "")
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
