"""The gateway as an OpenAI-compatible model, mostly through OpenAI's own client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from gateways import ENDING, PLAN, Client, gateway
from test_gateway import FOREVER, Waiting, problem, until

from executor.errors import EngineError
from serving.model import Model
from serving.scripted import Chunk, ScriptedModel, SteadyModel
from serving.settings import Settings

HELLO: list[Any] = [{"role": "user", "content": "What is 21 * 2?"}]
ASKED = {"model": "scripted", "messages": HELLO}


@asynccontextmanager
async def clients(
    directory: Path, model: Model | None = None
) -> AsyncIterator[tuple[openai.AsyncOpenAI, Client]]:
    async with (
        gateway(directory, model) as client,
        openai.AsyncOpenAI(base_url=f"{client.url}/v1", api_key="any", max_retries=0) as theirs,
    ):
        yield theirs, client


async def test_a_completion(tmp_path: Path) -> None:
    async with clients(tmp_path) as (theirs, client):
        done = await theirs.chat.completions.create(model="scripted", messages=HELLO)
        [choice] = done.choices
        assert (choice.message.content, choice.finish_reason) == ("It is 42.", "stop")
        assert done.id.startswith("chatcmpl-")
        run = await (await client.get(f"/v1/runs/{done.id.removeprefix('chatcmpl-')}")).json()
        assert run["question"] == "What is 21 * 2?"
        assert done.usage is not None
        told = {name: getattr(done.usage, name) for name in ("prompt_tokens", "completion_tokens")}
        assert told == run["usage"]
        assert done.usage.total_tokens == sum(told.values())
        assert done.model_extra is not None
        assert done.model_extra["headstart"]["stats"]["efficiency"] <= 1


async def test_a_stream_of_chunks(tmp_path: Path) -> None:
    async with clients(tmp_path) as (theirs, _):
        stream = await theirs.chat.completions.create(
            model="scripted", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    *parts, usage = chunks
    assert "".join(chunk.choices[0].delta.content or "" for chunk in parts) == "It is 42."
    reasons = [chunk.choices[0].finish_reason for chunk in parts]
    assert (set(reasons[:-1]), reasons[-1]) == ({None}, "stop")
    assert parts[0].choices[0].delta.role == "assistant"
    assert (usage.choices, usage.usage is None) == ([], False)
    events = [(chunk.model_extra or {})["headstart"] for chunk in parts]
    assert [event["seq"] for event in events] == list(range(len(events)))
    assert "".join(event.get("text", "") for event in events if "plan" in event) == PLAN


async def test_usage_is_summed_over_all_that_the_engine_wrote(tmp_path: Path) -> None:
    replies = [PLAN, "Replan: not yet.", "3. join()\n", ENDING]
    async with clients(tmp_path, ScriptedModel(replies)) as (theirs, _):
        done = await theirs.chat.completions.create(model="scripted", messages=HELLO)
        assert done.usage is not None
        assert done.usage.completion_tokens == len(replies)  # the script's chunks


async def test_earlier_messages_are_context(tmp_path: Path) -> None:
    model = SteadyModel(PLAN, ENDING)
    said: list[Any] = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "How tall is K2?"},
        {"role": "assistant", "content": "8611 m."},
        {"role": "user", "content": [{"type": "text", "text": "And in "}, *FEET]},
    ]
    async with clients(tmp_path, model) as (theirs, client):
        await theirs.chat.completions.create(model="scripted", messages=said)
        [run] = (await (await client.get("/v1/runs")).json())["runs"]
    assert run["question"] == "And in feet?"
    asked = model.requests[0][0][-1]["content"]
    earlier, now = asked.split("The question now:")
    assert earlier.index("Be brief.") < earlier.index("How tall is K2?") < earlier.index("8611 m.")
    assert now.strip() == "And in feet?"


FEET = [{"type": "text", "text": "feet?"}]


async def test_an_answer_in_a_form(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    form: Any = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    async with clients(tmp_path, SteadyModel(PLAN, 'Answer: {"n": 42}')) as (theirs, _):
        for wanted in (form, {"type": "json_object"}):
            done = await theirs.chat.completions.create(
                model="scripted", messages=HELLO, response_format=wanted
            )
            assert done.choices[0].message.content == '{"n": 42}'


async def test_the_models(tmp_path: Path) -> None:
    async with clients(tmp_path) as (theirs, _):
        assert [model.id async for model in theirs.models.list()] == ["scripted"]


REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "another model": ({"model": "gpt-4"}, 404, "there is no model gpt-4; this one is scripted"),
    "tools of its own": ({"tools": [{}]}, 422, "tools: List should have at most 0 items"),
    "two answers": ({"n": 2}, 422, "n: Input should be 1"),
    "no messages": ({"messages": []}, 422, "messages: List should have at least 1 item"),
    "no question": (
        {"messages": [{"role": "assistant", "content": "?"}]},
        422,
        "messages: the last one must be the user's",
    ),
    "a picture": (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
        422,
        "messages.0.content",
    ),
    "no schema": (
        {"response_format": {"type": "json_schema"}},
        422,
        "response_format: json_schema is missing",
    ),
    "empty": ({"messages": [{"role": "user", "content": " "}]}, 422, "the question is empty"),
    "no text": (
        {"messages": [{"role": "user", "content": []}]},
        422,
        "question: String should have at least 1 character",
    ),
    "too much text, in parts": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x" * 60_000}] * 2}]},
        422,
        "question: String should have at most 100000 characters",
    ),
    "long metadata": (
        {"metadata": {"k": "x" * 513}},
        422,
        "metadata.k: String should have at most 512 characters",
    ),
    "of another type": ({"stream": "yes"}, 422, "stream: Input should be a valid boolean"),
}


@pytest.mark.parametrize(("wanted", "status", "detail"), REFUSED.values(), ids=REFUSED)
async def test_what_can_not_be_asked_for(
    tmp_path: Path, wanted: dict[str, Any], status: int, detail: str
) -> None:
    async with gateway(tmp_path) as client:
        told = await problem(await client.post("/v1/chat/completions", {**ASKED, **wanted}))
        assert told[0] == status
        assert detail in told[2]


async def test_a_failed_run_is_an_error_to_such_clients(tmp_path: Path) -> None:
    broken = ScriptedModel([[EngineError("it died")], [EngineError("it died")]])
    async with clients(tmp_path, broken) as (theirs, _):
        with pytest.raises(openai.InternalServerError, match="it died") as raised:
            await theirs.chat.completions.create(model="scripted", messages=HELLO)
        assert raised.value.status_code == 503
        assert raised.value.response.headers["Retry-After"] == "10"
        stream = await theirs.chat.completions.create(model="scripted", messages=HELLO, stream=True)
        with pytest.raises(openai.APIError, match="it died"):
            async for _ in stream:
                pass


async def test_a_late_run_is_an_error_that_no_client_asks_for_again(tmp_path: Path) -> None:
    settings = Settings(deadline=0.01)
    async with gateway(tmp_path, SteadyModel(FOREVER, ENDING), settings=settings) as client:
        failed = await client.post("/v1/chat/completions", ASKED)
        assert (await problem(failed))[:2] == (422, "run-failed")
        assert "Retry-After" not in failed.headers


@pytest.mark.parametrize("stream", [True, False])
async def test_who_goes_away_ends_his_run(tmp_path: Path, stream: bool) -> None:
    model = Waiting()
    async with clients(tmp_path, model) as (theirs, client):
        asking = asyncio.ensure_future(
            theirs.chat.completions.create(model="scripted", messages=HELLO, stream=stream)
        )
        await model.is_asked.wait()
        [live] = client.gateway.runs.going_on
        await anext(live.follow(-1, 60.0))  # it can be seen from now on
        if stream:
            await (await asking).close()
        asking.cancel()
        await until(client, f"/v1/runs/{live.run.id}", "run_cancelled")
        assert model.open_streams == 0


async def test_half_a_character_breaks_no_stream(tmp_path: Path) -> None:
    halves = [Chunk("Answer: "), Chunk("\ud83d"), Chunk("\ude00!")]
    async with clients(tmp_path, SteadyModel(PLAN, halves)) as (theirs, client):
        stream = await theirs.chat.completions.create(model="scripted", messages=HELLO, stream=True)
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
        assert "".join(pieces).endswith("!")
        [run] = (await (await client.get("/v1/runs")).json())["runs"]
        assert (run["status"], run["answer"]) == ("finished", "??!")
