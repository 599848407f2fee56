"""Are converted checkpoints the networks that they were? Compares ours with the public code.

    python benchmarks/public_checkpoints.py --system SeqNet --checkout DIR --frames DIR

The checkout is that of the public code: github.com/serend1p1ty/SeqNet (which needs yacs),
github.com/dqshuai/NAE4PS (the port of dichen-cd/NAE4PS to Python 3) or
github.com/dichen-cd/HOIM-PyTorch. The network there gets random weights, norms with statistics of
their own and a filled memory; its checkpoint is converted, and both look at the same frames.
Printed are the largest differences of boxes (pixels), scores and embeddings, of the people found
and of two given boxes in each frame.
"""

import argparse
import builtins
import importlib
import json
import pickle
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import normalize

from fdps.models.convert import convert_checkpoint
from fdps.models.weights import load_weights

N_PERSONS, QUEUE = 30, 40


def main() -> None:
    """Build, convert, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--system", choices=sorted(BUILDERS), required=True)
    parser.add_argument("--checkout", type=Path, required=True)
    parser.add_argument("--frames", type=Path, required=True)
    parser.add_argument("--n-frames", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("public_checkpoint"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    frames = sorted(options.frames.glob("*.jpg"))[: options.n_frames]
    pictures = [picture(path) for path in frames]
    torch.manual_seed(0)
    theirs = BUILDERS[options.system](options.checkout)
    wear_in(theirs, pictures[:2])
    checkpoint = options.out / f"{options.system}.pth"
    torch.save({"model": theirs.state_dict(), "epoch": 1}, checkpoint)
    conversion = convert_checkpoint(checkpoint, options.out / f"{options.system}.safetensors")
    ours, _ = load_weights(options.out / f"{options.system}.safetensors")
    n_lost = sum(fate.startswith("dropped") for fate in conversion.fates.values())
    largest = {"boxes": 0.0, "scores": 0.0, "embeddings": 0.0, "queries": 0.0}
    n_found = 0
    for image in pictures:
        (mine,) = ours.detect([image])
        with torch.inference_mode():
            (other,) = theirs([image])
        weighted = options.system != "HOIM"
        found = normalize(other["embeddings"], dim=1) if weighted else other["embeddings"]
        if len(mine["boxes"]) != len(other["boxes"]):
            raise SystemExit(f"{len(mine['boxes'])} detections, theirs are {len(other['boxes'])}")
        n_found += len(found)
        mine = {name: value[paired(mine["boxes"], other["boxes"])] for name, value in mine.items()}
        for name, value in (
            ("boxes", other["boxes"]),
            ("scores", other["scores"]),
            ("embeddings", found),
        ):
            largest[name] = max(largest[name], difference(mine[name], value))
        boxes = torch.tensor([[20.0, 30, 80, 200], [200, 100, 260, 300]])
        asked = embed(theirs, options.system, image, boxes)
        (answered,) = ours.embed([image], [boxes])
        largest["queries"] = max(largest["queries"], difference(answered, asked))
    print(
        json.dumps(
            {
                "system": conversion.system,
                "frames": len(pictures),
                "detections": n_found,
                "tensors": len(conversion.fates),
                "dropped": n_lost,
                "largest_difference": largest,
            },
            indent=1,
        )
    )


def picture(path: Path) -> Tensor:
    """Read a frame as both networks take it."""
    pixels = np.asarray(Image.open(path).convert("RGB"))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255


def paired(mine: Tensor, theirs: Tensor) -> Tensor:
    """Put ours into the order of theirs, which is chance where scores are nearly equal."""
    rows = (
        torch.cdist(theirs, mine).argmin(dim=1) if len(mine) else torch.zeros(0, dtype=torch.int64)
    )
    if len(rows.unique()) < len(rows):
        raise SystemExit("the detections are not the same")
    return rows


def difference(mine: Tensor, theirs: Tensor) -> float:
    """Largest absolute difference."""
    return float((mine - theirs).abs().max()) if mine.numel() else 0.0


def wear_in(net: Any, pictures: list[Tensor]) -> None:
    """Give norms the statistics of frames, and heads weights that tell regions apart."""
    generator = torch.Generator().manual_seed(1)
    for name, buffer in net.named_buffers():
        if name.split(".")[-1] in ("lut", "cq", "cqb"):
            buffer.copy_(normalize(torch.randn(buffer.shape, generator=generator), dim=1))
        elif name.endswith("_omega"):
            buffer.copy_(torch.rand(buffer.shape, generator=generator))
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    sizes = net.transform.min_size, net.transform.max_size
    net.transform.min_size, net.transform.max_size = (240,), 400
    targets = [
        {
            "boxes": torch.tensor([[20.0, 30, 80, 200], [200, 100, 260, 300]]),
            "labels": torch.tensor([1, 2]),
        }
        for _ in pictures
    ]
    with torch.no_grad():
        net.train()(pictures, targets)
    net.transform.min_size, net.transform.max_size = sizes
    for norm in norms:
        norm.bias.data.copy_(torch.randn(norm.bias.shape, generator=generator) * 0.1)
    for name, layer in net.named_modules():
        if isinstance(layer, nn.Linear) and layer.bias is not None:
            layer.bias.data.copy_(torch.randn(layer.bias.shape, generator=generator) * 0.1)
            if name.endswith("faster_rcnn_predictor.cls_score"):
                layer.weight.data.mul_(0.1)  # or random weights find nobody
                layer.bias.data.copy_(torch.tensor([0.0, 0.5]))
    net.eval()


def embed(net: Any, system: str, image: Tensor, boxes: Tensor) -> Tensor:
    """Embed given people as the public code embeds queries."""
    with torch.inference_mode():
        targets = [{"boxes": boxes}]
        rows = net([image], targets) if system == "SeqNet" else net.ex_feat([image], targets)
    return torch.cat([*rows])


@contextmanager
def as_in_python_2() -> Iterator[None]:
    """Let ``map`` return lists and wholes stay whole, which the older code counts on."""
    lazy = builtins.map
    builtins.map = lambda *arguments: [*lazy(*arguments)]  # type: ignore[assignment,misc]
    try:
        yield
    finally:
        builtins.map = lazy


def whole_linear(n_in: float, n_out: float, **options: Any) -> nn.Linear:
    """Build a linear layer of sizes that an older division made."""
    return nn.Linear(int(n_in), int(n_out), **options)


def whole_norm(n: float, **options: Any) -> nn.BatchNorm1d:
    """Build a norm of a size that an older division made."""
    return nn.BatchNorm1d(int(n), **options)


def build_seqnet(checkout: Path) -> nn.Module:
    """Build SeqNet by its own code."""
    sys.path.insert(0, str(checkout))
    config = importlib.import_module("defaults").get_default_cfg()
    config.MODEL.LOSS.LUT_SIZE, config.MODEL.LOSS.CQ_SIZE = N_PERSONS, QUEUE
    resnet = importlib.import_module("models.resnet")
    without_download(resnet)
    return importlib.import_module("models.seqnet").SeqNet(config)


def without_download(module: types.ModuleType) -> None:
    """Begin from random weights, as there is nothing to fetch."""
    import torchvision

    made = torchvision.models.resnet50
    torchvision.models.resnet.__dict__["resnet50"] = lambda *a, **k: made(weights=None)


def build_older(checkout: Path, module: str) -> Any:
    """Import a network of the older code, whose sizes are fractions now."""
    sys.path.insert(0, str(checkout))
    loaded = importlib.import_module(module)
    patched = types.SimpleNamespace(**vars(nn))
    patched.Linear, patched.BatchNorm1d = whole_linear, whole_norm
    loaded.nn = patched
    return loaded


def build_nae(checkout: Path) -> nn.Module:
    """Build NAE by its own code."""
    with as_in_python_2():
        code = build_older(checkout, "lib.model.faster_rcnn_norm_aware")
        return older(
            code,
            code.FasterRCNN_NormAware,
            code.NormAwareEmbeddingProj,
            code.OIMLoss(256, N_PERSONS, QUEUE, 0.5, 30.0),
        )


def build_hoim(checkout: Path) -> nn.Module:
    """Build HOIM by its own code."""
    sys.modules.setdefault("cPickle", pickle)  # as Python 2 called it
    with as_in_python_2():
        code = build_older(checkout, "lib.model.faster_rcnn_hoim")
        loss = code.HOIMLoss(256, N_PERSONS, QUEUE, 50, 0.5, 30.0)
        return older(code, code.FasterRCNN_HOIM, code.ReIDEmbeddingProj, loss)


def older(code: Any, network: Any, embedding: Any, loss: nn.Module) -> nn.Module:
    """Put the parts of an older network together."""
    without_download(code)
    backbone, head = code.resnet_backbone("resnet50", False)
    projection = embedding(["feat_res4", "feat_res5"], [1024, 2048], 256)
    net = network(
        backbone,
        feat_head=head,
        box_predictor=code.CoordRegressor(2048, 2),
        embedding_head=projection,
        reid_loss=loss,
        box_score_thresh=0.5,
    )
    net.roi_heads.has_keypoint = False  # an attribute then, and a method today
    return net


BUILDERS = {"SeqNet": build_seqnet, "NAE": build_nae, "HOIM": build_hoim}

if __name__ == "__main__":
    main()
