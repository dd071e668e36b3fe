"""Task Fetching Unit: what state each task of a run is in. A pure state machine: no I/O, no clock.

Each method takes in what happened and returns instructions; performing them (execution.py) makes
the next thing happen. The unit lives as long as a run, over all its plans. Which of the ready
tasks are started when not all may is for dispatch.py.

    waiting -> ready -> running -> done | failed
    waiting -> skipped;  ready -> failed;  waiting | ready | running -> cancelled

The name is from *An LLM Compiler for Parallel Function Calling* (arXiv 2312.04511), section 3.2;
the table of transitions, and that a refused one tells its story, from the worker of distributed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any

from executor.errors import ArgumentError
from executor.plan import Task
from executor.policy import Policy
from executor.values import ErrorText, resolve

THE_PLAN = 0  # stands among a task's inputs for "the plan is sealed and valid"; ids count from 1


class State(StrEnum):
    WAITING = "waiting"
    READY = "ready"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


ALLOWED: Mapping[State, tuple[State, ...]] = {
    State.WAITING: (State.READY, State.SKIPPED, State.CANCELLED),
    State.READY: (State.RUNNING, State.FAILED, State.CANCELLED),
    State.RUNNING: (State.DONE, State.FAILED, State.CANCELLED),
    State.DONE: (),
    State.FAILED: (),
    State.SKIPPED: (),
    State.CANCELLED: (),
}


class TransitionError(Exception):
    """A bug of ours: a task was to go where it can't. Tells the states that it has been in."""


@dataclass(slots=True)
class Outcome:
    """How a task ended: with `value`, its result, if it is done; else `reason` and `message`."""

    state: State
    value: Any = None
    reason: str = ""
    message: str = ""


@dataclass(slots=True)
class Ready:
    """The task may be started, with these arguments: its inputs are there."""

    task: Task
    args: dict[str, Any]


@dataclass(slots=True)
class Settle:
    """The task has ended without having been called."""

    task: Task
    outcome: Outcome


Instruction = Ready | Settle


class _Node:
    """A task that has not ended: its state and those before, and who waits for whom."""

    __slots__ = ("dependents", "missing", "state", "story", "task")

    def __init__(self, task: Task, missing: int) -> None:
        self.task = task
        self.state = State.WAITING
        self.story = ""  # the states before that
        self.missing = missing  # inputs
        self.dependents: Sequence[int] = ()  # most have none

    def add_dependent(self, task_id: int) -> None:
        if isinstance(self.dependents, list):
            self.dependents.append(task_id)
        else:
            self.dependents = [task_id]


class FetchingUnit:
    """The task graph of one run. `policy_of` tells by a tool's name how its calls are run.

    Of a task that has ended only its story and its outcome are kept: each object more of many
    tasks is looked at as garbage again and again.
    """

    def __init__(self, policy_of: Callable[[str], Policy]) -> None:
        self._policy_of = policy_of
        self._open: dict[int, _Node] = {}
        self._stories: dict[int, str] = {}  # the states that each ended task was in before
        self._wait_for_plan: list[int] = []
        self._to_conclude: list[tuple[_Node, Outcome]] = []
        self._heights: dict[int, int] = {}
        self._heights_of = 0  # how many tasks were sealed when they were told
        self.outcomes: dict[int, Outcome] = {}

    def state(self, task_id: int) -> State:
        ended = self.outcomes.get(task_id)
        return self._open[task_id].state if ended is None else ended.state

    @property
    def sealed(self) -> int:
        """How many tasks are sealed."""
        return len(self._open) + len(self.outcomes)

    @property
    def open(self) -> int:
        """How many tasks have not ended."""
        return len(self._open)

    def seal(self, task: Task) -> list[Instruction]:
        """A task can't change any more."""
        if self._knows(task.id) or task.id <= THE_PLAN:
            raise ValueError(f"task {task.id} is sealed twice, or its id does not count from 1")
        inputs, lost = [], 0
        for need in task.needs:
            if (outcome := self.outcomes.get(need)) is not None:
                if outcome.state is not State.DONE and not lost:
                    lost = need
            elif (before := self._open.get(need)) is not None:
                inputs.append(before)
            else:
                message = f"task {task.id} refers to ${need}, which is not sealed before it"
                raise ValueError(message)
        node = self._open[task.id] = _Node(task, len(inputs))
        for before in inputs:
            before.add_dependent(task.id)
        instructions: list[Instruction] = []
        policy = self._policy_of(task.tool_name)
        if lost and policy.on_input_error == "skip":
            self._skip(node, lost, instructions)
            return self._concluded(instructions)
        if not policy.eager:
            node.missing += 1
            self._wait_for_plan.append(task.id)
        if not node.missing:
            self._make_ready(node, instructions)
        return self._concluded(instructions)

    def end_plan(self, *, valid: bool) -> list[Instruction]:
        """The plan is written. Tasks with side effects start if it is valid, else never."""
        instructions: list[Instruction] = []
        waiting, self._wait_for_plan = self._wait_for_plan, []
        for node in [self._open[id] for id in waiting if id in self._open]:
            if valid:
                self._wake(node, instructions)
            else:
                self._skip(node, THE_PLAN, instructions)
        return self._concluded(instructions)

    def start(self, task_id: int) -> None:
        """A ready task's turn has come."""
        self._go(self._node(task_id, State.RUNNING), State.RUNNING)

    def finish(self, task_id: int, outcome: Outcome) -> list[Instruction]:
        """A started task has ended: done or failed."""
        instructions: list[Instruction] = []
        self._conclude(self._node(task_id, outcome.state), outcome, instructions)
        return self._concluded(instructions)

    def cancel(self, reason: str = "run_ended") -> list[Instruction]:
        """The run ends now: every task that has not ended is cancelled."""
        outcome = Outcome(State.CANCELLED, reason=reason, message="the run ended before it did")
        self._wait_for_plan.clear()
        nodes = list(self._open.values())
        for node in nodes:
            self._settle(node, outcome)
        return [Settle(node.task, outcome) for node in nodes]

    def height(self, task_id: int) -> int:
        """How many tasks the longest known path has that begins with this one."""
        if self._heights_of != self.sealed:
            heights: dict[int, int] = {}
            for id, node in reversed(self._open.items()):  # who uses a result comes behind it
                heights[id] = 1 + max((heights.get(each, 0) for each in node.dependents), default=0)
            self._heights, self._heights_of = heights, self.sealed
        return self._heights[task_id]

    def validate(self) -> None:
        """Checks what must always hold; for tests."""
        assert self._open.keys().isdisjoint(self.outcomes)
        assert self.outcomes.keys() == self._stories.keys()
        for id in (*self._open, *self.outcomes):
            story = self._story(id)
            states = [State(each) for each in story.split(", ")]
            assert (id in self.outcomes) == (not ALLOWED[states[-1]]), (id, story)
            for before, after in pairwise(states):
                assert after in ALLOWED[before], (id, story)
        for id, node in self._open.items():
            if node.state is State.WAITING:
                open_needs = [need for need in node.task.needs if need in self._open]
                for_plan = id in self._wait_for_plan
                assert node.missing == len(open_needs) + for_plan > 0, f"nobody will wake {id}"
                for need in open_needs:
                    assert id in self._open[need].dependents, f"nobody will wake {id}"

    def _knows(self, task_id: int) -> bool:
        return task_id in self._open or task_id in self.outcomes

    def _node(self, task_id: int, state: State) -> _Node:
        """Of a task that is to go there. Raises TransitionError if it is none, or has ended."""
        node = self._open.get(task_id)
        if node is None:
            raise self._refused(task_id, state)
        return node

    def _go(self, node: _Node, state: State) -> None:
        if state not in ALLOWED[node.state]:
            raise self._refused(node.task.id, state)
        node.story = node.story + node.state + ", "  # an f-string formats the state first
        node.state = state

    def _refused(self, task_id: int, state: State) -> TransitionError:
        told = f"it was {self._story(task_id)}" if self._knows(task_id) else "it was never sealed"
        return TransitionError(f"task {task_id} can't become {state}: {told}")

    def _story(self, task_id: int) -> str:
        """The states that it has been in, and is in now."""
        node = self._open.get(task_id)
        before = self._stories[task_id] if node is None else node.story
        return before + self.state(task_id)

    def _concluded(self, instructions: list[Instruction]) -> list[Instruction]:
        """Also those tasks that have ended because their arguments can't be made."""
        while self._to_conclude:  # one after the other: a chain of them is as long as a plan
            self._conclude(*self._to_conclude.pop(0), instructions)
        return instructions

    def _make_ready(self, node: _Node, instructions: list[Instruction]) -> None:
        """Its inputs are there; they are put in."""
        self._go(node, State.READY)
        task = node.task
        results = {need: _input(self.outcomes[need]) for need in task.needs}
        try:
            args = {name: resolve(value, results) for name, value in task.args.items()}
        except ArgumentError as error:
            outcome = Outcome(State.FAILED, reason="bad_argument", message=str(error))
            instructions.append(Settle(task, outcome))
            self._to_conclude.append((node, outcome))
        else:
            instructions.append(Ready(task, args))

    def _settle(self, node: _Node, outcome: Outcome) -> None:
        """Writes down how a task ended."""
        self._go(node, outcome.state)
        id = node.task.id
        self._stories[id], self.outcomes[id] = node.story, outcome
        del self._open[id]

    def _conclude(self, node: _Node, outcome: Outcome, instructions: list[Instruction]) -> None:
        """A task has ended: wakes those that waited for it, or skips them."""
        self._settle(node, outcome)
        for dependent in self._dependents(node):
            if outcome.state is State.DONE or self._takes_errors(dependent):
                self._wake(dependent, instructions)
            else:
                self._skip(dependent, node.task.id, instructions)

    def _dependents(self, node: _Node) -> list[_Node]:
        """Those that have not ended: another of their inputs may have failed."""
        return [self._open[id] for id in node.dependents if id in self._open]

    def _takes_errors(self, node: _Node) -> bool:
        return self._policy_of(node.task.tool_name).on_input_error == "pass"

    def _wake(self, node: _Node, instructions: list[Instruction]) -> None:
        """One thing less to wait for."""
        node.missing -= 1
        if not node.missing:
            self._make_ready(node, instructions)

    def _skip(self, node: _Node, because_of: int, instructions: list[Instruction]) -> None:
        """Skips a task and all that need it, each with its reason."""
        to_skip = [(node, because_of)]
        while to_skip:
            node, because_of = to_skip.pop()
            if node.task.id not in self._open:
                continue
            outcome = _skipped(because_of)
            self._settle(node, outcome)
            instructions.append(Settle(node.task, outcome))
            for dependent in self._dependents(node):
                if self._takes_errors(dependent):
                    self._wake(dependent, instructions)
                else:
                    to_skip.append((dependent, node.task.id))


def _input(outcome: Outcome) -> Any:
    return outcome.value if outcome.state is State.DONE else ErrorText(f"error: {outcome.message}")


def _skipped(because_of: int) -> Outcome:
    if because_of == THE_PLAN:
        message = "it has side effects, and the plan was not completed"
        return Outcome(State.SKIPPED, reason="plan_incomplete", message=message)
    message = f"it needs ${because_of}, which gave no result"
    return Outcome(State.SKIPPED, reason="input_failed", message=message)
