"""From a request to a run: what is refused, before any work, and what the others run with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aiohttp import web

from executor.errors import EngineError, RunError, UsageError
from executor.events import told
from executor.executor import Executor
from executor.schema_size import Schema
from executor.tools import ToolBox
from planner_prompts.examples import Example
from planner_prompts.messages import Message
from serving import compiler
from serving.answers import AnswerForm
from serving.gateway.bodies import Run, RunRequest
from serving.gateway.guarded import Guard
from serving.gateway.keys import Caller, Keys
from serving.gateway.metrics import Metrics
from serving.gateway.problems import Problem
from serving.gateway.runs import LiveRun, Runs
from serving.gateway.telemetry import watched
from serving.model import Model
from serving.settings import Settings

if TYPE_CHECKING:
    from serving.gateway.traces import Traces

GATEWAY: web.AppKey[Gateway] = web.AppKey("gateway")
ENGINE_RETRY_SECONDS = 10
DRAIN_RETRY_SECONDS = 30


@dataclass(slots=True)
class Gateway:
    """What all requests share. `model` raises EngineError while no engine serves; without `traces`
    none are made."""

    settings: Settings
    executor: Executor
    examples: Sequence[Example]
    model: Callable[[], Model]
    runs: Runs
    keys: Keys
    guard: Guard
    traces: Traces | None = None
    is_draining: bool = False
    metrics: Metrics = field(init=False)

    def __post_init__(self) -> None:
        self.metrics = Metrics(self.runs, self.executor)

    @property
    def toolbox(self) -> ToolBox:
        return self.executor.toolbox

    def check_ready(self) -> Model:
        """The model, if runs can begin. Raises Problem if not."""
        if self.is_draining:
            detail = "the gateway is shutting down; ask again in a moment"
            raise Problem("shutting-down", detail, retry_after=DRAIN_RETRY_SECONDS)
        self.runs.check_history()
        try:
            return self.model()
        except EngineError as error:
            raise _unavailable(error) from None

    def tools(self, caller: Caller) -> ToolBox:
        """Those that the caller may use: no other can be written by his runs, or be run."""
        return self.toolbox.subset(tool.name for tool in self.toolbox if caller.may_use(tool.name))

    async def start(
        self, wanted: RunRequest, caller: Caller, earlier: Sequence[Message] = ()
    ) -> LiveRun:
        """Begins a run, for which there is `room`. Raises Problem, before any work, for one that
        can't be.

        `earlier` is what was said in the chat that the question ends.
        """
        try:
            form = await self._form(wanted.answer_schema)
            tools = self._chosen(wanted.tools, caller)
            run = self._run(wanted, self.check_ready(), tools, form, earlier)
            await run.check_room()
        except EngineError as error:
            raise _unavailable(error) from None
        except RunError as error:
            raise Problem("question-too-long", str(error)) from None
        except UsageError as error:
            raise Problem("invalid-request", str(error)) from None
        record = Run(
            id=run.id,
            status="queued",
            question=wanted.question,
            tools=[tool.name for tool in run.toolbox],
            metadata=wanted.metadata,
            created_at=datetime.now(UTC),
        )
        self.check_ready()  # once more: the end may have begun since
        watching = watched(run.id, self.metrics, self.traces)
        return self.runs.start(told(run.tell), record, caller.name, watching)

    def check_start(self, caller: Caller) -> None:
        """Raises Problem if no run of his may begin now, whatever it asks."""
        self.check_ready()
        now = asyncio.get_running_loop().time()
        caller.check_start(lambda: self.runs.count(caller.name), now)

    @asynccontextmanager
    async def room(self, caller: Caller) -> AsyncIterator[None]:
        """Keeps a place for a run of his that may be started within. Raises Problem if he has none,
        or nobody has."""
        self.check_start(caller)
        with caller.starts(asyncio.get_running_loop().time()):
            async with self.runs.room(caller.name):
                yield

    async def _form(self, schema: Schema | None) -> AnswerForm | None:
        return None if schema is None else await self.guard.form(schema, self.settings.backend)

    def _chosen(self, wanted: list[str] | None, caller: Caller) -> ToolBox:
        allowed = self.tools(caller)
        if wanted is None:
            return allowed
        chosen = self.toolbox.subset(wanted)
        if refused := [tool.name for tool in chosen if tool.name not in allowed]:
            detail = f"the key {caller.name} may not use {', '.join(refused)}; it may use {allowed}"
            raise Problem("forbidden", detail)
        return chosen

    def _run(
        self,
        wanted: RunRequest,
        model: Model,
        toolbox: ToolBox,
        form: AnswerForm | None,
        earlier: Sequence[Message],
    ) -> compiler.Run:
        most = self.settings
        return compiler.Run(
            wanted.question,
            toolbox=toolbox,
            model=model,
            settings=replace(
                most,
                deadline=min(most.deadline, wanted.deadline_seconds or most.deadline),
                max_plans=min(most.max_plans, wanted.max_plans or most.max_plans),
            ),
            examples=self.examples,
            earlier=earlier,
            answer_schema=form,
            executor=self.executor,
            place=self.runs.places,
        )


def _unavailable(error: EngineError) -> Problem:
    return Problem("engine-unavailable", str(error), retry_after=ENGINE_RETRY_SECONDS)
