"""How long a regex becomes at least, counted on the types, before anything is written out.

A list's items stand in it twice, and what is optional several times: within each other, more than
any machine could write.
"""

from __future__ import annotations

from collections.abc import Sequence

from executor.plan import render_value
from executor.tools import Tool, ToolBox
from executor.types import Anything, Array, Choice, Object, Scalar, Type, Union

# Of each kind's regex, where there may be references.
_SCALARS = {"string": 234, "integer": 25, "number": 68, "boolean": 16, "null": 10}
_ANYTHING = 2_185
_HELD = 5  # of a format or a pattern
_REFERENCE = 73


def size_of_calls(toolbox: ToolBox) -> int:
    """No more characters than the regex of all calls has.

    Tools that take the same arguments share them, and others may share the last one.
    """
    sizes = {(each.required, each.optional, *_sizes(each)) for each in toolbox}
    but_last = sum(whole - last for _, _, whole, last in sizes)
    largest = max((whole for _, _, whole, _ in sizes), default=0)
    return max(but_last, largest) + sum(len(each.name) for each in toolbox)


def largest_tool(toolbox: ToolBox) -> Tool | None:
    """The one that takes more than half of what all take, if there is one."""
    sizes = {each.name: _sizes(each)[0] for each in toolbox}
    largest = max(toolbox, key=lambda each: sizes[each.name])
    return largest if 2 * sizes[largest.name] > sum(sizes.values()) else None


def largest_part(tool: Tool) -> str:
    """The tool, and which parameter takes most."""
    sizes = {name: _named(name, type) for name, type in tool.types.items()}
    return f"{tool.name}({max(sizes, key=lambda name: sizes[name], default='')})"


def _sizes(tool: Tool) -> tuple[int, int]:
    """Of all arguments of a tool, and of the last one's value."""
    types = [tool.types[name] for name in (*tool.required, *tool.optional)]
    if not types:
        return 0, 0
    required = [_named(name, tool.types[name]) for name in tool.required]
    if len(required) == 1:
        required = [_value(types[0])]  # which stands without its name
    chosen = [_named(name, tool.types[name]) for name in tool.optional]
    return _listed(required, chosen), _value(types[-1])


def size(type: Type) -> int:
    """No more characters than the regex of a value has in a plan."""
    match type:
        case Scalar(kind=kind, format=format, pattern=pattern):
            return _HELD if format or pattern else _SCALARS[kind]
        case Choice(values=values):
            return sum(len(render_value(each)) for each in values)
        case Union(choices=choices):
            return sum(map(size, choices))
        case Array(first=first, rest=rest):
            # The same type may stand for many items, and is looked at once.
            kinds = {id(each): each for each in (*first, rest) if each is not None}
            sizes = {key: _value(each) for key, each in kinds.items()}
            return sum(sizes[id(each)] for each in first) + 2 * sizes.get(id(rest), 0)
        case Object(required=required, optional=optional, rest=rest):
            chosen = [_named(name, each) for name, each in optional.items()]
            if rest is not None:
                chosen.append(2 * _value(rest))
            return _listed([_named(name, each) for name, each in required.items()], chosen)
        case Anything():
            return _ANYTHING


def _named(name: str, type: Type) -> int:
    return len(name) + _value(type)


def _value(type: Type) -> int:
    return _REFERENCE + size(type)


def _listed(required: Sequence[int], chosen: Sequence[int]) -> int:
    if required or len(chosen) < 2:
        return sum(required) + sum(chosen)
    half = len(chosen) // 2
    first, other = chosen[:half], chosen[half:]
    return _listed((), first) + sum(first) + _listed((), other)
