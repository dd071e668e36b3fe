"""The history's file: its tables, what is written at once, and the threads that do it."""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, TextIO, TypeVar

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, to_json

from executor.events import Event, RunFailed, from_wire, to_wire
from executor.stats import Times
from serving.gateway.bodies import Run, RunError

log = logging.getLogger("headstart.history")

VERSION = 2
SCHEMA = """
CREATE TABLE runs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,  -- in the order of their beginnings
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,         -- the name of the key that asked
    created REAL NOT NULL,       -- seconds since the epoch
    status TEXT NOT NULL,
    run TEXT NOT NULL            -- JSON
);
CREATE INDEX runs_open ON runs (status) WHERE status IN ('queued', 'running');
CREATE TABLE events (            -- in the order of their coming: those of many runs share a page
    run INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    type TEXT NOT NULL,
    json TEXT NOT NULL,          -- as on the wire
    UNIQUE (run, seq)
);
"""
SAVE_RUNS = """
INSERT INTO runs (id, owner, created, status, run) VALUES {rows}
ON CONFLICT (id) DO UPDATE SET status = excluded.status, run = excluded.run
"""
RUN_ROW = "(?, ?, ?, ?, ?)"
SAVE_EVENTS = "INSERT INTO events (run, seq, type, json) VALUES {rows}"
EVENT_ROW = "((SELECT number FROM runs WHERE id = ?), ?, ?, ?)"
ROWS = 500  # in one statement
EVENTS_BEHIND = (
    "SELECT seq, type, json FROM events WHERE run = (SELECT number FROM runs WHERE id = ?) "
    "AND seq > ? ORDER BY seq LIMIT ?"
)
OPEN_RUNS = (
    "SELECT number, id, owner, CAST(run AS BLOB) FROM runs WHERE status IN ('queued', 'running')"
)
EVENTS = "SELECT seq, CAST(json AS BLOB) FROM events WHERE run = ? ORDER BY seq"
BUSY_SECONDS = 5.0  # for somebody else, such as a backup, who holds the file

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
class Batch:
    """What is written in one transaction: runs as they then stand, events, and who is told, by
    the run's id."""

    runs: dict[object, tuple[object, ...]] = field(default_factory=dict)
    events: list[tuple[object, ...]] = field(default_factory=list)
    then: list[tuple[str, Callable[[bool], None]]] = field(default_factory=list)

    def save(self, run: Run, owner: str) -> None:
        created = run.created_at.timestamp()
        self.runs[run.id] = (run.id, owner, created, run.status, run.model_dump_json())

    def by_run(self) -> Iterator[tuple[object, Batch]]:
        """The parts of it that belong to one run each."""
        for id in {*self.runs, *(run_id for run_id, *_ in self.events)}:
            runs = {id: self.runs[id]} if id in self.runs else {}
            yield id, Batch(runs, [event for event in self.events if event[0] == id])

    def behind(self, other: Batch) -> Batch:
        """Both, in this order."""
        return Batch(
            {**other.runs, **self.runs},
            [*other.events, *self.events],
            [*other.then, *self.then],
        )


class Connection:
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


def make_file(path: Path) -> TextIO:
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


def prepare(db: sqlite3.Connection) -> None:
    """Makes the tables, in a new file. Raises sqlite3.DatabaseError for one of another version."""
    db.execute("PRAGMA journal_mode = WAL")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version == 0:
        db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT")
    elif version != VERSION:
        raise sqlite3.DatabaseError(f"it is of version {version}, and this program's is {VERSION}")


def commit(db: sqlite3.Connection, batch: Batch) -> set[object]:
    """Writes a batch; of one that can't be, each run by itself, so that it costs only that one.
    Returns the ids of the runs whose part is lost."""
    try:
        with _transaction(db):
            _write(db, batch)
    except (sqlite3.IntegrityError, ValueError):
        with _transaction(db):
            return {id for id, part in batch.by_run() if not _is_written(db, id, part)}
    return set()


def _is_written(db: sqlite3.Connection, id: object, part: Batch) -> bool:
    """Writes what belongs to one run, or nothing of it."""
    db.execute("SAVEPOINT part")
    try:
        _write(db, part)
    except (sqlite3.IntegrityError, ValueError):
        log.exception("run %s can't be kept, by a fault of ours", id)
        db.execute("ROLLBACK TO part")
        return False
    finally:
        if db.in_transaction:
            db.execute("RELEASE part")
    return True


def _write(db: sqlite3.Connection, batch: Batch) -> None:
    _insert(db, SAVE_RUNS, RUN_ROW, list(batch.runs.values()))  # first: the events refer to them
    _insert(db, SAVE_EVENTS, EVENT_ROW, batch.events)


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _insert(
    db: sqlite3.Connection, statement: str, row: str, rows: list[tuple[object, ...]]
) -> None:
    """Many rows in a statement: at each one's end this thread waits until the busy one of the event
    loop lets go of the interpreter."""
    for some in (rows[at : at + ROWS] for at in range(0, len(rows), ROWS)):
        values = [value for each in some for value in each]
        db.execute(statement.format(rows=", ".join([row] * len(some))), values)


def read_run(text: bytes) -> Run:
    """Raises ValueError for a row that is damaged, or of another version."""
    try:
        return Run.model_validate_json(text)
    except ValidationError as error:  # which would also tell what was asked
        [first, *_] = error.errors()
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}: {first['msg']}".removeprefix(": ")) from None


def interrupt(db: sqlite3.Connection) -> None:
    """Gives runs that were going on when their process died the last word they never had."""
    for number, id, owner, text in db.execute(OPEN_RUNS).fetchall():
        try:
            run = read_run(text)
        except ValueError as error:  # so it is in no list; but it is not to be looked at for ever
            log.error("run %s was interrupted, and can't be read: %s", id, error)
            db.execute("UPDATE runs SET status = 'interrupted' WHERE number = ?", (number,))
            continue
        last = _last_word(db, number, id)
        run.status, run.ended_at, run.stats = "interrupted", datetime.now(UTC), last.stats
        run.error = RunError(reason=last.reason, message=last.message)
        batch = Batch(events=[(id, *KeptEvent.of(last))])
        batch.save(run, owner)
        commit(db, batch)


def _last_word(db: sqlite3.Connection, number: int, id: str) -> RunFailed:
    """What follows the events of an interrupted run."""
    times, at, seq = Times(), 0.0, -1
    for seq, text in db.execute(EVENTS, (number,)).fetchall():
        try:
            event = from_wire(json.loads(text))
            times.note(event)
            at = event.at
        except (ValueError, KeyError, TypeError) as error:  # damaged, or it builds on one that is
            log.warning("event %d of run %s can't be read: %r", seq, id, error)
    message = "the gateway ended while the run went on; ask again"
    try:
        stats = times.stats(at)
    except TypeError:  # a time that is none
        at, stats = 0.0, Times().stats(0.0)
    return RunFailed(seq=seq + 1, at=at, reason="interrupted", message=message, stats=stats)
