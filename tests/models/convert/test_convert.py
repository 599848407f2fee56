"""Checkpoints of public code become networks that find the same."""

import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fake.public_checkpoint import BACKGROUND, N_PERSONS, SYSTEMS, public_tensors, used_network
from fdps.embedders.info import describe
from fdps.errors import FdpsError, MissingDataError, ModelError
from fdps.models.convert import convert_checkpoint
from fdps.models.convert.layouts import recognise
from fdps.models.weights import describe_weights, load_weights


@pytest.fixture(scope="module", params=sorted(SYSTEMS))
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A system, its network, its public checkpoint, and what was converted from that."""
    system, folder = request.param, tmp_path_factory.mktemp("public")
    net = used_network(system)
    state = public_tensors(system, net)
    torch.save({"model": state, "optimizer": {"lr": 0.003}, "epoch": 3}, folder / "p.pth")
    conversion = convert_checkpoint(folder / "p.pth", folder / "w.safetensors")
    return system, net, folder, conversion


@pytest.mark.slow
def test_the_network_is_what_it_was(made: Any) -> None:
    system, net, folder, conversion = made
    read, _ = load_weights(folder / "w.safetensors")
    assert conversion.system == system
    expected = net.state_dict()
    for name, value in read.state_dict().items():
        if "num_batches_tracked" not in name:
            torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-6)
    image = torch.rand(3, 96, 128)
    net.roi_heads.min_score = read.roi_heads.min_score = 0.0
    net.transform = read.transform
    (ours,), (theirs,) = read.detect([image]), net.detect([image])
    assert len(ours["boxes"]) > 0
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=0, atol=1e-3)


def test_every_tensor_is_accounted_for(made: Any) -> None:
    system, net, _, conversion = made
    given = {name.replace("conv.0.0.", "conv.") for name in public_tensors(system, net)}
    assert conversion.fates.keys() == given
    kinds = {fate.split()[0] for fate in conversion.fates.values()}
    assert kinds <= {"converted", "derived:", "dropped:"}
    left = {name for name in conversion.dropped if "reid_loss" in name}
    assert left == (
        set() if system == "HOIM" else {f"roi_heads.reid_loss.{n}" for n in ("lut", "cq")}
    )
    if system == "OIMNet++":
        unused = ("roi_heads.box_head.", "roi_heads.faster_rcnn_predictor.")
        left = {name for name in given if name.startswith(unused)}
        assert {conversion.dropped[name] for name in left} == {
            "dropped: the public code never uses it"
        }
        return
    bias = "roi_heads.embedding_head.projectors.feat_res4.0.bias"
    assert "running_mean" in conversion.fates[bias]


def test_the_file_says_where_it_came_from(made: Any) -> None:
    system, _, folder, conversion = made
    described = describe_weights(folder / "w.safetensors")
    assert (described.origin.system, described.n_persons) == (system, N_PERSONS)
    assert described.origin.sha256 == conversion.sha256
    info = describe(str(folder / "w.safetensors"))
    assert info.licence == "research-only"
    assert system in info.notes
    if system == "HOIM":
        assert described.loss.background_size == BACKGROUND
    assert described.loss.name == ("loim" if system == "OIMNet++" else "oim")


@pytest.mark.slow
def test_a_network_goes_on_training(made: Any) -> None:
    system, _, folder, _ = made
    described = describe_weights(folder / "w.safetensors")
    from fdps.models import build_system

    net, criterion = build_system(described.model, described.loss, described.n_persons)
    net.load_state_dict(load_weights(folder / "w.safetensors")[0].state_dict())
    target = {"boxes": torch.tensor([[5.0, 5, 60, 90]]), "person_ids": torch.tensor([1])}
    out = net.train()([torch.rand(3, 96, 128)], [target], criterion)
    assert all(loss.value.isfinite() for loss in out.losses.values())
    assert len(out.losses) == (7 if system == "SeqNet" else 5)


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"roi_heads.embedding_head.rescaler.bias": None},
            "lacks roi_heads.embedding_head.rescaler.bias",
        ),
        ({"backbone.conv1.weight": torch.zeros(64, 3, 5, 5)}, "does not fit: size mismatch"),
        ({"backbone.layer2.0.conv1.weight": None}, "does not fit: Missing key"),
        ({"roi_heads.box_predictor.bbox_pred.0.weight": None}, "of no system that is known"),
    ],
    ids=["a part of the heads", "another shape", "a part of the trunk", "another layout"],
)
def test_raises_a_checkpoint_that_does_not_fit(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    state = public_tensors("NAE", used_network("NAE")) | change
    path = saved(tmp_path / "p.pth", {k: v for k, v in state.items() if v is not None})
    with pytest.raises(ModelError, match=message) as caught:
        convert_checkpoint(path, tmp_path / "w.safetensors")
    assert caught.value.hint
    assert not (tmp_path / "w.safetensors").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "cxt_scene_extractor.convs.0.weight",
        "roi_heads.cxt_group_extractor.convs_1x1.0.weight",
        "fuser_mlp.0.weight",
        "roi_heads.embedding_head.projectors.cxt_scene.0.weight",
        "mps.blocks.0.weight",
    ],
)
def test_raises_glcnet_by_its_name_and_says_what_is_missing(tmp_path: Path, name: str) -> None:
    state = public_tensors("SeqNet", used_network("SeqNet")) | {name: torch.zeros(1)}
    path = saved(tmp_path / "p.pth", state)
    with pytest.raises(ModelError, match=r"one of GLCNet .* the scene and the group") as caught:
        convert_checkpoint(path, tmp_path / "w.safetensors")
    assert name in str(caught.value)
    assert caught.value.hint
    assert not (tmp_path / "w.safetensors").exists()


@pytest.mark.long
def test_an_unknown_tensor_is_named_and_left(tmp_path: Path) -> None:
    state = public_tensors("NAE", used_network("NAE")) | {"extra.weight": torch.zeros(2)}
    path = saved(tmp_path / "p.pth", {f"module.{name}": value for name, value in state.items()})
    fates = convert_checkpoint(path, tmp_path / "w").fates
    assert fates["extra.weight"] == "dropped: not known to be of any use"


class Runs:
    """Writes a file beside the checkpoint when it is unpickled."""

    def __init__(self, checkpoint: Path) -> None:
        self.canary = checkpoint.with_suffix(".canary")

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.canary}",)


def cut_off(path: Path) -> None:
    torch.save({"a": torch.zeros(10_000)}, path)
    path.write_bytes(path.read_bytes()[:-5000])


def storage_shorter_than_its_tensor(path: Path) -> None:
    torch.save({"a": torch.zeros(10_000)}, path)
    with zipfile.ZipFile(path) as given:
        contents = {name: given.read(name) for name in given.namelist()}
    with zipfile.ZipFile(path, "w") as changed:
        for name, content in contents.items():
            changed.writestr(name, content[:64] if "/data/" in name else content)


HOSTILE: dict[str, Callable[[Path], Any]] = {
    "pickle that runs": lambda path: path.write_bytes(pickle.dumps({"model": Runs(path)})),
    "archive whose pickle runs": lambda path: torch.save({"model": {}, "x": Runs(path)}, path),
    "tensor that runs": lambda path: torch.save({"a": torch.zeros(1), "b": Runs(path)}, path),
    "cut off": cut_off,
    "storage shorter than its tensor": storage_shorter_than_its_tensor,
    "header of 4 GB": lambda path: path.write_bytes(struct.pack("<Q", 2**32) + b"{}"),
    "no tensors": lambda path: torch.save({"model": {"a": "text"}}, path),
    "a list": lambda path: torch.save([torch.zeros(2)], path),
    "empty file": lambda path: path.touch(),
    "text": lambda path: path.write_text("no checkpoint"),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_refused_and_nothing_runs(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "p.pth"
    HOSTILE[kind](path)
    with pytest.raises(ModelError, match="cannot be converted: ") as caught:
        convert_checkpoint(path, tmp_path / "w.safetensors")
    assert str(path) in str(caught.value)
    assert not path.with_suffix(".canary").exists()
    assert not (tmp_path / "w.safetensors").exists()


@pytest.mark.long
def test_tensors_that_share_a_storage_become_tensors_of_their_own(tmp_path: Path) -> None:
    from fdps.models.convert.reader import read_tensors

    whole = torch.arange(10.0)
    path = saved(tmp_path / "p.pth", {"a": whole[2:4], "b": whole[3:6], "c": whole[::3]})
    found = read_tensors(path)
    assert [found[name].tolist() for name in "abc"] == [[2, 3], [3, 4, 5], [0, 3, 6, 9]]


def test_raises_absent_file(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no checkpoint at"):
        convert_checkpoint(tmp_path / "absent.pth", tmp_path / "w")


def test_descendants_that_changed_the_heads_are_not_taken_for_their_ancestor() -> None:
    state = public_tensors("SeqNet", used_network("SeqNet"))
    assert recognise(state).name == "SeqNet"
    del state["roi_heads.faster_rcnn_predictor.cls_score.weight"]
    with pytest.raises(FdpsError, match="of no system that is known"):
        recognise(state)
