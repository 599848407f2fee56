"""A list of one public model whose files are noise."""

import hashlib
from pathlib import Path

import numpy as np

CONTENT = {
    f"/{name}.onnx": np.random.default_rng(seed).bytes(size)
    for seed, (name, size) in enumerate({"detector": 200_000, "reid": 50_000}.items())
}
FILE = """
[[file]]
name = "{name}.onnx"
address = "{address}/{name}.onnx"
revision = "1"
size = {size}
sha256 = "{sha256}"
licence = "{licence}"
data = "pictures of {name}"
data_licence = "{data_licence}"
"""
MODEL = """
[[model]]
name = "small-people"
notes = "a test"
[model.detector]
file = "detector.onnx"
[model.reid]
file = "reid.onnx"
size = [256, 128]
"""


def list_text(
    address: str,
    content: dict[str, bytes] = CONTENT,
    licences: tuple[str, str] = ("Apache-2.0", "MIT"),
    terms: tuple[str, str] = ("unknown", "CC-BY-4.0"),
) -> str:
    """The list as TOML."""
    files = [
        FILE.format(
            name=Path(path).stem,
            address=address,
            size=len(body),
            sha256=hashlib.sha256(body).hexdigest(),
            licence=licence,
            data_licence=term,
        )
        for (path, body), licence, term in zip(content.items(), licences, terms, strict=True)
    ]
    return "".join(files) + MODEL
