"""Results as the joiner reads them: each with what it came from, where it is one of several.

A small model can't tell which of two numbers is the greater one, nor, reliably, whose number it
was. So where a call's result is that of one of the calls that it was made from, as that of
`max($1, $2)` is, its line names that call. No tool says that it chose: numbers that are equal by
chance, as 2 - 1 and 1 are, name one too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from executor.plan import Task, render
from executor.tools import ToolBox

_LOST = ("failed: ", "skipped: ")
_NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?(?=\s|$)")


def result_lines(
    tasks: Iterable[Task], results: Mapping[int, str], toolbox: ToolBox
) -> Iterator[str]:
    """A line for each task of a plan, in order; `results` are all that the run has so far."""
    before: dict[int, Task] = {}
    for task in tasks:
        line = results[task.id]
        if (chosen := _chosen(task, results)) in before:
            source = _source(before[chosen], task.tool_name, before)
            _, _, call = render(source, toolbox).partition(" ")
            line += f", from {call}"
        yield _line(task.id, line)
        before[task.id] = task


def _line(task_id: int, result: str) -> str:
    """A result as the joiner reads it: a tool's text can't pass for another result or turn."""
    return f"${task_id} = {result}".replace("\n", "\n  ").replace("<|", "< |")


def _chosen(task: Task, results: Mapping[int, str]) -> int | None:
    """Of several results that the task was made from, the one that is its own result too."""
    if len(task.needs) < 2 or results[task.id].startswith(_LOST):
        return None
    own = _value(results[task.id])
    same = [need for need in task.needs if _value(results[need]) == own]
    return same[0] if len(same) == 1 else None


def _value(result: str) -> tuple[float, str] | str:
    """A quantity as its number and unit, since 2e3 m and 2000.0 m are one; else the whole text."""
    number = _NUMBER.match(result)
    return (float(number[0]), result[number.end() :]) if number else result


def _source(task: Task, tool_name: str, before: Mapping[int, Task]) -> Task:
    """Where a result is from that the tool of this name has only worked on since."""
    while task.tool_name == tool_name and len(task.needs) == 1 and task.needs[0] in before:
        task = before[task.needs[0]]
    return task
