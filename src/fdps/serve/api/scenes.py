"""REST of scenes."""

from fastapi import APIRouter

router = APIRouter(prefix="/api/v1", tags=["scenes"])
