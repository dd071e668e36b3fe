"""When two plans are the same plan: as graphs of calls, whatever the order of independent lines."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from executor.plan import Ref, Task, Template, Value

_NUMBER = re.compile(r"((?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?)")

Terms = Mapping[int, str]


def same_plan(one: Iterable[Task], other: Iterable[Task]) -> bool:
    """Whether both make the same calls on the same inputs, each as often."""
    return canonical(one) == canonical(other)


def canonical(tasks: Iterable[Task]) -> Counter[str]:
    """A plan's calls without their ids: a reference stands for the call that it points to.

    Each call is a digest, so that a plan whose lines refer to one line many times stays small.
    """
    terms: dict[int, str] = {}
    for task in tasks:  # inputs come before those that use them
        args = sorted((name, value_term(value, terms)) for name, value in task.args.items())
        call = repr((task.tool_name, args))
        terms[task.id] = hashlib.sha256(call.encode()).hexdigest()
    return Counter(terms.values())


def tool_names(tasks: Iterable[Task]) -> Counter[str]:
    """How often a plan calls each tool."""
    return Counter(task.tool_name for task in tasks)


def argument_values(tasks: Iterable[Task]) -> Counter[str]:
    """How often a plan gives each value to each parameter; references all count as one."""
    terms = _AnyTask()
    return Counter(
        repr((task.tool_name, name, value_term(value, terms)))
        for task in tasks
        for name, value in task.args.items()
    )


def sinks(tasks: Sequence[Task]) -> list[int]:
    """The ids of the tasks that no other one refers to."""
    used = {need for task in tasks for need in task.needs}
    return [task.id for task in tasks if task.id not in used]


class _AnyTask(dict[int, str]):
    def __missing__(self, _: int) -> str:
        return ""


def value_term(value: Value, terms: Terms) -> Any:
    """Equal for equal values: 3 is 3.0, text is compared without case and with single blanks."""
    match value:
        case Ref():
            return "ref", terms[value.task_id], value.path
        case Template(parts=parts):
            return _text_term(parts, terms)
        case str():
            return _text_term([value], terms)
        case bool() | None:
            return repr(value)
        case Mapping():
            return "object", sorted((key, value_term(item, terms)) for key, item in value.items())
        case Sequence():
            return "list", [value_term(item, terms) for item in value]
        case _:
            return float(str(value))  # unlike float(value), never too large


def _text_term(parts: Iterable[str | Ref], terms: Terms) -> Any:
    """The numbers in a text as numbers, its references as what they stand for."""
    pieces: list[Any] = []
    for part in parts:
        if isinstance(part, Ref):
            pieces.append(value_term(part, terms))
        else:
            words = _NUMBER.split(part)
            words[::2] = [re.sub(r"\s+", " ", text.casefold()) for text in words[::2]]
            pieces += [float(word) if at % 2 else word for at, word in enumerate(words)]
    if pieces and isinstance(pieces[0], str):
        pieces[0] = pieces[0].lstrip()
    if pieces and isinstance(pieces[-1], str):
        pieces[-1] = pieces[-1].rstrip()
    return "text", [piece for piece in pieces if piece != ""]
