import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim import SGD

from fdps.engine.checkpoint import Progress, load_checkpoint, save_checkpoint
from fdps.errors import ModelError


def network(width: int = 4) -> tuple[nn.Module, SGD]:
    """Two steps old, with a parameter that never had a gradient; in channels-last memory."""
    net = nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Conv2d(width, 2, 1))
    net = net.to(memory_format=torch.channels_last)
    net[2].requires_grad_(requires_grad=False)
    optimizer = SGD([p for p in net.parameters() if p.requires_grad], lr=0.1, momentum=0.9)
    for _ in range(2):
        step(net, optimizer)
    return net, optimizer


def step(net: nn.Module, optimizer: SGD) -> None:
    optimizer.zero_grad()
    net(torch.rand(2, 3, 5, 5)).square().sum().backward()
    optimizer.step()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A checkpoint of :func:`network` after two steps."""
    save_checkpoint(tmp_path / "run" / "c.safetensors", *network(), Progress(step=2, seconds=1.5))
    return tmp_path / "run" / "c.safetensors"


def test_a_run_goes_on_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    net, optimizer = network()
    save_checkpoint(path, net, optimizer, Progress(step=2, seconds=1.5))
    step(net, optimizer)

    torch.manual_seed(99)
    other, other_optimizer = network()
    progress = load_checkpoint(path, other, other_optimizer)
    assert progress == Progress(step=2, seconds=1.5)
    step(other, other_optimizer)
    assert all(map(torch.equal, net.state_dict().values(), other.state_dict().values()))
    for ours, theirs in zip(net.parameters(), other.parameters(), strict=True):
        momentum = optimizer.state[ours].get("momentum_buffer")
        restored = other_optimizer.state[theirs].get("momentum_buffer")
        assert (momentum is None) == (restored is None) == (not ours.requires_grad)
        if momentum is not None:
            assert torch.equal(momentum, restored)
            assert momentum.stride() == restored.stride()


def test_a_newer_checkpoint_replaces_the_older_whole(path: Path) -> None:
    net, optimizer = network()
    path.with_name("c.safetensors.part").write_bytes(b"left by a session that was killed")
    save_checkpoint(path, net, optimizer, Progress(step=7))
    assert load_checkpoint(path, net, optimizer).step == 7
    assert [file.name for file in path.parent.iterdir()] == ["c.safetensors"]


def test_a_checkpoint_stays_while_the_next_cannot_be_written(path: Path) -> None:
    before = path.read_bytes()
    path.with_name("c.safetensors.part").mkdir()  # in the way
    with pytest.raises(IsADirectoryError):
        save_checkpoint(path, *network(), Progress(step=7))
    assert path.read_bytes() == before


def spoilt(path: Path, how: str) -> Path:
    tensors = load_file(path)
    metadata = {"progress": json.dumps({"step": 2, "seconds": 0})}
    match how:
        case "gone":
            path.unlink()
        case "not safetensors":
            path.write_bytes(b"PK\x03\x04 a pickle in a zip archive")
        case "cut short":
            path.write_bytes(path.read_bytes()[:-10])
        case "plain weights":
            save_file({k.removeprefix("model."): v for k, v in tensors.items()}, path)
        case "no position":
            save_file(tensors, path)
        case "unknown position":
            save_file(tensors, path, {"progress": '{"epoch": 3}'})
        case "no random numbers":
            save_file({k: v for k, v in tensors.items() if k != "rng"}, path, metadata)
        case "another network":
            save_checkpoint(path, *network(width=5), Progress())
    return path


@pytest.mark.parametrize(
    "how",
    [
        "gone",
        "not safetensors",
        "cut short",
        "plain weights",
        "no position",
        "unknown position",
        "no random numbers",
        "another network",
    ],
)
def test_what_is_no_checkpoint_of_this_run_is_refused(path: Path, how: str) -> None:
    spoilt(path, how)
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(ModelError, match=r"c\.safetensors is not a checkpoint") as caught:
        load_checkpoint(path, *network())
    assert "remove it" in caught.value.hint
    assert (path.read_bytes() if path.exists() else None) == before
