"""Our client against servers that are no vLLM, or a broken one. What works is test_engine's."""

from __future__ import annotations

import asyncio

import pytest
from fake_vllm import HALF, MODELS, server

from executor.errors import EngineError
from planner_prompts.profile import FEW_SHOT, TUNED, Profile
from serving import engine
from serving.engine import Engine, wait_until_healthy
from serving.model import Sampling, VllmModel
from serving.warmup import reply

FAULTS = {
    "no JSON": (200, "data: {\n\n", "wrote what vLLM does not"),
    "JSON of another kind": (200, "data: [1]\n\n", "wrote what vLLM does not"),
    "an error in the stream": (
        200,
        'data: {"error": {"message": "Internal server error"}}\n\n',
        "gave up on the reply: Internal server error",
    ),
    "an error of another kind": (200, 'data: {"error": "no"}\n\n', "wrote what vLLM does not"),
    "an early end": (200, HALF, "broke off its reply before the end"),
    "an early end with its sign": (200, HALF + "data: [DONE]\n\n", "before the end"),
    "a refusal": (400, '{"error": {"message": "too long"}}', r"request \(400\): too long"),
    "another refusal": (404, "<html>\n<p>what?</p>", r"\(404\): not an answer of vLLM: <html> <p>"),
}


@pytest.mark.parametrize(("status", "body", "said"), FAULTS.values(), ids=FAULTS)
async def test_a_fault_of_the_server_is_named(status: int, body: str, said: str) -> None:
    async with server(MODELS, status, body) as url, VllmModel.connect(url) as model:
        with pytest.raises(EngineError, match=said):
            await reply(model, [], Sampling(max_tokens=4))


@pytest.mark.parametrize("models", ["<html>", "[]", "{}", '{"data": [{"id": "gpt"}]}'])
async def test_a_server_that_is_no_vllm_is_found_out_at_once(models: str) -> None:
    async with server(models) as url:
        with pytest.raises(EngineError, match="is no vLLM"):
            async with VllmModel.connect(url):
                pass


@pytest.mark.parametrize(
    ("said", "asked", "profile"),
    [("few-shot", None, FEW_SHOT), ("tuned", None, TUNED), ("tuned", FEW_SHOT, FEW_SHOT)],
)
async def test_an_engine_is_addressed_as_its_weights_said_unless_asked_otherwise(
    said: str, asked: Profile | None, profile: Profile
) -> None:
    async with server() as url:
        ours = Engine(1, 0.0, url, "key", "m", "/w", "/dev/null", profile_name=said)
        async with ours.connect(asked) as model:
            assert model.profile == profile
        async with VllmModel.connect(url) as model:
            assert model.profile == FEW_SHOT


async def test_an_engine_that_never_answers_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "HEALTH_SECONDS", 0.05)
    connections = []

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        await reader.read()

    listener = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    silent = Engine(1, 0.0, f"http://127.0.0.1:{port}", "key", "m", "/w", "/dev/null")
    with pytest.raises(EngineError, match="the engine died while it was loading"):
        await wait_until_healthy(silent, 0.0, lambda _: None)
    assert connections
    for writer in connections:
        writer.close()
    listener.close()


async def test_no_request_goes_out_on_a_connection_that_the_server_may_be_closing() -> None:
    body = b'{"data": [{"id": "m", "max_model_len": 9}], "count": 3}'
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )

    answering = []

    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering.append(asyncio.current_task())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head.encode() + body)
        await writer.drain()
        await reader.read()  # what is left of it, or another request
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer_once, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        async with VllmModel.connect(f"http://127.0.0.1:{port}") as model:
            assert [await model.count_tokens([]) for _ in range(3)] == [3, 3, 3]
        await asyncio.gather(*filter(None, answering))


async def test_who_reads_when_the_connection_is_given_up_is_told() -> None:
    answering = []

    async def say_half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering.append(asyncio.current_task())
        asked = await reader.readuntil(b"\r\n\r\n")
        body = MODELS if asked.startswith(b"GET") else HALF
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body) + 9 * (body == HALF)}\r\n\r\n"
        writer.write((head + body).encode())
        await reader.read()
        writer.close()
        await writer.wait_closed()

    async def read(model: VllmModel, begun: asyncio.Event) -> None:
        async with model.stream([], Sampling(9)) as deltas:
            async for _ in deltas:
                begun.set()

    async with await asyncio.start_server(say_half, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        async with VllmModel.connect(f"http://127.0.0.1:{port}") as model:
            begun = asyncio.Event()
            reading = asyncio.ensure_future(read(model, begun))
            await begun.wait()
        with pytest.raises(EngineError, match="broke off its reply"):
            await reading
        await asyncio.gather(*filter(None, answering))
