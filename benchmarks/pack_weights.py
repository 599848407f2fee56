"""Write weights to hand on, as ``drawn-people`` was made: in half precision, with nobody in them.

Run it from the checkout:

    python benchmarks/pack_weights.py runs/x/weights.safetensors drawn-people.safetensors
"""

import argparse
import dataclasses
from pathlib import Path

from fdps.models import build_model
from fdps.models.weights import describe_weights, load_weights, save_weights


def pack_weights(path: Path, out: Path) -> None:
    """Write weights to hand on: half precision, and nothing remembered of the training people.

    The re-ID loss keeps an embedding of every training identity. A network that is only searched
    with needs none, and who passes it on should not pass those on.

    Args:
        path: A weights file as :func:`save_weights` writes it.
        out: Replaced if it is there.

    Raises:
        MissingDataError: No such file.
        ModelError: Not a weights file.
    """
    trained, _ = load_weights(path)
    described = describe_weights(path)
    loss = dataclasses.replace(described.loss, queue_size=0)
    # Names no file of the machine that trained.
    config = dataclasses.replace(described.model, backbone_weights="none")
    packed = build_model(config, loss, 1)
    memory = "roi_heads.criterion."
    kept = {k: v for k, v in trained.state_dict().items() if not k.startswith(memory)}
    packed.load_state_dict(kept, strict=False)
    save_weights(packed.half(), config, loss, 1, out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    pack_weights(options.weights, options.out)
