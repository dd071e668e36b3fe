"""Outlines terms of the plan language: one function for each kind of value, for a call, and a plan.

The regex of a term holds what both Python's `re` and the engine's automaton take: no look-around,
no back-references, no large bounded repeats. `earlier` is throughout the regex of the ids that a
reference may name: empty where it may name none, and None in plain JSON, where a dollar sign is a
character like any other.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Any

from outlines.types.dsl import Regex, String, Term, either, optional, to_regex, zero_or_more
from outlines.types.dsl import Sequence as SideBySide

from executor.plan import JOIN, render_name, render_value
from executor.tools import Tool, ToolBox
from executor.types import FORMATS, Anything, Array, Choice, Object, Scalar, Type, Union
from planner_prompts.patterns import pattern_regex

FREE_DEPTH = 1  # of arrays and objects where any value may stand
ANY_ID = "[1-9][0-9]*"

_PATH = r"(?:\.[A-Za-z_][A-Za-z0-9_]*|\[(?:0|[1-9][0-9]?)\])*"
_ESCAPE = r'\\(?:["\\/bfnrt]|u(?:[0-9A-CEFa-cef][0-9A-Fa-f]|[Dd][0-7])[0-9A-Fa-f]{2})'
_PLAIN = r'[^"\\$\x00-\x1f]'
_PLAIN_BUT_DIGITS = r'[^"\\$\x00-\x1f0-9]'
_TEXT = rf'"(?:[^"\\\x00-\x1f]|{_ESCAPE})*"'  # of plain JSON; in a plan, keys are such, too
_INTEGER = r"-?(?:0|[1-9][0-9]*)"
_SCALARS = {
    "integer": _INTEGER,
    # Of so many digits that it is never larger than a floating point number can be.
    "number": r"-?(?:0|[1-9][0-9]{0,19})(?:\.[0-9]+)?(?:[eE][+-]?[0-9][0-9]?)?",
    "boolean": "true|false",
    "null": "null",
}


def plan(toolbox: ToolBox, ids: range, counted: int) -> Term:
    """The plans whose tasks have the given ids.

    The first `counted` lines are written out: there ids count, and references point back. If
    that is not all of them, any lines may follow, with any ids and references.
    """
    if not len(toolbox):
        return String(f"{ids.start}. {JOIN}()")

    def line(rest: Term, id: int) -> Term:
        return f"{id}. " + either(String(f"{JOIN}()"), calls(toolbox, up_to(id - 1)) + "\n" + rest)

    last = String(f"{ids.stop}. {JOIN}()") if counted == len(ids) else any_lines(toolbox)
    return reduce(line, reversed(ids[:counted]), last)


def any_lines(toolbox: ToolBox) -> Term:
    """Tasks without end, and join(); their ids and references are for the parser to check."""
    task = Regex(ANY_ID) + ". " + calls(toolbox, ANY_ID) + "\n"
    return zero_or_more(task) + Regex(ANY_ID) + f". {JOIN}()"


def calls(toolbox: ToolBox, earlier: str) -> Term:
    """A call of any tool. Those that take the same arguments share them."""
    names: dict[str, list[Term]] = {}
    for tool in toolbox:
        names.setdefault(to_regex(arguments(tool, earlier)), []).append(String(tool.name))
    return either(*(either(*each) + "(" + Regex(taken) + ")" for taken, each in names.items()))


def arguments(tool: Tool, earlier: str) -> Term:
    """Required ones first, then any of the optional ones, each group in its order."""
    values = {name: value(type, earlier) for name, type in tool.types.items()}
    if len(tool.required) == 1:
        required = [values[tool.required[0]]]
    else:
        required = [f"{render_name(name)}=" + values[name] for name in tool.required]
    chosen = [f"{render_name(name)}=" + values[name] for name in tool.optional]
    return _listed(required, chosen)


def plain_json(type: Type) -> Term:
    """A value of the type as `json.dumps(value, ensure_ascii=False)` spells it."""
    return value(type, None)


def value(type: Type, earlier: str | None) -> Term:
    """What may stand for a value of the type: a literal, or a reference."""
    return _or_reference(_literal(type, earlier), earlier)


def _or_reference(literal: Term, earlier: str | None) -> Term:
    return either(literal, Regex(rf"\$(?:{earlier}){_PATH}")) if earlier else literal


def _literal(type: Type, earlier: str | None) -> Term:
    match type:
        case Choice(values=values):
            return either(*(String(_spelled(each, earlier)) for each in values))
        case Union(choices=choices):
            return either(*(_literal(each, earlier) for each in choices))
        case Array():
            return _array(type, earlier)
        case Object():
            return _object(type, earlier)
        case Anything():
            return _anything(FREE_DEPTH, earlier)
        case Scalar(kind="string", format=format, pattern=pattern):
            dollar = "$$" if earlier is not None else "$"
            held = FORMATS.get(format) or (pattern_regex(pattern, dollar) if pattern else None)
            return Regex(f'"{held}"') if held else _string(earlier)
        case Scalar(kind=kind):
            return Regex(f"(?:{_SCALARS[kind]})")


def _spelled(value: Any, earlier: str | None) -> str:
    return render_value(value) if earlier is not None else json.dumps(value, ensure_ascii=False)


def _string(earlier: str | None) -> Term:
    """Text, with `$$` for a dollar sign and with references, unless it is plain JSON.

    A bare `$1` must not be followed by a digit, which would make it `$12`; `${1}` may be. So
    digits stand at the start or behind what is no bare reference.
    """
    if earlier is None:
        return Regex(_TEXT)
    if not earlier:
        return Regex(rf'"(?:{_PLAIN}|{_ESCAPE}|\$\$)*"')
    braced = rf"\$\{{(?:{earlier}){_PATH}\}}"
    no_digit = rf"(?:{_PLAIN_BUT_DIGITS}|{_ESCAPE}|\$\$|{braced})"
    return Regex(rf'"[0-9]*(?:{no_digit}[0-9]*|\$(?:{earlier}))*"')


def _array(array: Array, earlier: str | None) -> Term:
    """The items that must be there, then up to all of the others, one within the other."""
    rest = _any_number(value(array.rest, earlier)) if array.rest is not None else None
    if not array.first:
        return "[" + (optional(rest) if rest is not None else String("")) + String("]")
    more = optional(", " + rest) if rest is not None else String("")
    for at in reversed(range(len(array.first))):
        item = ("" if at == 0 else ", ") + (value(array.first[at], earlier) + more)
        more = item if at < array.least else optional(item)
    return "[" + more + String("]")


def _object(type: Object, earlier: str | None) -> Term:
    """Required members, optional ones, others: each group in its order."""

    def member(name: str, of: Type) -> Term:
        return String(f"{json.dumps(name, ensure_ascii=False)}: ") + value(of, earlier)

    required = [member(name, of) for name, of in type.required.items()]
    chosen = [member(name, of) for name, of in type.optional.items()]
    if type.rest is not None:
        chosen.append(_any_number(Regex(f"{_TEXT}: ") + value(type.rest, earlier)))
    return "{" + _listed(required, chosen) + String("}")


def _anything(depth: int, earlier: str | None) -> Term:
    """Any value with at most `depth` arrays and objects around another."""
    kinds: tuple[Type, ...] = (
        Scalar("string"),
        Scalar("number"),
        Scalar("boolean"),
        Scalar("null"),
    )
    flat = [_literal(each, earlier) for each in kinds]
    if depth == 0:
        return either(*flat)
    inner = _or_reference(_anything(depth - 1, earlier), earlier)
    items, members = _any_number(inner), _any_number(Regex(f"{_TEXT}: ") + inner)
    return either(
        *flat,
        "[" + optional(items) + String("]"),
        "{" + optional(members) + String("}"),
    )


def _any_number(item: Term) -> Term:
    """One or more, with commas between."""
    return item + zero_or_more(", " + item)


def _listed(required: Sequence[Term], chosen: Sequence[Term]) -> Term:
    """All of the first ones and any of the others, in their order, with commas between."""
    if required:
        first, *later = required
        return _all_of([first, *(", " + each for each in later), *_each_optional(chosen)])
    starts = [_all_of([first, *_each_optional(chosen[at:])]) for at, first in enumerate(chosen, 1)]
    return optional(either(*starts)) if starts else String("")


def _each_optional(terms: Iterable[Term]) -> list[Term]:
    return [optional(", " + each) for each in terms]


def _all_of(terms: Iterable[Term]) -> Term:
    # Side by side, for one within the other they would be too deep to be read.
    return SideBySide(list(terms))


def up_to(last: int) -> str:
    """The regex of 1..last, digit by digit, so that it stays short however long the run."""
    if last < 1:
        return ""
    if last < 10:
        return f"[1-{last}]"
    tens, ones = divmod(last, 10)
    full = f"(?:{up_to(tens - 1)})[0-9]|" if tens > 1 else ""
    return f"[1-9]|{full}{tens}[0-{ones}]"
