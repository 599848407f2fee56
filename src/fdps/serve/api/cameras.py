"""REST of cameras."""

from fastapi import APIRouter

router = APIRouter(prefix="/api/v1", tags=["cameras"])
