"""REST of privacy."""

from fastapi import APIRouter

router = APIRouter(prefix="/api/v1", tags=["privacy"])
