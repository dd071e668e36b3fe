"""A client of the gateway: questions in, typed events out, over connections that may break."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypedDict, Unpack
from urllib.parse import quote

import aiohttp
import tenacity

from executor.errors import HeadstartError, RunError
from executor.events import EVENTS, LAST, Event, RunCancelled, RunFailed, RunFinished, from_wire
from serving.client_http import GatewayError, GatewayHttp, ProblemError
from serving.gateway.bodies import Run, RunList, ToolDescription, ToolList

__all__ = ["Client", "GatewayError", "Options", "ProblemError", "RunStream"]

log = logging.getLogger("headstart.client")

SILENCE_SECONDS = 40.0  # the gateway says something every 15
PATIENCE_SECONDS = 300.0
LEAVE_SECONDS = 10.0  # that leaving a run may take
BACK_OFF = tenacity.wait_random_exponential(multiplier=0.5, max=15)


class Options(TypedDict, total=False):
    """How a question is to be answered; what is absent or None is as the gateway has it."""

    tools: Sequence[str] | None  # names of those that may be used
    deadline_seconds: float | None
    max_plans: int | None
    answer_schema: Mapping[str, Any] | None  # a JSON Schema: the answer is JSON text that fits it
    metadata: Mapping[str, str] | None  # kept with the run


class Client:
    """Use it as `async with Client(url) as client`.

    A run whose connection breaks, or is silent for `silence` seconds, is followed on a new one; no
    more try begins when no message has come for `patience` seconds. All else is tried once.
    Whatever it does raises GatewayError, ProblemError or UsageError.
    """

    def __init__(
        self,
        url: str,
        key: str = "",
        *,
        silence: float = SILENCE_SECONDS,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._http = GatewayHttp(url, key, silence)
        self._patience = patience

    async def __aenter__(self) -> Client:
        self._http.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def ask(self, question: str, **options: Unpack[Options]) -> str:
        """The answer to a question. Raises RunError if the run ends without one."""
        async with self.run(question, **options) as run:
            async for _ in run:
                pass
            return run.answer

    @asynccontextmanager
    async def run(self, question: str, **options: Unpack[Options]) -> AsyncIterator[RunStream]:
        """Begins a run and yields its events. Leaving the block before the last one cancels it."""
        asked = {name: value for name, value in options.items() if value is not None}
        body = {"question": question, **asked, "on_disconnect": "continue"}
        begun = asyncio.create_task(self._begin(body))
        try:
            await asyncio.wait([begun])
            yield begun.result()
        finally:
            if not (begun.done() and begun.exception()):
                await _to_the_end(self._leave(begun))

    @asynccontextmanager
    async def follow(self, id: str, after: int = -1) -> AsyncIterator[RunStream]:
        """Yields the events of a run behind the one numbered `after`, those to come included.
        Leaving the block leaves the run alone."""
        stream = RunStream(self._http, id, self._patience, after)
        try:
            yield stream
        finally:
            stream.close()

    async def runs(self, limit: int = 20, before: str | None = None) -> RunList:
        """The latest runs, or those before one of them; `next` is the next page's `before`."""
        page = {} if before is None else {"before": before}
        return await self._http.fetch(RunList, "GET", "v1/runs", limit=str(limit), **page)

    async def get(self, id: str) -> Run:
        """A run as it stands."""
        return await self._http.fetch(Run, "GET", _path(id))

    async def cancel(self, id: str) -> Run:
        """Ends a run, and returns it as it then stands; one that has ended stays as it is."""
        return await self._http.fetch(Run, "DELETE", _path(id))

    async def tools(self) -> list[ToolDescription]:
        """The tools that runs may use."""
        return (await self._http.fetch(ToolList, "GET", "v1/tools")).tools

    async def _begin(self, body: Mapping[str, Any]) -> RunStream:
        """Asks once: whoever asked again might have two runs."""
        response = await self._http.stream("POST", "v1/runs", {}, body)
        id = response.headers.get("Location", "").rpartition("/")[2]
        if not id:
            response.close()
            raise self._http.stranger("without a Location")
        return RunStream(self._http, id, self._patience, response=response)

    async def _leave(self, begun: asyncio.Task[RunStream]) -> None:
        """Cancels a run that has not ended, even one whose beginning is not confirmed yet."""
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                stream = await begun
                stream.close()
                if not stream.is_over:
                    await self.cancel(stream.id)
        except (HeadstartError, TimeoutError) as error:
            reason = str(error) or f"no answer within {LEAVE_SECONDS:g} s"
            log.warning("a run could not be cancelled, and may go on: %s", reason)


class RunStream:
    """A run's events, each once and in order, to the last. Iterate over it in one task at a time;
    a wait for an event may be cancelled, and begun again."""

    def __init__(
        self,
        http: GatewayHttp,
        id: str,
        patience: float,
        after: int = -1,
        response: aiohttp.ClientResponse | None = None,
    ) -> None:
        self.id = id
        self._http = http
        self._after = after
        # The event `after` is read once more: if it was the last, nothing would ever come.
        self._seq = max(after - 1, -1)  # of the last event that was read
        self._response = response
        self._rest = b""  # of a message that has not come whole
        self._events: deque[Event] = deque()  # read, not yet shown
        self._last: Event | None = None
        self._retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(_is_passing),
            wait=_wait,
            stop=tenacity.stop_before_delay(patience),
            reraise=True,
        )

    @property
    def is_over(self) -> bool:
        """Whether the last event is here, shown or not."""
        return self._last is not None

    @property
    def answer(self) -> str:
        """The run's answer. Raises RunError if it ended without one, or has not ended yet."""
        match self._last:
            case RunFinished(answer=answer):
                return answer
            case RunFailed() | RunCancelled() as last:
                raise RunError(last.reason, last.message)
        raise RunError("unfinished", f"run {self.id} goes on; read its events to the last one")

    def close(self) -> None:
        """Drops the connection."""
        if self._response is not None:
            self._response.close()
            self._response = None

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if self.is_over:
                raise StopAsyncIteration
            try:
                await self._retrying(self._read)
            except GatewayError as error:
                last = max(self._seq, self._after)
                told = f"{error}; run {self.id} may go on: follow it behind event {last}"
                raise GatewayError(told) from None
        return self._events.popleft()

    async def _read(self) -> None:
        """Reads on until a message is whole, on a new connection if there is none."""
        try:
            if self._response is None:
                seen = {} if self._seq < 0 else {"Last-Event-ID": str(self._seq)}
                self._response = await self._http.stream("GET", f"{_path(self.id)}/events", seen)
                self._rest = b""
            messages: list[bytes] = []
            while not messages:
                with self._http.watching():
                    data = await self._response.content.readany()
                if not data:
                    raise GatewayError(f"the events from {self._http.url} ended before the last")
                *messages, self._rest = (self._rest + data).split(b"\n\n")
            for message in messages:
                self._take(message)
        except HeadstartError:
            self.close()
            if not self._events:
                raise

    def _take(self, message: bytes) -> None:
        fields = [line.partition(b": ") for line in message.split(b"\n")]
        data = b"\n".join(value for name, _, value in fields if name == b"data")
        if not data:
            return  # a comment: the gateway is there
        try:
            told = json.loads(data)
            seq = int(told["seq"])
            # A newer gateway may tell what this program doesn't know: it counts, and isn't shown.
            event = from_wire(told) if told["type"] in EVENTS else None
        except (ValueError, KeyError, TypeError):
            raise self._http.stranger(data[:80].decode(errors="replace")) from None
        if seq > self._seq + 1:
            raise GatewayError(f"event {seq} came from {self._http.url} before {self._seq + 1}")
        if seq <= self._seq:
            return
        self._seq = seq
        if isinstance(event, LAST):
            self._last = event
        if event is not None and seq > self._after:
            self._events.append(event)


def _path(id: str) -> str:
    return f"v1/runs/{quote(id, safe='')}"


def _is_passing(error: BaseException) -> bool:
    """Whether the same request may succeed later."""
    if isinstance(error, ProblemError):
        return error.status >= 500 or error.status in (408, 429)
    return isinstance(error, GatewayError)


def _wait(state: tenacity.RetryCallState) -> float:
    """Seconds until the next try: what the gateway asks for, and not for all at once."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, ProblemError) else None
    return (asked or 0) + BACK_OFF(state)


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Does the work to its end even if this task is cancelled meanwhile."""
    task = asyncio.create_task(work)
    try:
        await asyncio.wait([task])
    finally:
        await asyncio.wait([task])
    task.result()
