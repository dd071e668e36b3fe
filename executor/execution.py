"""The tasks of one run: performs what the Task Fetching Unit says, tells it what came of it.

The only file that makes asyncio tasks for tools.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
from collections.abc import AsyncIterable
from dataclasses import dataclass
from math import isfinite
from types import NoneType
from typing import TYPE_CHECKING, Any

from executor.calls import Call, failed_by
from executor.dispatch import Gate, Lane
from executor.errors import PlanError, RunError, UsageError
from executor.events import (
    EventLog,
    TaskCancelled,
    TaskFailed,
    TaskFinished,
    TaskSealed,
    TaskSkipped,
    TaskStarted,
)
from executor.fetching import FetchingUnit, Instruction, Outcome, Ready, Settle, State
from executor.plan import Task, as_json, render
from executor.tools import Tool, ToolBox
from executor.values import shorten, text_of

if TYPE_CHECKING:
    from executor.executor import Executor

SHOWN = 500  # characters of an argument or a result in an event
AT_ONCE = 10  # tasks that are sealed before others have their turn


@dataclass(slots=True)
class _ReadyTask:
    """A ready task: its arguments, the name of its call if that can be shared, and since when."""

    id: int
    args: dict[str, Any]
    key: str | None
    since: float


class Execution:
    """The tasks of one run, over all its plans. It may use the tools of this toolbox only, of all
    that the executor has."""

    def __init__(self, executor: Executor, log: EventLog, toolbox: ToolBox) -> None:
        self._executor = executor
        self._toolbox = toolbox
        self._log = log
        self._unit = unit = FetchingUnit(lambda name: toolbox[name].policy)
        self._lane = Lane(executor.max_running, unit.height, lambda: unit.sealed)
        self._ready: dict[int, _ReadyTask] = {}  # tasks that wait for their turn
        self._calls: set[Call] = set()  # that run
        self._shared: dict[str, Call] = {}  # those of idempotent tools, by call
        self._all_ended: asyncio.Future[None] | None = None
        self._performer: asyncio.Task[Any] | None = None
        self._context = contextvars.copy_context()
        self._fault: BaseException | None = None

    @property
    def outcomes(self) -> dict[int, Outcome]:
        """How each task that has ended did so, by its id."""
        return self._unit.outcomes

    async def perform(self, tasks: AsyncIterable[Task]) -> None:
        """Runs one plan's tasks as they come; returns when all of them have ended. Raises PlanError
        if the plan broke off."""
        broken_off = await self._run_tasks(tasks)
        if broken_off is not None:
            try:
                raise broken_off
            finally:
                del broken_off  # or this frame and the error's traceback would hold each other

    async def _run_tasks(self, tasks: AsyncIterable[Task]) -> PlanError | None:
        """Returns, when all have ended, what broke the plan off."""
        self._performer = asyncio.current_task()
        self._executor.enter(self, self._lane)
        # In a task of its own, for an iterator may take its time to end.
        reading = asyncio.get_running_loop().create_task(self._read(tasks))
        try:
            await asyncio.wait([reading])
            broken_off = await reading
            self._executor.advance(self, self._unit.end_plan(valid=broken_off is None))
            if self._unit.open:
                self._all_ended = asyncio.get_running_loop().create_future()
                await self._all_ended
        except BaseException:
            self._executor.leave(self._lane)
            reading.cancel()
            await self._close()
            await asyncio.wait([reading])
            if self._fault is not None and self._performer is not None:
                self._performer.uncancel()
            self._raise_fault()
            raise
        finally:
            self._executor.leave(self._lane)
            self._performer = None
            del reading  # which holds its error, which holds this frame
        self._raise_fault()
        return broken_off

    def _raise_fault(self) -> None:
        """Raises what was wrong with us, if anything was."""
        fault, self._fault = self._fault, None
        try:
            if fault is not None:
                raise fault from None
        finally:
            del fault  # it holds this frame

    async def _read(self, tasks: AsyncIterable[Task]) -> PlanError | None:
        """Seals the tasks; returns what broke the plan off."""
        count = 0
        try:
            async for task in tasks:
                self._seal(task)
                count += 1
                if not count % AT_ONCE:  # or a plan that is all there holds up all runs
                    await asyncio.sleep(0)
        except PlanError as error:
            return error
        return None

    async def _close(self) -> None:
        """Cancels what has not ended. Takes no longer than the grace, whoever is impatient."""
        for instruction in self._unit.cancel():
            self.carry_out(instruction)
        for call in self._calls:
            call.close()
        while tasks := [call.task for call in self._calls if call.task and not call.task.done()]:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait(tasks)
        for call in self._calls:  # that were cancelled before their first step
            self._executor.release(self._lane, call.gate)
        self._calls.clear()
        self._executor.advance()

    def _fail(self, error: Exception) -> None:
        """A bug of ours ends this run, and is raised by `perform`; others go on."""
        if self._fault is None:
            self._fault = error
            if self._performer is not None:
                self._performer.cancel()

    def _seal(self, task: Task) -> None:
        if task.tool_name not in self._toolbox:
            raise UsageError(f"task {task.id}: no tool is called {task.tool_name}")
        if self._unit.sealed >= self._executor.max_tasks:
            message = f"the run has more than {self._executor.max_tasks} tasks"
            raise RunError("too_many_tasks", message)
        instructions = self._unit.seal(task)
        self._log.emit(
            TaskSealed(
                task_id=task.id,
                tool=task.tool_name,
                args={name: as_json(value) for name, value in task.args.items()},
                needs=list(task.needs),
                line=render(task, self._toolbox),
            )
        )
        self._executor.advance(self, instructions)

    def carry_out(self, instruction: Instruction) -> None:
        """Performs one of the unit's instructions."""
        try:
            match instruction:
                case Ready(task, args):
                    self._wait(task, args)
                case Settle(task, outcome):
                    self._tell_end(task.id, outcome, seconds=0.0, tries=0)
                    self._look_for_end()
        except Exception as error:  # noqa: BLE001
            self._fail(error)

    def _wait(self, task: Task, args: dict[str, Any]) -> None:
        """A ready task waits for its turn, unless its result is there, or will be."""
        tool = self._toolbox[task.tool_name]
        key = _key(tool, args) if tool.policy.idempotent else None
        ready = _ReadyTask(task.id, args, key, self._log.now())
        if (known := self._known(key)) is not None:
            self._answer(ready, known)
        else:
            try:
                gate = self._executor.gate(tool, args, self._context)
            except BaseException as error:  # noqa: BLE001  a tool's fault is an observation
                began = self._begin(ready, tool.runs_in)
                self._finish(task.id, failed_by(error), began, tries=0)
                return
            if self._executor.admit(self._lane, gate, task.id):
                self._call(ready, gate)
            else:
                self._ready[task.id] = ready

    def start(self, task_id: int, gate: Gate) -> None:
        """A waiting task's turn has come."""
        try:
            ready = self._ready.pop(task_id)
            if (known := self._known(ready.key)) is not None:
                self._executor.release(self._lane, gate)
                self._answer(ready, known)
            else:
                self._call(ready, gate)
        except Exception as error:  # noqa: BLE001
            self._fail(error)

    def _call(self, ready: _ReadyTask, gate: Gate) -> None:
        try:
            began = self._begin(ready, gate.tool.runs_in)
        except BaseException:
            self._executor.release(self._lane, gate)
            raise
        call = Call(gate, ready.args, [(ready.id, began)])
        if ready.key is not None:
            self._shared[ready.key] = call
        self._calls.add(call)
        # In its own run's context, though it may be the end of another's call that starts it.
        making, context = self._make(call, ready.key), self._context.copy()
        loop, name = asyncio.get_running_loop(), gate.tool.name
        call.task = loop.create_task(making, name=name, context=context)

    def _begin(self, ready: _ReadyTask, where: str) -> float:
        """A ready task starts; returns when."""
        self._unit.start(ready.id)
        shown = {name: _shown(value) for name, value in ready.args.items()}
        event = TaskStarted(task_id=ready.id, args=shown, where=where, ready=ready.since)
        return self._log.emit(event).at

    def _known(self, key: str | None) -> Outcome | Call | None:
        """The result of an equal call of any run, or a call of this one that has not failed."""
        if key is None:
            return None
        if (kept := self._executor.kept(key)) is not None:
            return kept
        call = self._shared.get(key)
        has_failed = call and call.outcome and call.outcome.state is not State.DONE
        return None if has_failed else call

    def _answer(self, ready: _ReadyTask, known: Outcome | Call) -> None:
        """Ends the task with what another call has given, or will give."""
        if isinstance(known, Outcome):
            self._finish(ready.id, known, self._begin(ready, "cache"), tries=0)
            return
        began = self._begin(ready, "shared")
        if known.outcome is None:
            known.wanted_by.append((ready.id, began))
        else:
            self._finish(ready.id, known.outcome, began, tries=0)

    def _finish(self, task_id: int, outcome: Outcome, began: float, *, tries: int) -> None:
        self._tell_end(task_id, outcome, self._log.now() - began, tries)
        self._executor.advance(self, self._unit.finish(task_id, outcome))
        self._look_for_end()

    def _look_for_end(self) -> None:
        if self._all_ended is not None and not self._unit.open and not self._all_ended.done():
            self._all_ended.set_result(None)

    async def _make(self, call: Call, key: str | None) -> None:
        """Makes a call and tells all who wait for it."""
        try:
            try:
                call.outcome = outcome = await call.make(self._executor.workers)
            finally:
                self._calls.discard(call)
                call.task = None  # if cancelled it holds its error, and that, by frames, the call
                self._executor.release(self._lane, call.gate)
                if call.outcome is None:
                    self._executor.advance()
            seconds = call.gate.tool.policy.cache_seconds
            if key is not None and seconds and outcome.state is State.DONE:
                self._executor.keep(key, outcome, seconds)
            for task_id, began in call.wanted_by:
                self._finish(task_id, outcome, began, tries=call.tries)
        except Exception as error:  # noqa: BLE001
            self._fail(error)

    def _tell_end(self, task_id: int, outcome: Outcome, seconds: float, tries: int) -> None:
        match outcome.state:
            case State.DONE:
                shown = _text(outcome.value)
                self._log.emit(
                    TaskFinished(task_id=task_id, result=shown, seconds=seconds, tries=tries)
                )
            case State.FAILED:
                self._log.emit(
                    TaskFailed(
                        task_id=task_id, reason=outcome.reason, message=outcome.message, tries=tries
                    )
                )
            case State.SKIPPED:
                self._log.emit(
                    TaskSkipped(task_id=task_id, reason=outcome.reason, message=outcome.message)
                )
            case State.CANCELLED:
                self._log.emit(
                    TaskCancelled(task_id=task_id, reason=outcome.reason, message=outcome.message)
                )


def _key(tool: Tool, args: dict[str, Any]) -> str | None:
    """Equal for equal calls; None where the arguments can't be compared as JSON."""
    try:
        return json.dumps([tool.name, args], sort_keys=True)
    except (TypeError, ValueError):
        return None


def _shown(value: Any) -> Any:
    """An argument for show: what JSON has a word for as it is, all else as text, shortened."""
    known = isinstance(value, (int, NoneType)) or (isinstance(value, float) and isfinite(value))
    return value if known else _text(value)


def _text(value: Any) -> str:
    try:
        return shorten(text_of(value), SHOWN)
    except Exception:  # noqa: BLE001  an object that has told its text once need not do so again
        return f"<{type(value).__name__}>"
