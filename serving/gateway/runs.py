"""The runs of a gateway: begun, followed, cancelled. The history is told all of them."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from dataclasses import dataclass, field
from datetime import UTC, datetime

from executor.events import (
    LAST,
    Event,
    EventLog,
    PlanStarted,
    RunCancelled,
    RunFailed,
    RunFinished,
)
from executor.stats import Times
from serving.gateway.bodies import OnDisconnect, Run, RunError
from serving.gateway.database import KeptEvent
from serving.gateway.history import History
from serving.gateway.problems import Problem

log = logging.getLogger("headstart.runs")

KEEP_SECONDS = 5.0  # for the history to keep the last words of runs
FAULT = "a fault of the gateway ended it"
STARTS_PER_TURN = 4  # of the event loop, at most
RETRY_SECONDS = 5  # after which a run that was refused may be asked for again

Answering = AbstractAsyncContextManager[EventLog]
Watching = AbstractContextManager[Callable[[Event], None]]  # takes each event


class LostError(Exception):
    """A run of which some can't be kept, by a fault of ours: nobody can be told how it ended."""


@dataclass(eq=False)
class LiveRun:
    """A run that this process carries. Its events may be shown as far as they are `kept`."""

    run: Run
    owner: str
    shown: Run | None = None  # as the history has it; a crash takes nothing away that was shown
    events: list[KeptEvent] = field(default_factory=list)
    kept: int = 0
    is_lost: bool = False  # some of it can't be kept, so that nothing more may be shown
    is_cancelled: bool = False
    stop: Callable[[], object] = lambda: None
    _over: asyncio.Event = field(default_factory=asyncio.Event)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)  # for those who follow

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be shown: it is kept to its end, or lost."""
        return self._over.is_set()

    def cancel(self) -> None:
        """Somebody wants it to end, whether it has begun or not."""
        self.is_cancelled = True
        self.stop()

    def keep(self, count: int, *, is_last: bool) -> None:
        """So many events are in the history."""
        if self.is_lost:
            return
        self.kept = count
        if is_last:
            self._over.set()
        self._tell()

    def lose(self) -> None:
        """Some of it is not in the history, and never will be."""
        self.is_lost = True
        self._over.set()
        self._tell()
        self.cancel()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def ended(self) -> None:
        """Waits for its end. Raises LostError."""
        await self._over.wait()
        if self.is_lost:
            raise LostError(self.run.id)

    async def follow(self, after: int, patience: float) -> AsyncGenerator[list[KeptEvent]]:
        """The events behind `after`, some at a time, until the last one has come; none of them
        where for so many seconds nothing has come. Raises LostError."""
        at = after + 1
        while not (self.is_over and at >= self.kept):
            if at >= self.kept:
                with suppress(TimeoutError):
                    async with asyncio.timeout(patience):
                        await self._changed.wait()
            yield self.events[at : self.kept]
            at = max(at, self.kept)
        if self.is_lost:
            raise LostError(self.run.id)


class Runs:
    """Starts runs and finds them again, while they go on and later. `close` it at the end.

    So many may be `running`, and so many more `waiting`: each run takes one of the `places`.
    """

    def __init__(self, history: History, *, running: int, waiting: int) -> None:
        self.places = asyncio.Semaphore(running)
        self._most = running + waiting
        self._asked: Counter[str] = Counter()  # places kept for runs that have not begun, by owner
        self._turns = asyncio.Semaphore(STARTS_PER_TURN)
        self._history = history
        self._live: dict[str, LiveRun] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def going_on(self) -> list[LiveRun]:
        """Those that have not ended, the oldest first."""
        return list(self._live.values())

    def count(self, owner: str) -> int:
        """How many of this owner's runs have not ended, or are about to begin."""
        return self._asked[owner] + sum(live.owner == owner for live in self._live.values())

    def check_history(self) -> None:
        """Raises Problem if nothing can be kept at present."""
        if self._history.fault:
            raise Problem("history-unavailable", self._history.fault, retry_after=RETRY_SECONDS)

    def check_room(self) -> None:
        """Raises Problem if too many runs wait already."""
        if len(self._tasks) + self._asked.total() >= self._most:
            detail = f"{self._most} runs go on or wait; try again later"
            raise Problem("too-many-runs", detail, retry_after=RETRY_SECONDS)

    @asynccontextmanager
    async def room(self, owner: str) -> AsyncIterator[None]:
        """Keeps a place for a run that may be started within. Raises Problem if there is none.

        Of a crowd that comes at once, those who find no place are told so before much is done for
        the others: only a few of these go on in each turn of the event loop.
        """
        self.check_room()
        self._asked[owner] += 1
        try:
            await self._turns.acquire()
            asyncio.get_running_loop().call_soon(self._turns.release)
            yield
        finally:
            self._asked[owner] -= 1

    def start(self, answering: Answering, run: Run, owner: str, watching: Watching) -> LiveRun:
        """Begins a run, for which there must be `room`; it goes on until it ends, or is cancelled,
        whoever follows it."""
        live = self._live[run.id] = LiveRun(run, owner)
        self._save(live)
        task = asyncio.create_task(self._carry(answering, live, watching), name=f"run {run.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return live

    async def _carry(self, answering: Answering, live: LiveRun, watching: Watching) -> None:
        try:
            with watching as watch:
                async with answering as events:
                    live.stop = events.stop
                    if live.is_cancelled:
                        live.stop()
                    async for event in events:
                        watch(event)
                        self._note(live, event)
        except Exception:
            log.exception("run %s ended by a fault of ours", live.run.id)
            if live.run.ended_at is None:
                self._note(live, _broken_off(live))

    def _note(self, live: LiveRun, event: Event) -> None:
        run, is_last = live.run, isinstance(event, LAST)
        if live.is_lost:
            if is_last:
                self._give_up(live)
            return
        if is_last:
            _end(run, event)
        elif isinstance(event, PlanStarted):
            run.status = "running"
        if is_last or isinstance(event, PlanStarted):
            self._save(live)
        entry = KeptEvent.of(event)
        live.events.append(entry)

        def told(is_kept: bool) -> None:
            if is_kept:
                live.keep(event.seq + 1, is_last=is_last)
            else:
                live.lose()
            if is_last and live.is_lost:
                self._give_up(live)
            elif is_last:
                del self._live[run.id]

        self._history.add(run.id, entry, told)

    def _give_up(self, live: LiveRun) -> None:
        """A lost run is over. That much of it may be kept after all."""
        run = live.run
        run.status, run.ended_at, run.answer = "failed", datetime.now(UTC), None
        run.error = RunError(reason="internal", message=FAULT)

        def told(_: bool) -> None:
            del self._live[run.id]

        self._history.save(run, live.owner, told)

    def _save(self, live: LiveRun) -> None:
        run = live.run.model_copy()

        def told(is_kept: bool) -> None:
            if is_kept:
                live.shown = run
            else:
                live.lose()

        self._history.save(run, live.owner, told)

    async def find(self, id: str, owner: str | None) -> Run | None:
        """The run of this id, as it stands."""
        live = self._live.get(id)
        if live is not None:
            return live.shown if owner in (None, live.owner) else None
        return await self._history.run(id, owner)

    async def latest(self, owner: str | None, before: str | None, limit: int) -> list[Run]:
        return await self._history.runs(owner, before, limit)

    def follow(self, id: str, after: int, patience: float) -> AsyncGenerator[list[KeptEvent]]:
        """A run's events behind `after`: what is kept, then what comes, as LiveRun tells it."""
        live = self._live.get(id)
        return self._history.events(id, after) if live is None else live.follow(after, patience)

    async def cancel(self, id: str) -> None:
        """Ends a run that goes on; nothing happens to one that has ended."""
        if (live := self._live.get(id)) is not None:
            live.cancel()
            with suppress(LostError):
                await live.ended()

    async def close(self, grace: float, at_once: asyncio.Event) -> None:
        """Lets runs end by themselves, for so many seconds or until it is to be at once; then
        cancels them."""
        if self._tasks:
            ended = asyncio.ensure_future(asyncio.wait(self._tasks))
            hurried = asyncio.ensure_future(at_once.wait())
            first = asyncio.FIRST_COMPLETED
            await asyncio.wait([ended, hurried], timeout=grace, return_when=first)
            ended.cancel()
            hurried.cancel()
        lives = self.going_on
        for live in lives:
            live.cancel()
        if lives:  # whoever follows one is to have its last word
            ends = asyncio.gather(*(live.ended() for live in lives), return_exceptions=True)
            await asyncio.wait([ends], timeout=KEEP_SECONDS)


@contextmanager
def owned(live: LiveRun, on_disconnect: OnDisconnect) -> Iterator[None]:
    """A run whose reader goes before its end, by whatever way, is cancelled if he wanted that."""
    try:
        yield
    finally:
        if on_disconnect == "cancel" and not live.is_over:
            live.cancel()


def _broken_off(live: LiveRun) -> RunFailed:
    """The last word on a run that had none of its own."""
    now = (datetime.now(UTC) - live.run.created_at).total_seconds()
    stats = Times().stats(now)
    return RunFailed(seq=len(live.events), at=now, reason="internal", message=FAULT, stats=stats)


def _end(run: Run, event: Event) -> None:
    assert isinstance(event, LAST)
    run.ended_at, run.stats, run.usage = datetime.now(UTC), event.stats, event.usage
    match event:
        case RunFinished(answer=answer):
            run.status, run.answer = "finished", _whole(answer)
        case RunFailed(reason=reason, message=message):
            run.status, run.error = "failed", RunError(reason=reason, message=_whole(message))
        case RunCancelled(reason=reason, message=message):
            run.status, run.error = "cancelled", RunError(reason=reason, message=message)


def _whole(text: str) -> str:
    """The text in whole characters: what a model writes may hold half of one."""
    return text.encode(errors="replace").decode()
