"""What a plan may write for a value: the types that a regular language can hold.

schemas.py makes them of JSON Schemas.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from executor.plan import Ref, Template, Value

MAX_DEPTH = 32  # of values within values

Kind = Literal["string", "integer", "number", "boolean", "null"]
SCALARS: tuple[Kind, ...] = ("string", "integer", "number", "boolean", "null")
_YEAR = "(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
_LEAP_YEAR = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
_TO_28 = "0[1-9]|1[0-9]|2[0-8]"
FORMATS = {
    "date": f"(?:{_YEAR}-(?:(?:0[1-9]|1[0-2])-(?:{_TO_28})|(?:0[13-9]|1[0-2])-(?:29|30)|"
    f"(?:0[13578]|1[02])-31)|{_LEAP_YEAR}-02-29)",
    "time": r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?"
    r"(?:Z|[+-][01][0-9]:[0-5][0-9])?",
    "uuid": r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
}
FORMATS["date-time"] = f"{FORMATS['date']}T{FORMATS['time']}"


@dataclass(frozen=True, slots=True)
class Scalar:
    """Any value of a kind; a text may have one of the FORMATS, or else a pattern, a regex that is
    found in it. Whether a grammar can hold that is another question, so `fits` leaves it out."""

    kind: Kind
    format: str = ""
    pattern: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of these JSON values."""

    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Array:
    """Values of the types `first`, of which `least` must be there, then any number of `rest`."""

    first: tuple[Type, ...]
    rest: Type | None
    least: int


@dataclass(frozen=True, slots=True)
class Object:
    """Named values, required ones first; `rest` is the type of values under any other name."""

    required: Mapping[str, Type]
    optional: Mapping[str, Type]
    rest: Type | None


@dataclass(frozen=True, slots=True)
class Union:
    choices: tuple[Type, ...]


@dataclass(frozen=True, slots=True)
class Anything:
    """Any JSON value."""


Type = Scalar | Choice | Array | Object | Union | Anything

_NUMBERS = {"integer", "number"}
_IS: Mapping[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "array": lambda value: isinstance(value, (list, tuple)),
    "object": lambda value: isinstance(value, Mapping),
}


def is_a(value: Any, kind: str) -> bool:
    """Whether the value is of a kind that JSON Schema has a name for."""
    return _IS[kind](value)


def fits(
    value: Value, type: Type, is_ref_of: Callable[[Ref, Type], bool] = lambda ref, type: True
) -> bool:
    """Whether the value is of the type. A text with references is a text.

    A reference that is a whole value is of any type, unless `is_ref_of` knows better.
    """
    if isinstance(value, Ref):
        return is_ref_of(value, type)
    match type:
        case Anything():
            return True
        case Scalar(kind="string", format=format):
            if isinstance(value, Template):
                return not format
            return isinstance(value, str) and (
                not format or re.fullmatch(FORMATS[format], value) is not None
            )
        case Scalar(kind=kind):
            return is_a(value, kind)
        case Choice(values=values):
            return any(_same(value, each) for each in values)
        case Union(choices=choices):
            return any(fits(value, each, is_ref_of) for each in choices)
        case Array(first=first, rest=rest, least=least):
            if not is_a(value, "array") or len(value) < least:
                return False
            types = [*first, *[rest] * (len(value) - len(first))][: len(value)]
            return all(
                each and fits(item, each, is_ref_of)
                for item, each in zip(value, types, strict=True)
            )
        case Object(required=required, optional=optional, rest=rest):
            if not is_a(value, "object") or not required.keys() <= value.keys():
                return False
            named = {**required, **optional}
            of = {name: named.get(name, rest) for name in value}
            return all(each and fits(value[name], each, is_ref_of) for name, each in of.items())


def kinds(type: Type) -> frozenset[str]:
    """What a value of the type can be, in JSON Schema's words."""
    match type:
        case Scalar(kind=kind):
            return frozenset([kind])
        case Choice(values=values):
            return frozenset(kind for kind in _IS for each in values if is_a(each, kind))
        case Union(choices=choices):
            return frozenset[str]().union(*map(kinds, choices))
        case Array():
            return frozenset(["array"])
        case Object():
            return frozenset(["object"])
        case Anything():
            return frozenset(_IS)


def can_be(given: Type, wanted: Type) -> bool:
    """Whether a value of the one type may be one of the other, as far as kinds tell.

    A text may be read as a number or the like, but nothing else as a text.
    """
    able = kinds(given)
    if able & _NUMBERS:
        able |= _NUMBERS
    if "string" in able:
        able |= {*SCALARS}
    return bool(able & kinds(wanted))


def part(type: Type, step: str | int) -> Type | None:
    """The type of what stands under a key, or at an index; None if nothing can stand there."""
    match type:
        case Anything():
            return type
        case Union(choices=choices):
            found = [each for each in (part(choice, step) for choice in choices) if each]
            return Union(tuple(found)) if found else None
        case Array(first=first, rest=rest) if isinstance(step, int):
            return first[step] if step < len(first) else rest
        case Object(required=required, optional=optional, rest=rest) if isinstance(step, str):
            return {**required, **optional}.get(step, rest)
        case Choice() if kinds(type) & {"array", "object"}:
            return Anything()
    return None


def _same(value: Value, choice: Any) -> bool:
    """Equal as JSON values, where true is not 1."""
    if isinstance(value, bool) or isinstance(choice, bool):
        return value is choice
    if isinstance(choice, Mapping):
        return (
            is_a(value, "object")
            and value.keys() == choice.keys()
            and all(_same(value[name], each) for name, each in choice.items())
        )
    if is_a(choice, "array"):
        return is_a(value, "array") and len(value) == len(choice) and all(map(_same, value, choice))
    return bool(value == choice)


def has_an_order(type: Type) -> bool:
    """Whether `arranged` may change a value of the type."""
    match type:
        case Scalar() | Anything():
            return False
        case Array(first=first, rest=rest):
            # The same type may stand for many items, and is looked at once.
            kinds = {id(each): each for each in (*first, rest) if each is not None}
            return any(map(has_an_order, kinds.values()))
    return True


def arranged(value: Value, type: Type) -> Value:
    """The same value with the members of objects in the order in which a plan has them."""
    if isinstance(value, (Ref, Template)):
        return value
    match type:
        case Union(choices=choices):
            fitting = (each for each in choices if fits(value, each))
            return arranged(value, next(fitting, Anything()))
        case Choice(values=values):
            return next((each for each in values if _same(value, each)), value)
        case Array(first=first, rest=rest) if is_a(value, "array"):
            types = [*first, *[rest or Anything()] * len(value)]
            return [arranged(item, each) for item, each in zip(value, types, strict=False)]
        case Object(required=required, optional=optional, rest=rest) if is_a(value, "object"):
            named = {**required, **optional}
            order = [
                *(name for name in named if name in value),
                *(n for n in value if n not in named),
            ]
            return {
                name: arranged(value[name], named.get(name, rest or Anything())) for name in order
            }
    return value
