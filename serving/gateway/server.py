"""Brings engine, history and HTTP up, in this order's reverse down."""

from __future__ import annotations

import asyncio
import gc
import resource
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, nullcontext
from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web

from executor.errors import UsageError
from executor.executor import Executor
from executor.tools import ToolBox
from planner_prompts.examples import Example
from serving.gateway.app import make_app, shed_load, tell, tell_problems
from serving.gateway.connections import Connections
from serving.gateway.engine_keeper import EngineKeeper
from serving.gateway.gateway import Gateway
from serving.gateway.guarded import Guard
from serving.gateway.history import History
from serving.gateway.keys import Keys, is_loopback
from serving.gateway.runs import Runs
from serving.model import Model
from serving.settings import Settings

if TYPE_CHECKING:
    from serving.gateway.traces import Traces

HEAD_SECONDS = 10.0  # in which a connection must have sent the head of its next request
LINGER_SECONDS = 1.0  # for which the rest of a refused body is read, so that the refusal is, too
UNSENT_SECONDS = 12.0  # for which the peer may take nothing of what is sent to it
BACKLOG = 1_024
SWITCH_SECONDS = 0.001
MOST_CONNECTIONS = 10_000  # at once


class Stop:
    """When the gateway is to end: asked once, it lets runs end within the grace time; asked again,
    it cancels them."""

    def __init__(self) -> None:
        self.wanted = asyncio.Event()
        self.at_once = asyncio.Event()

    def ask(self) -> None:
        (self.at_once if self.wanted.is_set() else self.wanted).set()


async def serve(
    keeper: EngineKeeper,
    settings: Settings,
    toolbox: ToolBox,
    examples: Sequence[Example],
    listener: socket.socket,
    ready: Callable[[Model], None],
    stop: Stop,
) -> None:
    """Serves until it is to stop. `ready` is called when the engine serves for the first time.
    Raises what keeps it from that."""
    tune_interpreter()
    is_open = not is_loopback(listener.getsockname()[0])
    keys = Keys(settings.keys_file, toolbox, required=is_open)
    async with (
        History.open(settings.history_file, settings.keep_days) as history,
        _tracing(settings.traces_endpoint) as traces,
    ):
        runs = Runs(history, running=settings.max_runs, waiting=settings.max_waiting)
        with (
            closing(Executor(toolbox, max_running=settings.max_running)) as executor,
            closing(Guard()) as guard,
        ):
            gateway = Gateway(settings, executor, examples, keeper.model, runs, keys, guard, traces)
            async with listening(gateway, listener):
                keeping = asyncio.ensure_future(keeper.keep(ready))
                stopping = asyncio.ensure_future(stop.wanted.wait())
                try:
                    await asyncio.wait([keeping, stopping], return_when=asyncio.FIRST_COMPLETED)
                    if keeping.done():
                        keeping.result()
                finally:
                    gateway.is_draining = True
                    await runs.close(settings.grace, stop.at_once)
                    keeping.cancel()
                    stopping.cancel()
                    await asyncio.wait([keeping, stopping])


def _tracing(endpoint: str) -> AbstractAsyncContextManager[Traces | None]:
    if not endpoint:
        return nullcontext()
    from serving.gateway.traces import Traces  # OpenTelemetry takes a while to import

    return Traces.sent_to(endpoint)


@asynccontextmanager
async def listening(gateway: Gateway, listener: socket.socket) -> AsyncIterator[None]:
    """Answers requests on this socket."""
    descriptors = _take_all_descriptors()
    # The kernel's own patience, for aiohttp waits for ever: it ends, too, if the peer is there but
    # takes nothing.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * UNSENT_SECONDS))
    runner = web.AppRunner(
        make_app(gateway),
        handler_cancellation=True,  # a reader that is gone is noticed
        shutdown_timeout=1.0,
    )
    await runner.setup()
    assert runner.server is not None
    answer = partial(shed_load, gateway, runner.server.request_handler)
    runner.server.request_handler = partial(tell_problems, gateway, answer)
    connections = Connections(
        runner.server,
        partial(tell, gateway),
        most=min(MOST_CONNECTIONS, descriptors // 2),  # the others are the engine's and the tools'
        keepalive_timeout=HEAD_SECONDS,
        lingering_time=LINGER_SECONDS,
        tcp_keepalive=False,  # whoever is silent is cut off long before
        auto_decompress=False,  # a small body may be a large one, and is read even to be refused
        access_log=None,
    )
    loop = asyncio.get_running_loop()
    backlog = min(BACKLOG, descriptors // 4)  # so many are taken before they are counted
    try:
        with closing(await loop.create_server(connections, sock=listener, backlog=backlog)):
            yield
    finally:
        await runner.cleanup()


def tune_interpreter() -> None:
    """What is there by now stays, and is looked at as garbage no more; what comes, so seldom that a
    burst of requests, of a hundred objects each, is not held up by it: a busy gateway has an eighth
    of its time back. And threads have their turn after one millisecond, not five: one that keeps a
    batch of events asks for it eight times."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 50)
    sys.setswitchinterval(SWITCH_SECONDS)


def _take_all_descriptors() -> int:
    """How many there are. Each connection is one, and so is the engine's."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def listen(host: str, port: int) -> socket.socket:
    """A socket that is bound there. Raises UsageError if that can't be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise UsageError(
            f"port {port} can't be used: {error.strerror}; choose another with --port"
        ) from None
    return listener
