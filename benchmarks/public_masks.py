"""How often does the public code of NAE+ teach background another mask than ours?

    python benchmarks/public_masks.py --checkout NAE4PS --data PRW_ROOT

Its mask of a region comes from one annotated box, for background the first of the picture, and
where that box is left of the region or above it, its bounds are negative: Python counts such pixels
from the other end. Regions here are random boxes of the shapes of people in frames of the training
split, sampled as in training.
"""

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor

from fdps.bench.public import as_in_python_2, older
from fdps.data import load_scenes
from fdps.models.roi_heads import RegionRules, pick
from fdps.models.systems.nae_plus import inside, nearest

SIZE = (7, 7)
RULES = RegionRules(
    regions_per_image=128,
    positive_fraction=0.5,
    foreground_iou=0.5,
    background_iou=0.1,
    score_threshold=0.5,
    nms_iou=0.4,
    max_detections=300,
    embedded_box="proposal",
)


def main() -> None:
    """Count regions whose masks differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkout", type=Path, required=True, help="of NAE4PS")
    parser.add_argument("--data", type=Path, required=True, help="root of PRW")
    options = parser.parse_args()
    sys.path.insert(0, str(options.checkout))
    with as_in_python_2():
        code = older("lib.model.faster_rcnn_pixel_wise_norm_aware")
    theirs = code.PixelWiseNormAwareRoiHeads.grid_wise_label_gen
    scenes = [s for s in load_scenes("prw", options.data, "train").scenes if len(s.boxes)]
    torch.manual_seed(0)
    counts = torch.zeros(5, dtype=torch.int64)
    for scene in scenes[::15][:40]:
        people = torch.from_numpy(scene.boxes).float() * 900 / 576
        target = {"boxes": people, "person_ids": torch.zeros(len(people), dtype=torch.int64)}
        picked = pick([random_boxes(2000, (900, 1125))], [target], RULES)
        (regions,), is_person = picked.regions, picked.is_person
        boxes = people[:1].repeat(len(regions), 1)
        boxes[is_person] = picked.boxes
        mask = theirs([boxes], [regions])[:, 0]
        differs = apart(mask, inside(regions, nearest(regions, people), SIZE))
        wraps = apart(mask, inside(regions, boxes, SIZE))
        shown = (~is_person, differs & ~is_person, wraps & ~is_person)
        counts += torch.stack([x.sum() for x in (*shown, is_person, differs & is_person)])
    background, other, wrapped, persons, others = counts.tolist()
    print(f"{background} regions of background: {other} masks differ, {wrapped} by negative bounds")
    print(f"{persons} regions that show a person: {others} masks differ")


def random_boxes(n: int, size: tuple[int, int]) -> Tensor:
    """Draw boxes that are one to three times as high as wide, clipped to the picture."""
    height, width = size
    centres = torch.rand(n, 2) * torch.tensor([width, height])
    sides = torch.rand(n, 1) * 200 + 20
    sides = torch.cat([sides, sides * (1 + 2 * torch.rand(n, 1))], dim=1)
    boxes = torch.cat([centres - sides / 2, centres + sides / 2], dim=1).clamp(min=0)
    boxes = boxes.minimum(torch.tensor([width, height, width, height]))
    return boxes[(boxes[:, 2:] - boxes[:, :2] > 4).all(dim=1)]


def apart(a: Tensor, b: Tensor) -> Tensor:
    """Tell which of two masks differ anywhere."""
    return (a - b).abs().amax(dim=(1, 2)) > 1e-4


if __name__ == "__main__":
    main()
