"""Prompt and grammar -> text deltas -> parser -> tasks, each as soon as it is sealed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from executor.errors import EngineError, PlanError
from executor.events import EventLog, PlanFinished, PlanStarted, PlanText
from executor.parser import PlanParser
from executor.plan import Join, Task, render
from executor.tools import ToolBox
from planner_prompts.messages import Message
from serving.model import Model, Sampling


class Planner:
    """Writes one plan of a run. `tasks` can be read once; `sealed` and all else grow with it."""

    def __init__(self, model: Model, toolbox: ToolBox, *, number: int, first_id: int) -> None:
        self._model = model
        self._toolbox = toolbox
        self._number = number
        self._first_id = first_id
        self.sealed: list[Task] = []
        self._finish_reason: str | None = None

    @property
    def next_id(self) -> int:
        """The id of the plan's next task, or, when it is written, of the next plan's first."""
        return self._first_id + len(self.sealed)

    @property
    def text(self) -> str:
        """The plan as far as it is sealed, closed with a join."""
        items: list[Task | Join] = [*self.sealed, Join(self.next_id)]
        return "\n".join(render(item, self._toolbox) for item in items)

    async def tasks(
        self, messages: Sequence[Message], sampling: Sampling, log: EventLog
    ) -> AsyncGenerator[Task, None]:
        """The plan's tasks, as they are sealed.

        A plan that is no plan, or that runs out of tokens, raises PlanError behind its last
        sealed task: those before it stay valid, and the plan counts as ending there.
        """
        log.emit(PlanStarted(plan=self._number))
        parser = PlanParser(self._toolbox, self._first_id)
        try:
            async with self._model.stream(messages, sampling) as deltas:
                async for delta in deltas:
                    self._finish_reason = delta.finish_reason
                    if delta.text:
                        log.emit(PlanText(plan=self._number, text=delta.text))
                    for item in parser.feed(delta.text):
                        if isinstance(item, Task):
                            self.sealed.append(item)
                            yield item
            parser.close()
        except (PlanError, EngineError) as error:
            cut = self._finish_reason == "length"
            self._tell_end(log, "length" if cut else "error", str(error))
            raise
        self._tell_end(log, "join")

    def _tell_end(self, log: EventLog, ended_by: str, message: str = "") -> None:
        count = len(self.sealed)
        log.emit(PlanFinished(plan=self._number, tasks=count, ended_by=ended_by, message=message))
