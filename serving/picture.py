"""A run as far as its events tell, as data that a view can draw."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field

from executor.events import (
    AnswerText,
    Event,
    LineRefused,
    PlanFinished,
    PlanStarted,
    PlanText,
    Replan,
    RunCancelled,
    RunFailed,
    RunFinished,
    TaskCancelled,
    TaskFailed,
    TaskFinished,
    TaskSealed,
    TaskSkipped,
    TaskStarted,
)


@dataclass(slots=True)
class TaskRow:
    """What the view knows of one task; times in seconds since the run began."""

    line: str
    state: str = "sealed"
    started: float | None = None
    ended: float | None = None
    note: str = ""


@dataclass(slots=True)
class Span:
    began: float
    ended: float | None = None


@dataclass(slots=True)
class RunPicture:
    """A run as far as its events tell, as data."""

    json_answer: bool = False  # the answer is for programs to read, not for the picture
    now: float = 0.0
    plans: list[Span] = field(default_factory=list)
    joins: list[Span] = field(default_factory=list)
    tasks: dict[int, TaskRow] = field(default_factory=dict)
    writing: str = ""  # what of the plan is not sealed yet
    notes: list[str] = field(default_factory=list)
    answer: str = ""
    ending: RunFinished | RunFailed | RunCancelled | None = None

    def take(self, event: Event) -> None:
        self.now = event.at
        match event:
            case PlanStarted():
                self.plans.append(Span(event.at))
            case PlanText(text=text):
                self.writing += clean(text)
            case PlanFinished(ended_by=ended_by, message=message):
                self.plans[-1].ended = event.at
                self.writing = ""
                if ended_by != "join":
                    self.notes.append(f"the plan was broken off ({ended_by}): {clean(message)}")
                self._begin_join()
            case LineRefused(line=line, message=message):
                self.writing = ""
                self.notes.append(f"refused {clean(line)}: {clean(message)}")
            case TaskSealed(task_id=task_id, line=line):
                self.tasks[task_id] = TaskRow(line)
                self.writing = self.writing.lstrip("\n").partition("\n")[2]
            case TaskStarted(task_id=task_id):
                self.tasks[task_id].state = "running"
                self.tasks[task_id].started = event.at
            case TaskFinished(task_id=task_id, result=result):
                self._end_task(task_id, "done", result)
            case TaskFailed(task_id=task_id, message=message):
                self._end_task(task_id, "failed", message)
            case TaskSkipped(task_id=task_id, message=message):
                self._end_task(task_id, "skipped", message)
            case TaskCancelled(task_id=task_id, message=message):
                self._end_task(task_id, "cancelled", message)
            case AnswerText(text=text):
                self.answer += clean(text)
            case Replan(reason=reason):
                self.joins[-1].ended = event.at
                self.notes.append(f"planning again: {clean(reason)}")
            case RunFinished() | RunFailed() | RunCancelled():
                self.ending = event
                if self.joins:
                    self.joins[-1].ended = event.at

    def _end_task(self, task_id: int, state: str, note: str) -> None:
        task = self.tasks[task_id]
        task.state, task.note, task.ended = state, note, self.now
        self._begin_join()

    def _begin_join(self) -> None:
        """A join begins when its plan is written and its tasks have ended."""
        settled = all(task.ended is not None for task in self.tasks.values())
        if settled and self.plans[-1].ended is not None:
            self.joins[len(self.plans) - 1 :] = [Span(self.now)]


def clean(text: str) -> str:
    """Without what a terminal would obey: a tool's output may come from anywhere."""
    return "".join(c for c in text if c == "\n" or unicodedata.category(c)[0] != "C")
