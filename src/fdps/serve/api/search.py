"""REST of search."""

from fastapi import APIRouter

router = APIRouter(prefix="/api/v1", tags=["search"])
