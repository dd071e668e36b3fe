"""What a run tells the outside: events, numbered and timed, and the log that carries them.

One list of events for Python, the wire and any history. Exactly one of RunFinished, RunFailed
and RunCancelled ends a run; a task's terminal event comes once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeVar

from executor.stats import Stats, TaskTimes, Times


@dataclass(slots=True, kw_only=True)
class Event:
    """`seq` counts from 0, `at` is in seconds since the run began; the log sets both.

    Nobody else changes an event. That is not enforced: a frozen one takes 2 µs to make, this 0.5.
    """

    type: ClassVar[str]
    seq: int = -1
    at: float = 0.0


@dataclass(slots=True, kw_only=True)
class RunStarted(Event):
    type: ClassVar[str] = "run_started"
    run_id: str
    question: str
    model: str
    tools: list[str]


@dataclass(slots=True, kw_only=True)
class PlanStarted(Event):
    type: ClassVar[str] = "plan_started"
    plan: int  # counts from 1


@dataclass(slots=True, kw_only=True)
class PlanText(Event):
    type: ClassVar[str] = "plan_text"
    plan: int
    text: str  # a delta


@dataclass(slots=True, kw_only=True)
class LineRefused(Event):
    """What stands in `plan_text` behind the last sealed task is void; the plan goes on from there,
    or ends."""

    type: ClassVar[str] = "line_refused"
    plan: int
    task_id: int  # that the line's task would have had
    line: str
    message: str


@dataclass(slots=True, kw_only=True)
class TaskSealed(Event):
    type: ClassVar[str] = "task_sealed"
    task_id: int
    tool: str
    args: dict[str, Any]  # references as the text "$3"
    needs: list[int]
    line: str


@dataclass(slots=True, kw_only=True)
class TaskStarted(Event):
    type: ClassVar[str] = "task_started"
    task_id: int
    args: dict[str, Any]  # resolved, shortened for show
    where: str  # loop, thread, process; shared with an equal call, or from the cache
    ready: float  # when its inputs were there, in seconds since the run began


@dataclass(slots=True, kw_only=True)
class TaskFinished(Event):
    type: ClassVar[str] = "task_finished"
    task_id: int
    result: str  # shortened for show
    seconds: float
    tries: int


@dataclass(slots=True, kw_only=True)
class TaskFailed(Event):
    type: ClassVar[str] = "task_failed"
    task_id: int
    reason: str  # error, timeout, crashed, bad_argument
    message: str
    tries: int


@dataclass(slots=True, kw_only=True)
class TaskSkipped(Event):
    type: ClassVar[str] = "task_skipped"
    task_id: int
    reason: str  # input_failed, plan_incomplete
    message: str


@dataclass(slots=True, kw_only=True)
class TaskCancelled(Event):
    type: ClassVar[str] = "task_cancelled"
    task_id: int
    reason: str  # run_ended
    message: str


@dataclass(slots=True, kw_only=True)
class PlanFinished(Event):
    type: ClassVar[str] = "plan_finished"
    plan: int
    tasks: int
    ended_by: str  # join, length, limit, error
    message: str  # what broke it off; empty for a join


@dataclass(slots=True, kw_only=True)
class AnswerText(Event):
    type: ClassVar[str] = "answer_text"
    text: str  # a delta


@dataclass(slots=True, kw_only=True)
class Replan(Event):
    type: ClassVar[str] = "replan"
    plan: int  # the plan that comes next
    reason: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What the engine read and wrote in a run, in tokens, as far as it has told."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )


@dataclass(slots=True, kw_only=True)
class RunFinished(Event):
    type: ClassVar[str] = "run_finished"
    answer: str
    stats: Stats
    usage: Usage = Usage()


@dataclass(slots=True, kw_only=True)
class RunFailed(Event):
    type: ClassVar[str] = "run_failed"
    reason: str
    message: str
    stats: Stats
    usage: Usage = Usage()


@dataclass(slots=True, kw_only=True)
class RunCancelled(Event):
    type: ClassVar[str] = "run_cancelled"
    reason: str
    message: str
    stats: Stats
    usage: Usage = Usage()


E = TypeVar("E", bound=Event)


EVENTS: dict[str, type[Event]] = {
    each.type: each
    for each in (
        RunStarted,
        PlanStarted,
        PlanText,
        LineRefused,
        TaskSealed,
        TaskStarted,
        TaskFinished,
        TaskFailed,
        TaskSkipped,
        TaskCancelled,
        PlanFinished,
        AnswerText,
        Replan,
        RunFinished,
        RunFailed,
        RunCancelled,
    )
}
_NAMES = {type: [each.name for each in fields(kind)] for type, kind in EVENTS.items()}
_PARTS = {kind: [each.name for each in fields(kind)] for kind in (Stats, Usage)}
LAST = (RunFinished, RunFailed, RunCancelled)  # one of them ends a run


def to_wire(event: Event) -> dict[str, Any]:
    """The event as a JSON object, `type` first; what it holds is the event's own."""
    members = {name: getattr(event, name) for name in _NAMES[event.type]}
    if isinstance(event, LAST):
        for part in ("stats", "usage"):
            of = members[part]
            members[part] = {name: getattr(of, name) for name in _PARTS[type(of)]}
    return {"type": event.type, **members}


def from_wire(data: Mapping[str, Any]) -> Event:
    """The event that `to_wire` made this of. Members that it doesn't know it leaves out: a newer
    program may write more. Raises ValueError for what is no event."""
    try:
        kind = EVENTS[data["type"]]
        members = {name: data[name] for name in _NAMES[kind.type]}
        if issubclass(kind, LAST):
            for name, part in (("stats", Stats), ("usage", Usage)):
                members[name] = part(**{each: members[name][each] for each in _PARTS[part]})
        return kind(**members)
    except (KeyError, TypeError) as error:
        raise ValueError(f"no event: {error!r}") from None


class EventLog:
    """The events of one run, in order, for one reader. `emit` never waits.

    It is no asyncio.Queue, which takes twice as long for each of the three events of a task.
    """

    def __init__(self) -> None:
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()
        self._next_seq = 0
        self._times = Times()
        self.stop: Callable[[], object] = lambda: None
        """Ends the run that writes this log; its last events can still be read."""
        self._events: deque[Event] = deque()  # not read yet
        self._is_closed = False
        self._reader: asyncio.Future[None] | None = None

    def now(self) -> float:
        """Seconds since the run began."""
        return self._clock() - self._began

    def emit(self, event: E) -> E:
        """Numbers and times an event and hands it to the reader. An event is emitted once."""
        event.seq, event.at = self._next_seq, self._clock() - self._began
        self._next_seq += 1
        self._times.note(event)
        self._events.append(event)
        if self._reader is not None:
            self._wake()
        return event

    def tasks(self) -> dict[int, TaskTimes]:
        """When each task was sealed, ready, started and finished, where, and in how many tries."""
        return self._times.tasks()

    def stats(self) -> Stats:
        """The run's statistics, from the times of the events so far and of now."""
        return self._times.stats(self.now())

    def close(self) -> None:
        """No more events: the reader's loop ends behind the last one."""
        self._is_closed = True
        self._wake()

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():
            reader.set_result(None)

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if self._is_closed:
                raise StopAsyncIteration
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        return self._events.popleft()


@asynccontextmanager
async def told(story: Callable[[EventLog], Awaitable[None]]) -> AsyncIterator[EventLog]:
    """Runs `story` in a task of its own and yields the log that it writes.

    Leaving the block, at the end or in the middle, ends the story and waits until it has ended.
    An exception of the story is raised there.
    """
    log = EventLog()

    async def tell() -> None:
        try:
            await story(log)
        except asyncio.CancelledError:
            pass  # a task that ends by it keeps it, and by its traceback all that the story had
        finally:
            log.close()

    task = asyncio.create_task(tell())
    log.stop = task.cancel
    try:
        await asyncio.sleep(0)  # a story that has begun can say how it ended
        yield log
    finally:
        log.stop()
        await asyncio.wait([task])
        log.stop = lambda: None  # there is nothing to stop, and it held the task
        try:
            if not task.cancelled():
                task.result()  # raises what the story raised
        finally:
            del task  # it holds the error, which holds this frame
