"""REST of timeline."""

from fastapi import APIRouter

router = APIRouter(prefix="/api/v1", tags=["timeline"])
