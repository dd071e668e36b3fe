"""A model that replays given texts with chosen chunks and delays, for timing and fault tests.

It obeys no grammar and knows nothing; what a real engine is for, test on a real engine.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from copy import copy
from dataclasses import dataclass

from executor.events import Usage
from planner_prompts.messages import Message
from planner_prompts.profile import FEW_SHOT, Profile
from serving.model import Delta, Sampling

KEPT = 100  # requests
_TOKEN = re.compile(r"\w{1,6}|\s|[^\w\s]")  # about as coarse as a language model's tokens


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of text, after a wait in seconds."""

    text: str
    wait: float = 0.0


def at_rate(text: str, tokens_per_second: float) -> list[Chunk]:
    """The text token by token at an even pace."""
    return [Chunk(token, 1 / tokens_per_second) for token in _TOKEN.findall(text)]


Reply = str | Sequence[Chunk | Exception]


class ScriptedModel:
    """Each call of `stream` replays the next reply: a text at once, or chunks.

    Of an exception in a reply's place a copy is raised there. `requests` keeps what was asked last.
    """

    name = "scripted"
    context_tokens = 8192
    profile: Profile = FEW_SHOT

    def __init__(self, replies: Iterable[Reply]) -> None:
        self._replies = iter(replies)
        self.requests: deque[tuple[list[Message], Sampling]] = deque(maxlen=KEPT)
        self.open_streams = 0

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        return sum(len(_TOKEN.findall(message["content"])) for message in messages)

    @asynccontextmanager
    async def stream(
        self, messages: Sequence[Message], sampling: Sampling
    ) -> AsyncIterator[AsyncIterator[Delta]]:
        self.requests.append((list(messages), sampling))
        reply = self._reply(messages)
        chunks = [Chunk(reply)] if isinstance(reply, str) else reply
        self.open_streams += 1
        try:
            prompt_tokens = sum(len(message["content"]) for message in messages) // 4  # or so
            replay = self._replay(chunks, sampling.max_tokens, prompt_tokens)
            async with aclosing(replay) as deltas:
                yield deltas
        finally:
            self.open_streams -= 1

    def _reply(self, messages: Sequence[Message]) -> Reply:
        return next(self._replies)

    async def _replay(
        self, chunks: Sequence[Chunk | Exception], max_tokens: int, prompt_tokens: int
    ) -> AsyncGenerator[Delta, None]:
        due = asyncio.get_running_loop().time()
        for chunk in chunks[:max_tokens]:
            if isinstance(chunk, Exception):
                raise copy(chunk)  # it holds where it has been, and the script may be played again
            due += chunk.wait
            await _until(due)
            yield Delta(chunk.text)
        reason = "length" if len(chunks) > max_tokens else "stop"
        yield Delta("", reason, Usage(prompt_tokens, min(len(chunks), max_tokens)))


class SteadyModel(ScriptedModel):
    """Writes the same plan and the same ending in every run, however many there are at once."""

    def __init__(self, plan: Reply, ending: Reply) -> None:
        super().__init__(())
        self._plan = plan
        self._ending = ending

    def _reply(self, messages: Sequence[Message]) -> Reply:
        *_, before, _ = messages
        has_planned = before["role"] == "assistant" and before["content"][:1].isdigit()
        return self._ending if has_planned else self._plan


async def _until(due: float) -> None:
    """Waits for a moment, not for a span, so that late wake-ups do not add up."""
    await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
