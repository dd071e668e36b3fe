"""Runs plans: what all runs over one toolbox share, and the turns that they take."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterable, Iterable
from contextlib import AbstractAsyncContextManager
from contextvars import Context
from dataclasses import dataclass
from math import inf
from typing import Any

from cachetools import TLRUCache

from executor.dispatch import Dispatcher, Gate, Lane
from executor.errors import RunError
from executor.events import EventLog, told
from executor.execution import Execution
from executor.fetching import Instruction, Outcome
from executor.plan import Task
from executor.tools import Tool, ToolBox
from executor.workers import Workers

MAX_RUNNING = 16  # calls at once in one run
THREADS = 32  # in all runs
CACHED = 1_000  # results


class Executor:
    """Runs plans over one toolbox, without a model.

    `max_running` and `max_tasks` are of each run, in all its plans; `deadline` is in seconds.
    What all runs share are the limits that tools declare, threads, processes, and results that
    are kept. Use it in one event loop; `close` it when no run needs it any more.
    """

    def __init__(
        self,
        toolbox: ToolBox,
        *,
        max_running: int = MAX_RUNNING,
        max_tasks: int | None = None,
        deadline: float | None = None,
        threads: int = THREADS,
        processes: int | None = None,
    ) -> None:
        self.toolbox = toolbox
        self.max_running = max_running
        self.max_tasks = inf if max_tasks is None else max_tasks
        self.deadline = deadline
        self.workers = Workers()
        self._results: TLRUCache[str, _Kept] = TLRUCache(CACHED, _end_of_keeping, _loop_time)
        self._dispatcher = Dispatcher(threads=threads, processes=processes or os.cpu_count() or 1)
        self._runs: dict[Lane, Execution] = {}
        self._todo: deque[tuple[Execution, Instruction]] = deque()
        self._advances = False
        self._alarm: asyncio.TimerHandle | None = None

    def run(self, tasks: AsyncIterable[Task]) -> AbstractAsyncContextManager[EventLog]:
        """`async with executor.run(tasks) as events`: the tasks' events, as they happen.

        A task starts as soon as the iterator has yielded it and its inputs are done. The end of
        the iterator is the end of a valid plan; an iterator that breaks off raises PlanError,
        and then tasks with side effects are skipped, the others end, and the error is raised at
        the end of the block, as is RunError for a run that took too long or had too many tasks.
        Leaving the block early cancels what is still running.
        """

        async def story(log: EventLog) -> None:
            limit = asyncio.timeout(self.deadline)
            try:
                async with limit:
                    await Execution(self, log, self.toolbox).perform(tasks)
            except TimeoutError:
                if not limit.expired():
                    raise
                message = f"not done within the deadline of {self.deadline:g} s"
                raise RunError("deadline", message) from None

        return told(story)

    def close(self) -> None:
        """Ends the processes that are kept for later calls."""
        self.workers.close()

    def kept(self, key: str) -> Outcome | None:
        """The result of an equal call of any run."""
        found = self._results.get(key)
        return None if found is None else found.outcome

    def keep(self, key: str, outcome: Outcome, seconds: float) -> None:
        """Later calls of this key have the result of this one."""
        self._results[key] = _Kept(outcome, seconds)

    def enter(self, execution: Execution, lane: Lane) -> None:
        """A plan begins."""
        self._runs[lane] = execution
        self.workers.watch.begin()

    def leave(self, lane: Lane) -> None:
        """A plan has ended; what has not started never will."""
        if self._runs.pop(lane, None) is not None:
            self._dispatcher.leave(lane)
            self.workers.watch.end()

    def gate(self, tool: Tool, args: dict[str, Any], context: Context) -> Gate:
        """What a call has to pass. Raises what a tool's own `exclusive` raises."""
        key = tool.policy.exclusive
        if callable(key):
            key = context.copy().run(key, **args)
            if not isinstance(key, str):
                raise TypeError(f"its exclusive gives {key!r}, which is no text")
        return self._dispatcher.gate(tool, key)

    def admit(self, lane: Lane, gate: Gate, task_id: int) -> bool:
        """Whether a ready task starts at once; else `advance` starts it when it may."""
        if self._dispatcher.enter(lane, gate, _loop_time()):
            return True
        self._dispatcher.wait(lane, gate, task_id)
        return False

    def release(self, lane: Lane, gate: Gate) -> None:
        """A call has ended, or was none; `advance` gives its place to another."""
        self._dispatcher.release(lane, gate)

    def advance(self, execution: Execution | None = None, todo: Iterable[Instruction] = ()) -> None:
        """Performs instructions, and starts what may start, in any run, until nothing may.

        Where that makes more instructions, they are done here in turn: a plan whose results are
        all kept from before is no deep recursion.
        """
        if execution is not None:
            for each in todo:
                self._todo.append((execution, each))
        if self._advances:
            return
        self._advances = True
        try:
            while True:
                while self._todo:
                    run, instruction = self._todo.popleft()
                    run.carry_out(instruction)
                if not self._dispatcher.has_waiting:
                    return
                if not (taken := self._dispatcher.take(_loop_time())):
                    break
                for lane, gate, task_id in taken:
                    self._runs[lane].start(task_id, gate)
        finally:
            self._advances = False
        self._set_alarm()

    def _set_alarm(self) -> None:
        """For when a rate allows the next call. One that nobody needs any more does no harm."""
        if self._alarm is not None:
            self._alarm.cancel()
        if (time := self._dispatcher.next_time(_loop_time())) is not None:
            self._alarm = asyncio.get_running_loop().call_at(time, self.advance)


@dataclass(frozen=True, slots=True)
class _Kept:
    outcome: Outcome
    seconds: float


def _end_of_keeping(_: str, kept: _Kept, now: float) -> float:
    return now + kept.seconds


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
