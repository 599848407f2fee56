"""What goes into every graph of an exported network while it looks at pictures."""

from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from fdps.export.given import Pictures
from fdps.runtime.exported import ExportedNetwork

Inputs = dict[str, np.ndarray]


def recorded_inputs(network: ExportedNetwork, pictures: Pictures) -> dict[str, list[Inputs]]:
    """Let a network look at pictures, and keep what went into each of its graphs.

    Args:
        network: Stays as it is.
        pictures: RGB; those without proposals leave nothing for the graphs of regions.

    Returns:
        By the name of the graph, one entry for each time that it ran.
    """
    kept: dict[str, list[Inputs]] = defaultdict(list)
    graphs = dict(network.graphs)

    def recorder(name: str) -> object:
        def run(given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            kept[name].append(dict(given))
            return graphs[name](given)

        return run

    network.graphs.update({name: recorder(name) for name in graphs})  # type: ignore[misc]
    try:
        for picture in pictures:
            found = network.detect(picture)
            if len(found):  # APNet embeds what it keeps, and only then
                network.embed(picture, found.boxes)
    finally:
        network.graphs.update(graphs)
    return dict(kept)
