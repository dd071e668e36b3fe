"""Outlines terms of the plan language: one function for each kind of value, for a call, and a plan.

The regex of a term holds what both Python's `re` and the engine's automaton take: no look-around,
no back-references, no large bounded repeats. `earlier` is throughout the regex of the ids that a
reference may name: empty where it may name none, and None in plain JSON, where a dollar sign is a
character like any other.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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
Member = tuple[Term, Term]  # what stands before a value, and the value

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
    """A call of any tool. Those that take the same arguments share them, all others the last value.

    For an automaton has states of its own, for a text some thirty, wherever something else follows.
    """
    alike: dict[str, list[Tool]] = {}
    for tool in toolbox:
        alike.setdefault(to_regex(_listed(*_arguments(tool, earlier))), []).append(tool)
    ending: dict[str, list[_Call]] = {}
    for tools in alike.values():
        call = _Call(
            either(*(String(each.name) for each in tools)) + "(", *_arguments(tools[0], earlier)
        )
        ending.setdefault(call.last, []).append(call)
    ways: list[Term] = []
    for last, group in ending.items():
        if len(group) == 1:
            ways.append(group[0].whole)
        else:
            ways.append(either(*(each.before_last for each in group)) + Regex(last))
            ways.extend(each.without_last for each in group if each.chosen)
    return either(*ways) + ")"


@dataclass(frozen=True)
class _Call:
    """A tool's name and the bracket, and its arguments; or those of tools that take the same."""

    begin: Term
    required: list[Member]
    chosen: list[Member]

    @property
    def last(self) -> str:
        """The regex of the last value."""
        both = [*self.required, *self.chosen]
        return to_regex(both[-1][1]) if both else ""

    @property
    def whole(self) -> Term:
        return self.begin + _listed(self.required, self.chosen)

    @property
    def before_last(self) -> Term:
        """All that may stand before the last value, if that is there."""
        *before, (name, _) = self.chosen or self.required
        required, chosen = (self.required, before) if self.chosen else (before, [])
        each_required = [each_name + value + ", " for each_name, value in required]
        return self.begin + _all_of([*each_required, *_each_followed(chosen), name])

    @property
    def without_last(self) -> Term:
        """A call that has not the last value, for that is an optional one."""
        return self.begin + _listed(self.required, self.chosen[:-1])


def _arguments(tool: Tool, earlier: str) -> tuple[list[Member], list[Member]]:
    """The required ones and the optional ones, each group in its order."""

    def named(names: Iterable[str]) -> list[Member]:
        return [
            (String(f"{render_name(name)}="), value(tool.types[name], earlier)) for name in names
        ]

    required = named(tool.required)
    if len(required) == 1:
        required = [(String(""), required[0][1])]
    return required, named(tool.optional)


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
    digits stand where no bare reference is before them.
    """
    if earlier is None:
        return Regex(_TEXT)
    if not earlier:
        return Regex(rf'"(?:{_PLAIN}|{_ESCAPE}|\$\$)*"')
    braced = rf"\$\{{(?:{earlier}){_PATH}\}}"
    no_digit = rf"(?:{_PLAIN_BUT_DIGITS}|{_ESCAPE}|\$\$|{braced})"
    bare = rf"(?:\$(?:{earlier}))*"
    return Regex(rf'"(?:[0-9]|{bare}{no_digit})*{bare}"')


def _array(array: Array, earlier: str | None) -> Term:
    """The items that must be there, then up to all of the others."""
    rest = _any_number(value(array.rest, earlier)) if array.rest is not None else None
    if not array.first:
        return "[" + (optional(rest) if rest is not None else String("")) + String("]")
    more = optional(", " + rest) if rest is not None else String("")
    first = value(array.first[0], earlier)
    items = [first, *(", " + value(each, earlier) for each in array.first[1:])]
    needed, others = items[: array.least], items[array.least :]
    behind = optional(_beginning(others, more)) if others else more
    return _all_of([String("["), *needed, behind, String("]")])


def _beginning(items: Sequence[Term], more: Term) -> Term:
    """The first one of the items, or several, or all of them and more."""
    if len(items) == 1:
        return items[0] + more
    half = len(items) // 2
    first, other = items[:half], items[half:]
    return either(_beginning(first, String("")), _all_of([*first, _beginning(other, more)]))


def _object(type: Object, earlier: str | None) -> Term:
    """Required members, optional ones, others: each group in its order."""

    def named(members: Mapping[str, Type]) -> list[Member]:
        return [
            (String(f"{json.dumps(name, ensure_ascii=False)}: "), value(of, earlier))
            for name, of in members.items()
        ]

    chosen = named(type.optional)
    if type.rest is not None:
        other = Regex(f"{_TEXT}: ") + value(type.rest, earlier)
        chosen.append((String(""), _any_number(other)))
    return "{" + _listed(named(type.required), chosen) + String("}")


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
    """One or more, with commas between. So written, an automaton has one item, not a first, too."""
    return zero_or_more(item + ", ") + item


def _listed(required: Sequence[Member], chosen: Sequence[Member]) -> Term:
    """All of the first ones and any of the others, in their order, with commas between."""
    if not required:
        return optional(_some(chosen)) if chosen else String("")
    first, *later = [name + value for name, value in required]
    return _all_of([first, *(", " + each for each in later), *_each_led(chosen)])


def _some(chosen: Sequence[Member]) -> Term:
    """At least one of them, in their order: the last of them is of the first half or of the other.

    Written out for each that may be the last, there would be a square of them.
    """
    if len(chosen) == 1:
        return chosen[0][0] + chosen[0][1]
    half = len(chosen) // 2
    first, other = chosen[:half], chosen[half:]
    return either(_some(first), _all_of([*_each_followed(first), _some(other)]))


def _each_led(members: Iterable[Member]) -> list[Term]:
    return [optional(", " + (name + value)) for name, value in members]


def _each_followed(members: Iterable[Member]) -> list[Term]:
    return [optional(name + value + ", ") for name, value in members]


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
