"""Write filters as conditions of SQL."""

from fdps.search.store import Filters
from fdps.search.times import day_range, instant


def filter_conditions(filters: Filters) -> tuple[str, list[str | float]]:
    """Return the condition on ``scenes JOIN people``, and the values of its question marks."""
    conditions: list[str] = ["1"]
    arguments: list[str | float] = []

    def demand(condition: str, *values: str | float) -> None:
        conditions.append(condition)
        arguments.extend(values)

    if filters.min_height > 0:
        demand("people.y2 - people.y1 >= ?", filters.min_height)
    if filters.cameras:
        demand(f"scenes.camera IN ({', '.join('?' * len(filters.cameras))})", *filters.cameras)
    if filters.scenes:
        demand("scenes.name GLOB ?", filters.scenes)
    if filters.source:
        demand("scenes.path GLOB ?", filters.source)
    if filters.after:
        demand("scenes.instant >= ?", instant(filters.after))
    if filters.before:
        demand("scenes.instant < ?", instant(filters.before))
    if filters.time_of_day:
        start, end = day_range(filters.time_of_day)
        joined = "AND" if start < end else "OR"
        demand(f"(scenes.second_of_day >= ? {joined} scenes.second_of_day < ?)", start, end)
    return " AND ".join(conditions), arguments
