"""Write weights to hand on, as ``drawn-people`` was made: in half precision.

Run it from the checkout:

    python benchmarks/pack_weights.py runs/x/weights.safetensors drawn-people.safetensors
    python benchmarks/pack_weights.py runs/y/weights.safetensors street-people.safetensors \
        --short-side 512 --long-side 900
"""

import argparse
import dataclasses
from pathlib import Path

from fdps.models.weights import describe_weights, load_weights, save_weights


def pack_weights(
    path: Path, out: Path, *, short_side: int | None = None, long_side: int | None = None
) -> None:
    """Write weights in half the space, without the names of files of the machine that trained.

    Args:
        path: A weights file.
        out: Replaced if it is there.
        short_side: Shorter side that pictures are brought to, where not that of the training.
        long_side: Largest longer side.

    Raises:
        MissingDataError: No such file.
        ModelError: Not a weights file.
    """
    net, _ = load_weights(path)
    described = describe_weights(path)
    config = dataclasses.replace(
        described.model,
        backbone_weights="none",
        short_side=described.model.short_side if short_side is None else (short_side,),
        long_side=long_side or described.model.long_side,
    )
    save_weights(net.half(), config, described.loss, described.n_persons, out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--short-side", type=int)
    parser.add_argument("--long-side", type=int)
    options = parser.parse_args()
    pack_weights(
        options.weights, options.out, short_side=options.short_side, long_side=options.long_side
    )
