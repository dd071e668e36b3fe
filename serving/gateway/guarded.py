"""Answer schemas from outside are read, and answers checked by them, in processes that can be
killed.

A kilobyte of JSON Schema can ask for hours of work, and so can a pattern with a text that it nearly
matches. In this process that would hold up everybody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from executor.errors import RunError, UsageError
from executor.processes import CrashedError, Processes
from executor.schema_size import Schema
from planner_prompts.grammar import Backend
from serving.answers import AnswerForm

SECONDS = 10.0  # for a schema, or an answer; the first one starts a process
AT_ONCE = 2


class Guard:
    """Does the work, a little at a time; `close` it at the end."""

    def __init__(self) -> None:
        self._processes = Processes()
        self._places = asyncio.Semaphore(AT_ONCE)

    def close(self) -> None:
        self._processes.close()

    async def form(self, schema: Schema, backend: Backend) -> AnswerForm:
        """Raises UsageError for a schema that can't be used, or takes too long to read."""
        try:
            form = await self._do(_read, {"schema": schema, "backend": backend})
        except (TimeoutError, CrashedError):
            message = f"the answer's schema can't be read within {SECONDS:g} s; make it simpler"
            raise UsageError(message) from None
        return GuardedForm(form.schema, form.type, self)

    async def fault(self, form: AnswerForm, answer: str) -> str:
        """As AnswerForm tells it. Raises RunError if that takes too long to find out."""
        try:
            found: str = await self._do(_fault, {"form": form, "answer": answer})
        except (TimeoutError, CrashedError):
            message = f"the answer can't be checked by its schema within {SECONDS:g} s"
            raise RunError("no_ending", message) from None
        return found

    async def _do(self, function: Callable[..., Any], args: dict[str, Any]) -> Any:
        async with self._places, asyncio.timeout(SECONDS):
            return await self._processes.call(function, args)


@dataclass(frozen=True, slots=True)
class GuardedForm(AnswerForm):
    """A form by which answers are checked elsewhere."""

    guard: Guard

    async def fault(self, answer: str) -> str:
        return await self.guard.fault(AnswerForm(self.schema, self.type), answer)


def _read(schema: Schema, backend: Backend) -> AnswerForm:
    return AnswerForm.of(schema, backend)


def _fault(form: AnswerForm, answer: str) -> str:
    return form.fault_in(answer)
