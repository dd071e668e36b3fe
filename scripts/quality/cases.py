"""A question as it is put to a model here, with what its run is held against."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from executor.builtin import TOOLBOX
from executor.errors import ArgumentError, ToolError
from executor.parser import tasks_of
from executor.plan import Join, Task, render
from executor.tools import Tool, ToolBox
from executor.values import resolve, text_of
from quality.canonical import value_term
from train.samples import Right, Sample, ToolSpec

NOTHING_ASKED = Right()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is None or empty is not judged.

    `gold` are the tasks of the first plan. `number` is what the last calculation must come near.
    Without `has_results` the results of calls mean nothing; with `plan_only` the run ends with
    its first plan.
    """

    id: str
    question: str
    toolbox: ToolBox
    shape: str
    width: int
    gold: tuple[Task, ...] | None
    replans: bool | None = None
    right: Right = NOTHING_ASKED
    number: float | None = None
    has_results: bool = True
    plan_only: bool = False

    @property
    def gold_text(self) -> str:
        """The gold plan as text; empty if none is known."""
        if self.gold is None:
            return ""
        items: list[Task | Join] = [*self.gold, Join(len(self.gold) + 1)]
        return "\n".join(render(item, self.toolbox) for item in items)


def of_sample(sample: Sample, id: str) -> Case:
    """Bundled tools are called as they are; one that is only described replays the sample."""
    real = all(_bundled(spec) for spec in sample.tools)
    tools = ToolBox(TOOLBOX[spec.name] for spec in sample.tools) if real else _replaying(sample)
    return Case(
        id=id,
        question=sample.question,
        toolbox=tools,
        shape=sample.shape,
        width=sample.width,
        gold=tuple(tasks_of(sample.plan, sample.toolbox)),
        replans=sample.replans,
        right=sample.right,
        has_results=real,
    )


def _bundled(spec: ToolSpec) -> bool:
    return spec.name in TOOLBOX and ToolSpec.of(TOOLBOX[spec.name]) == spec


def _replaying(sample: Sample) -> ToolBox:
    """Tools that answer the sample's own calls with the sample's results, and no others.

    Plain results are text here, so that a number which is passed on would break the next tool's
    schema; of an object or a list a part can be passed on.
    """
    known = _known_calls(sample)

    def call_of(tool: Tool) -> Callable[..., Any]:
        def call(**args: Any) -> Any:
            try:
                return known[_key(tool.name, args)]
            except KeyError:
                raise ToolError("nothing found for these arguments") from None

        return call

    return ToolBox(
        TOOLBOX[spec.name]
        if _bundled(spec)
        else replace(tool, function=call_of(tool), validate=_as_they_are)
        for spec, tool in zip(sample.tools, sample.toolbox, strict=True)
    )


def _as_they_are(args: Mapping[str, Any], open: Collection[str] = ()) -> dict[str, Any]:
    return dict(args)


def _known_calls(sample: Sample) -> dict[str, Any]:
    known: dict[str, Any] = {}
    results: dict[int, Any] = {}
    for round_ in sample.rounds:
        tasks = tasks_of(round_.plan, sample.toolbox, first_id=len(results) + 1)
        results |= {id: _value(text) for id, text in round_.results.items()}
        for task in tasks:
            try:
                args = resolve(task.args, results)
            except ArgumentError:  # it needs a part of what failed, so it was never called
                continue
            known[_key(task.tool_name, args)] = results[task.id]
    return known


def _value(result: str) -> Any:
    if not result.startswith(("{", "[")):
        return result
    try:
        return json.loads(result)
    except ValueError:
        return result


def _key(tool_name: str, args: Mapping[str, Any]) -> str:
    """Equal for calls that a plan may write in the place of one another, and for 5 and "5"."""
    return repr((tool_name, sorted((n, value_term(text_of(v), {})) for n, v in args.items())))
