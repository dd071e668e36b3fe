"""Runs and their events on disk: SQLite, so that the list and the streams survive a restart.

One thread writes, in batches: whatever has come since the last one was begun makes the next. An
event may be shown when it is kept, so that nobody has seen what a crash then takes away. A commit
is in the operating system's hands and not yet on the medium: it outlives the process, though not a
power cut.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from executor.errors import UsageError
from serving.gateway.bodies import Run
from serving.gateway.database import (
    EVENTS_BEHIND,
    Batch,
    Connection,
    KeptEvent,
    commit,
    interrupt,
    make_file,
    prepare,
    read_run,
)

log = logging.getLogger("headstart.history")

FORGET = "DELETE FROM runs WHERE created < ? AND status NOT IN ('queued', 'running')"
LATEST = (  # as bytes: a damaged text may be no text
    "SELECT id, CAST(run AS BLOB) FROM runs WHERE (?1 IS NULL OR owner = ?1) "
    "AND (?2 IS NULL OR number < (SELECT number FROM runs WHERE id = ?2)) "
    "ORDER BY number DESC LIMIT ?3"
)
BATCH_SECONDS = 0.003  # from one batch to the next: a commit has its price, whatever it holds
RETRY_SECONDS = 1.0
CLOSING_TRIES = 5  # before what can't be written is given up
AGE_SECONDS = 3600.0  # between two looks for runs that are too old
PAGE = 1_000  # events read at once


class History:
    """Use it as `async with History.open(path, days) as history`."""

    def __init__(self, path: Path) -> None:
        self._writer = Connection(path)
        self._reader = Connection(path)
        self._waiting = Batch()
        self._has_some = asyncio.Event()
        self._is_closing = False
        self._unreadable: set[str] = set()  # runs of which the log was told
        self.fault = ""
        """Why nothing can be written at present; empty if it can."""

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path, days: float) -> AsyncIterator[History]:
        """Opens or makes the file, forgets runs older than so many days, and marks those that a
        crash has interrupted. Raises UsageError if it can't be used."""
        history, lock = cls(path), None
        try:
            lock = make_file(path)
            await history._writer.do(prepare)
            await history._writer.do(interrupt)
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

    def save(self, run: Run, owner: str, then: Callable[[bool], None]) -> None:
        """Keeps a run as it now stands, and tells `then` whether it is kept, or lost."""
        self._waiting.save(run, owner)
        self._waiting.then.append((run.id, then))
        self._has_some.set()

    def add(self, run_id: str, event: KeptEvent, then: Callable[[bool], None]) -> None:
        """Keeps an event, and tells `then` whether it is kept, or lost."""
        self._waiting.events.append((run_id, *event))
        self._waiting.then.append((run_id, then))
        self._has_some.set()

    async def run(self, id: str, owner: str | None) -> Run | None:
        """The run of this id; of this owner, if one is named."""
        rows = await self._rows(
            "SELECT id, CAST(run AS BLOB) FROM runs WHERE id = ?1 AND (?2 IS NULL OR owner = ?2)",
            id,
            owner,
        )
        return self._read(*rows[0]) if rows else None

    async def runs(self, owner: str | None, before: str | None, limit: int) -> list[Run]:
        """The latest runs, or those before one of them; without those that can't be read."""
        found: list[Run] = []
        while wanted := limit - len(found):
            rows = await self._rows(LATEST, owner, before, wanted)
            found += [run for row in rows if (run := self._read(*row)) is not None]
            if len(rows) < wanted:
                break
            before, _ = rows[-1]
        return found

    def _read(self, id: str, text: bytes) -> Run | None:
        """A row's run. None if it is damaged, or of another version; the log is told so once."""
        try:
            return read_run(text)
        except ValueError as error:
            if id not in self._unreadable:
                log.error("run %s can't be read: %s", id, error)
            self._unreadable.add(id)
            return None

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
        batch, self._waiting = self._waiting, Batch()
        try:
            lost = await self._writer.do(lambda db: commit(db, batch))
        except sqlite3.DatabaseError as error:  # a full disk, say, or one who holds the file
            self._waiting = self._waiting.behind(batch)
            if not self.fault:
                log.error("the history can't be written: %s; trying again", error)
            self.fault = str(error)
            return False
        self.fault = ""
        for run_id, tell in batch.then:
            tell(run_id not in lost)
        return True
