"""Runs and their events on disk: SQLite, so that the list and the streams survive a restart.

One thread writes, in batches: whatever has come since the last one was begun makes the next. An
event may be shown when it is kept, so that nobody has seen what a crash then takes away. A commit
is in the operating system's hands and not yet on the medium: it outlives the process, though not a
power cut.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, TextIO, TypeVar

from pydantic_core import PydanticSerializationError, to_json

from executor.errors import UsageError
from executor.events import Event, RunFailed, from_wire, to_wire
from executor.stats import Times
from serving.gateway.bodies import Run, RunError

log = logging.getLogger("headstart.history")

VERSION = 1
SCHEMA = """
CREATE TABLE runs (
    number INTEGER PRIMARY KEY,  -- in the order of their beginnings
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,         -- the name of the key that asked
    created REAL NOT NULL,       -- seconds since the epoch
    status TEXT NOT NULL,
    run TEXT NOT NULL            -- JSON
);
CREATE INDEX runs_open ON runs (status) WHERE status IN ('queued', 'running');
CREATE TABLE events (
    run_id TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    type TEXT NOT NULL,
    json TEXT NOT NULL,          -- as on the wire
    PRIMARY KEY (run_id, seq)
) WITHOUT ROWID;
"""
SAVE_RUNS = """
INSERT INTO runs (id, owner, created, status, run) VALUES {rows}
ON CONFLICT (id) DO UPDATE SET status = excluded.status, run = excluded.run
"""
SAVE_EVENTS = "INSERT INTO events (run_id, seq, type, json) VALUES {rows}"
ROWS = 500  # in one statement
EVENTS_BEHIND = (
    "SELECT seq, type, json FROM events WHERE run_id = ? AND seq > ? ORDER BY seq LIMIT ?"
)
FORGET = "DELETE FROM runs WHERE created < ? AND status NOT IN ('queued', 'running')"
BATCH_SECONDS = 0.003  # from one batch to the next: a commit has its price, whatever it holds
RETRY_SECONDS = 1.0
CLOSING_TRIES = 5  # before what can't be written is given up
BUSY_SECONDS = 5.0  # for somebody else, such as a backup, who holds the file
AGE_SECONDS = 3600.0  # between two looks for runs that are too old
PAGE = 1_000  # events read at once

T = TypeVar("T")


class KeptEvent(NamedTuple):
    """An event as the history and the wire have it."""

    seq: int
    type: str
    json: str

    @classmethod
    def of(cls, event: Event) -> KeptEvent:
        wire = to_wire(event)
        try:
            text = to_json(wire).decode()  # in a tenth of the time that json takes
        except PydanticSerializationError:  # half a character, which a model or a tool may write
            text = json.dumps(wire)
        return cls(event.seq, event.type, text)


@dataclass(frozen=True, slots=True)
class _Batch:
    """What is written in one transaction: runs as they then stand, events, and who is told."""

    runs: dict[object, tuple[object, ...]] = field(default_factory=dict)
    events: list[tuple[object, ...]] = field(default_factory=list)
    then: list[Callable[[], None]] = field(default_factory=list)

    def save(self, run: Run, owner: str) -> None:
        created = run.created_at.timestamp()
        self.runs[run.id] = (run.id, owner, created, run.status, run.model_dump_json())

    def by_run(self) -> Iterator[tuple[object, _Batch]]:
        """The parts of it that belong to one run each."""
        for id in {*self.runs, *(run_id for run_id, *_ in self.events)}:
            runs = {id: self.runs[id]} if id in self.runs else {}
            yield id, _Batch(runs, [event for event in self.events if event[0] == id])

    def behind(self, other: _Batch) -> _Batch:
        """Both, in this order."""
        return _Batch(
            {**other.runs, **self.runs},
            [*other.events, *self.events],
            [*other.then, *self.then],
        )


class History:
    """Use it as `async with History.open(path, days) as history`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer = _Connection(path)
        self._reader = _Connection(path)
        self._waiting = _Batch()
        self._has_some = asyncio.Event()
        self._is_closing = False
        self.fault = ""
        """Why nothing can be written at present; empty if it can."""

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path, days: float) -> AsyncIterator[History]:
        """Opens or makes the file, forgets runs older than so many days, and marks those that a
        crash has interrupted. Raises UsageError if it can't be used."""
        history, lock = cls(path), None
        try:
            lock = _make(path)
            await history._writer.do(_prepare)
            await history._writer.do(_interrupt)
            await history.forget(days)
        except (sqlite3.Error, OSError) as error:
            history._writer.close()
            if lock is not None:
                lock.close()
            if isinstance(error, BlockingIOError):
                raise UsageError(f"another gateway keeps its history in {path}") from None
            raise UsageError(
                f"can't keep the history of runs in {path}: {error}; make room there, or set "
                "HEADSTART_DATA to another directory"
            ) from None
        writing = asyncio.create_task(history._write())
        aging = asyncio.create_task(history._age(days))
        try:
            yield history
        finally:
            aging.cancel()
            history._is_closing = True
            history._has_some.set()
            await asyncio.wait([writing, aging])
            history._writer.close()
            history._reader.close()
            lock.close()

    def save(self, run: Run, owner: str, then: Callable[[], None]) -> None:
        """Keeps a run as it now stands, and calls `then` when that is kept."""
        self._waiting.save(run, owner)
        self._waiting.then.append(then)
        self._has_some.set()

    def add(self, run_id: str, event: KeptEvent, then: Callable[[], None]) -> None:
        """Keeps an event, and calls `then` when it is kept."""
        self._waiting.events.append((run_id, *event))
        self._waiting.then.append(then)
        self._has_some.set()

    async def run(self, id: str, owner: str | None) -> Run | None:
        """The run of this id; of this owner, if one is named."""
        rows = await self._rows(
            "SELECT run FROM runs WHERE id = ?1 AND (?2 IS NULL OR owner = ?2)", id, owner
        )
        return Run.model_validate_json(rows[0][0]) if rows else None

    async def runs(self, owner: str | None, before: str | None, limit: int) -> list[Run]:
        """The latest runs, or those before one of them."""
        rows = await self._rows(
            "SELECT run FROM runs WHERE (?1 IS NULL OR owner = ?1) AND "
            "(?2 IS NULL OR number < (SELECT number FROM runs WHERE id = ?2)) "
            "ORDER BY number DESC LIMIT ?3",
            owner,
            before,
            limit,
        )
        return [Run.model_validate_json(text) for (text,) in rows]

    async def events(self, id: str, after: int) -> AsyncGenerator[list[KeptEvent]]:
        """The kept events of a run behind `after`, a page at a time."""
        while rows := await self._rows(EVENTS_BEHIND, id, after, PAGE):
            yield [KeptEvent(*row) for row in rows]
            after = rows[-1][0]

    async def forget(self, days: float) -> None:
        """Deletes the runs that ended, and were made more than so many days ago."""
        before = datetime.now(UTC) - timedelta(days=days)
        await self._writer.do(lambda db: db.execute(FORGET, (before.timestamp(),)))

    async def _rows(self, statement: str, *values: object) -> list[Any]:
        return await self._reader.do(lambda db: db.execute(statement, values).fetchall())

    async def _age(self, days: float) -> None:
        while True:
            await asyncio.sleep(AGE_SECONDS)
            try:
                await self.forget(days)
            except sqlite3.Error as error:  # it will be tried again
                log.error("old runs can't be deleted: %s", error)

    async def _write(self) -> None:
        tries = CLOSING_TRIES
        while not self._is_closing or (self._waiting.then and tries):
            await self._has_some.wait()
            self._has_some.clear()
            if await self._write_batch():
                await asyncio.sleep(BATCH_SECONDS)
            else:
                tries -= self._is_closing
                await asyncio.sleep(RETRY_SECONDS)
                self._has_some.set()
        if self._waiting.then:
            log.error("%d runs and events are lost: %s", len(self._waiting.then), self.fault)

    async def _write_batch(self) -> bool:
        """Whether all that waited is kept now; else it waits on."""
        batch, self._waiting = self._waiting, _Batch()
        try:
            await self._writer.do(lambda db: _commit(db, batch))
        except sqlite3.OperationalError as error:  # a full disk, or one who holds the file
            self._waiting = self._waiting.behind(batch)
            if not self.fault:
                log.error("the history can't be written: %s; trying again", error)
            self.fault = str(error)
            return False
        self.fault = ""
        for tell in batch.then:
            tell()
        return True


class _Connection:
    """A connection in a thread of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="history")
        self._db: sqlite3.Connection | None = None

    async def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._do, work)

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._db is None:
            self._db = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)
            self._db.execute("PRAGMA foreign_keys = ON")
            self._db.execute("PRAGMA synchronous = NORMAL")
        return work(self._db)

    def close(self) -> None:
        if self._db is not None:
            self._thread.submit(self._db.close)
        self._thread.shutdown()


def _make(path: Path) -> TextIO:
    """A file that only its owner can read: it holds what people asked. Returns its lock: a second
    gateway would take the first one's runs for interrupted. Raises BlockingIOError if there is one.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600)
    lock = path.with_suffix(".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise
    return lock


def _prepare(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version == 0:
        db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT")
    elif version != VERSION:
        raise sqlite3.DatabaseError(f"it is of version {version}, and this program's is {VERSION}")


def _commit(db: sqlite3.Connection, batch: _Batch) -> None:
    """Writes a batch; of one that can't be, each run by itself, so that it costs only that one."""
    try:
        _write_all(db, batch)
    except (sqlite3.IntegrityError, ValueError):
        for id, part in batch.by_run():
            try:
                _write_all(db, part)
            except (sqlite3.IntegrityError, ValueError):
                log.exception("run %s can't be kept, by a fault of ours", id)


def _write_all(db: sqlite3.Connection, batch: _Batch) -> None:
    db.execute("BEGIN IMMEDIATE")
    try:
        _insert(db, SAVE_RUNS, list(batch.runs.values()))  # first: the events refer to them
        _insert(db, SAVE_EVENTS, batch.events)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _insert(db: sqlite3.Connection, statement: str, rows: list[tuple[object, ...]]) -> None:
    """Many rows in a statement: at each one's end this thread waits until the busy one of the event
    loop lets go of the interpreter, which takes 5 ms."""
    for some in (rows[at : at + ROWS] for at in range(0, len(rows), ROWS)):
        row = f"({', '.join('?' * len(some[0]))})"
        values = [value for each in some for value in each]
        db.execute(statement.format(rows=", ".join([row] * len(some))), values)


def _interrupt(db: sqlite3.Connection) -> None:
    """Gives runs that were going on when their process died the last word they never had."""
    now = datetime.now(UTC)
    open_runs = db.execute(
        "SELECT id, owner, run FROM runs WHERE status IN ('queued', 'running')"
    ).fetchall()
    for id, owner, text in open_runs:
        run = Run.model_validate_json(text)
        times, at = Times(), 0.0
        events = db.execute(EVENTS_BEHIND, (id, -1, -1)).fetchall()
        for _, _, event in events:
            at = json.loads(event).get("at", at)
            with suppress(ValueError):  # of another version
                times.note(from_wire(json.loads(event)))
        message = "the gateway ended while the run went on; ask again"
        last = RunFailed(
            seq=len(events), at=at, reason="interrupted", message=message, stats=times.stats(at)
        )
        run.status, run.ended_at, run.stats = "interrupted", now, last.stats
        run.error = RunError(reason=last.reason, message=message)
        batch = _Batch(events=[(id, *KeptEvent.of(last))])
        batch.save(run, owner)
        _commit(db, batch)
