"""Overlap arithmetic: what a run's times say of how well tools ran beside the planner.

    start(k) = max(sealed(k), finish of each input of k);   finish(k) = start(k) + duration(k)
    ideal    = max(end of plan, max finish) + duration of the join

summed over the plans of a run. A join begins when its plan is written and its tasks have ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from executor.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """All in seconds; `efficiency` is ideal / actual.

    `tools_seconds` is summed over the calls, and so is `overlap_seconds`, the part of it during
    which the plan was being written. `critical_path` has the ids of the tasks that each plan waited
    for: the last to finish, before it the input that came last, and so on to one that waited for
    its line.
    """

    seconds: float
    time_to_first_task: float | None
    plan_seconds: float
    tools_seconds: float
    overlap_seconds: float
    ideal_seconds: float
    efficiency: float
    critical_path: list[int]


@dataclass(slots=True)
class TaskTimes:
    """In seconds since the run began; what has not happened is None."""

    sealed: float
    needs: tuple[int, ...]
    ready: float | None = None
    started: float | None = None
    finished: float | None = None
    where: str = ""  # as TaskStarted has it
    tries: int = 0


@dataclass(slots=True)
class PlanTimes:
    began: float
    ended: float | None = None  # the planner's last token
    closed: float | None = None  # the join's end
    tasks: dict[int, TaskTimes] = field(default_factory=dict)


def _plan_finished(plan: PlanTimes, event: Any) -> None:
    plan.ended = event.at


def _plan_is_over(plan: PlanTimes, event: Any) -> None:
    plan.closed = event.at


def _sealed(plan: PlanTimes, event: Any) -> None:
    plan.tasks[event.task_id] = TaskTimes(event.at, tuple(event.needs))


def _started(plan: PlanTimes, event: Any) -> None:
    task = plan.tasks[event.task_id]
    task.started, task.ready, task.where = event.at, event.ready, event.where


def _ended(plan: PlanTimes, event: Any) -> None:
    plan.tasks[event.task_id].finished = event.at


def _tried(plan: PlanTimes, event: Any) -> None:
    _ended(plan, event)
    plan.tasks[event.task_id].tries = event.tries


# What an event changes in its plan's times.
_CHANGES: Mapping[str, Callable[[PlanTimes, Any], None]] = {
    "plan_finished": _plan_finished,
    "task_sealed": _sealed,
    "task_started": _started,
    "task_finished": _tried,
    "task_failed": _tried,
    "task_skipped": _ended,
    "task_cancelled": _ended,
    "replan": _plan_is_over,
    "run_finished": _plan_is_over,
    "run_failed": _plan_is_over,
    "run_cancelled": _plan_is_over,
}


class Times:
    """When things happened in a run; `note` each event, then ask for `stats`."""

    def __init__(self) -> None:
        self._plans: list[PlanTimes] = []

    def note(self, event: Event) -> None:
        if event.type == "plan_started":
            self._plans.append(PlanTimes(event.at))
        elif (change := _CHANGES.get(event.type)) is not None:
            if not self._plans:  # an executor's own run has one, of which nobody tells
                self._plans.append(PlanTimes(0.0))
            change(self._plans[-1], event)

    def stats(self, now: float) -> Stats:
        """The statistics as of `now`, in seconds since the run began."""
        calls = [(plan, *call) for plan in self._plans for call in _calls(plan, now)]
        ideal = sum(map(_ideal_seconds, self._plans, self._starts(), [now] * len(self._plans)))
        return Stats(
            seconds=now,
            time_to_first_task=min((started for _, started, _ in calls), default=None),
            plan_seconds=sum(_or(plan.ended, now) - plan.began for plan in self._plans),
            tools_seconds=sum(finished - started for _, started, finished in calls),
            overlap_seconds=sum(
                max(0.0, min(finished, _or(plan.ended, now)) - started)
                for plan, started, finished in calls
            ),
            ideal_seconds=ideal,
            efficiency=ideal / now if now > 0 and self._plans else 1.0,
            critical_path=[id for plan in self._plans for id in _critical_path(plan)],
        )

    def tasks(self) -> dict[int, TaskTimes]:
        """What is known of each task, by its id."""
        return {id: task for plan in self._plans for id, task in plan.tasks.items()}

    def _starts(self) -> list[float]:
        """Each plan's part of the run begins where the one before it was closed."""
        return [0.0, *(_or(plan.closed, 0.0) for plan in self._plans[:-1])]


def _or(time: float | None, otherwise: float) -> float:
    return otherwise if time is None else time


def _calls(plan: PlanTimes, now: float) -> list[tuple[float, float]]:
    """Start and finish of each call that was made."""
    started = [task for task in plan.tasks.values() if task.started is not None]
    return [(_or(task.started, now), _or(task.finished, now)) for task in started]


def _ideal_seconds(plan: PlanTimes, start: float, now: float) -> float:
    ended = _or(plan.ended, now)
    finish: dict[int, float] = {}
    for task_id, task in plan.tasks.items():  # inputs come before those that use them
        if task.started is not None:
            ready = max([task.sealed, *(finish[need] for need in task.needs if need in finish)])
            finish[task_id] = ready + _or(task.finished, now) - task.started
    settled = max([ended, *(_or(task.finished, now) for task in plan.tasks.values())])
    join_seconds = max(0.0, _or(plan.closed, now) - settled)
    return max([ended, *finish.values()]) + join_seconds - start


def _critical_path(plan: PlanTimes) -> list[int]:
    finished = {id: task.finished for id, task in plan.tasks.items() if task.finished is not None}
    path: list[int] = []
    last = max(finished, key=lambda id: finished[id], default=None)
    while last is not None:
        path.append(last)
        task = plan.tasks[last]
        inputs = [need for need in task.needs if finished.get(need, 0.0) > task.sealed]
        last = max(inputs, key=lambda id: finished[id], default=None)
    return path[::-1]
