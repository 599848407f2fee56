"""The cameras of an archive."""

from dataclasses import asdict

from fastapi import APIRouter

from fdps.search.care.browse import list_cameras
from fdps.serve.api.schemas import CameraOut
from fdps.serve.dependencies import Archive, Viewer

router = APIRouter(prefix="/api/v1/cameras", tags=["cameras"])


@router.get("")
async def cameras(archive: Archive, user: Viewer) -> list[CameraOut]:
    """List the cameras, with the times between which they saw somebody."""
    found = await archive.read(lambda index: list_cameras(index.store))
    return [CameraOut(**asdict(camera)) for camera in found]
