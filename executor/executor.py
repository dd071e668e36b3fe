"""Runs the tasks of a plan: the thin shell around the Task Fetching Unit, and the only file that
owns asyncio tasks for tools. It performs the unit's instructions and tells it what came of them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterable
from contextlib import AbstractAsyncContextManager
from types import NoneType
from typing import Any

from executor import workers
from executor.errors import ArgumentError, PlanError, ToolError
from executor.events import (
    EventLog,
    TaskCancelled,
    TaskFailed,
    TaskFinished,
    TaskSealed,
    TaskSkipped,
    TaskStarted,
    told,
)
from executor.fetching import FetchingUnit, Instruction, Outcome, Settle, Start, State
from executor.plan import Task, as_json, render
from executor.tools import Tool, ToolBox
from executor.values import shorten, text_of

MAX_RUNNING = 16  # calls at once in one run
SHOWN = 500  # characters of an argument or a result in an event


class Executor:
    """Runs plans over one toolbox, without a model. Holds no state of any run."""

    def __init__(self, toolbox: ToolBox, *, max_running: int = MAX_RUNNING) -> None:
        self._toolbox = toolbox
        self._max_running = max_running

    def run(self, tasks: AsyncIterable[Task]) -> AbstractAsyncContextManager[EventLog]:
        """`async with executor.run(tasks) as events`: the tasks' events, as they happen.

        A task starts as soon as the iterator has yielded it and its inputs are done. The end of
        the iterator is the end of a valid plan; an iterator that breaks off raises PlanError,
        and then tasks with side effects are skipped, the others end, and the error is raised at
        the end of the block. Leaving the block early cancels what is still running.
        """

        async def story(log: EventLog) -> None:
            await Execution(self._toolbox, self._max_running, log).perform(tasks)

        return told(story)


class Execution:
    """The tasks of one run, over all its plans."""

    def __init__(self, toolbox: ToolBox, max_running: int, log: EventLog) -> None:
        self._toolbox = toolbox
        self._log = log
        self._unit = FetchingUnit(lambda name: toolbox[name].eager, max_running)
        self._shared: dict[str, asyncio.Task[Outcome]] = {}  # by call, of idempotent tools
        self._calls = asyncio.TaskGroup()

    @property
    def outcomes(self) -> dict[int, Outcome]:
        """How each task that has ended did so, by its id."""
        return self._unit.outcomes

    async def perform(self, tasks: AsyncIterable[Task]) -> None:
        """Runs one plan's tasks as they come; returns when all of them have ended."""
        broken_off: PlanError | None = None
        try:
            async with asyncio.TaskGroup() as self._calls:
                try:
                    async for task in tasks:
                        self._seal(task)
                except PlanError as error:
                    broken_off = error
                self._carry_out(self._unit.end_plan(valid=broken_off is None))
        except BaseExceptionGroup as group:
            self._carry_out(self._unit.cancel())
            if len(group.exceptions) == 1:
                raise group.exceptions[0] from None
            raise
        except asyncio.CancelledError:
            self._carry_out(self._unit.cancel())
            raise
        if broken_off is not None:
            raise broken_off

    def _seal(self, task: Task) -> None:
        self._log.emit(
            TaskSealed(
                task_id=task.id,
                tool=task.tool_name,
                args={name: as_json(value) for name, value in task.args.items()},
                needs=list(task.needs),
                line=render(task, self._toolbox),
            )
        )
        self._carry_out(self._unit.seal(task))

    def _carry_out(self, instructions: list[Instruction]) -> None:
        for instruction in instructions:
            match instruction:
                case Start(task, args):
                    shown = {name: _shown(value) for name, value in args.items()}
                    self._log.emit(TaskStarted(task_id=task.id, args=shown))
                    self._calls.create_task(self._call(task, args))
                case Settle(task, outcome):
                    self._tell_end(task.id, outcome, seconds=0.0)

    async def _call(self, task: Task, args: dict[str, Any]) -> None:
        began = self._log.now()
        outcome = await self._shared_outcome(self._toolbox[task.tool_name], args)
        if _being_cancelled():
            return  # the run is over, and the tool swallowed the cancellation that said so
        self._tell_end(task.id, outcome, self._log.now() - began)
        self._carry_out(self._unit.finish(task.id, outcome))

    async def _shared_outcome(self, tool: Tool, args: dict[str, Any]) -> Outcome:
        key = _key(tool, args) if tool.idempotent else None
        if key is None:
            return await _outcome(tool, args)
        if key not in self._shared:
            self._shared[key] = self._calls.create_task(_outcome(tool, args))
        return await self._shared[key]

    def _tell_end(self, task_id: int, outcome: Outcome, seconds: float) -> None:
        match outcome.state:
            case State.DONE:
                shown = shorten(text_of(outcome.value), SHOWN)
                self._log.emit(TaskFinished(task_id=task_id, result=shown, seconds=seconds))
            case State.FAILED:
                self._log.emit(
                    TaskFailed(task_id=task_id, reason=outcome.reason, message=outcome.message)
                )
            case State.SKIPPED:
                self._log.emit(
                    TaskSkipped(task_id=task_id, reason=outcome.reason, message=outcome.message)
                )
            case State.CANCELLED:
                self._log.emit(
                    TaskCancelled(task_id=task_id, reason=outcome.reason, message=outcome.message)
                )


async def _outcome(tool: Tool, args: dict[str, Any]) -> Outcome:
    """Calls the tool within its time limit. Whatever it does wrong is an outcome, not an error."""
    limit = asyncio.timeout(tool.timeout)
    try:
        async with limit:
            return Outcome(State.DONE, value=await workers.call(tool, tool.validate(args)))
    except asyncio.CancelledError as error:
        if _being_cancelled():
            raise
        return _failed("error", error)
    except TimeoutError as error:
        if limit.expired():
            message = f"no answer within its {tool.timeout:g} s"
            return Outcome(State.FAILED, reason="timeout", message=message)
        return _failed("error", error)
    except ArgumentError as error:
        return Outcome(State.FAILED, reason="bad_argument", message=str(error))
    except ToolError as error:
        return Outcome(State.FAILED, reason="error", message=str(error))
    except (Exception, SystemExit) as error:  # noqa: BLE001  a tool's fault is an observation
        return _failed("error", error)


def _being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _failed(reason: str, error: BaseException) -> Outcome:
    message = f"{type(error).__name__}: {error}".rstrip(": ")
    return Outcome(State.FAILED, reason=reason, message=shorten(message, SHOWN))


def _key(tool: Tool, args: dict[str, Any]) -> str | None:
    """Equal for equal calls; None where the arguments can't be compared as JSON."""
    try:
        return json.dumps([tool.name, args], sort_keys=True)
    except (TypeError, ValueError):
        return None


def _shown(value: Any) -> Any:
    """An argument for show: a single value as it is, anything larger as text, shortened."""
    return (
        value if isinstance(value, (int, float, bool, NoneType)) else shorten(text_of(value), SHOWN)
    )
