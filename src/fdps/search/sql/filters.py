"""Write filters as conditions of SQL."""

from typing import Any

from fdps.search.database import Database
from fdps.search.store import Filters
from fdps.search.times import day_range, instant


def filter_conditions(database: Database, filters: Filters) -> tuple[str, list[Any]]:
    """Return the condition on ``scenes JOIN people``, and the values of its question marks."""
    conditions: list[str] = ["1 = 1"]
    values: list[Any] = []

    def demand(condition: str, *of_condition: Any) -> None:
        conditions.append(condition)
        values.extend(of_condition)

    if filters.min_height > 0:
        demand("people.y2 - people.y1 >= ?", filters.min_height)
    if filters.cameras:
        demand(f"scenes.camera IN ({', '.join('?' * len(filters.cameras))})", *filters.cameras)
    for column, pattern in (("scenes.name", filters.scenes), ("scenes.path", filters.source)):
        if pattern:
            fits, value = database.like_pattern(pattern)
            demand(f"{column} {fits}", value)
    if filters.after:
        demand("scenes.instant >= ?", instant(filters.after))
    if filters.before:
        demand("scenes.instant < ?", instant(filters.before))
    if filters.time_of_day:
        start, end = day_range(filters.time_of_day)
        joined = "AND" if start < end else "OR"
        demand(f"(scenes.second_of_day >= ? {joined} scenes.second_of_day < ?)", start, end)
    return " AND ".join(conditions), values
