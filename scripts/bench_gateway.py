"""What does the gateway cost: runs a second, added latency, memory; what does it do when overrun?

The gateway runs in a process of its own, on the loopback, with a scripted model: what a run takes
without it is known.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import selectors
import signal
import socket
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import aiohttp
import psutil
from yarl import URL

from executor.executor import Executor
from executor.tools import ToolBox, tool
from planner_prompts.messages import Message
from serving.gateway.gateway import Gateway
from serving.gateway.guarded import Guard
from serving.gateway.history import History
from serving.gateway.keys import Keys
from serving.gateway.runs import Runs
from serving.gateway.server import listen, listening, tune_interpreter
from serving.model import Delta, Model, Sampling
from serving.scripted import Chunk, SteadyModel
from serving.settings import Settings

TASKS = 6
LINE_SECONDS, ANSWER_SECONDS = 0.07, 0.05
IDEAL_SECONDS = LINE_SECONDS * (TASKS + 1) + 2 * ANSWER_SECONDS
RUNNING, WAITING = 200, 100
RATE = 300  # runs a second
PEERS = 500  # that are slow
ASKED = {"question": "How many are there?"}


@tool
async def count(thing: str) -> str:
    return "one"


def scripted() -> SteadyModel:
    lines = [f'{id}. count("thing {id}")\n' for id in range(1, TASKS + 1)] + [
        f"{TASKS + 1}. join()"
    ]
    plan = [Chunk(line, LINE_SECONDS) for line in lines]
    ending = [Chunk("Answer: ", ANSWER_SECONDS), Chunk("one", ANSWER_SECONDS)]
    return SteadyModel(plan, ending)


async def serve(directory: Path) -> None:
    """The gateway's process: prints its port, and serves until it is ended."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with gateway_of(scripted(), directory) as port:
        tune_interpreter()
        print(port, flush=True)
        await stop.wait()


@asynccontextmanager
async def gateway_of(model: Model, directory: Path) -> AsyncIterator[int]:
    """The port of a gateway in this process."""
    settings = Settings(data_dir=directory, max_runs=RUNNING, max_waiting=WAITING)
    listener = listen("127.0.0.1", 0)
    async with History.open(settings.history_file, 1) as history:
        runs = Runs(history, running=RUNNING, waiting=WAITING)
        with closing(Executor(ToolBox([count]))) as executor, closing(Guard()) as guard:
            keys = Keys(settings.keys_file, executor.toolbox, required=False)
            gateway = Gateway(settings, executor, (), lambda: model, runs, keys, guard)
            async with listening(gateway, listener):
                yield listener.getsockname()[1]


@dataclass
class Load:
    """What came of requests."""

    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)  # of those that were answered
    refused: list[float] = field(default_factory=list)  # seconds until the refusal

    async def ask(self, http: aiohttp.ClientSession) -> None:
        began = perf_counter()
        try:
            async with http.post("/v1/runs", json=ASKED) as response:
                answer = await response.json()
        except (aiohttp.ClientError, TimeoutError) as error:
            self.outcomes[type(error).__name__] += 1
            return
        self.note(str(answer["status"]), response.status, perf_counter() - began)

    def note(self, outcome: str, status: int, seconds: float) -> None:
        self.outcomes[outcome] += 1
        (self.seconds if status == 200 else self.refused).append(seconds)

    def added(self, share: float) -> float:
        """The milliseconds beyond what they had to take that this share of the answers kept to."""
        return 1e3 * (sorted(self.seconds)[int(share * (len(self.seconds) - 1))] - IDEAL_SECONDS)


@asynccontextmanager
async def gateway() -> AsyncIterator[tuple[aiohttp.ClientSession, psutil.Process]]:
    with tempfile.TemporaryDirectory() as directory:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, __file__, "--serve", directory), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        port = int(await process.stdout.readline())
        connector = aiohttp.TCPConnector(limit=0)
        try:
            async with aiohttp.ClientSession(
                f"http://127.0.0.1:{port}", connector=connector
            ) as http:
                await Load().ask(http)  # the first one imports Outlines
                yield http, psutil.Process(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            await process.wait()


async def steady(
    http: aiohttp.ClientSession, rate: float, seconds: float, at_once: int | None
) -> Load:
    """So many requests a second, whatever comes of them, but no more than so many at once."""
    load, began = Load(), perf_counter()
    places = asyncio.Semaphore(at_once or 1_000_000)

    async def one() -> None:
        async with places:
            await load.ask(http)

    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - perf_counter()))
            group.create_task(one())
    return load


def burst(url: URL, many: int) -> Load:
    """So many requests at once, each over a connection of its own. Over plain sockets: a client
    with comforts takes longer to send them than the gateway to answer."""
    body = json.dumps(ASKED).encode()
    head = f"POST /v1/runs HTTP/1.1\r\nHost: {url.host}\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    load = Load()
    asked: dict[socket.socket, float] = {}  # when
    with selectors.DefaultSelector() as selector:

        def take(patience: float | None) -> None:
            for key, _ in selector.select(patience):
                assert isinstance(key.fileobj, socket.socket)
                with key.fileobj as peer:
                    selector.unregister(peer)
                    status = peer.recv(65_536)[9:12].decode()
                    load.note(status, int(status), perf_counter() - asked.pop(peer))

        for _ in range(many):
            peer = socket.create_connection((url.host, url.port))
            selector.register(peer, selectors.EVENT_READ)
            asked[peer] = perf_counter()
            peer.sendall(request)
            take(0)  # an answer is timed when it comes, not when all has been sent
        while asked:
            take(None)
    return load


class Noting(SteadyModel):
    """Notes when the answer's first word is there."""

    def __init__(self) -> None:
        super().__init__("1. join()\n", [Chunk("Answer: "), Chunk("one", ANSWER_SECONDS)])
        self.answered_at = 0.0

    @asynccontextmanager
    async def stream(
        self, messages: Sequence[Message], sampling: Sampling
    ) -> AsyncIterator[AsyncIterator[Delta]]:
        async with super().stream(messages, sampling) as deltas:
            yield self._noted(deltas)

    async def _noted(self, deltas: AsyncIterator[Delta]) -> AsyncIterator[Delta]:
        async for delta in deltas:
            if delta.text == "one":
                self.answered_at = perf_counter()
            yield delta


async def first_byte(count: int) -> float:
    """Median of the seconds from the engine's first word of an answer to the client's, in a quiet
    gateway. All in one process: clocks of two can't be compared."""
    model, took, headers = Noting(), [], {"Accept": "text/event-stream"}
    with tempfile.TemporaryDirectory() as directory:
        async with (
            gateway_of(model, Path(directory)) as port,
            aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http,
        ):
            for _ in range(count):
                async with http.post("/v1/runs", json=ASKED, headers=headers) as response:
                    await response.content.readuntil(b"event: answer_text\n")
                    took.append(perf_counter() - model.answered_at)
                    await response.read()
    return statistics.median(took)


async def slow_peers(
    http: aiohttp.ClientSession, process: psutil.Process, request: bytes, drip: bytes
) -> tuple[float, float]:
    """Seconds until so many connections that send this, then a drip a second, and read nothing, are
    all cut off; and the longest answer to another request meanwhile."""
    loop, before = asyncio.get_running_loop(), process.num_fds()
    url = http._base_url
    assert url is not None
    peers = [socket.socket() for _ in range(PEERS)]
    for peer in peers:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.setblocking(False)
        await loop.sock_connect(peer, (url.host, url.port))
        await loop.sock_sendall(peer, request)
    began, longest = perf_counter(), 0.0
    while process.num_fds() > before + PEERS // 100 and perf_counter() - began < 60:
        asked = perf_counter()
        async with http.get("/livez"):
            longest = max(longest, perf_counter() - asked)
        for peer in peers if drip else ():
            with suppress(OSError):
                peer.send(drip)
        await asyncio.sleep(1.0)
    took = perf_counter() - began
    for peer in peers:
        peer.close()
    return took, longest


async def measure(seconds: float) -> dict[str, Any]:
    figures: dict[str, Any] = {"first_answer_byte_ms": 1e3 * await first_byte(100)}
    print(f"first answer byte after {figures['first_answer_byte_ms']:.2f} ms (median)")
    async with gateway() as (http, process):
        async with http.post("/v1/runs", json={"question": "x" * 20_000}) as response:
            path = f"{response.headers['Location']}/events"
        for name, request, drip in (
            ("dribbled heads", b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: ", b"x"),
            ("slow readers", f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(), b""),
        ):
            took, longest = await slow_peers(http, process, request, drip)
            figures[name] = {"cut_off_seconds": took, "others_waited_ms": 1e3 * longest}
            show(f"{PEERS} {name}", figures[name])
        await steady(http, RATE, 3.0, RUNNING)
        before = process.memory_info().rss
        began, cpu = perf_counter(), process.cpu_times()
        load = await steady(http, RATE, seconds, RUNNING)
        took = perf_counter() - began
        busy = process.cpu_times()
        figures["steady"] = {
            "asked_per_second": RATE,
            "answered_per_second": len(load.seconds) / took,
            "outcomes": dict(load.outcomes),
            "added_ms_p50": load.added(0.5),
            "added_ms_p99": load.added(0.99),
            "gateway_cpu": (busy.user + busy.system - cpu.user - cpu.system) / took,
            "memory_growth_mb": (process.memory_info().rss - before) / 1e6,
        }
        show("steady", figures["steady"])
        assert http._base_url is not None
        load = await asyncio.to_thread(burst, http._base_url, 1_000)
        figures["burst"] = {
            "outcomes": dict(load.outcomes),
            "refused_ms_median": 1e3 * statistics.median(load.refused or [0.0]),
            "refused_ms_last": 1e3 * max(load.refused, default=0.0),
        }
        show("burst of 1,000", figures["burst"])
        capacity = figures["steady"]["answered_per_second"]
        load = await steady(http, 5 * RATE, 10.0, None)
        figures["overrun"] = {
            "asked_per_second": 5 * RATE,
            "outcomes": dict(load.outcomes),
            "goodput": len(load.seconds) / 10.0 / capacity,
        }
        show("5 times as much", figures["overrun"])
    return figures


def show(title: str, figures: dict[str, Any]) -> None:
    print(title)
    for name, value in figures.items():
        print(
            f"  {name:22} {value if isinstance(value, dict | int) else f'{value:.2f}'}", flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.sh gateway", description=__doc__.split("\n\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the steady load")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.serve:
        asyncio.run(serve(flags.serve))
        return
    figures = asyncio.run(measure(flags.seconds))
    if flags.json:
        flags.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
