"""The gateway's log: lines for people on a terminal, JSON lines for programs elsewhere.

A line that is logged while a run is carried has the run's id. None tells what users have asked or
what they were answered; the log of faults of ours, with its tracebacks, is the exception.
"""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TextIO

from executor.events import (
    Event,
    PlanStarted,
    RunCancelled,
    RunFailed,
    RunFinished,
    TaskSealed,
)

log = logging.getLogger("headstart.runs")

RUN_ID: ContextVar[str] = ContextVar("run_id", default="")
"""The run that this asyncio task, or thread of a tool, works for."""

AGAIN_SECONDS = 3600.0


def set_up(stream: TextIO = sys.stderr) -> None:
    """Logs to `stream`: as JSON lines, unless somebody reads along on a terminal."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(ForPeople() if stream.isatty() else ForPrograms())
    handler.addFilter(OncePerHour("opentelemetry"))  # which complains at each batch of spans
    logging.getLogger().addHandler(handler)
    logging.getLogger("headstart").setLevel(logging.INFO)


class ForPrograms(logging.Formatter):
    """A record as a JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if run_id := RUN_ID.get():
            line["run_id"] = run_id
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class ForPeople(logging.Formatter):
    """A record as one line, behind which a traceback may come."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's own name
        line, run_id = super().formatMessage(record), RUN_ID.get()
        return f"{line} [run {run_id}]" if run_id else line


class OncePerHour(logging.Filter):
    """What these loggers say over and over is passed on once in an hour."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._last: dict[str, float] = {}  # when, by the message without what varies

    def filter(self, record: logging.LogRecord) -> bool:
        if not super().filter(record):
            return True
        last = self._last.get(record.msg)
        if last is not None and record.created - last < AGAIN_SECONDS:
            return False
        self._last[record.msg] = record.created
        return True


class RunLine:
    """Tells the log how a run has ended; `note` each of its events."""

    def __init__(self) -> None:
        self._plans = 0
        self._tasks = 0

    def note(self, event: Event) -> None:
        match event:
            case PlanStarted():
                self._plans += 1
            case TaskSealed():
                self._tasks += 1
            case RunFinished():
                self._tell(event, "finished", "")
            case RunFailed(reason=reason):
                self._tell(event, "failed", reason)
            case RunCancelled(reason=reason):
                self._tell(event, "cancelled", reason)

    def _tell(self, event: Event, status: str, reason: str) -> None:
        fields = {
            "status": status,
            **({"reason": reason} if reason else {}),
            "seconds": round(event.at, 3),
            "plans": self._plans,
            "tasks": self._tasks,
        }
        words = " ".join(f"{name}={value}" for name, value in fields.items())
        log.info("run ended: %s", words, extra={"fields": fields})
