"""REST of jobs."""

from fastapi import APIRouter

router = APIRouter(prefix="/api/v1", tags=["jobs"])
