"""Fixtures of the commands that train."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from fake.runs import tiny_recipe, write_scenes
from fdps.config import to_toml


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Also for the processes started here: runs must be equal to the last bit."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="module")
def recipe(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe file of two epochs of three steps; its scenes are beside it."""
    folder = tmp_path_factory.mktemp("recipe")
    write_scenes(folder / "data")
    (folder / "tiny.toml").write_text(to_toml(tiny_recipe(folder / "data")))
    return folder / "tiny.toml"
