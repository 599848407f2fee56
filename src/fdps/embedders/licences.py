"""The licence of a model, and the licences that are allowed here."""

import os
from pathlib import Path

from fdps.bundled import bundled_card, bundled_name
from fdps.config import DataConfig, Recipe, load_recipe
from fdps.embedders.places import is_card, is_exported
from fdps.errors import FdpsError, ModelError
from fdps.weights_file import Origin, describe_weights, weights_file

ALLOWED_VARIABLE = "FDPS_ALLOWED_LICENSES"
RESEARCH_ONLY, UNKNOWN = "research-only", "unknown"
RECIPE_FILE = "recipe.toml"

_RESEARCH_KINDS = {"prw", "cuhk_sysu", "movienet"}
_RESEARCH_FOLDERS = ("prw", "cuhk", "movienet", "penn_fudan", "pets_s2l1")


def licence_of(place: Path) -> str:
    """Return the licence of a model: that of its card, or the one its training data allow a run.

    A card whose training data are ``research-only`` is that as well, whatever the weights say.

    Weights without a recipe are ``unknown``, and so are those of data that fdps does not know: only
    whoever trained them knows. A run that began from ``research-only`` weights is that as well.

    Args:
        place: Path of weights or a card; the licence of a missing file is ``unknown``.

    Raises:
        ModelError: The card makes no sense.
    """
    if name := bundled_name(place):
        return bundled_card(name).licence
    if is_card(place) and place.is_file():
        from fdps.runtime.card import read_card

        card = read_card(place)
        return RESEARCH_ONLY if card.data_licence == RESEARCH_ONLY else card.licence
    if is_exported(place) and place.is_file():
        from fdps.runtime.exported import read_exported

        return read_exported(place).licence
    licence = origin_of(place).licence
    if licence:
        return licence
    recipe = _recipe(place)
    if recipe is None:
        return UNKNOWN
    if any(licence_of(path) == RESEARCH_ONLY for path in _begun_from(recipe) if path != place):
        return RESEARCH_ONLY
    return RESEARCH_ONLY if is_research(recipe.data) else UNKNOWN


def _begun_from(recipe: Recipe) -> list[Path]:
    """List the weights that a training began with: of a whole network, or of a trunk."""
    whole = [weights_file(recipe.train.start_from)] if recipe.train.start_from else []
    trunk = weights_file(recipe.model.backbone_weights)
    return [*whole, trunk] if trunk.is_file() else whole


def origin_of(place: Path) -> Origin:
    """Read where weights came from that fdps did not train; all empty for any others."""
    try:
        return describe_weights(place).origin if place.is_file() else Origin()
    except ModelError:
        return Origin()


def training_data(place: Path) -> DataConfig | None:
    """Return the data that weights in a run folder were trained on; ``None`` without a recipe."""
    recipe = _recipe(place)
    return None if recipe is None else recipe.data


def told_data(data: DataConfig) -> str:
    """Name the training data of a recipe for people."""
    return ", ".join(f"{source.kind}/{source.split} at {source.root}" for source in data.train)


def _recipe(place: Path) -> Recipe | None:
    recipe = place.with_name(RECIPE_FILE)
    try:
        return load_recipe(recipe) if recipe.is_file() else None
    except FdpsError:  # the recipe is of another version and tells nothing
        return None


def check_licence(licence: str, model: Path | str) -> None:
    """Refuse a model whose licence is not among ``FDPS_ALLOWED_LICENSES``, if that is set.

    Args:
        licence: One licence, or those of several parts as ``A AND B``: all have to be allowed.
        model: What messages call it.

    Raises:
        ModelError: The licence is not among them.
    """
    allowed = os.environ.get(ALLOWED_VARIABLE)
    if allowed is None:
        return
    names = {name.strip().lower() for name in allowed.split(",")}
    if not {each.strip().lower() for each in licence.split(" AND ")} <= names:
        raise ModelError(
            f"{model}: licence {licence!r} is not allowed here ({ALLOWED_VARIABLE}={allowed})",
            hint="use another model, or have the list changed by whoever is responsible for it",
        )


def is_research(data: DataConfig) -> bool:
    """Tell whether any of the data may be used for research only, as far as fdps knows them."""
    return any(
        source.kind in _RESEARCH_KINDS
        or any(part.lower().startswith(_RESEARCH_FOLDERS) for part in Path(source.root).parts)
        for source in data.train
    )
