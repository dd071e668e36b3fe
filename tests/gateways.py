"""A gateway on a free port of the loopback, with a model that writes what the test wants."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from contract import Contract

from executor.builtin import TOOLBOX
from executor.errors import UsageError
from executor.executor import Executor
from executor.tools import ToolBox
from serving.engine import Engine
from serving.gateway import openapi
from serving.gateway.app import make_app
from serving.gateway.gateway import Gateway
from serving.gateway.guarded import Guard
from serving.gateway.history import History
from serving.gateway.keys import Keys
from serving.gateway.runs import Runs
from serving.gateway.server import listen, listening
from serving.model import Model
from serving.scripted import SteadyModel, at_rate
from serving.settings import Settings

PLAN = '1. calculate("20 + 1")\n2. calculate("$1 * 2")\n3. join()\n'
ENDING = "Answer: It is 42."
QUICK = 2_000  # tokens a second


@dataclass
class Client:
    """What a test has in hand: the gateway itself, and a way to send it requests. What it answers
    in JSON is held against its own OpenAPI document."""

    gateway: Gateway
    app: web.Application
    history: History
    url: str
    http: aiohttp.ClientSession
    responses: list[aiohttp.ClientResponse] = field(default_factory=list)  # closed at the end

    async def post(self, path: str, body: Any, **headers: str) -> aiohttp.ClientResponse:
        return await self.send("POST", path, json=body, headers=headers)

    async def get(self, path: str, **headers: str) -> aiohttp.ClientResponse:
        return await self.send("GET", path, headers=headers)

    async def delete(self, path: str) -> aiohttp.ClientResponse:
        return await self.send("DELETE", path)

    async def send(self, method: str, path: str, **content: Any) -> aiohttp.ClientResponse:
        response = await self.http.request(method, self.url + path, **content)
        self.responses.append(response)
        if response.content_type.endswith("json") and method != "HEAD":
            told = (response.status, response.content_type, await response.text())
            self.contract.check(method, path, *told)
        return response

    @property
    def contract(self) -> Contract:
        return Contract.of(self.app[openapi.DOCUMENT])


class SlowGuard:
    """Weighs a schema for as long as the test wants; refuses it with `refusal`, if there is one."""

    def __init__(self, refusal: str = "") -> None:
        self.refusal = refusal
        self.is_asked = asyncio.Event()
        self.may_end = asyncio.Event()

    async def form(self, *_: object) -> None:
        self.is_asked.set()
        await self.may_end.wait()
        if self.refusal:
            raise UsageError(self.refusal)


def quick_model() -> SteadyModel:
    return SteadyModel(at_rate(PLAN, QUICK), at_rate(ENDING, QUICK))


@asynccontextmanager
async def gateway(
    directory: Path,
    model: Model | None = None,
    toolbox: ToolBox = TOOLBOX,
    *,
    settings: Settings | None = None,
) -> AsyncIterator[Client]:
    settings = replace(settings or Settings(), data_dir=directory)
    model = model or quick_model()
    async with History.open(settings.history_file, settings.keep_days) as history:
        runs = Runs(history, running=settings.max_runs, waiting=settings.max_waiting)
        with (
            closing(Executor(toolbox, max_running=settings.max_running)) as executor,
            closing(Guard()) as guard,
        ):
            keys = Keys(settings.keys_file, toolbox, required=False)
            made = Gateway(settings, executor, (), lambda: model, runs, keys, guard)
            listener = listen("127.0.0.1", 0)
            async with listening(made, listener), aiohttp.ClientSession() as http:
                url = f"http://127.0.0.1:{listener.getsockname()[1]}"
                client = Client(made, make_app(made), history, url, http)
                yield client
                await runs.close(0, asyncio.Event())
                for response in client.responses:
                    response.close()


@contextmanager
def with_engine(directory: Path, engine: Engine, settings: Settings) -> Iterator[str]:
    """The URL of a gateway with the real engine, on a loop in a thread of its own, for callers that
    block theirs."""
    urls: queue.Queue[str] = queue.Queue()
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        async with (
            engine.connect() as model,
            gateway(directory, model, settings=settings) as client,
        ):
            urls.put(client.url)
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=[serve()])
    thread.start()
    try:
        yield urls.get(timeout=60)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
