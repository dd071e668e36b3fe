"""Peers that send or read too slowly, or go away: each is cut off, and nothing of it is left.

How many of them are borne, and for how long, is measured by `scripts/bench.sh gateway`.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from contextlib import suppress
from pathlib import Path

import pytest
from gateways import ENDING, Client, gateway
from test_gateway import FOREVER, STREAM, Waiting

from serving.scripted import Chunk, SteadyModel

SOON = 0.2  # seconds, in the place of ten
LENGTH = 20_000_000  # of an answer that no buffer holds
LONG_ANSWER = [Chunk("Answer: "), *[Chunk("x" * 100_000)] * (LENGTH // 100_000)]
HEAD = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n"
POST = (
    b"POST /v1/runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: 100\r\n\r\n"
)


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.gateway.streams.READER_SECONDS", SOON)
    monkeypatch.setattr("serving.gateway.requests.BODY_SECONDS", SOON)
    monkeypatch.setattr("serving.gateway.server.HEAD_SECONDS", SOON)
    monkeypatch.setattr("serving.gateway.connections.UNREAD_SECONDS", SOON)


async def connect(client: Client) -> socket.socket:
    """A connection that holds hardly anything that isn't read."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    host, port = client.url.removeprefix("http://").split(":")
    await asyncio.get_running_loop().sock_connect(raw, (host, int(port)))
    return raw


def asking(body: str) -> bytes:
    return POST.replace(b"100", str(len(body)).encode()) + body.encode()


async def send_all(raw: socket.socket, what: bytes) -> None:
    """As much of it as is taken."""
    with suppress(ConnectionError):
        await asyncio.get_running_loop().sock_sendall(raw, what)


async def all_of(raw: socket.socket) -> bytes:
    """What comes until the connection ends, by whatever way."""
    read = b""
    try:
        while piece := await asyncio.get_running_loop().sock_recv(raw, 65536):
            read += piece
    except ConnectionResetError:
        pass
    return read


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b""),
        (HEAD, b""),
        (HEAD + b"\r\n" + HEAD, b"HTTP/1.1 200 OK"),  # a second request, when one is answered
        (POST, b"HTTP/1.1 408 "),
        (POST + b'{"question": "', b"HTTP/1.1 408 "),
    ],
    ids=["nothing", "half a head", "half a second head", "no body", "half a body"],
)
async def test_who_does_not_finish_his_request_is_cut_off(
    tmp_path: Path, sent: bytes, answer: bytes
) -> None:
    async with gateway(tmp_path) as client:
        with await connect(client) as raw:
            await asyncio.get_running_loop().sock_sendall(raw, sent)
            assert (await all_of(raw)).startswith(answer)


@pytest.mark.parametrize("path", ["/events", ""], ids=["a stream", "a whole answer"])
async def test_who_does_not_read_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr("serving.gateway.server.UNSENT_SECONDS", SOON)
    model = SteadyModel("1. join()\n", LONG_ANSWER)
    async with gateway(tmp_path, model) as client:
        asked = {"question": "?", "on_disconnect": "continue"}
        response = await client.post("/v1/runs", asked, **STREAM)
        response.close()
        for live in client.gateway.runs.going_on:
            await live.ended()
        with await connect(client) as raw:
            address = response.headers["Location"] + path
            request = f"GET {address} HTTP/1.1\r\nHost: localhost\r\n\r\n"
            before = asyncio.all_tasks()
            await asyncio.get_running_loop().sock_sendall(raw, request.encode())
            await client.get("/livez")  # an answer, so that the request before it has been read
            await asyncio.wait(asyncio.all_tasks() - before)  # the gateway has given the reader up
            read = await all_of(raw)
        assert 0 < len(read) < LENGTH


@pytest.mark.parametrize("wanted", ["cancel", "continue"])
async def test_a_run_whose_reader_is_cut_off_ends_as_was_asked(tmp_path: Path, wanted: str) -> None:
    model = Waiting("1. join()\n", [*LONG_ANSWER, Chunk("!", 3 * SOON)])
    model.may_end.set()
    async with gateway(tmp_path, model) as client:
        asked = asking(f'{{"question": "?", "on_disconnect": "{wanted}"}}')
        with await connect(client) as raw:
            sent = asked.replace(b"Host", b"Accept: text/event-stream\r\nHost")
            await asyncio.get_running_loop().sock_sendall(raw, sent)
            await model.is_asked.wait()
            [live] = client.gateway.runs.going_on
            await live.ended()
        assert live.run.status == {"cancel": "cancelled", "continue": "finished"}[wanted]


async def test_who_goes_away_leaves_nothing(tmp_path: Path) -> None:
    model = SteadyModel(FOREVER, ENDING)
    async with gateway(tmp_path, model) as client:
        await client.get("/livez")
        tasks, files = len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            responses = await asyncio.gather(
                *(client.post("/v1/runs", {"question": "?"}, **STREAM) for _ in range(20))
            )
            lives = client.gateway.runs.going_on
            assert model.open_streams == 20
            for response in responses:
                response.close()
            for live in lives:
                await live.ended()
            client.responses.clear()
        await client.get("/livez")
        gc.collect()
        assert model.open_streams == 0
        assert len(asyncio.all_tasks()) <= tasks
        assert len(os.listdir("/proc/self/fd")) <= files + 1


async def test_a_disconnect_while_waiting_gives_the_place_back(tmp_path: Path) -> None:
    model = Waiting()
    async with gateway(tmp_path, model) as client:
        asking = asyncio.ensure_future(client.post("/v1/runs", {"question": "?"}))
        await model.is_asked.wait()
        [live] = client.gateway.runs.going_on
        asking.cancel()
        await live.ended()
        assert client.gateway.runs.going_on == []
        model.may_end.set()
        assert (await client.post("/v1/runs", {"question": "?"})).status == 200


BEHIND = {
    "a request": HEAD + b"\r\n",
    "many requests": (HEAD + b"\r\n") * 100,
    "a large body": POST.replace(b"100", b"900000") + b"x" * 900_000,
    "no HTTP": b"x" * 900_000,
}


@pytest.mark.parametrize("behind", BEHIND.values(), ids=BEHIND)
async def test_a_disconnect_is_noticed_behind_whatever_was_sent_before(
    tmp_path: Path, behind: bytes
) -> None:
    model = Waiting()
    async with gateway(tmp_path, model) as client:
        with await connect(client) as raw:
            await send_all(raw, asking('{"question": "?"}'))
            await model.is_asked.wait()
            [live] = client.gateway.runs.going_on
            sending = asyncio.ensure_future(send_all(raw, behind))
            await client.get("/livez")  # an answer, so that the bytes before it have been read
            sending.cancel()
        await live.ended()
        assert live.run.status == "cancelled"


async def test_who_sends_much_at_once_is_answered_in_full(tmp_path: Path) -> None:
    model = SteadyModel("1. join()\n", [Chunk("Answer: "), Chunk("!", 3 * SOON)])
    async with gateway(tmp_path, model) as client:
        with await connect(client) as raw:
            sent = (HEAD + b"\r\n") * 40 + asking('{"question": "?"}')
            sending = asyncio.ensure_future(send_all(raw, sent))
            answers = await all_of(raw)
            await sending
        assert answers.count(b"HTTP/1.1 200 OK") == 41
