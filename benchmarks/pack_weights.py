"""Write weights to hand on, as ``drawn-people`` was made: in half precision.

Run it from the checkout:

    python benchmarks/pack_weights.py runs/x/weights.safetensors drawn-people.safetensors
"""

import argparse
import dataclasses
from pathlib import Path

from fdps.models.weights import describe_weights, load_weights, save_weights


def pack_weights(path: Path, out: Path) -> None:
    """Write weights in half the space, without the names of files of the machine that trained.

    Args:
        path: A weights file.
        out: Replaced if it is there.

    Raises:
        MissingDataError: No such file.
        ModelError: Not a weights file.
    """
    net, _ = load_weights(path)
    described = describe_weights(path)
    config = dataclasses.replace(described.model, backbone_weights="none")
    save_weights(net.half(), config, described.loss, described.n_persons, out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    pack_weights(options.weights, options.out)
