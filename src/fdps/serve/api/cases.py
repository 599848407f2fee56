"""REST of cases."""

from fastapi import APIRouter

router = APIRouter(prefix="/api/v1", tags=["cases"])
