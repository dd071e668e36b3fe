"""What is wrong with a task before it is called: all that can be known when its line is sealed.

The grammar holds what a regular language can; bounds, patterns, rules across parameters and the
results of other tools are looked at here, so that the line can be written again.
"""

from __future__ import annotations

from collections.abc import Mapping

from executor.errors import ArgumentError
from executor.plan import Ref, Task, Value, references
from executor.tools import Tool, ToolBox
from executor.types import Anything, Type, can_be, fits, kinds, part


def check(task: Task, toolbox: ToolBox, earlier: Mapping[int, Task]) -> None:
    """Raises ArgumentError, which names the parameter and the reason, for a call that must fail.

    `earlier` are the tasks that it may refer to, by id. What hangs on a result's value is left to
    the check at the call.
    """
    tool = toolbox[task.tool_name]
    open_ = [name for name, value in task.args.items() if any(references(value))]
    tool.validate(task.args, open_)
    results = {id: toolbox[earlier[id].tool_name] for id in task.needs}
    for name in open_:
        _check_open(name, task.args[name], tool.types[name], results)


def _check_open(name: str, value: Value, type: Type, results: Mapping[int, Tool]) -> None:
    """An argument with references in it, by what the tools that they point to say they give."""
    if not fits(value, type):
        raise ArgumentError(f"{name}: is not of its type")
    for ref in references(value):
        _result(ref, name, results)
    if not fits(value, type, lambda ref, wanted: can_be(_result(ref, name, results), wanted)):
        given = ", ".join(
            f"{ref} is {_told(_result(ref, name, results))}" for ref in references(value)
        )
        raise ArgumentError(f"{name}: {given}; inside a string, a reference becomes text")


def _result(ref: Ref, name: str, results: Mapping[int, Tool]) -> Type:
    tool = results[ref.task_id]
    found: Type | None = tool.returns
    for at, step in enumerate(ref.path):
        whole = found
        found = part(whole, step) if whole is not None else None
        if found is None:
            of = Ref(ref.task_id, ref.path[:at])
            raise ArgumentError(
                f"{name}: {ref} leads nowhere: {of} is {_told(whole)} of {tool.name}, "
                f"and has no {step!r}"
            )
    assert found is not None
    return found


def _told(type: Type | None) -> str:
    return "a value" if type is None or type == Anything() else " or ".join(sorted(kinds(type)))
