"""A model that counts what its replies have cost."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

from executor.events import Usage
from planner_prompts.messages import Message
from planner_prompts.profile import Profile
from serving.model import Delta, Model, Sampling


class Metered:
    """Passes everything on to `model` and back; `usage`, which ends here, is the sum over its
    replies so far."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.usage = Usage()

    @property
    def name(self) -> str:
        return self._model.name

    @property
    def context_tokens(self) -> int:
        return self._model.context_tokens

    @property
    def profile(self) -> Profile:
        return self._model.profile

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        return await self._model.count_tokens(messages)

    @asynccontextmanager
    async def stream(
        self, messages: Sequence[Message], sampling: Sampling
    ) -> AsyncIterator[AsyncIterator[Delta]]:
        async with (
            self._model.stream(messages, sampling) as deltas,
            aclosing(self._counted(deltas)) as counted,
        ):
            yield counted

    async def _counted(self, deltas: AsyncIterator[Delta]) -> AsyncGenerator[Delta, None]:
        async for delta in deltas:
            if delta.usage is not None:
                self.usage += delta.usage
            if delta.text or delta.finish_reason is not None:
                yield delta
