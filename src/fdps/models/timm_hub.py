"""Weights that timm fetches, without long waits for a hub that cannot be reached."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from fdps.errors import ModelError

TIMEOUT_S = 5.0
"""How long the hub may take to answer at all."""


def fetch_timm(timm: ModuleType, name: str, create: Callable[..., nn.Module]) -> nn.Module:
    """Build a network of timm with the weights that timm knows for its name.

    The loader of timm fetches and reads them: safetensors where there are, else a pickle of which
    only tensors are read. What was fetched once needs no network again.

    Args:
        timm: The package.
        name: Of the network, with or without a tag.
        create: ``timm.create_model`` of that name.

    Raises:
        ModelError: There are no such weights, or they cannot be fetched or read.
    """
    described = timm.get_pretrained_cfg(name)
    if described is None or not described.has_weights:
        raise ModelError(
            f"timm {timm.__version__} has no weights of {name}",
            hint="give a safetensors file of your own (--backbone-weights FILE), or start from "
            "noise (--backbone-weights none)",
        )
    try:
        kept = _kept(described)
        if kept is not None:
            return create(pretrained=True, pretrained_cfg_overlay={"file": str(kept)})
        _knock(described)
        return create(pretrained=True)
    except Exception as error:  # of the hub's client, of its transport, of whatever reads the file
        raise ModelError(
            f"weights of {name} could not be fetched: {type(error).__name__}: {error}",
            hint='on a machine with a network, run python -c "import timm, safetensors.torch as s; '
            f"s.save_model(timm.create_model('{name}', pretrained=True), '{name}.safetensors')\" "
            f"and pass the file: --backbone-weights {name}.safetensors; "
            "or start from noise: --backbone-weights none",
        ) from error


def _kept(described: Any) -> Path | None:
    """The file that an earlier call fetched from the hub, if timm would read it as it is."""
    from huggingface_hub import try_to_load_from_cache

    if not described.hf_hub_id or described.custom_load:
        return None
    repository, _, revision = described.hf_hub_id.partition("@")
    name = described.hf_hub_filename or "model.safetensors"
    kept = try_to_load_from_cache(repository, name, revision=revision or None)
    return Path(kept) if isinstance(kept, str) else None


def _knock(described: Any) -> None:
    """Ask for an answer of any kind, once: the client of the hub tries for a minute or more."""
    from huggingface_hub import constants, get_session

    get_session().head(
        constants.ENDPOINT if described.hf_hub_id else described.url, timeout=TIMEOUT_S
    )
