"""What `calculate` does with dates: the first or the last of several, and the days between two."""

import re
from datetime import date

from executor.errors import ToolError

_DATE = r"\d{4}-\d\d-\d\d"
_CALL = re.compile(rf"\s*(min|max)\s*\((\s*{_DATE}\s*(?:,\s*{_DATE}\s*)*)\)\s*")
_DIFFERENCE = re.compile(rf"\s*(abs\s*\()?\s*({_DATE})\s*[-−]\s*({_DATE})\s*(?(1)\)\s*)")


def with_dates(expression: str) -> str | None:
    """The result of an expression of nothing but dates, such as `min(1879-03-14, 1643-01-04)`.

    None for any other expression. Raises ToolError for a day that there never was.
    """
    if call := _CALL.fullmatch(expression):
        days = [_day(text.strip()) for text in call[2].split(",")]
        return (min(days) if call[1] == "min" else max(days)).isoformat()
    if difference := _DIFFERENCE.fullmatch(expression):
        apart = (_day(difference[2]) - _day(difference[3])).days
        return f"{abs(apart) if difference[1] else apart} day"
    return None


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ToolError(f"{text} is no date") from None
