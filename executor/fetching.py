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
from enum import StrEnum
from itertools import pairwise
from typing import Any, NamedTuple

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


class Outcome(NamedTuple):
    """How a task ended: with `value`, its result, if it is done; else `reason` and `message`."""

    state: State
    value: Any = None
    reason: str = ""
    message: str = ""


class Ready(NamedTuple):
    """The task may be started, with these arguments: its inputs are there."""

    task: Task
    args: dict[str, Any]


class Settle(NamedTuple):
    """The task has ended without having been called."""

    task: Task
    outcome: Outcome


Instruction = Ready | Settle


class _Node:
    """A task, the states it has been in, how many inputs it waits for, and who waits for it."""

    __slots__ = ("dependents", "missing", "state", "story", "task")

    def __init__(self, task: Task) -> None:
        self.task = task
        self.state = State.WAITING
        self.story = ""  # before that; text, as each of many objects is looked at as garbage
        self.missing = 0
        self.dependents: Sequence[int] = ()

    def go(self, state: State) -> None:
        if state not in ALLOWED[self.state]:
            told = f"it was {self.story}{self.state}"
            raise TransitionError(f"task {self.task.id} can't become {state}: {told}")
        self.story = f"{self.story}{self.state}, "
        self.state = state

    def add_dependent(self, task_id: int) -> None:
        if isinstance(self.dependents, list):
            self.dependents.append(task_id)
        else:  # most have none
            self.dependents = [task_id]

    def take_dependents(self) -> Sequence[int]:
        dependents, self.dependents = self.dependents, ()
        return dependents


class FetchingUnit:
    """The task graph of one run. `policy_of` tells by a tool's name how its calls are run."""

    def __init__(self, policy_of: Callable[[str], Policy]) -> None:
        self._policy_of = policy_of
        self._nodes: dict[int, _Node] = {}
        self._wait_for_plan: list[int] = []
        self._to_conclude: list[tuple[_Node, Outcome]] = []
        self._heights: dict[int, int] = {}
        self._heights_of = 0  # how many tasks were sealed when they were told
        self._open = 0
        self.outcomes: dict[int, Outcome] = {}

    def state(self, task_id: int) -> State:
        return self._nodes[task_id].state

    @property
    def sealed(self) -> int:
        """How many tasks are sealed."""
        return len(self._nodes)

    @property
    def open(self) -> int:
        """How many tasks have not ended."""
        return self._open

    def seal(self, task: Task) -> list[Instruction]:
        """A task can't change any more."""
        if task.id in self._nodes or task.id <= THE_PLAN:
            raise ValueError(f"task {task.id} is sealed twice, or its id does not count from 1")
        needs, policy = task.needs, self._policy_of(task.tool_name)
        if unknown := [need for need in needs if need not in self._nodes]:
            raise ValueError(
                f"task {task.id} refers to ${unknown[0]}, which is not sealed before it"
            )
        node = self._nodes[task.id] = _Node(task)
        self._open += 1
        lost = 0
        for need in needs:
            outcome = self.outcomes.get(need)
            if outcome is None:
                node.missing += 1
                self._nodes[need].add_dependent(task.id)
            elif outcome.state is not State.DONE and not lost:
                lost = need
        if lost and policy.on_input_error == "skip":
            return self._told(self._skip, node, lost)
        if not policy.eager:
            node.missing += 1
            self._wait_for_plan.append(task.id)
        return [] if node.missing else self._told(self._make_ready, node)

    def end_plan(self, *, valid: bool) -> list[Instruction]:
        """The plan is written. Tasks with side effects start if it is valid, else never."""
        return self._told(self._release_for_plan, valid)

    def _release_for_plan(self, valid: bool, instructions: list[Instruction]) -> None:
        waiting, self._wait_for_plan = self._wait_for_plan, []
        for id in waiting:
            if valid:
                self._wake(self._nodes[id], instructions)
            else:
                self._skip(self._nodes[id], THE_PLAN, instructions)

    def start(self, task_id: int) -> None:
        """A ready task's turn has come."""
        self._node(task_id, State.RUNNING).go(State.RUNNING)

    def finish(self, task_id: int, outcome: Outcome) -> list[Instruction]:
        """A started task has ended: done or failed."""
        return self._told(self._conclude, self._node(task_id, outcome.state), outcome)

    def cancel(self, reason: str = "run_ended") -> list[Instruction]:
        """The run ends now: every task that has not ended is cancelled."""
        outcome = Outcome(State.CANCELLED, reason=reason, message="the run ended before it did")
        settled: list[Instruction] = []
        for node in self._nodes.values():
            if node.task.id not in self.outcomes:
                self._settle(node, outcome)
                settled.append(Settle(node.task, outcome))
        self._wait_for_plan.clear()
        return settled

    def height(self, task_id: int) -> int:
        """How many tasks the longest known path has that begins with this one."""
        if self._heights_of != len(self._nodes):
            heights: dict[int, int] = {}
            for id, node in reversed(self._nodes.items()):  # who uses a result comes behind it
                if id not in self.outcomes:
                    heights[id] = 1 + max(
                        (heights.get(each, 0) for each in node.dependents), default=0
                    )
            self._heights, self._heights_of = heights, len(self._nodes)
        return self._heights[task_id]

    def validate(self) -> None:
        """Checks what must always hold; for tests."""
        for id, node in self._nodes.items():
            assert (id in self.outcomes) == (not ALLOWED[node.state]), (id, node.story)
            if id in self.outcomes:
                assert self.outcomes[id].state is node.state, (id, node.story)
            for before, after in pairwise([*node.story.split(", ")[:-1], node.state]):
                assert after in ALLOWED[State(before)], (id, node.story)
            if node.state is State.WAITING:
                open_needs = [need for need in node.task.needs if need not in self.outcomes]
                for_plan = id in self._wait_for_plan
                assert node.missing == len(open_needs) + for_plan > 0, f"nobody will wake {id}"
                for need in open_needs:
                    assert id in self._nodes[need].dependents, f"nobody will wake {id}"
        assert self._open == len(self._nodes) - len(self.outcomes)

    def _node(self, task_id: int, state: State) -> _Node:
        if task_id not in self._nodes:
            raise TransitionError(f"task {task_id} can't become {state}: it was never sealed")
        return self._nodes[task_id]

    def _told(self, step: Callable[..., None], *args: Any) -> list[Instruction]:
        instructions: list[Instruction] = []
        step(*args, instructions)
        while self._to_conclude:  # one after the other: a chain of them is as long as a plan
            self._conclude(*self._to_conclude.pop(0), instructions)
        return instructions

    def _make_ready(self, node: _Node, instructions: list[Instruction]) -> None:
        """Its inputs are there; they are put in."""
        node.go(State.READY)
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
        node.go(outcome.state)
        self.outcomes[node.task.id] = outcome
        self._open -= 1

    def _conclude(self, node: _Node, outcome: Outcome, instructions: list[Instruction]) -> None:
        """Writes down how a task ended; wakes those that waited for it, or skips them."""
        self._settle(node, outcome)
        for task_id in node.take_dependents():
            if outcome.state is State.DONE or self._takes_errors(task_id):
                self._wake(self._nodes[task_id], instructions)
            else:
                self._skip(self._nodes[task_id], node.task.id, instructions)

    def _takes_errors(self, task_id: int) -> bool:
        return self._policy_of(self._nodes[task_id].task.tool_name).on_input_error == "pass"

    def _wake(self, node: _Node, instructions: list[Instruction]) -> None:
        """One thing less to wait for."""
        node.missing -= 1
        if not node.missing and node.state is State.WAITING:
            self._make_ready(node, instructions)

    def _skip(self, node: _Node, because_of: int, instructions: list[Instruction]) -> None:
        """Skips a task and all that need it, each with its reason."""
        to_skip = [(node, because_of)]
        while to_skip:
            node, because_of = to_skip.pop()
            if node.state is not State.WAITING:
                continue
            outcome = _skipped(because_of)
            self._settle(node, outcome)
            instructions.append(Settle(node.task, outcome))
            for task_id in node.take_dependents():
                if self._takes_errors(task_id):
                    self._wake(self._nodes[task_id], instructions)
                else:
                    to_skip.append((self._nodes[task_id], node.task.id))


def _input(outcome: Outcome) -> Any:
    return outcome.value if outcome.state is State.DONE else ErrorText(f"error: {outcome.message}")


def _skipped(because_of: int) -> Outcome:
    if because_of == THE_PLAN:
        message = "it has side effects, and the plan was not completed"
        return Outcome(State.SKIPPED, reason="plan_incomplete", message=message)
    message = f"it needs ${because_of}, which gave no result"
    return Outcome(State.SKIPPED, reason="input_failed", message=message)
