"""A toolbox -> Outlines term -> the regex of all plans that can be run with it.

Each line of a plan is unrolled with its own id, so that ids count and a reference can only point
to an earlier task. The regex holds what both Python's `re` and the engine's automaton take: no
look-around, no back-references, no large bounded repeats.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import reduce
from typing import TYPE_CHECKING, Any

from executor.plan import JOIN
from executor.signatures import Schema
from executor.tools import Tool, ToolBox

if TYPE_CHECKING:
    from outlines.types.dsl import Term

ANSWER = "Answer: "
REPLAN = "Replan: "

_PATH = r"(?:\.[A-Za-z_][A-Za-z0-9_]*|\[(?:0|[1-9][0-9]?)\])*"
_ESCAPE = r'\\(?:["\\/bfnrt]|u(?:[0-9A-CEFa-cef][0-9A-Fa-f]|[Dd][0-7])[0-9A-Fa-f]{2})'
_PLAIN = r'[^"\\$\x00-\x1f]'
_PLAIN_BUT_DIGITS = r'[^"\\$\x00-\x1f0-9]'
_INTEGER = r"-?(?:0|[1-9][0-9]*)"
_SCALARS = {
    "integer": _INTEGER,
    "number": _INTEGER + r"(?:\.[0-9]+)?(?:[eE][+-]?[0-9][0-9]?)?",
    "boolean": "true|false",
    "null": "null",
}


def plan_regex(toolbox: ToolBox, first_id: int = 1, max_tasks: int = 16) -> str:
    """The regex of the plans of at most `max_tasks` tasks whose ids count from `first_id`.

    References may point to all tasks before, from $1 on: those below `first_id` are of the
    run's earlier plans. Raises ToolDefinitionError for a tool that can't be written.
    """
    from outlines.types.dsl import to_regex

    regex: str = to_regex(_plan(toolbox, range(first_id, first_id + max_tasks)))
    return regex


def join_regex(*, replan: bool) -> str:
    """The regex of the joiner's word: an answer, or, if `replan`, the reason to plan again."""
    from outlines.types.dsl import Regex, to_regex

    answer = ANSWER + Regex(r"[^ \n](?:.|\n)*")
    again = REPLAN + Regex(r"[^ \n].*")
    regex: str = to_regex(answer | again if replan else answer)
    return regex


def _plan(toolbox: ToolBox, ids: range) -> Term:
    """From the last line to the first: a line is join(), or a task and the rest of the plan."""
    from outlines.types.dsl import String

    last: Term = String(f"{ids.stop}. {JOIN}()")
    if not len(toolbox):
        return String(f"{ids.start}. {JOIN}()")
    return reduce(lambda rest, id: _line(toolbox, id, rest), reversed(ids), last)


def _line(toolbox: ToolBox, id: int, rest: Term) -> Term:
    from outlines.types.dsl import String, either

    calls = either(*(_call(tool, id) for tool in toolbox))
    return f"{id}. " + either(String(f"{JOIN}()"), calls + "\n" + rest)


def _call(tool: Tool, id: int) -> Term:
    from outlines.types.dsl import String

    return tool.name + String("(") + _arguments(tool, id) + ")"


def _arguments(tool: Tool, id: int) -> Term:
    """Required ones first, then any of the optional ones, each group in the signature's order."""
    from outlines.types.dsl import String, optional

    values = {name: value_term(schema, id) for name, schema in tool.properties.items()}
    if len(tool.required) == 1:
        required = [values[tool.required[0]]]
    else:
        required = [f"{name}=" + values[name] for name in tool.required]
    chosen = [f"{name}=" + values[name] for name in tool.optional]
    if required:
        return _concat([_separated(required), *(optional(", " + term) for term in chosen)])
    return optional(_any_of_in_order(chosen)) if chosen else String("")


def _any_of_in_order(terms: list[Term]) -> Term:
    """At least one of the terms, in their order, with commas between."""
    from outlines.types.dsl import either, optional

    starts = (
        _concat([first, *(optional(", " + later) for later in terms[index + 1 :])])
        for index, first in enumerate(terms)
    )
    return either(*starts)


def _separated(terms: list[Term]) -> Term:
    return _concat([terms[0], *(", " + term for term in terms[1:])])


def _concat(terms: Iterable[Term]) -> Term:
    return reduce(lambda left, right: left + right, terms)


def value_term(schema: Schema, id: int) -> Term:
    """What may stand for a parameter of this schema in the task `id`: its type, or a reference."""
    from outlines.types.dsl import Regex, either

    literal = _literal(schema, id)
    if id == 1:
        return literal
    return either(literal, Regex(rf"\${_earlier(id)}{_PATH}"))


def _literal(schema: Schema, id: int) -> Term:
    from outlines.types.dsl import Regex, String, either

    if "enum" in schema or "const" in schema:
        choices = schema["enum"] if "enum" in schema else [schema["const"]]
        return either(*(String(_dump(choice)) for choice in choices))
    if "anyOf" in schema:
        return either(*(_literal(choice, id) for choice in schema["anyOf"]))
    if schema["type"] == "array":
        return _array(value_term(schema["items"], id))
    if schema["type"] == "string":
        return _string(id)
    return Regex(f"(?:{_SCALARS[schema['type']]})")


def _array(item: Term) -> Term:
    from outlines.types.dsl import String, optional, zero_or_more

    return String("[") + optional(item + zero_or_more(", " + item)) + "]"


def _string(id: int) -> Term:
    """Text, `$$` for a dollar sign, and references to earlier tasks.

    A bare `$1` must not be followed by a digit, which would make it `$12`; `${1}` may be.
    """
    from outlines.types.dsl import Regex

    braced = rf"|\$\{{{_earlier(id)}{_PATH}\}}" if id > 1 else ""
    symbol = rf"(?:{_PLAIN}|{_ESCAPE}|\$\${braced})"
    if id == 1:
        return Regex(f'"{symbol}*"')
    no_digit = rf"(?:{_PLAIN_BUT_DIGITS}|{_ESCAPE}|\$\${braced})"
    return Regex(rf'"{symbol}*(?:\${_earlier(id)}(?:{no_digit}{symbol}*)?)*"')


def _earlier(id: int) -> str:
    """The regex of the numbers from 1 to id - 1."""
    return f"(?:{_up_to(id - 1)})"


def _up_to(last: int) -> str:
    """1..last, digit by digit, so that the regex stays short however long the run."""
    if last < 10:
        return f"[1-{last}]"
    tens, ones = divmod(last, 10)
    full = f"(?:{_up_to(tens - 1)})[0-9]|" if tens > 1 else ""
    return f"[1-9]|{full}{tens}[0-{ones}]"


def _dump(choice: Any) -> str:
    text = json.dumps(choice, ensure_ascii=False)
    return text.replace("$", "$$") if isinstance(choice, str) else text


def matches(regex: str, text: str) -> bool:
    """Whether the whole text is in the regex's language."""
    return re.fullmatch(regex, text) is not None
