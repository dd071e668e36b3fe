"""How large a grammar becomes at least, counted on the types, before anything is written out.

A list's items stand in its regex twice, and each of a group of optional values once for each that
may be the first: within each other, more than any machine could write.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from executor.plan import render_value
from executor.tools import Tool, ToolBox
from executor.types import Anything, Array, Choice, Object, Scalar, Type, Union

# What `estimated_states` finds in each, where there is one earlier task.
_SCALARS = {"string": 46, "integer": 6, "number": 32, "boolean": 10, "null": 5}
_ANYTHING = 573
_HELD = 1  # of a format or a pattern
_REFERENCE = 13


def least_states(toolbox: ToolBox) -> int:
    """No more states than `estimated_states` finds in the regex of all calls.

    Tools that take the same arguments share them.
    """
    sizes = {(each.required, each.optional, size(each)) for each in toolbox}
    return sum(of for _, _, of in sizes) + sum(len(each.name) for each in toolbox)


def size(tool: Tool) -> int:
    """Of a tool's arguments."""
    required = [_named(name, tool.types[name]) for name in tool.required]
    if len(required) == 1:
        required = [_value(tool.types[tool.required[0]])]  # which stands without its name
    optional = [_named(name, tool.types[name]) for name in tool.optional]
    return _listed(required, optional)


def largest_part(tool: Tool) -> str:
    """The tool, and which parameter takes most."""
    sizes = {name: _named(name, type) for name, type in tool.types.items()}
    return f"{tool.name}({max(sizes, key=lambda name: sizes[name], default='')})"


def _named(name: str, type: Type) -> int:
    return len(name) + _value(type)


def _value(type: Type) -> int:
    return _REFERENCE + _states(type)


def _states(type: Type) -> int:
    match type:
        case Scalar(kind=kind, format=format, pattern=pattern):
            return _HELD if format or pattern else _SCALARS[kind]
        case Choice(values=values):
            return sum(len(render_value(each)) for each in values)
        case Union(choices=choices):
            return sum(map(_states, choices))
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


def _listed(required: Sequence[int], chosen: Iterable[int]) -> int:
    if required:
        return sum(required) + sum(chosen)
    return sum(at * each for at, each in enumerate(chosen, 1))
