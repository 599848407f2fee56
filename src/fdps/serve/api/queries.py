"""REST of queries."""

from fastapi import APIRouter

router = APIRouter(prefix="/api/v1", tags=["queries"])
