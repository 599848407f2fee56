"""The archives, and searches in them."""

from functools import partial

from fastapi import APIRouter

from fdps.search.care.info import describe
from fdps.search.index import Index
from fdps.serve.api import asking
from fdps.serve.api.asking import Asking, marks_of
from fdps.serve.api.schemas import ArchiveOut, SearchIn, SearchOut
from fdps.serve.archives import ServedArchive
from fdps.serve.dependencies import AllArchives, Settings, Viewer

router = APIRouter(prefix="/api/v1", tags=["search"])


@router.get("/archives")
async def archives(archives: AllArchives, settings: Settings, user: Viewer) -> list[ArchiveOut]:
    """List the archives that are served."""
    is_required = settings.purpose_required
    return [
        await archive.read(partial(_described, archive, purpose_required=is_required))
        for archive in archives
    ]


@router.post("/search")
async def search(body: SearchIn, archives: AllArchives, asker: Asking) -> SearchOut:
    """Find the people most similar to one person."""
    return await asking.search(archives.get(body.archive), body, asker)


def _described(archive: ServedArchive, index: Index, *, purpose_required: bool) -> ArchiveOut:
    info = describe(index.store)
    contents = info.contents
    calibration, _ = archive.calibrated(index)
    return ArchiveOut(
        id=archive.key,
        name=archive.name,
        n_people=info.n_people,
        n_scenes=info.n_scenes,
        cameras=[name for name in contents.cameras if name] if contents else [],
        first=contents.first if contents else None,
        last=contents.last if contents else None,
        model=archive.model_name(index),
        calibrated=calibration is not None,
        levels=marks_of(calibration),
        purpose_required=purpose_required,
        why_blind=archive.why_blind,
    )
