"""Cards of two-step embedders over the shared networks."""

from pathlib import Path

CARD = """\
kind = "two_step"
licence = "Apache-2.0"
data = "COCO; a re-ID set"
notes = "small and quick"

[detector]
kind = "yolox"
file = "{folder}/yolox_nano.onnx"
size = [416, 416]
min_score = 0.3

[reid]
file = "{folder}/person_reid_retail_0248.onnx"
size = [256, 128]
layout = "NHWC"

[metrics]
"prw_c6 mAP" = 0.824
"""


def write_card(path: Path, models: Path, *changes: tuple[str, str]) -> Path:
    """Write a card, with pieces of its text replaced."""
    text = CARD.format(folder=models)
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path.write_text(text)
    return path
