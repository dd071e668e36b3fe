"""The gateway as an OpenAI-compatible model: such clients and chat UIs work as they are.

The last message is the question, those before it are its context. What such a client can't ask for
here is refused; what only tunes the writing (seed, top_p, ...) is left aside. A completion, and
each chunk of a stream, has a member `headstart`, which clients that don't know it leave aside.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import BaseModel, Field, ValidationError

from executor.events import Usage
from planner_prompts.messages import Message, Role
from serving.gateway.bodies import MAX_QUESTION, Metadata, Run, RunRequest
from serving.gateway.database import KeptEvent
from serving.gateway.gateway import ENGINE_RETRY_SECONDS, GATEWAY
from serving.gateway.keys import CALLER
from serving.gateway.problems import Problem
from serving.gateway.requests import body, parse, refusal
from serving.gateway.runs import LiveRun, owned
from serving.gateway.streams import PING, PING_SECONDS, EventStream

routes = web.RouteTableDef()

Text = Annotated[str, Field(max_length=MAX_QUESTION)]
ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}


class TextPart(BaseModel):
    type: Literal["text"]
    text: Text


class ChatMessage(BaseModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: Text | list[TextPart]

    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


class JsonSchema(BaseModel):
    name: str = ""
    schema_: Annotated[dict[str, Any], Field(alias="schema")]


class ResponseFormat(BaseModel):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    def schema_wanted(self) -> dict[str, Any] | None:
        if self.type == "json_schema":
            if self.json_schema is None:
                raise Problem("invalid-request", "response_format: json_schema is missing")
            return self.json_schema.schema_
        return {"type": "object"} if self.type == "json_object" else None


class StreamOptions(BaseModel):
    include_usage: bool = False


class ChatRequest(BaseModel):
    """An OpenAI chat completion request, as far as it is understood here."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    metadata: Metadata | None = None
    n: Annotated[Literal[1] | None, Field(description="There is one answer.")] = None
    tools: Annotated[
        list[Any] | None, Field(max_length=0, description="Tools run here; a caller has none.")
    ] = None

    def as_run(self) -> RunRequest:
        format = self.response_format
        try:
            return RunRequest(
                question=self.messages[-1].text(),
                answer_schema=format.schema_wanted() if format else None,
                metadata=self.metadata or {},
            )
        except ValidationError as error:  # the parts of a message may be too much, or nothing
            raise refusal(error) from None

    def earlier(self) -> list[Message]:
        return [Message(role=ROLES[m.role], content=m.text()) for m in self.messages[:-1]]


@routes.post("/v1/chat/completions")
async def complete(request: web.Request) -> web.StreamResponse:
    """Answers the last message, at once or in chunks as it is written."""
    gateway = request.app[GATEWAY]
    gateway.check_start(request[CALLER])  # a refusal costs least before anything is read
    sent = await body(request)
    async with gateway.room(request[CALLER]):
        wanted = parse(sent, ChatRequest)
        if wanted.messages[-1].role != "user":
            raise Problem("invalid-request", "messages: the last one must be the user's")
        served = gateway.check_ready().name
        if wanted.model != served:
            raise Problem("not-found", f"there is no model {wanted.model}; this one is {served}")
        live = await gateway.start(wanted.as_run(), request[CALLER], wanted.earlier())
    with owned(live, "cancel"):
        if wanted.stream:
            options = wanted.stream_options or StreamOptions()
            chunks = Chunks(live.run, served, include_usage=options.include_usage)
            return await _send(request, live, chunks)
        await live.ended()
    if live.run.status != "finished":
        raise _failure(live.run)
    return web.json_response(completion(live.run, served))


@routes.get("/v1/models")
async def models(request: web.Request) -> web.Response:
    """The one model there is."""
    name = request.app[GATEWAY].check_ready().name
    entry = {"id": name, "object": "model", "created": 0, "owned_by": "headstart"}
    return web.json_response({"object": "list", "data": [entry]})


def completion(run: Run, model: str) -> dict[str, Any]:
    """A finished run as a chat completion."""
    message = {"role": "assistant", "content": run.answer, "refusal": None}
    return {
        **_envelope(run, model, "chat.completion"),
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        "usage": _usage(run.usage),
        "headstart": run.model_dump(mode="json", include={"id", "status", "stats"}),
    }


class Chunks:
    """A run's events as the chunks of a streamed completion."""

    def __init__(self, run: Run, model: str, *, include_usage: bool) -> None:
        self._run = run
        self._model = model
        self._include_usage = include_usage

    def of(self, events: Sequence[KeptEvent]) -> str:
        return "".join(self._message(event) for event in events)

    def _message(self, kept: KeptEvent) -> str:
        event = json.loads(kept.json)
        match kept.type:
            case "run_started":
                return self._chunk({"role": "assistant", "content": ""}, None, event)
            case "answer_text":
                return self._chunk({"content": event["text"]}, None, event)
            case "run_finished":
                last = self._chunk({}, "stop", event)
                if self._include_usage:
                    usage = _usage(Usage(**event["usage"]))
                    last += _data({**self._head(), "choices": [], "usage": usage})
                return last + "data: [DONE]\n\n"
            case "run_failed" | "run_cancelled":
                error = {"message": event["message"], "type": event["reason"], "code": None}
                return _data({"error": error, "headstart": event}) + "data: [DONE]\n\n"
            case _:
                return self._chunk({}, None, event)

    def _chunk(
        self, delta: dict[str, str], finish_reason: str | None, event: dict[str, Any]
    ) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
        usage = {"usage": None} if self._include_usage else {}
        return _data({**self._head(), "choices": [choice], **usage, "headstart": event})

    def _head(self) -> dict[str, Any]:
        return _envelope(self._run, self._model, "chat.completion.chunk")


async def _send(request: web.Request, live: LiveRun, chunks: Chunks) -> web.StreamResponse:
    async def texts() -> AsyncGenerator[str]:
        async with aclosing(live.follow(-1, PING_SECONDS)) as some:
            async for events in some:
                yield chunks.of(events) or PING

    return await EventStream(request, {"Location": f"/v1/runs/{live.run.id}"}).send_all(texts())


def _envelope(run: Run, model: str, object: str) -> dict[str, Any]:
    created = int(run.created_at.timestamp())
    return {"id": f"chatcmpl-{run.id}", "object": object, "created": created, "model": model}


def _usage(usage: Usage | None) -> dict[str, int]:
    used = usage or Usage()
    return {
        "prompt_tokens": used.prompt_tokens,
        "completion_tokens": used.completion_tokens,
        "total_tokens": used.prompt_tokens + used.completion_tokens,
    }


def _failure(run: Run) -> Problem:
    assert run.error is not None
    reason, message = run.error.reason, run.error.message
    members = {"run": run.id, "reason": reason}
    if reason == "engine":
        return Problem("engine-unavailable", message, ENGINE_RETRY_SECONDS, members)
    return Problem("run-failed", message, members=members)


def _data(item: dict[str, Any]) -> str:
    return f"data: {json.dumps(item)}\n\n"  # in ASCII: a model may write half a character
