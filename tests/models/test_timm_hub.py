import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fdps.errors import ModelError
from fdps.models import timm_hub
from fdps.models.backbone import Backbone, build_backbone

timm = pytest.importorskip("timm", reason="the extra timm is not installed")
constants = pytest.importorskip("huggingface_hub").constants


def build(name: str, weights: str = "pretrained") -> Backbone:
    return build_backbone(f"timm:{name}", weights=weights, frozen_stages=0, norm="train")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the hub's client keeps what it fetched; nobody listens where it would fetch."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    return tmp_path / "hub"


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A hub that takes calls and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setattr(timm_hub, "TIMEOUT_S", 0.2)
        yield


def refusal(name: str, weights: str = "pretrained") -> ModelError:
    began = time.monotonic()
    with pytest.raises(ModelError) as caught:
        build(name, weights)
    assert time.monotonic() - began < 3, "it waited"
    return caught.value


@pytest.mark.parametrize("weights", ["pretrained", "imagenet"])
def test_raises_at_once_where_there_is_no_network(weights: str) -> None:
    error = refusal("test_resnet", weights)
    assert "weights of test_resnet could not be fetched: Connect" in str(error)
    assert "create_model('test_resnet', pretrained=True), 'test_resnet.safetensors')" in error.hint
    assert "--backbone-weights test_resnet.safetensors" in error.hint
    assert "--backbone-weights none" in error.hint


@pytest.mark.usefixtures("silent")
def test_raises_soon_where_nobody_answers() -> None:
    assert "could not be fetched: " in str(refusal("test_resnet"))


def test_raises_network_without_weights() -> None:
    error = refusal("resnet200")
    assert "has no weights of resnet200" in str(error)
    assert "--backbone-weights FILE" in error.hint


def keep(cache: Path, content: dict[str, torch.Tensor]) -> Path:
    """Leave a file as the hub's client does."""
    repository = cache / "models--timm--test_resnet.r160_in1k"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    (repository / "snapshots" / ("0" * 40)).mkdir(parents=True)
    path = repository / "snapshots" / ("0" * 40) / "model.safetensors"
    save_file(content, path)
    return path


def test_what_was_fetched_before_needs_no_network(cache: Path) -> None:
    net = timm.create_model("test_resnet")
    keep(cache, net.state_dict())
    trunk = build("test_resnet").trunk
    assert torch.equal(next(trunk.parameters()), next(net.parameters()))


def test_raises_what_was_cut_short(cache: Path) -> None:
    path = keep(cache, timm.create_model("test_resnet").state_dict())
    path.write_bytes(path.read_bytes()[:2000])
    assert "weights of test_resnet could not be fetched" in str(refusal("test_resnet"))
