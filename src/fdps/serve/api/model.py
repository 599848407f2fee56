"""The model of an archive: its card, its calibration and its limits."""

from functools import partial

from fastapi import APIRouter

from fdps.bundled import NAMES, bundled_card
from fdps.embedders.info import ModelInfo, describe
from fdps.errors import FdpsError
from fdps.search.index import Index
from fdps.search.results.calibration import Calibration
from fdps.serve.api.asking import marks_of
from fdps.serve.api.schemas import ModelOut, PointOut
from fdps.serve.archives import ServedArchive
from fdps.serve.dependencies import Archive, Viewer

router = APIRouter(prefix="/api/v1/model", tags=["model"])


@router.get("")
async def model(archive: Archive, user: Viewer) -> ModelOut:
    """Return what is known about the model that made an archive."""
    return await archive.read(partial(_shown, archive))


def _shown(archive: ServedArchive, index: Index) -> ModelOut:
    info, problem = _described(archive, index)
    calibration, _ = archive.calibrated(index)
    return ModelOut(
        name=archive.model_name(index),
        kind=info.kind if info else "",
        licence=info.licence if info else "unknown",
        data=info.data if info else "",
        data_licence=info.data_licence if info else "",
        metrics=dict(info.metrics) if info else {},
        model_hash=index.info.model_hash,
        notes=info.notes if info else "",
        limits=_limits(index.info.model_hash),
        problem=problem or archive.why_blind,
        levels=marks_of(calibration),
        calibrated_on=calibration.data if calibration else "",
        calibration=_points(calibration),
    )


def _described(archive: ServedArchive, index: Index) -> tuple[ModelInfo | None, str]:
    try:
        return describe(archive.model_place(index)), ""
    except (FdpsError, OSError):  # the message names paths of this machine
        return None, "the model is no longer where the archive remembers it"


def _limits(model_hash: str) -> str:
    """Say what bundled weights do not know."""
    cards = [bundled_card(name) for name in NAMES]
    return next((c.warning for c in cards if model_hash and c.sha256.startswith(model_hash)), "")


def _points(calibration: Calibration | None) -> list[PointOut]:
    if calibration is None:
        return []
    curves = (calibration.rate, calibration.low, calibration.high, calibration.kept)
    return [
        PointOut(similarity=similarity, wrong=wrong, low=low, high=high, kept=kept)
        for similarity, wrong, low, high, kept in zip(calibration.similarity, *curves, strict=True)
    ]
