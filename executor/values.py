"""Results as they pass from task to task, and as they are shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import pydantic

from executor.errors import ArgumentError
from executor.plan import PLAIN, Ref, Template, Value

Results = Mapping[int, Any]


def _plain(value: Any) -> Any:
    try:
        return _members(value)
    except TypeError:
        return str(value)


_ENCODER = json.JSONEncoder(ensure_ascii=False, default=_plain)


class ErrorText(str):
    """Stands where a result should be, and for any part of it."""

    __slots__ = ()


def resolve(value: Value, results: Results) -> Any:
    """Puts results in the place of references, in one pass: a result is never scanned again.

    A reference that is a whole value passes the result itself; inside a string, its text.
    Raises ArgumentError where a path leads nowhere.
    """
    if type(value) in PLAIN:
        return value
    match value:
        case Ref():
            result = results[value.task_id]
            if type(result) in PLAIN and not value.path:
                return result
            try:
                return _fresh(_follow(value, result))
            except RecursionError:
                raise ArgumentError(
                    f"{value}: the result of task {value.task_id} is too deep, or holds itself"
                ) from None
        case Template(parts=parts):
            return "".join(p if isinstance(p, str) else text_of(resolve(p, results)) for p in parts)
        case list() | tuple():
            return [resolve(item, results) for item in value]
        case Mapping():
            return {key: resolve(item, results) for key, item in value.items()}
    return value


def _follow(ref: Ref, result: Any) -> Any:
    if isinstance(result, ErrorText):
        return str(result)
    for step in ref.path:
        try:
            if type(result) not in (dict, list, tuple):
                result = _members(result)
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


def _members(result: Any) -> dict[str, Any]:
    """Of a dataclass or a pydantic model. Raises TypeError for other objects: what they do when
    looked into, nobody knows."""
    if is_dataclass(result) and not isinstance(result, type):
        return {each.name: getattr(result, each.name) for each in fields(result)}
    if isinstance(result, pydantic.BaseModel):
        return dict(result)
    raise TypeError


def text_of(result: Any) -> str:
    """A result as text: a string as it is, else its JSON, else what `str` says of it.

    Dataclasses and pydantic models are JSON objects, and anything else in JSON is a string.
    """
    if isinstance(result, str):
        return result
    try:
        return _ENCODER.encode(result)
    except (TypeError, ValueError):  # keys that are no text, a value that holds itself
        return str(result)


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters of it: head and tail, and in between how much is missing."""
    if len(text) <= limit:
        return text
    head, tail = limit * 2 // 3, limit // 3
    missing = len(text) - head - tail
    return f"{text[:head]} [... {missing} characters left out ...] {text[head + missing :]}"
