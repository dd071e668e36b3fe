"""Every `$ref` of a schema can be followed when a call is checked, also where no type is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from executor.errors import ToolDefinitionError
from executor.schema_size import DATA, Schema
from executor.schemas import REFUSED, Reader

MAX_IN_PLACE = 50  # schemas of one value that name each other; 50 ** 2 in all
_IN_PLACE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else")  # of the same value


def check_references(parameters: Schema, where: str) -> None:
    """Raises ToolDefinitionError for what the check of a call couldn't follow, or only for ever.

    Wherever it stands in the schema, so also where no type is read from.
    """
    reader = Reader(parameters)
    sizes: dict[int, int] = {}  # of the schemas that are measured, by identity

    def visit(schema: Any, path: str) -> None:
        if isinstance(schema, Mapping):
            for keyword in REFUSED:
                if isinstance(schema.get(keyword), str):
                    raise ToolDefinitionError(f"{path}: {keyword} is not supported; use $ref")
            if isinstance(schema.get("$id"), str) and schema is not parameters:
                raise ToolDefinitionError(f"{path}: an $id within a schema is not supported")
            if isinstance(schema.get("$ref"), str):
                in_place(schema, path, MAX_IN_PLACE)
            for key, part in schema.items():
                if key == "properties" and isinstance(part, Mapping):
                    for name, each in part.items():
                        visit(each, f"{path}({name})" if schema is parameters else f"{path}.{name}")
                elif key == "items":
                    visit(part, f"{path}[]")
                elif key not in DATA:
                    visit(part, path if key in _IN_PLACE else f"{path}.{key}")
        elif isinstance(schema, list):
            for each in schema:
                visit(each, path)

    def in_place(schema: Any, path: str, left: int) -> int:
        """How many schemas one value is held against."""
        if not isinstance(schema, Mapping):
            return 1
        if id(schema) in sizes:
            return sizes[id(schema)]
        if not left:
            raise ToolDefinitionError(
                f"{path}: more than {MAX_IN_PLACE} schemas name each other, or one names itself, "
                "with no value between"
            )
        parts: list[Any] = []
        for keyword in _IN_PLACE:
            part = schema.get(keyword, [])
            parts += part if isinstance(part, list) else [part]
        dependent = schema.get("dependentSchemas", {})
        parts += dependent.values() if isinstance(dependent, Mapping) else []
        if isinstance(schema.get("$ref"), str):
            parts.append(reader.resolved(schema, path))
        size = 1 + sum(in_place(part, path, left - 1) for part in parts)
        if size > MAX_IN_PLACE**2:
            raise ToolDefinitionError(
                f"{path}: a value is held against more than {MAX_IN_PLACE**2} schemas"
            )
        sizes[id(schema)] = size
        return size

    visit(parameters, where)
