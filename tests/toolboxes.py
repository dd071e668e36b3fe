"""Ten toolboxes with what is found in the wild, for tests that let a model write what it likes.

Whatever their grammars let through passes their checks: bounds are in other tests.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, NotRequired
from uuid import UUID

import pydantic
from typing_extensions import TypedDict

from executor.builtin import TOOLBOX as BUNDLED
from executor.tools import Tool, ToolBox, tool


class Colour(Enum):
    RED = "red"
    BLUE = "blue $"


class Item(pydantic.BaseModel):
    sku: str
    count: int = 1
    colour: Colour | None = None


class Filter(TypedDict):
    field: str
    values: list[str | int]
    exact: NotRequired[bool]


@dataclass
class Place:
    name: str
    at: tuple[float, float]


@tool
def paint(colour: Colour, coats: Literal[1, 2, 3] = 1, dry: bool = True) -> str: ...  # type: ignore[empty-body]


@tool
def level(value: float | None, step: int, note: str | None = None) -> float: ...  # type: ignore[empty-body]


@tool
def total(rows: list[list[float]], weights: list[int] | None = None) -> float: ...  # type: ignore[empty-body]


@tool
def nearest(place: Place, among: list[Place]) -> str: ...  # type: ignore[empty-body]


@tool
def order(items: list[Item], rush: bool = False) -> str: ...  # type: ignore[empty-body]


@tool
def query(table: str, filters: list[Filter]) -> list[dict[str, Any]]: ...  # type: ignore[empty-body]


@tool
def store(key: str, value: Any, labels: dict[str, str | float] | None = None) -> None: ...


@tool
def book(day: dt.date, at: dt.time, until: dt.datetime | None = None) -> UUID: ...  # type: ignore[empty-body]


@tool
def cancel(booking: UUID) -> bool: ...  # type: ignore[empty-body]


def made(name: str, properties: dict[str, Any], *required: str, **more: Any) -> Tool:
    parameters = {"type": "object", "properties": properties, "required": list(required), **more}
    return Tool.from_json_schema(name, "", parameters, lambda **_: None)


TREE = made(
    "tree",
    {"root": {"$ref": "#/$defs/Node"}},
    "root",
    **{
        "$defs": {
            "Node": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
                },
                "required": ["name"],
            }
        }
    },
)
CODE = made(
    "plate.look-up",
    {
        "plate": {"type": "string", "pattern": "^[A-Z]{1,3}-[0-9]{1,4}$"},
        "country": {"enum": ["D", "A", None, 7]},
        "e-mail (private)": {"type": "string", "pattern": "@"},
    },
    "plate",
)
HYPOT = made("math.hypot", {"x": {"type": "number"}, "y": {"type": "number"}}, "x", "y")
MANY = made("many", {f"option_{at}": {"type": ["integer", "boolean"]} for at in range(6)})
UNION = made(
    "größe",
    {
        "of": {
            "oneOf": [
                {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]},
                {"type": "string"},
                {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 3},
            ]
        }
    },
    "of",
)

TOOLBOXES = {
    "the bundled ones": BUNDLED,
    "choices": ToolBox([paint, level]),
    "lists": ToolBox([total, nearest]),
    "models": ToolBox([order]),
    "typed dictionaries": ToolBox([query, cancel]),
    "anything": ToolBox([store]),
    "dates": ToolBox([book, cancel]),
    "a recursion": ToolBox([TREE]),
    "patterns and odd names": ToolBox([CODE, HYPOT]),
    "unions and many options": ToolBox([UNION, MANY]),
}
