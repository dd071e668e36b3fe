"""Runs the tasks of a plan: the thin shell around the Task Fetching Unit, and the only file that
owns asyncio tasks for tools. It performs the unit's instructions and tells it what came of them.
"""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import AsyncIterable
from contextlib import AbstractAsyncContextManager
from math import isfinite
from types import NoneType
from typing import Any

from executor import workers
from executor.errors import ArgumentError, PlanError, ToolError, UsageError
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

    _calls: asyncio.TaskGroup  # of the plan that is being performed

    def __init__(self, toolbox: ToolBox, max_running: int, log: EventLog) -> None:
        self._toolbox = toolbox
        self._log = log
        self._unit = FetchingUnit(lambda name: toolbox[name].eager, max_running)
        self._shared: dict[str, asyncio.Task[Outcome]] = {}  # by call, of idempotent tools

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
        if task.tool_name not in self._toolbox:
            raise UsageError(f"task {task.id}: no tool is called {task.tool_name}")
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
                    call = self._start(self._toolbox[task.tool_name], args)
                    self._calls.create_task(self._follow(task.id, call))
                case Settle(task, outcome):
                    self._tell_end(task.id, outcome, seconds=0.0)

    def _start(self, tool: Tool, args: dict[str, Any]) -> asyncio.Task[Outcome]:
        """The call, in an asyncio task of its own: all that a tool could cancel is itself."""
        key = _key(tool, args) if tool.idempotent else None
        if key in self._shared and not _has_failed(self._shared[key]):
            return self._shared[key]
        call = self._calls.create_task(_outcome(tool, args))
        if key is not None:
            self._shared[key] = call
        return call

    async def _follow(self, task_id: int, call: asyncio.Task[Outcome]) -> None:
        began = self._log.now()
        await asyncio.wait([call])
        outcome = _failed("error", "it was cancelled") if call.cancelled() else call.result()
        self._tell_end(task_id, outcome, self._log.now() - began)
        self._carry_out(self._unit.finish(task_id, outcome))

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
            value = await workers.call(tool, tool.validate(args))
            text_of(value).encode()  # what can't be told to anyone is no result
            return Outcome(State.DONE, value=value)
    except (asyncio.CancelledError, KeyboardInterrupt):
        raise
    except ArgumentError as error:
        return _failed("bad_argument", str(error))
    except ToolError as error:
        return _failed("error", str(error))
    except BaseException as error:  # noqa: BLE001  a tool's fault is an observation
        if limit.expired() and isinstance(error, TimeoutError):
            return _failed("timeout", f"no answer within its {tool.timeout:g} s")
        return _failed("error", "".join(traceback.format_exception_only(error)).strip())


def _has_failed(call: asyncio.Task[Outcome]) -> bool:
    return call.done() and (call.cancelled() or call.result().state is not State.DONE)


def _failed(reason: str, message: str) -> Outcome:
    readable = message.encode(errors="replace").decode()
    return Outcome(State.FAILED, reason=reason, message=shorten(readable, SHOWN))


def _key(tool: Tool, args: dict[str, Any]) -> str | None:
    """Equal for equal calls; None where the arguments can't be compared as JSON."""
    try:
        return json.dumps([tool.name, args], sort_keys=True)
    except (TypeError, ValueError):
        return None


def _shown(value: Any) -> Any:
    """An argument for show: what JSON has a word for as it is, all else as text, shortened."""
    known = isinstance(value, (int, NoneType)) or (isinstance(value, float) and isfinite(value))
    return value if known else shorten(text_of(value), SHOWN)
