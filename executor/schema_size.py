"""How large a schema may be: what would take seconds to read is refused before it is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from executor.errors import ToolDefinitionError

Schema = Mapping[str, Any]

DATA = ("const", "enum", "default", "examples")  # keywords whose value is no schema
MAX_PARTS = 20_000  # of a schema as it is given: keywords, their values, choices
MAX_NESTING = 100  # of these within each other
MAX_CHARS = 400_000  # of all choices; of a single name or pattern a hundredth
_A_MAPPING = 5  # parts that it counts for, as the time says that its check takes


def check_size(schema: Any, where: str) -> None:
    """Raises ToolDefinitionError for what would take seconds to read, before it is read."""
    left: list[tuple[Any, int, bool]] = [(schema, 0, False)]
    seen = chars = 0
    while left:
        each, depth, is_data = left.pop()
        seen += _A_MAPPING if isinstance(each, Mapping) else 1
        chars += len(each) if is_data and isinstance(each, str) else 0
        if seen > MAX_PARTS or depth > MAX_NESTING:
            raise ToolDefinitionError(
                f"{where}: its schema has more than {MAX_PARTS} parts, or is nested deeper than "
                f"{MAX_NESTING} levels"
            )
        if isinstance(each, Mapping):
            names = [*each, each.get("pattern")]
            if any(isinstance(name, str) and len(name) > MAX_CHARS // 100 for name in names):
                raise ToolDefinitionError(
                    f"{where}: its schema has a name or a pattern of more than "
                    f"{MAX_CHARS // 100} characters"
                )
            left += [(part, depth + 1, is_data or key in DATA) for key, part in each.items()]
        elif isinstance(each, (list, tuple)):
            left += [(part, depth + 1, is_data) for part in each]
        if chars > MAX_CHARS:
            raise ToolDefinitionError(
                f"{where}: the choices in its schema have more than {MAX_CHARS} characters"
            )
