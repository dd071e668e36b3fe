"""Rows with tools from anywhere and the calls that a question needs, as BFCL has them.

Their tools can't be called, so a run ends with its plan.
"""

from __future__ import annotations

import re
from typing import Any

import pydantic

from executor.errors import ArgumentError, PlanError, ToolDefinitionError
from executor.parser import tasks_of
from executor.plan import Join, Task, render
from executor.tools import Tool, ToolBox
from planner_prompts.grammar import plan_regex
from quality.cases import Case
from quality.lookups import Text
from train.samples import ToolSpec

REFUSED = "tools that no plan can be written for"
FAULTY = "a gold call that breaks its own schema"


class _Record(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class Call(_Record):
    tool: Text
    args: dict[str, Any]


class Row(_Record):
    """A question, its tools, and the calls that it needs, which don't need each other."""

    id: Text
    question: Text
    tools: tuple[ToolSpec, ...]
    calls: tuple[Call, ...]

    @property
    def shape(self) -> str:
        """The set's category, which its ids begin with."""
        return re.sub(r"[\W\d_]+$", "", self.id)


class SkipError(Exception):
    """A row that measures nothing; says why."""


def case(row: Row) -> Case:
    """The gold plan makes the calls in their order. Raises SkipError for a row without one."""
    toolbox = _toolbox(row)
    tasks = tuple(Task(at, call.tool, call.args) for at, call in enumerate(row.calls, 1))
    for task in tasks:
        _check(task, toolbox)
    items: list[Task | Join] = [*tasks, Join(len(tasks) + 1)]
    plan = "\n".join(render(item, toolbox) for item in items)
    try:
        gold = tuple(tasks_of(plan, toolbox))
    except PlanError:
        raise SkipError(FAULTY) from None
    return Case(
        id=row.id,
        question=row.question,
        toolbox=toolbox,
        shape=row.shape,
        width=len(tasks),
        gold=gold,
        has_results=False,
        plan_only=True,
    )


def _toolbox(row: Row) -> ToolBox:
    try:
        toolbox = ToolBox(
            Tool.from_json_schema(spec.name, spec.description, spec.parameters, _never)
            for spec in row.tools
        )
        plan_regex(toolbox, max_tasks=1)
    except ToolDefinitionError:
        raise SkipError(REFUSED) from None
    return toolbox


def _check(task: Task, toolbox: ToolBox) -> None:
    try:
        toolbox[task.tool_name].validate(task.args)
    except (KeyError, ArgumentError):
        raise SkipError(FAULTY) from None


def _never(**_: Any) -> str:
    raise NotImplementedError("a run of this row ends with its plan")
