"""The model as the rest of the code sees it, and our client of a vLLM server.

Outlines' own vLLM client drops the finish reason from a stream, and with it the difference
between a plan that has ended and one that ran out of tokens; so the stream is read here.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import aiohttp

from executor.errors import EngineError, UsageError
from executor.events import Usage
from planner_prompts.messages import Message
from planner_prompts.profile import FEW_SHOT, Profile
from serving import trace_context

CONNECT_SECONDS = 5.0
PostMortem = Callable[[], Awaitable[str]]

SHORT_REPLY_SECONDS = 30.0  # for requests that generate nothing


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of generated text. `finish_reason`, stop or length, stands in the last one. `usage`
    stands there or behind it, if the engine tells it."""

    text: str
    finish_reason: str | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to write: at most `max_tokens`, only what `regex` matches as a whole."""

    max_tokens: int
    regex: str | None = None
    temperature: float = 0.0


class Model(Protocol):
    """A chat model. `context_tokens` is what prompt and reply may take together."""

    @property
    def name(self) -> str: ...

    @property
    def context_tokens(self) -> int: ...

    @property
    def profile(self) -> Profile:
        """How it wants to be addressed."""

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        """How many tokens the prompt has."""

    def stream(
        self, messages: Sequence[Message], sampling: Sampling
    ) -> AbstractAsyncContextManager[AsyncIterator[Delta]]:
        """The reply as it is written. Leaving the block ends the generation."""


class VllmModel:
    """Talks to one vLLM server. Use it as `async with VllmModel.connect(url, key) as model`."""

    def __init__(
        self, server: _Server, name: str, context_tokens: int, profile: Profile = FEW_SHOT
    ) -> None:
        self._server = server
        self._name = name
        self._context_tokens = context_tokens
        self._profile = profile

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        url: str,
        key: str = "",
        name: str = "",
        post_mortem: PostMortem | None = None,
        profile: Profile = FEW_SHOT,
    ) -> AsyncIterator[VllmModel]:
        """Asks the server at `url` what it serves; `name` chooses if that is more than one model.

        Raises EngineError if nobody answers, the key is wrong, or the model is not there.
        `post_mortem` tells what to add to an error, if the one who started the server knows.
        """
        base = url.rstrip("/").removesuffix("/v1") + "/"
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # A connection kept for the next request may be closed by the server just as that is sent.
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        try:
            session = aiohttp.ClientSession(base, headers=headers, connector=connector)
        except ValueError:
            await connector.close()
            raise UsageError(f"{url!r} is no URL; it looks like http://host:port") from None
        async with session, AsyncExitStack() as stack:
            server = _Server(session, base, post_mortem)
            stack.callback(server.break_off)
            async with server.request("GET", "v1/models") as response:
                served = _context_tokens_by_name(await response.text(), base)
            chosen = name or next(iter(served), "")
            if chosen not in served:
                raise EngineError(f"the engine at {base} serves {', '.join(served)}, not {name!r}")
            yield cls(server, chosen, served[chosen], profile)

    @property
    def name(self) -> str:
        return self._name

    @property
    def context_tokens(self) -> int:
        return self._context_tokens

    @property
    def profile(self) -> Profile:
        return self._profile

    async def check(self) -> None:
        """Raises EngineError if the engine does not serve."""
        async with self._server.request("GET", "health"):
            pass

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        body = {"model": self._name, "messages": list(messages)}
        async with self._server.request("POST", "tokenize", body) as response:
            return int((await response.json())["count"])

    @asynccontextmanager
    async def stream(
        self, messages: Sequence[Message], sampling: Sampling
    ) -> AsyncIterator[AsyncIterator[Delta]]:
        body: dict[str, Any] = {
            "model": self._name,
            "messages": list(messages),
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if sampling.regex is not None:
            body["structured_outputs"] = {"regex": sampling.regex}
        async with (
            self._server.request("POST", "v1/chat/completions", body, seconds=None) as response,
            aclosing(_deltas(response)) as deltas,
        ):
            yield deltas


@dataclass(frozen=True, slots=True, eq=False)
class _Server:
    session: aiohttp.ClientSession
    url: str
    post_mortem: PostMortem | None
    responses: set[aiohttp.ClientResponse] = field(default_factory=set)  # that are being read

    def break_off(self) -> None:
        """Whoever still reads gets an error: closing the session alone, he would wait for ever."""
        for response in list(self.responses):
            response.close()

    @asynccontextmanager
    async def request(
        self, method: str, path: str, body: Any = None, seconds: float | None = SHORT_REPLY_SECONDS
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A request whose every failure is an EngineError."""
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS)
        headers = trace_context.headers()
        try:
            async with self.session.request(
                method, path, json=body, timeout=timeout, headers=headers
            ) as response:
                if response.status >= 400:
                    raise EngineError(await _refusal(response))
                self.responses.add(response)
                try:
                    yield response
                finally:
                    self.responses.discard(response)
        except aiohttp.ClientConnectorError as error:
            raise await self._failure(
                f"no engine answers at {self.url} ({error.os_error})"
            ) from None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise await self._failure(
                f"the engine broke off its reply ({str(error) or 'timed out'})"
            ) from None
        except _BrokenOffError as error:
            raise await self._failure(str(error)) from None
        except RuntimeError:
            if not self.session.closed:
                raise
            raise await self._failure("the engine is not in use any more") from None

    async def _failure(self, message: str) -> EngineError:
        return EngineError(message + (await self.post_mortem() if self.post_mortem else ""))


class _BrokenOffError(Exception):
    """A stream that ends too early."""


def _context_tokens_by_name(models: str, url: str) -> dict[str, int]:
    try:
        return {each["id"]: int(each["max_model_len"]) for each in json.loads(models)["data"]}
    except (ValueError, KeyError, TypeError):
        raise EngineError(f"the server at {url} is no vLLM: it does not list its models") from None


async def _refusal(response: aiohttp.ClientResponse) -> str:
    text = await response.text()
    if response.status == 401:
        return f"the engine at {response.url.origin()} refuses the key"
    try:
        reason = json.loads(text)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        reason = f"not an answer of vLLM: {' '.join(text.split())[:80]}"
    return f"the engine refused the request ({response.status}): {reason}"


async def _deltas(response: aiohttp.ClientResponse) -> AsyncGenerator[Delta, None]:
    """Server-sent events -> deltas. Ends behind the finish reason, or raises EngineError."""
    finished = False
    async for line in response.content:
        data = line.removeprefix(b"data: ").strip()
        if not line.startswith(b"data: ") or data == b"[DONE]":
            continue
        for delta in _choices(data):
            finished = finished or delta.finish_reason is not None
            yield delta
    if not finished:
        raise _BrokenOffError("the engine broke off its reply before the end")


def _choices(data: bytes) -> list[Delta]:
    try:
        event = json.loads(data)
        if "error" in event:
            reason = event["error"]["message"]
            raise _BrokenOffError(f"the engine gave up on the reply: {reason}")
        deltas = [
            Delta(choice["delta"].get("content") or "", choice["finish_reason"])
            for choice in event["choices"]
        ]
        if (used := event.get("usage")) is not None:
            usage = Usage(int(used["prompt_tokens"]), int(used["completion_tokens"]))
            deltas.append(Delta("", usage=usage))
        return deltas
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _BrokenOffError(f"the engine wrote what vLLM does not: {data[:80]!r}") from None


async def fits(model: Model, messages: Sequence[Message], reply_tokens: int) -> bool:
    """Whether the prompt leaves room for the reply. Asks the engine only when it may be close:
    a text has no more tokens than bytes.
    """
    room = model.context_tokens - reply_tokens
    at_most = sum(len(message["content"].encode()) + 16 for message in messages)
    return at_most <= room or await model.count_tokens(messages) <= room
