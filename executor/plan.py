"""The nouns of a plan, and their way back to text. No I/O, no parsing.

The plan language is a line per task, `<id>. <tool>(<arguments>)`, and `<id>. join()` at the end.
The idea of numbered calls with `$id` references is from *An LLM Compiler for Parallel Function
Calling* (arXiv 2312.04511), section 3.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from executor.tools import ToolBox

JOIN = "join"
NAME = re.compile(r"\w[\w./:@-]*")  # of a tool; a parameter's other names stand in quotes


@dataclass(frozen=True, slots=True)
class Ref:
    """The result of an earlier task, or, with a path of keys and indexes, a part of it."""

    task_id: int
    path: tuple[str | int, ...] = ()

    def __str__(self) -> str:
        return f"${self._inner()}" if self.path else f"${self.task_id}"

    def in_text(self, *, before: str = "") -> str:
        """As it stands inside a string, in front of the text `before`."""
        needs_braces = bool(self.path) or before[:1].isdigit()
        return f"${{{self._inner()}}}" if needs_braces else str(self)

    def _inner(self) -> str:
        if not self.path:
            return str(self.task_id)
        steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path)
        return f"{self.task_id}{''.join(steps)}"


@dataclass(frozen=True, slots=True)
class Template:
    """A string with references in it: text and `Ref` in turn, no two texts side by side."""

    parts: tuple[str | Ref, ...]


# A JSON value in which a Ref or a Template may stand for any value.
Value = Any
PLAIN = frozenset({str, int, float, bool, type(None)})  # that hold no other values


@dataclass(slots=True)
class Task:
    """One line of a plan. `args` holds the arguments by the parameters' names, and `needs` the ids
    of the tasks whose results they use, rising, each once. Nobody changes a task; that is not
    enforced, for it would take as long again to make one."""

    id: int
    tool_name: str
    args: Mapping[str, Value] = field(default_factory=dict)
    needs: tuple[int, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        found = {ref.task_id for value in self.args.values() for ref in references(value)}
        self.needs = tuple(sorted(found)) if found else ()


@dataclass(frozen=True, slots=True)
class Join:
    """The last line of a plan: all tasks are named, the joiner takes over."""

    id: int


def references(value: Value) -> list[Ref]:
    """Every reference in a value, in the order of the text."""
    if type(value) in PLAIN:
        return []
    match value:
        case Ref():
            return [value]
        case Template(parts=parts):
            return [part for part in parts if isinstance(part, Ref)]
        case list() | tuple():
            return [ref for item in value for ref in references(item)]
        case Mapping():
            return [ref for item in value.values() for ref in references(item)]
    return []


def render(item: Task | Join, toolbox: ToolBox) -> str:
    """The line that the parser reads back as `item`, in the grammar's own spelling.

    A tool's only required parameter stands without a name; the others follow as `name=value`,
    required ones first, each group in the signature's order.
    """
    if isinstance(item, Join):
        return f"{item.id}. {JOIN}()"
    tool, args = toolbox[item.tool_name], item.args
    arguments = []
    for name in (*tool.required, *tool.optional):
        if name in args:
            value = render_value(tool.arranged(name, args[name]))
            is_plain = tool.required == (name,)
            arguments.append(value if is_plain else f"{render_name(name)}={value}")
    return f"{item.id}. {item.tool_name}({', '.join(arguments)})"


@lru_cache(10_000)
def render_name(name: str) -> str:
    """A parameter's name as it stands in front of its value: in quotes if it isn't plain."""
    return name if NAME.fullmatch(name) else _quote(name)


def render_value(value: Value) -> str:
    """A value as it stands in a plan; a dollar sign in a string is doubled."""
    match value:
        case str():
            return f'"{_escape(value)}"'
        case Ref():
            return str(value)
        case Template(parts=parts):
            following = (*parts[1:], "")
            return f'"{"".join(map(_render_part, parts, following))}"'
        case list() | tuple():
            return f"[{', '.join([render_value(item) for item in value])}]"
        case Mapping():
            return (
                "{" + ", ".join(f"{_quote(k)}: {render_value(v)}" for k, v in value.items()) + "}"
            )
        case _:
            return json.dumps(value)  # a number, true, false or null


def _render_part(part: str | Ref, following: str | Ref) -> str:
    if isinstance(part, str):
        return _escape(part)
    return part.in_text(before=following if isinstance(following, str) else "")


def as_json(value: Value) -> Any:
    """A value as plain JSON for show: text as it stands in the plan, references as `"$3"`."""
    match value:
        case Ref():
            return str(value)
        case str():
            return value.replace("$", "$$")
        case Template():
            return json.loads(render_value(value))
        case list() | tuple():
            return [as_json(item) for item in value]
        case Mapping():
            return {key: as_json(item) for key, item in value.items()}
        case _:
            return value


_quote = json.JSONEncoder(ensure_ascii=False).encode


def _escape(text: str) -> str:
    return _quote(text)[1:-1].replace("$", "$$")
