"""Models around a model: one that keeps what was asked, and two that leave something out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace

from executor.tools import ToolBox
from planner_prompts import render
from planner_prompts.grammar import ANSWER, matches
from planner_prompts.messages import Message
from serving.model import Delta, Model, Sampling


class Wrapped:
    """The model as it is."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.name = model.name
        self.context_tokens = model.context_tokens
        self.profile = model.profile

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        return await self._model.count_tokens(messages)

    def stream(
        self, messages: Sequence[Message], sampling: Sampling
    ) -> AbstractAsyncContextManager[AsyncIterator[Delta]]:
        return self._model.stream(messages, sampling)


class WithoutGrammar(Wrapped):
    """Writes plans freely; endings stay what the joiner can read."""

    def stream(
        self, messages: Sequence[Message], sampling: Sampling
    ) -> AbstractAsyncContextManager[AsyncIterator[Delta]]:
        if sampling.regex is not None and not matches(sampling.regex, f"{ANSWER}x"):
            sampling = replace(sampling, regex=None)
        return super().stream(messages, sampling)


class WithoutTools(Wrapped):
    """Gets the system message without the list of the tools."""

    def __init__(self, model: Model, toolbox: ToolBox) -> None:
        super().__init__(model)
        self._listing = "\n".join(map(render.describe, toolbox))

    def stream(
        self, messages: Sequence[Message], sampling: Sampling
    ) -> AbstractAsyncContextManager[AsyncIterator[Delta]]:
        system = messages[0]["content"]
        assert self._listing in system
        first = Message(role="system", content=system.replace(self._listing, "", 1))
        return super().stream([first, *messages[1:]], sampling)


ABLATIONS: dict[str, Callable[[Model, ToolBox], Model]] = {
    "grammar": lambda model, _: WithoutGrammar(model),
    "tools": WithoutTools,
}


def ablated(model: Model, toolbox: ToolBox, without: str | None) -> Model:
    return model if without is None else ABLATIONS[without](model, toolbox)


@dataclass(slots=True)
class Request:
    """A prompt, and what the model has written on it so far."""

    messages: list[Message]
    reply: str = ""


class Recorder(Wrapped):
    """Keeps all requests of a run in `requests`."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.requests: list[Request] = []

    @asynccontextmanager
    async def stream(
        self, messages: Sequence[Message], sampling: Sampling
    ) -> AsyncIterator[AsyncIterator[Delta]]:
        request = Request(list(messages))
        self.requests.append(request)

        async def noted(deltas: AsyncIterator[Delta]) -> AsyncIterator[Delta]:
            async for delta in deltas:
                request.reply += delta.text
                yield delta

        async with self._model.stream(messages, sampling) as deltas:
            yield noted(deltas)
