"""What is no schema, or says what no plan can: refused with the place where it stands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from executor.errors import ToolDefinitionError
from executor.types import MAX_DEPTH

_SHOWN = 200  # characters of a fault, which may quote all of the schema


def check_schema(schema: Any, where: str) -> None:
    """Raises ToolDefinitionError, which begins with `where`, for what is no JSON Schema."""
    import jsonschema  # costs a tenth of a second, and most toolboxes don't need it

    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        message = error.message[:_SHOWN]
        raise ToolDefinitionError(f"{where}: {error.json_path}: {message}") from None
    except RecursionError:  # in a pattern
        raise ToolDefinitionError(f"{where}: its schema is nested too deep to be read") from None


def check_json(value: Any, where: str) -> None:
    """Raises ToolDefinitionError for what can't be written in a plan, and read from it."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (ValueError, TypeError) as error:
        raise ToolDefinitionError(
            f"{ascii(where)[1:-1]}: holds what no JSON text can say: {error}"
        ) from None
    if _depth(value) > MAX_DEPTH:
        raise ToolDefinitionError(f"{where}: is nested deeper than {MAX_DEPTH} levels")


def check_name(name: Any, where: str) -> None:
    """Raises ToolDefinitionError for what can't stand in front of a value."""
    if not isinstance(name, str):
        raise ToolDefinitionError(f"{where}: a name must be a text, and {name!r} is none")
    check_json(name, where)


def _depth(value: Any) -> int:
    if isinstance(value, Mapping):
        value = list(value.values())
    return 1 + max(map(_depth, value), default=0) if isinstance(value, (list, tuple)) else 0
