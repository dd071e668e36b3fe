"""A gateway on a free port of the loopback, with a model that writes what the test wants."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from executor.builtin import TOOLBOX
from executor.executor import Executor
from executor.tools import ToolBox
from serving.gateway.gateway import Gateway
from serving.gateway.history import History
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
    """What a test has in hand: the gateway itself, and a way to send it requests."""

    gateway: Gateway
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
        return response


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
    settings, model = settings or Settings(), model or quick_model()
    async with History.open(directory / "history.db", settings.keep_days) as history:
        runs = Runs(history, running=settings.max_runs, waiting=settings.max_waiting)
        with closing(Executor(toolbox, max_running=settings.max_running)) as executor:
            made = Gateway(settings, executor, (), lambda: model, runs)
            listener = listen("127.0.0.1", 0)
            async with listening(made, listener), aiohttp.ClientSession() as http:
                url = f"http://127.0.0.1:{listener.getsockname()[1]}"
                client = Client(made, history, url, http)
                yield client
                await runs.close(grace=0)
                for response in client.responses:
                    response.close()
