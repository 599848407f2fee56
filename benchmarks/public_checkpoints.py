"""Are converted checkpoints the networks that they were? Compares ours with the public code.

    python benchmarks/public_checkpoints.py --system SeqNet --checkout DIR --data PRW_ROOT

The checkout is that of the public code: github.com/serend1p1ty/SeqNet (which needs yacs),
github.com/dqshuai/NAE4PS (the port of dichen-cd/NAE4PS to Python 3, for NAE and NAE+) or
github.com/dichen-cd/HOIM-PyTorch. The network there gets random weights, norms with statistics of
frames and a filled memory; its checkpoint is converted, and both look at the same frames. Printed
are the largest differences of boxes (pixels), scores and embeddings, of the people found and of
two given boxes in each frame, and those of the losses of one batch. Detections that only one of
the two has are counted: rounding decides them where a score or an overlap is nearly the limit.

Rounding is kept small by the order of our pixels in memory, that of the public code; with
``--channels-last`` it is ours. ``--float64`` tells rounding from a difference that means something:
there, both compute in double precision.
"""

import argparse
import json
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from public_code import N_PERSONS, UNLABELLED, build, embed, wear_in
from torch import Tensor
from torch.nn.functional import normalize

import fdps.models.roi_heads
from fdps.bench.layouts import SYSTEMS
from fdps.data import load_scenes
from fdps.data.training.dataset import load_sample
from fdps.models import build_system
from fdps.models.convert import convert_checkpoint
from fdps.models.weights import describe_weights, load_weights

N_ASKED = 3
"""Frames in which given people are embedded as well."""
SAME_PX = 0.5
"""Boxes this near to each other are of the same detection."""

LOSSES = {
    "loss_objectness": "rpn_score",
    "loss_rpn_box_reg": "rpn_box",
    "loss_detection": "person",
    "loss_box_reg": "box",
    "loss_reid": "reid",
    "loss_rpn_cls": "rpn_score",
    "loss_rpn_reg": "rpn_box",
    "loss_proposal_cls": "first_person",
    "loss_proposal_reg": "first_box",
    "loss_box_cls": "person",
    "loss_box_reid": "reid",
}
"""What the public code calls our losses."""


def main() -> None:
    """Build, convert, compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--system", choices=sorted(SYSTEMS), required=True)
    parser.add_argument("--checkout", type=Path, required=True, help="of the public code")
    parser.add_argument("--data", type=Path, required=True, help="root of PRW")
    parser.add_argument("--n-frames", type=int, default=20, help="of the test split, spread out")
    parser.add_argument("--short-side", type=int, default=900, help="pixels; published is 900")
    parser.add_argument("--proposals", type=int, default=300, help="in tests; published is 300")
    parser.add_argument("--regressor-std", type=float, default=0.001, help="see public_code.py")
    parser.add_argument("--channels-last", action="store_true", help="ours as it trains")
    parser.add_argument("--float64", action="store_true", help="both in double precision")
    parser.add_argument("--out", type=Path, default=Path("public_checkpoint"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    scenes = load_scenes("prw", options.data, "test").scenes
    step = max(len(scenes) // options.n_frames, 1)
    pictures = [picture(load_sample(s)[0]) for s in scenes[::step][: options.n_frames]]
    crowded = sorted(scenes, key=lambda scene: -len(scene.boxes))[:2]
    batch = [load_sample(scene) for scene in crowded]

    torch.manual_seed(0)
    theirs = build(options.system, options.checkout)
    wear_in(theirs, [picture(image) for image, _ in batch], regressor_std=options.regressor_std)
    checkpoint, weights = (
        options.out / f"{options.system}.{end}" for end in ("pth", "safetensors")
    )
    state = {name: value.clone() for name, value in theirs.state_dict().items()}
    torch.save({"model": state, "epoch": 1}, checkpoint)
    conversion = convert_checkpoint(checkpoint, weights)
    ours, criterion = loaded(weights)
    remember(criterion, theirs.roi_heads.reid_loss)
    if not options.channels_last:
        ours.to(memory_format=torch.contiguous_format)
    for transform in (theirs.transform, *ours.transform.sides):
        transform.min_size = (options.short_side,)
        transform.max_size = round(options.short_side * 1500 / 900)
    theirs.rpn._post_nms_top_n["testing"] = options.proposals
    in_training, _ = ours.rpn.rules.after_nms
    ours.rpn.rules = replace(ours.rpn.rules, after_nms=(in_training, options.proposals))
    if options.float64:
        in_double_precision(theirs, ours, criterion)
        pictures = [image.double() for image in pictures]

    began = time.perf_counter()
    detections = Detections()
    told = {
        "system": conversion.system,
        "arguments": {k: str(v) for k, v in vars(options).items() if k not in ("checkout", "data")},
        "machine": f"{platform.machine()}, {torch.get_num_threads()} thread, {torch.__version__}",
        "tensors": len(conversion.fates),
        "dropped": len(conversion.dropped),
        "detections": vars(detections),
        "losses": compare_losses(options.system, theirs, ours, criterion, batch),
    }
    # A batch in training moves the statistics of norms: both go back to where they were.
    theirs.load_state_dict(state)
    theirs.eval()
    ours.load_state_dict(loaded(weights)[0].state_dict())
    ours.eval()
    for n, image in enumerate(pictures, start=1):
        detections.compare(theirs, ours, image, is_asked=n <= N_ASKED)
        told |= {"frames": n, "seconds": round(time.perf_counter() - began)}
        checkpoint.with_suffix(".json").write_text(json.dumps(told, indent=1))  # hours, somewhere
    print(json.dumps(told, indent=1))


@dataclass
class Detections:
    """What was found by both, or by one alone, and how far both are apart at most."""

    both: int = 0
    only_theirs: int = 0
    only_ours: int = 0
    least: float = 1.0
    """The smallest score."""
    thin: int = 0
    """Of those that only they have: thinner than a pixel, which ours drops on purpose."""
    largest: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("boxes", "scores", "embeddings", "queries"), 0.0)
    )

    def compare(self, theirs: Any, ours: Any, image: Tensor, *, is_asked: bool) -> None:
        """Let both look at a frame, and embed two given people of it if that is asked."""
        with torch.inference_mode():
            (other,) = theirs([image])
            (mine,) = ours.detect([image])
        other["embeddings"] = normalize(other["embeddings"], dim=1)  # they are weighed by score
        rows = pairs(mine["boxes"], other["boxes"])
        self.least = min(self.least, *other["scores"].tolist(), 1.0)
        alone = other["boxes"][rows < 0]
        scale = self._resized(theirs, image)
        self.thin += int(((alone[:, 2:] - alone[:, :2]).amin(dim=1) * scale < 1).sum())
        self.both += int((rows >= 0).sum())
        self.only_theirs += len(alone)
        self.only_ours += len(mine["boxes"]) - int((rows >= 0).sum())
        for name in ("boxes", "scores", "embeddings"):
            self._note(name, mine[name][rows[rows >= 0]], other[name][rows >= 0])
        if not is_asked:
            return
        asked = torch.tensor([[20.0, 30, 80, 200], [200, 100, 260, 300]]).to(image)
        (answered,) = ours.embed([image], [asked])
        self._note("queries", answered, normalize(embed(theirs, image, asked), dim=1))

    def _note(self, name: str, mine: Tensor, other: Tensor) -> None:
        if mine.numel():
            self.largest[name] = max(self.largest[name], float((mine - other).abs().max()))

    @staticmethod
    def _resized(theirs: Any, image: Tensor) -> float:
        """By how much a frame grows before the network sees it."""
        batch, _ = theirs.transform([image])
        return batch.image_sizes[0][0] / image.shape[-2]  # type: ignore[no-any-return]


def pairs(mine: Tensor, theirs: Tensor) -> Tensor:
    """Find each of their boxes among ours; -1 where it is not there.

    Their order is chance where scores are nearly equal.
    """
    if not len(mine) or not len(theirs):
        return torch.full((len(theirs),), -1)
    apart = (theirs[:, None] - mine).abs().amax(dim=2)
    nearest, rows = apart.min(dim=1)
    back = apart.argmin(dim=0)[rows] == torch.arange(len(theirs))
    return torch.where((nearest < SAME_PX) & back, rows, -1)


def picture(image: Tensor) -> Tensor:
    """Take the pixels of a frame as both networks do."""
    return image.float() / 255


def loaded(weights: Path) -> tuple[Any, Any]:
    """Load a network with the loss that it is trained with, which may share its memory."""
    described = describe_weights(weights)
    model = replace(described.model, backbone_weights="none")
    net, criterion = build_system(model, described.loss, described.n_persons)
    net.load_state_dict(load_weights(weights)[0].state_dict())
    return net.eval(), criterion


def remember(criterion: Any, loss: Any) -> None:
    """Fill our memory with what theirs remembers of the training people."""
    criterion.memory.table.rows.copy_(loss.lut)
    criterion.memory.queue.rows.copy_(loss.cq)


def in_double_precision(*networks: torch.nn.Module) -> None:
    """Compute in float64, also where a network asks for float32."""
    for network in networks:
        network.double()
    Tensor.float = lambda self, *a, **k: self  # type: ignore[method-assign,misc,assignment]


def compare_losses(
    system: str, theirs: Any, ours: Any, criterion: Any, batch: list[Any]
) -> dict[str, Any]:
    """Train both on one batch, with the same proposals and the same draws among them."""
    dtype = next(ours.parameters()).dtype
    images = [picture(image).to(dtype) for image, _ in batch]
    targets = [target_of(system, image, target, dtype) for image, target in batch]
    labels = [
        {"boxes": t["boxes"], "labels": torch.where(t["ids"] < 0, UNLABELLED, t["ids"] + 1)}
        for t in targets
    ]
    proposals: list[Tensor] = []

    def with_some_near_people(_: Any, given: Any, out: Any) -> Any:
        """Propose what a trained network does, and keep it for ours."""
        near = [around(people["boxes"]) for people in given[2]]
        proposals.extend(torch.cat(both) for both in zip(out[0], near, strict=True))
        return [*proposals], out[1]

    hook = theirs.rpn.register_forward_hook(with_some_near_people)
    with torch.no_grad(), same_draws():
        other = theirs.train()(images, labels)
        hook.remove()
        ours.rpn._select = lambda *arguments: proposals
        mine = ours.train()(
            images, [{"boxes": t["boxes"], "person_ids": t["ids"]} for t in targets], criterion
        ).losses
        del ours.rpn._select
    told: dict[str, Any] = {"people": [len(target["ids"]) for target in targets]}
    for name, value in other.items():
        ours_is = float(mine[LOSSES[name]].value)
        told[LOSSES[name]] = {
            "theirs": round(float(value), 7),
            "ours": round(ours_is, 7),
            "difference": abs(ours_is - float(value)),
        }
    return told


def target_of(
    system: str, image: Tensor, target: dict[str, Tensor], dtype: torch.dtype
) -> dict[str, Tensor]:
    """Take the people of a frame; every third has no identity."""
    boxes = target["boxes"].to(dtype)
    if system == "NAE+":
        # Theirs compares a region of background with the first person of the picture, and where
        # that person is left of it or above, Python counts the pixels of the mask from the other
        # end. Ours takes the nearest person. With one, in the lower right corner, both agree.
        height, width = image.shape[-2:]
        boxes = torch.tensor([[width * 0.7, height * 0.4, width, height]], dtype=dtype)
    ids = torch.arange(len(boxes)) * 7 % N_PERSONS
    ids[::3] = -1
    ids[0] = 3
    return {"boxes": boxes, "ids": ids}


def around(boxes: Tensor) -> Tensor:
    """Move boxes by up to a quarter of their size, eight times each."""
    generator = torch.Generator().manual_seed(2)
    shifts = torch.rand((8, len(boxes), 4), generator=generator).to(boxes) - 0.5
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    return (boxes + shifts * sides / 2).flatten(0, 1).clamp(min=0)


@contextmanager
def same_draws() -> Iterator[None]:
    """Let both draw the same among equally many candidates, which both have in the same order."""
    drawn, sampled = torch.randperm, fdps.models.roi_heads.sample

    def by_number(n: int, **options: Any) -> Tensor:
        return drawn(n, generator=torch.Generator().manual_seed(n))

    def in_order(*arguments: Any) -> Tensor:
        # The second stage draws among what the first one drew; theirs goes by order, ours puts
        # people first.
        return sampled(*arguments).sort().values

    torch.randperm = by_number  # type: ignore[assignment]
    fdps.models.roi_heads.sample = in_order  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.randperm, fdps.models.roi_heads.sample = drawn, sampled


if __name__ == "__main__":
    main()
