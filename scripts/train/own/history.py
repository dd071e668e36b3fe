"""Worked examples from earlier runs, as `./scripts/ask.sh --json` printed them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from executor import events
from executor.errors import PlanError, UsageError
from executor.plan import JOIN
from executor.tools import ToolBox
from planner_prompts.examples import Example
from train.lines import numbered_lines
from train.own.slots import put_together, take_apart

Event = dict[str, Any]
_KINDS = [
    kind.type
    for kind in (
        events.RunStarted,
        events.PlanFinished,
        events.TaskSealed,
        events.TaskFinished,
        events.RunFinished,
    )
]


class History(NamedTuple):
    """The runs that are worth learning from, and how many were left."""

    examples: list[Example]
    left: int


def from_history(path: Path, toolbox: ToolBox) -> History:
    """Takes the runs that were answered after one plan in which no task failed.

    The file has the events of one run after the other, a JSON object a line. Raises UsageError
    that names the first line that is no event, or a file without runs.
    """
    runs = list(_runs(path))
    if not runs:
        raise UsageError(f"{path} holds no runs; print them with ask.sh --json")
    found = [_example(run, toolbox) for run in runs]
    taken = [example for example in found if example is not None]
    return History(taken, len(runs) - len(taken))


def _runs(path: Path) -> Iterator[list[Event]]:
    run: list[Event] = []
    for event in _events(path):
        if event["type"] == events.RunStarted.type and run:
            yield run
            run = []
        run.append(event)
    if run:
        yield run


def _events(path: Path) -> Iterator[Event]:
    for number, line in numbered_lines(path):
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            event = None
        if not isinstance(event, dict) or not isinstance(event.get("type"), str):
            raise UsageError(
                f"{path}, line {number}: no event; a line is what ask.sh --json prints"
            )
        yield event


def _example(run: list[Event], toolbox: ToolBox) -> Example | None:
    """The run as an example, if it is one to learn from and its tools are still there."""
    told = {kind: [event for event in run if event["type"] == kind] for kind in _KINDS}
    ended, started = told[events.RunFinished.type], told[events.RunStarted.type]
    plans = told[events.PlanFinished.type]
    if not (started and ended and len(plans) == 1 and plans[0].get("ended_by") == JOIN):
        return None
    tasks, done = told[events.TaskSealed.type], told[events.TaskFinished.type]
    try:
        if {task["task_id"] for task in tasks} != {task["task_id"] for task in done}:
            return None
        example = Example(
            question=started[0]["question"],
            plan="\n".join([*(task["line"] for task in tasks), f"{len(tasks) + 1}. {JOIN}()"]),
            results={task["task_id"]: task["result"] for task in sorted(done, key=_task_id)},
            answer=ended[0]["answer"],
        )
        return put_together(take_apart(example, toolbox), toolbox)
    except (KeyError, TypeError, ValueError, PlanError):
        return None  # of other tools, or of another version


def _task_id(event: Event) -> int:
    return int(event["task_id"])
