"""Prompt and grammar -> text deltas -> parser -> checked tasks, each as soon as it is sealed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing

from executor import seal
from executor.errors import ArgumentError, EngineError, PlanError
from executor.events import EventLog, LineRefused, PlanFinished, PlanStarted, PlanText
from executor.parser import PlanParser
from executor.plan import Join, Task, render
from executor.tools import ToolBox
from planner_prompts.grammar import plan_grammar
from planner_prompts.messages import Message
from planner_prompts.render import rewrite_messages
from serving.model import Model, Sampling, fits
from serving.settings import Settings

LOOP_TIMES = 6  # as often must calls be repeated, one or two of them in turn, to be a loop


class Planner:
    """Writes one plan of a run. `tasks` can be read once; `sealed` and all else grow with it."""

    def __init__(
        self,
        model: Model,
        toolbox: ToolBox,
        settings: Settings,
        *,
        number: int,
        earlier: Mapping[int, Task],
    ) -> None:
        """`earlier` are the tasks of the run's plans before this one, by id from 1 on."""
        self._model = model
        self._toolbox = toolbox
        self._settings = settings
        self._number = number
        self._earlier = earlier
        self._known = dict(earlier)  # and what is sealed
        self.sealed: list[Task] = []

    @property
    def next_id(self) -> int:
        """The id of the plan's next task, or, when it is written, of the next plan's first."""
        return 1 + len(self._earlier) + len(self.sealed)

    @property
    def text(self) -> str:
        """The plan as far as it is sealed, closed with a join."""
        return "\n".join([*self._lines(), render(Join(self.next_id), self._toolbox)])

    async def tasks(self, messages: Sequence[Message], log: EventLog) -> AsyncGenerator[Task, None]:
        """The plan's tasks, as they are sealed.

        A line that can't be run is written again, at most `max_rewrites` times in a plan; what
        is sealed before it stays, and runs on. A plan that can't be mended, or that does not end
        by itself, raises PlanError behind its last sealed task, and counts as ending there.
        """
        log.emit(PlanStarted(plan=self._number))
        try:
            asked, refused = messages, 0
            while True:
                try:
                    async with aclosing(self._write(asked, log, again=refused > 0)) as written:
                        async for task in written:
                            yield task
                    break
                except _RefusedError as refusal:
                    self._tell_refused(refusal, log)
                    refused += 1
                    asked = [*messages, *self._asking_again(refusal)]
                    if refused > self._settings.max_rewrites or not await self._has_room(asked):
                        raise
        except (PlanError, EngineError) as error:
            ended_by = error.ended_by if isinstance(error, _EndlessError) else "error"
            self._tell_end(log, ended_by, str(error))
            raise
        self._tell_end(log, "join")

    async def _write(
        self, messages: Sequence[Message], log: EventLog, *, again: bool
    ) -> AsyncGenerator[Task, None]:
        """The tasks from `next_id` on, until the plan ends or a line must be written again."""
        parser = PlanParser(self._toolbox, self.next_id)
        parser.line += len(self.sealed)
        finish_reason = None
        try:
            async with self._model.stream(messages, self._sampling(again=again)) as deltas:
                async for delta in deltas:
                    finish_reason = delta.finish_reason
                    if delta.text:
                        log.emit(PlanText(plan=self._number, text=delta.text))
                    for item in parser.feed(delta.text):
                        if isinstance(item, Task):
                            self._check(item)
                            self.sealed.append(item)
                            self._known[item.id] = item
                            yield item
                    if parser.column > self._settings.line_chars:
                        limit = f"the line is longer than {self._settings.line_chars} characters"
                        raise _EndlessError("limit", limit, parser.line, parser.column)
            parser.close()
        except (_EndlessError, _RefusedError):
            raise
        except PlanError as fault:
            if finish_reason == "length":
                reason = "the plan ran out of tokens"
                raise _EndlessError("length", reason, fault.line, fault.column) from None
            raise _RefusedError(parser.unsealed, fault) from None

    def _check(self, task: Task) -> None:
        line = len(self.sealed) + 1
        if len(self.sealed) == self._settings.max_tasks:
            raise _EndlessError("limit", f"more than {len(self.sealed)} tasks", line, 1)
        if _is_loop(self.sealed, task):
            raise _EndlessError("limit", "the same calls over and over", line, 1)
        try:
            seal.check(task, self._toolbox, self._known)
        except ArgumentError as error:
            fault = PlanError(str(error), line, 1)
            raise _RefusedError(render(task, self._toolbox), fault) from None

    def _sampling(self, *, again: bool) -> Sampling:
        wanted = self._settings
        left = wanted.max_tasks - len(self.sealed)
        # A line that was refused is held to its id and to what it may refer to.
        grammar = plan_grammar(
            self._toolbox, self.next_id, left, wanted.backend, counted_at_least=int(again)
        )
        return Sampling(wanted.plan_tokens, grammar.regex, wanted.temperature)

    def _asking_again(self, refusal: _RefusedError) -> list[Message]:
        written = "\n".join(filter(None, [*self._lines(), refusal.text.strip()]))
        return rewrite_messages(written, refusal.reason, self.next_id)

    async def _has_room(self, messages: Sequence[Message]) -> bool:
        return await fits(self._model, messages, self._settings.plan_tokens)

    def _lines(self) -> list[str]:
        return [render(task, self._toolbox) for task in self.sealed]

    def _tell_refused(self, refusal: _RefusedError, log: EventLog) -> None:
        log.emit(
            LineRefused(
                plan=self._number,
                task_id=self.next_id,
                line=refusal.text.strip(),
                message=refusal.reason,
            )
        )

    def _tell_end(self, log: EventLog, ended_by: str, message: str = "") -> None:
        count = len(self.sealed)
        log.emit(PlanFinished(plan=self._number, tasks=count, ended_by=ended_by, message=message))


class _EndlessError(PlanError):
    """A plan that does not end by itself; `ended_by` says by what it was ended."""

    def __init__(self, ended_by: str, reason: str, line: int, column: int) -> None:
        super().__init__(reason, line, column)
        self.ended_by = ended_by


class _RefusedError(PlanError):
    """A line that must be written again: its `text`, as far as it was read, and its fault."""

    def __init__(self, text: str, fault: PlanError) -> None:
        super().__init__(fault.reason, fault.line, fault.column)
        self.text = text


def _is_loop(sealed: Sequence[Task], task: Task) -> bool:
    """Whether the task is the last of one call, or two in turn, over and over."""
    calls = [(each.tool_name, each.args) for each in (*sealed[1 - 2 * LOOP_TIMES :], task)]
    return any(
        len(calls) >= width * LOOP_TIMES
        and calls[-width * LOOP_TIMES :] == calls[-width:] * LOOP_TIMES
        for width in (1, 2)
    )
