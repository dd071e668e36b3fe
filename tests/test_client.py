"""The client, against a real gateway over connections that break, and against scripted ones."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import tenacity
from aiohttp import web
from gateways import ENDING, PLAN, gateway

from executor.errors import EngineError, HeadstartError, RunError, UsageError
from executor.events import (
    Event,
    PlanText,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunStarted,
    to_wire,
)
from executor.stats import Stats
from serving import client as client_module
from serving.client import SILENCE_SECONDS, Client, GatewayError, ProblemError, RunStream
from serving.gateway.server import listen
from serving.gateway.streams import PING_SECONDS
from serving.scripted import Chunk, ScriptedModel, SteadyModel

FOREVER = [Chunk("1. ", 0.0), Chunk("join()", 3600.0)]
STATS = Stats(
    seconds=1.0,
    time_to_first_task=None,
    plan_seconds=1.0,
    tools_seconds=0.0,
    overlap_seconds=0.0,
    ideal_seconds=1.0,
    efficiency=1.0,
    critical_path=[],
)


@pytest.fixture(autouse=True)
def _no_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "BACK_OFF", tenacity.wait_none())


# A connection that breaks where the test wants it

Cut = Callable[[bytes], int | None]  # of an answer so far: behind how many bytes it breaks


def nowhere(answer: bytes) -> int | None:
    return None


def at(length: int) -> Cut:
    return lambda answer: length if len(answer) >= length else None


def behind_head(answer: bytes) -> int | None:
    head, end, _ = answer.partition(b"\r\n\r\n")
    return len(head + end) if end else None


def behind(messages: int, more: int = 0) -> Cut:
    """Behind so many messages, and some bytes."""

    def cut(answer: bytes) -> int | None:
        *whole, rest = answer.split(b"\n\n", messages)
        end = len(answer) - len(rest) + more
        return end if len(whole) == messages and end <= len(answer) else None

    return cut


@dataclass
class Proxy:
    """Stands before a gateway. The n-th connection breaks where the n-th cut says."""

    port: int  # of the gateway
    cuts: Iterator[Cut]
    how: str = "close"  # reset, or stall
    url: str = ""
    requests: list[str] = field(default_factory=list)
    is_asked: asyncio.Event = field(default_factory=asyncio.Event)
    may_ask: asyncio.Event = field(default_factory=asyncio.Event)
    is_answered: asyncio.Event = field(default_factory=asyncio.Event)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)
    _handlers: set[asyncio.Task[None]] = field(default_factory=set)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Proxy]:
        self.may_ask.set()
        self.may_answer.set()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            self.cut_all()
            await asyncio.gather(*self._handlers)

    def cut_all(self) -> None:
        self.may_ask.set()
        self.may_answer.set()
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        self._writers.append(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(head.partition(b" HTTP")[0].decode())
            self.is_asked.set()
            await self.may_ask.wait()
            cut = next(self.cuts, nowhere)
            answering, asking = await asyncio.open_connection("127.0.0.1", self.port)
            self._writers.append(asking)
            asking.write(head)
            passing = asyncio.create_task(self._pass(reader, asking))
            is_cut = await self._answer(answering, writer, cut)
            if is_cut and self.how == "stall":
                await passing
            if self.how == "reset":
                linger = writer.get_extra_info("socket").setsockopt
                linger(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.close()
            asking.close()
            await passing
        writer.close()

    async def _pass(self, reader: asyncio.StreamReader, asking: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                asking.write(data)
        asking.close()  # the gateway is to see that the reader is gone

    async def _answer(
        self, answering: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: Cut
    ) -> bool:
        """Whether it is cut off."""
        answer, end = b"", None
        while end is None and (data := await answering.read(65536)):
            self.is_answered.set()
            await self.may_answer.wait()
            passed, answer = len(answer), answer + data
            end = cut(answer)
            writer.write(answer[passed:end])
        return end is not None


def port(url: str) -> int:
    return int(url.rpartition(":")[2])


@dataclass
class Line:
    """A gateway, a proxy before it, and clients of both."""

    model: ScriptedModel
    proxy: Proxy
    client: Client
    direct: Client  # past the proxy

    async def states(self) -> list[str]:
        return [run.status for run in (await self.direct.runs()).runs]


@asynccontextmanager
async def line(
    directory: Path,
    model: ScriptedModel | None = None,
    *cuts: Cut,
    how: str = "close",
    silence: float = SILENCE_SECONDS,
) -> AsyncIterator[Line]:
    model = model or SteadyModel(PLAN, ENDING)
    async with (
        gateway(directory, model) as served,
        Proxy(port(served.url), iter(cuts), how).running() as proxy,
        Client(served.url) as direct,
        Client(proxy.url, silence=silence) as client,
    ):
        yield Line(model, proxy, client, direct)


async def all_of(run: RunStream) -> list[Event]:
    """The events, of which none is left out and none comes twice."""
    events = [event async for event in run]
    assert [event.seq for event in events] == list(range(len(events)))
    return events


async def test_a_question_is_answered(tmp_path: Path) -> None:
    async with line(tmp_path) as there:
        assert await there.client.ask("What is 21 * 2?", tools=None) == "It is 42."
        assert [request.split()[0] for request in there.proxy.requests] == ["POST"]


async def test_a_run_is_its_events_in_order(tmp_path: Path) -> None:
    async with line(tmp_path) as there:
        async with there.client.run("?", tools=["calculate"], metadata={"from": "me"}) as run:
            with pytest.raises(RunError, match="read its events to the last"):
                _ = run.answer
            events = await all_of(run)
            assert [event async for event in run] == []
        assert isinstance(events[0], RunStarted)
        assert events[0].run_id == run.id
        assert "".join(each.text for each in events if isinstance(each, PlanText)) == PLAN
        assert isinstance(events[-1], RunFinished)
        assert events[-1].answer == run.answer == "It is 42."
        kept = await there.client.get(run.id)
        assert (kept.status, kept.tools, kept.metadata) == (
            "finished",
            ["calculate"],
            {"from": "me"},
        )
        async with there.client.follow(run.id) as again:
            assert await all_of(again) == events


async def test_runs_are_listed_a_page_at_a_time_and_tools(tmp_path: Path) -> None:
    async with line(tmp_path) as there:
        for number in range(3):
            await there.client.ask(str(number))
        first = await there.client.runs(limit=2)
        rest = await there.client.runs(limit=2, before=first.next)
        assert [run.question for run in [*first.runs, *rest.runs]] == ["2", "1", "0"]
        assert rest.next is None
        assert [tool.name for tool in await there.client.tools()] == ["search", "calculate"]


async def test_a_run_without_an_answer_is_an_error_of_who_asks(tmp_path: Path) -> None:
    model = ScriptedModel([[EngineError("the engine stopped")]])
    async with line(tmp_path, model) as there:
        with pytest.raises(RunError, match="the engine stopped") as raised:
            await there.client.ask("?")
        assert raised.value.reason == "engine"


# Connections that break

CUTS: dict[str, tuple[Cut, ...]] = {
    "behind the head": (behind_head,),
    "between messages": (behind(3),),
    "in a message": (behind(3, 9),),
    "before its end": (behind(3, -1),),
    "before the first byte of the second answer": (behind(2), at(0)),
    "in the head of the second answer": (behind(2), at(20)),
    "several times": (behind_head, behind(1), behind(1, 5), at(0), behind_head, behind(2, -3)),
}


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("cuts", CUTS.values(), ids=CUTS)
async def test_a_run_is_followed_over_connections_that_break(
    tmp_path: Path, cuts: tuple[Cut, ...], how: str
) -> None:
    async with line(tmp_path, None, *cuts, how=how) as there:
        async with there.client.run("?") as run:
            events = await all_of(run)
        assert isinstance(events[-1], RunFinished)
        async with there.direct.follow(run.id) as whole:
            assert await all_of(whole) == events
        first, *others = there.proxy.requests
        assert first == "POST /v1/runs"
        assert set(others) <= {f"GET /v1/runs/{run.id}/events"}
        assert how == "reset" or len(others) == len(cuts)
        assert await there.states() == ["finished"]


async def test_wherever_a_connection_breaks_each_event_comes_once(tmp_path: Path) -> None:
    async with line(tmp_path) as there:
        async with there.client.run("?") as run:
            events = await all_of(run)
        size = 400 + sum(len(json.dumps(to_wire(event))) + 40 for event in events)
        cuts = [behind(n, more) for n in range(1, len(events)) for more in (-1, 0, 1)]
        cuts += [at(length) for length in range(0, size, 53)]
        for cut in cuts:
            there.proxy.cuts = iter([cut])
            async with there.client.follow(run.id) as again:
                assert await all_of(again) == events


async def test_each_connection_may_break_behind_its_first_message(tmp_path: Path) -> None:
    async with line(tmp_path) as there:
        async with there.client.run("?") as run:
            events = await all_of(run)
        there.proxy.requests.clear()
        there.proxy.cuts = itertools.repeat(behind(1))
        async with there.client.follow(run.id) as again:
            assert await all_of(again) == events
        assert len(there.proxy.requests) >= len(events) - 1


async def test_a_connection_that_is_silent_is_given_up(tmp_path: Path) -> None:
    async with line(tmp_path, None, how="stall", silence=0.05) as there:
        async with there.direct.run("?") as run:
            events = await all_of(run)
        there.proxy.cuts = iter([behind(2, 3), at(0), behind_head])
        async with there.client.follow(run.id) as again:
            assert await all_of(again) == events
        assert len(there.proxy.requests) >= 4
    assert SILENCE_SECONDS > 2 * PING_SECONDS


async def test_a_run_that_ended_before_the_gateway_began_anew(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        there = await stack.enter_async_context(line(tmp_path / "old", None, behind(3)))
        run = await stack.enter_async_context(there.client.run("?"))
        events = [await anext(run), await anext(run)]
        async with there.direct.follow(run.id) as whole:
            all_events = await all_of(whole)
        there.proxy.port = await restarted(stack, tmp_path)
        events += [event async for event in run]
        assert events == all_events
        assert run.answer == "It is 42."


async def test_a_run_that_the_gateway_s_death_interrupted(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        there = await stack.enter_async_context(
            line(tmp_path / "old", SteadyModel(FOREVER, ENDING))
        )
        run = await stack.enter_async_context(there.client.run("?"))
        events = []
        async for event in run:
            events.append(event)
            if isinstance(event, PlanText):
                there.proxy.port = await restarted(stack, tmp_path)
                there.proxy.cut_all()
        assert [event.seq for event in events] == list(range(len(events)))
        assert isinstance(events[-1], RunFailed)
        with pytest.raises(RunError, match="ask again") as raised:
            _ = run.answer
        assert raised.value.reason == "interrupted"


async def restarted(stack: AsyncExitStack, directory: Path) -> int:
    """The port of a gateway with what one killed at this moment leaves behind."""
    shutil.copytree(directory / "old", directory / "new")
    return port((await stack.enter_async_context(gateway(directory / "new"))).url)


async def test_a_question_that_got_no_answer_is_not_asked_again(tmp_path: Path) -> None:
    async with line(tmp_path, None, at(0)) as there:
        with pytest.raises(
            GatewayError, match=r"broke off \(Server disconnected\); .* see the latest runs"
        ):
            await there.client.ask("?")
        assert there.proxy.requests == ["POST /v1/runs"]
        assert len(await there.states()) == 1


async def test_a_wait_for_an_event_may_be_cancelled_and_begun_again(tmp_path: Path) -> None:
    async with (
        line(tmp_path, SteadyModel(FOREVER, ENDING)) as there,
        there.client.run("?") as run,
    ):
        events = await until_it_writes(run)
        waiting = asyncio.ensure_future(anext(run))
        await asyncio.wait([waiting], timeout=0)
        waiting.cancel()
        await asyncio.wait([waiting])
        await there.direct.cancel(run.id)
        events += [event async for event in run]
        assert [event.seq for event in events] == list(range(len(events)))
        assert isinstance(events[-1], RunCancelled)


async def until_it_writes(run: RunStream) -> list[Event]:
    """The events to the first text of the plan."""
    events = []
    async for event in run:
        events.append(event)
        if isinstance(event, PlanText):
            return events
    raise AssertionError("it ended")


# Leaving


async def stop(run: RunStream) -> None:
    await until_it_writes(run)


async def fail(run: RunStream) -> None:
    await until_it_writes(run)
    raise KeyError("a fault of the caller's")


async def be_cancelled(run: RunStream) -> None:
    await until_it_writes(run)
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await anext(run)


async def read_nothing(run: RunStream) -> None:
    pass


LEAVING = {
    "at an event": (stop, None),
    "by an exception": (fail, KeyError),
    "cancelled": (be_cancelled, asyncio.CancelledError),
    "at once": (read_nothing, None),
}


@pytest.mark.parametrize(("how", "raised"), LEAVING.values(), ids=LEAVING)
async def test_who_leaves_a_run_cancels_it(
    tmp_path: Path, how: Callable[[RunStream], Any], raised: type[BaseException] | None
) -> None:
    async def leave(there: Line) -> None:
        async with there.client.run("?") as run:
            await how(run)

    async with line(tmp_path, SteadyModel(FOREVER, ENDING)) as there:
        [left] = await asyncio.gather(leave(there), return_exceptions=True)
        assert left is None if raised is None else isinstance(left, raised)
        assert there.model.open_streams == 0
        assert await there.states() == ["cancelled"]


async def test_who_leaves_while_the_run_begins_cancels_it(tmp_path: Path) -> None:
    async with line(tmp_path, SteadyModel(FOREVER, ENDING)) as there:
        there.proxy.may_answer.clear()
        asking = asyncio.ensure_future(there.client.ask("?"))
        await there.proxy.is_answered.wait()
        asking.cancel()
        there.proxy.may_answer.set()
        await asyncio.wait([asking])
        assert asking.cancelled()
        assert there.model.open_streams == 0
        assert await there.states() == ["cancelled"]


async def test_a_second_cancellation_does_not_keep_the_run_alive(tmp_path: Path) -> None:
    async with line(tmp_path, SteadyModel(FOREVER, ENDING)) as there:
        proxy, is_writing = there.proxy, asyncio.Event()

        async def ask() -> None:
            async with there.client.run("?") as run:
                await until_it_writes(run)
                is_writing.set()
                await anext(run)

        asking = asyncio.ensure_future(ask())
        await is_writing.wait()
        proxy.may_ask.clear()
        proxy.is_asked.clear()
        asking.cancel()
        await proxy.is_asked.wait()  # to cancel the run
        asking.cancel()
        done, _ = await asyncio.wait([asking], timeout=0.05)
        assert not done
        proxy.may_ask.set()
        await asyncio.wait([asking])
        assert asking.cancelled()
        assert await there.states() == ["cancelled"]


async def test_a_run_that_is_over_is_not_cancelled(tmp_path: Path) -> None:
    async with line(tmp_path) as there:
        async with there.client.run("?") as run:
            async for event in run:
                if isinstance(event, RunFinished):
                    break
        assert there.proxy.requests == ["POST /v1/runs"]


async def test_who_can_not_cancel_a_run_is_warned(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with line(tmp_path, SteadyModel(FOREVER, ENDING)) as there:
        async with there.client.run("?"):
            there.proxy.cuts = itertools.repeat(at(0))
        assert "a run could not be cancelled, and may go on: the gateway at" in caplog.text


async def test_who_follows_a_run_leaves_it_alone(tmp_path: Path) -> None:
    async with (
        line(tmp_path, SteadyModel(FOREVER, ENDING)) as there,
        there.direct.run("?") as run,
    ):
        async with there.client.follow(run.id) as followed:
            await until_it_writes(followed)
        assert await there.states() == ["running"]


@pytest.mark.parametrize("left", [1, 0], ids=["one is left", "none is left"])
async def test_a_run_is_followed_from_any_event(tmp_path: Path, left: int) -> None:
    async with line(tmp_path) as there:
        async with there.client.run("?") as run:
            events = await all_of(run)
        async with there.client.follow(run.id, after=events[-1].seq - left) as rest:
            assert [event async for event in rest] == events[len(events) - left :]
            assert rest.answer == "It is 42."


# What is refused, and who is not there


async def test_a_refusal_is_a_problem(tmp_path: Path) -> None:
    async with line(tmp_path) as there:
        with pytest.raises(ProblemError, match="no such tool: fly") as raised:
            await there.client.ask("?", tools=["fly"])
        told = raised.value
        assert (told.type, told.status, told.retry_after) == ("invalid-request", 422, None)
        for request in (there.client.get("no/pe?"), there.client.cancel("nope")):
            with pytest.raises(ProblemError, match="there is no run") as raised:
                await request
            assert (raised.value.type, raised.value.status) == ("not-found", 404)
        with pytest.raises(ProblemError, match="there is no run nope"):
            async with there.client.follow("nope") as run:
                await anext(run)


@pytest.mark.parametrize("url", ["", "localhost:8080", "ftp://host", "http://", "http://host:x"])
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(UsageError, match="it looks like http://host:port"):
        Client(url)


async def test_nobody_listens() -> None:
    async with Client("http://127.0.0.1:9", patience=0) as client:
        with pytest.raises(GatewayError, match=r"no gateway answers at \S+:9/ .*; is it"):
            await client.ask("?")
        with pytest.raises(GatewayError, match="run x may go on: follow it behind event 5"):
            async with client.follow("x", after=5) as run:
                await anext(run)


async def test_a_client_is_used_inside_its_block() -> None:
    with pytest.raises(UsageError, match="async with Client"):
        await Client("http://127.0.0.1:9").tools()


# A gateway of another version, or something else altogether


@asynccontextmanager
async def scripted(*answers: dict[str, Any]) -> AsyncIterator[Scripted]:
    """A server that gives these answers in turn, and a client of it."""
    there = Scripted(iter(answers))
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", there.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    listener = listen("127.0.0.1", 0)
    await web.SockSite(runner, listener).start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/base/v1/"
    async with Client(url, "a key") as there.client:
        yield there
    await runner.cleanup()


@dataclass
class Scripted:
    answers: Iterator[dict[str, Any]]
    requests: list[web.BaseRequest] = field(default_factory=list)
    client: Client = field(init=False)

    async def answer(self, request: web.Request) -> web.Response:
        self.requests.append(request)
        return web.Response(**next(self.answers))

    @property
    def seen(self) -> list[str | None]:
        """What each request said that it had seen."""
        return [request.headers.get("Last-Event-ID") for request in self.requests]


def stream(*events: dict[str, Any]) -> dict[str, Any]:
    """An answer with these events, each between two comments."""
    text = "".join(f": here\n\nid: {each['seq']}\ndata: {json.dumps(each)}\n\n" for each in events)
    headers = {"Location": "/base/v1/runs/one"}
    return {"text": text, "content_type": "text/event-stream", "headers": headers}


def refusal(status: int, type: str, retry_after: str) -> dict[str, Any]:
    document = {"type": f"urn:headstart:problem:{type}", "detail": "not now", "status": status}
    return {
        "text": json.dumps(document),
        "status": status,
        "content_type": "application/problem+json",
        "headers": {"Retry-After": retry_after},
    }


def text(seq: int) -> dict[str, Any]:
    return {"type": "answer_text", "seq": seq, "at": 0.0, "text": str(seq)}


def news(seq: int) -> dict[str, Any]:
    return {"type": "weather", "seq": seq, "at": 0.0, "sun": True}


def end(seq: int, answer: str = "done") -> dict[str, Any]:
    return to_wire(RunFinished(seq=seq, at=0.0, answer=answer, stats=STATS))


HTML = {"text": "<html>", "content_type": "text/html"}
BAD_GATEWAY = {**HTML, "status": 502, "headers": {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}}

# answers; the events that are shown; what each request has seen
TOLD: dict[str, tuple[list[dict[str, Any]], list[int], list[str | None]]] = {
    "unknown events": (
        [stream(news(0), text(1), news(2), news(3)), stream(end(4))],
        [1, 4],
        [None, "3"],
    ),
    "events twice": (
        [stream(text(0), text(0), text(1)), stream(text(0), text(1), end(2))],
        [0, 1, 2],
        [None, "1"],
    ),
    "a gap": (
        [stream(text(0), text(2), end(3)), stream(text(2)), stream(text(1), text(2), end(3))],
        [0, 1, 2, 3],
        [None, "0", "0"],
    ),
    "too long for a line": ([stream(end(0, "x" * 1_000_000))], [0], [None]),
    "refused for a while": (
        [stream(text(0)), refusal(503, "shutting-down", "0"), BAD_GATEWAY, stream(end(1))],
        [0, 1],
        [None, "0", "0", "0"],
    ),
    "no event yet": ([stream(), stream(end(0))], [0], [None, None]),
}


@pytest.mark.parametrize(("answers", "shown", "seen"), TOLD.values(), ids=TOLD)
async def test_what_a_gateway_may_tell(
    answers: list[dict[str, Any]], shown: list[int], seen: list[str | None]
) -> None:
    async with scripted(*answers) as there:
        async with there.client.run("?") as run:
            assert [event.seq async for event in run] == shown
        assert there.seen == seen
        assert [request.path for request in there.requests] == [
            "/base/v1/runs",
            *["/base/v1/runs/one/events"] * (len(seen) - 1),
        ]
        assert {request.headers["Authorization"] for request in there.requests} == {"Bearer a key"}


WORN_OUT: dict[str, tuple[dict[str, Any], type[HeadstartError], str]] = {
    "asked for more time than there is": (
        refusal(503, "shutting-down", "3600"),
        ProblemError,
        "not now",
    ),
    "the run is gone": (refusal(404, "not-found", ""), ProblemError, "not now"),
    "something in front of it": (
        {**BAD_GATEWAY, "headers": {"Retry-After": "3600"}},
        ProblemError,
        "in front of .* answers 502 Bad Gateway",
    ),
    "events that are none": (stream({"seq": 1, "type": "plan_started"}), UsageError, "no gateway"),
    "not even JSON": (
        {"text": "data: {\n\n", "content_type": "text/event-stream"},
        UsageError,
        "no gateway",
    ),
    "a page": (HTML, UsageError, "answers 'text/html'; look at the URL"),
    "no such page": ({**HTML, "status": 404}, UsageError, "answers '404 Not Found'"),
}


@pytest.mark.parametrize(("answer", "kind", "said"), WORN_OUT.values(), ids=WORN_OUT)
async def test_what_can_not_be_followed_any_more(
    answer: dict[str, Any], kind: type[HeadstartError], said: str
) -> None:
    first = stream(text(0), {"seq": 1, "type": "plan_started"})  # the second is none
    async with scripted(first, answer) as there, there.client.follow("one") as run:
        assert (await anext(run)).seq == 0
        with pytest.raises(kind, match=said):
            await anext(run)
        assert there.seen == [None, "0"]


STRANGERS = {
    "a page": HTML,
    "another page": {**HTML, "status": 404},
    "no name": {"content_type": "text/event-stream"},
}


@pytest.mark.parametrize("answer", STRANGERS.values(), ids=STRANGERS)
async def test_who_is_no_gateway(answer: dict[str, Any]) -> None:
    async with scripted(answer, {"text": "[]"}) as there:
        with pytest.raises(UsageError, match="is no gateway"):
            await there.client.ask("?")
        with pytest.raises(UsageError, match="is no gateway"):
            await there.client.runs()


def test_the_client_is_light() -> None:
    heavy = {"torch", "vllm", "transformers", "outlines", "jsonschema", "serving.compiler"}
    script = f"import sys, serving.client; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
