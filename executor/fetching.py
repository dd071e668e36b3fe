"""Task Fetching Unit: which task may start when. A pure state machine: no I/O, no clock.

Each method takes in what happened and returns instructions; performing them (executor.py) makes
the next thing happen. The unit lives as long as a run, over all its plans.

    waiting -> ready -> running -> done | failed
    waiting | ready | running -> cancelled;  waiting -> skipped | failed

The name is from *An LLM Compiler for Parallel Function Calling* (arXiv 2312.04511), section 3.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from heapq import heappop, heappush
from typing import Any

from executor.errors import ArgumentError
from executor.plan import Task
from executor.values import resolve

THE_PLAN = 0  # stands among a task's inputs for "the plan is sealed and valid"; ids count from 1


class State(StrEnum):
    WAITING = "waiting"
    READY = "ready"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a task ended: with `value`, its result, if it is done; else `reason` and `message`."""

    state: State
    value: Any = None
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Start:
    """Call the task's tool now, with these arguments."""

    task: Task
    args: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Settle:
    """The task has ended without having been called."""

    task: Task
    outcome: Outcome


Instruction = Start | Settle


class FetchingUnit:
    """The task graph of one run. `is_eager` tells by a tool's name whether it may start early."""

    def __init__(self, is_eager: Callable[[str], bool], max_running: int) -> None:
        self._is_eager = is_eager
        self._max_running = max_running
        self._tasks: dict[int, Task] = {}
        self._unfinished: dict[int, set[int]] = {}  # task -> its inputs that are not done
        self._dependents: dict[int, list[int]] = {}  # task or THE_PLAN -> who waits for it
        self._ready: list[int] = []  # a heap: of two, the one sealed earlier starts first
        self._running: set[int] = set()
        self.outcomes: dict[int, Outcome] = {}

    def state(self, task_id: int) -> State:
        if task_id in self.outcomes:
            return self.outcomes[task_id].state
        if task_id in self._running:
            return State.RUNNING
        return State.WAITING if self._unfinished[task_id] else State.READY

    def seal(self, task: Task) -> list[Instruction]:
        """A task can't change any more."""
        if task.id in self._tasks or task.id <= THE_PLAN:
            raise ValueError(f"task {task.id} is sealed twice, or its id does not count from 1")
        if unknown := [need for need in task.needs if need not in self._tasks]:
            raise ValueError(
                f"task {task.id} refers to ${unknown[0]}, which is not sealed before it"
            )
        self._tasks[task.id] = task
        inputs = task.needs if self._is_eager(task.tool_name) else (*task.needs, THE_PLAN)
        self._unfinished[task.id] = {need for need in inputs if not self._is_done(need)}
        for need in self._unfinished[task.id]:
            self._dependents.setdefault(need, []).append(task.id)
        if lost := [
            need for need in task.needs if need in self.outcomes and not self._is_done(need)
        ]:
            return list(self._skip(task.id, because_of=lost[0]))
        if not self._unfinished[task.id]:
            heappush(self._ready, task.id)
        return list(self._start_ready())

    def end_plan(self, *, valid: bool) -> list[Instruction]:
        """The plan is written. Tasks with side effects start if it is valid, else never."""
        if valid:
            self._wake(THE_PLAN)
            return list(self._start_ready())
        return list(self._skip_dependents(THE_PLAN))

    def finish(self, task_id: int, outcome: Outcome) -> list[Instruction]:
        """A started task has ended: done or failed."""
        if task_id not in self._running:
            story = self.state(task_id) if task_id in self._tasks else "unknown"
            raise ValueError(f"task {task_id} can't end as {outcome.state}: it is {story}")
        self._running.remove(task_id)
        return [*self._conclude(task_id, outcome), *self._start_ready()]

    def cancel(self) -> list[Instruction]:
        """The run ends now: every task that has not ended is cancelled."""
        self._ready.clear()
        self._running.clear()
        self._dependents.clear()
        outcome = Outcome(
            State.CANCELLED, reason="run_ended", message="the run ended before it did"
        )
        open_tasks = [task for task in self._tasks.values() if task.id not in self.outcomes]
        self.outcomes.update((task.id, outcome) for task in open_tasks)
        return [Settle(task, outcome) for task in open_tasks]

    def validate(self) -> None:
        """Checks what must always hold; for tests."""
        assert len(self._running) <= self._max_running
        assert not self._running & self.outcomes.keys()
        assert all(self.state(task_id) is State.READY for task_id in self._ready)
        assert not (self._ready and len(self._running) < self._max_running)
        for task_id in self._tasks.keys() - self.outcomes.keys():
            for need in self._unfinished[task_id]:
                assert task_id in self._dependents[need], f"nobody will wake {task_id}"
            if self.state(task_id) is State.READY:
                assert task_id in self._ready

    def _is_done(self, task_id: int) -> bool:
        return task_id in self.outcomes and self.outcomes[task_id].state is State.DONE

    def _conclude(self, task_id: int, outcome: Outcome) -> Iterator[Instruction]:
        """Writes down how a task ended; wakes those that waited for it, or skips them."""
        self.outcomes[task_id] = outcome
        if outcome.state is State.DONE:
            self._wake(task_id)
        else:
            yield from self._skip_dependents(task_id)

    def _wake(self, need: int) -> None:
        for task_id in self._dependents.pop(need, []):
            self._unfinished[task_id].discard(need)
            if not self._unfinished[task_id] and task_id not in self.outcomes:
                heappush(self._ready, task_id)

    def _start_ready(self) -> Iterator[Instruction]:
        while self._ready and len(self._running) < self._max_running:
            task = self._tasks[heappop(self._ready)]
            results = {need: self.outcomes[need].value for need in task.needs}
            try:
                args = {name: resolve(value, results) for name, value in task.args.items()}
            except ArgumentError as error:
                outcome = Outcome(State.FAILED, reason="bad_argument", message=str(error))
                yield Settle(task, outcome)
                yield from self._conclude(task.id, outcome)
            else:
                self._running.add(task.id)
                yield Start(task, args)

    def _skip_dependents(self, need: int) -> Iterator[Instruction]:
        for task_id in self._dependents.pop(need, []):
            yield from self._skip(task_id, because_of=need)

    def _skip(self, task_id: int, because_of: int) -> Iterator[Instruction]:
        """Skips a task and all that need it, each with its reason."""
        to_skip = [(task_id, because_of)]
        while to_skip:
            task_id, because_of = to_skip.pop()
            if task_id in self.outcomes:
                continue
            outcome = _skipped(because_of)
            self.outcomes[task_id] = outcome
            yield Settle(self._tasks[task_id], outcome)
            to_skip += [(dependent, task_id) for dependent in self._dependents.pop(task_id, [])]


def _skipped(because_of: int) -> Outcome:
    if because_of == THE_PLAN:
        message = "it has side effects, and the plan was not completed"
        return Outcome(State.SKIPPED, reason="plan_incomplete", message=message)
    message = f"it needs ${because_of}, which gave no result"
    return Outcome(State.SKIPPED, reason="input_failed", message=message)
