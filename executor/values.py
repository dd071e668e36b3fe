"""Results as they pass from task to task, and as they are shown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from executor.errors import ArgumentError
from executor.plan import Ref, Template, Value

Results = Mapping[int, Any]


def resolve(value: Value, results: Results) -> Any:
    """Puts results in the place of references, in one pass: a result is never scanned again.

    A reference that is a whole value passes the result itself; inside a string, its text.
    Raises ArgumentError where a path leads nowhere.
    """
    match value:
        case Ref():
            return _fresh(_follow(value, results[value.task_id]))
        case Template(parts=parts):
            return "".join(p if isinstance(p, str) else text_of(resolve(p, results)) for p in parts)
        case str():
            return value
        case Mapping():
            return {key: resolve(item, results) for key, item in value.items()}
        case Sequence():
            return [resolve(item, results) for item in value]
    return value


def _follow(ref: Ref, result: Any) -> Any:
    for step in ref.path:
        try:
            if type(result) not in (dict, list, tuple):
                raise TypeError  # what other objects do when looked into, nobody knows
            result = result[step]
        except (KeyError, IndexError, TypeError):
            raise ArgumentError(
                f"{ref}: the result of task {ref.task_id} has no {step!r}"
            ) from None
    return result


def _fresh(result: Any) -> Any:
    """A copy of what JSON can hold, so that no tool changes what another one reads."""
    if type(result) is dict:
        return {key: _fresh(item) for key, item in result.items()}
    return [_fresh(item) for item in result] if type(result) is list else result


def text_of(result: Any) -> str:
    """A result as text: a string as it is, else its JSON, else what `str` says of it."""
    if isinstance(result, str):
        return result
    try:
        return json.dumps(result, ensure_ascii=False, default=str)
    except (TypeError, ValueError):  # keys that are no text, a value that holds itself
        return str(result)


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters of it: head and tail, and in between how much is missing."""
    if len(text) <= limit:
        return text
    head, tail = limit * 2 // 3, limit // 3
    missing = len(text) - head - tail
    return f"{text[:head]} [... {missing} characters left out ...] {text[head + missing :]}"
