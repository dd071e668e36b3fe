"""Runs as resources: /v1/runs and what is under it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing

from aiohttp import web
from pydantic import BaseModel

from executor.values import shorten
from serving.gateway.bodies import Run, RunList, RunRequest, ToolDescription, ToolList
from serving.gateway.gateway import GATEWAY
from serving.gateway.keys import CALLER
from serving.gateway.problems import Problem
from serving.gateway.requests import (
    MOST_PAGE,
    PAGE,
    body,
    last_event_id,
    parse,
    wants_stream,
    whole,
)
from serving.gateway.runs import owned
from serving.gateway.streams import PING_SECONDS, send_events

LISTED = 1_000  # characters of a question, or an answer, in a list

routes = web.RouteTableDef()


@routes.post("/v1/runs")
async def create(request: web.Request) -> web.StreamResponse:
    """Answers a question: with the run when it has ended, or with its events as they happen."""
    gateway = request.app[GATEWAY]
    gateway.check_start(request[CALLER])  # a refusal costs least before anything is read
    sent = await body(request)
    async with gateway.room(request[CALLER]):
        wanted = parse(sent, RunRequest)
        live = await gateway.start(wanted, request[CALLER])
    headers = {"Location": f"/v1/runs/{live.run.id}"}
    with owned(live, wanted.on_disconnect):
        if wants_stream(request):
            async with aclosing(live.follow(-1, PING_SECONDS)) as some:
                return await send_events(request, headers, some)
        await live.ended()
    return _json(live.run, headers)


@routes.get("/v1/runs")
async def index(request: web.Request) -> web.Response:
    """The latest runs, a page at a time."""
    limit = whole(request, "limit", PAGE, MOST_PAGE)
    before = request.query.get("before")
    runs = await request.app[GATEWAY].runs.latest(request[CALLER].reads, before, limit + 1)
    more = len(runs) > limit
    for run in runs:
        run.question = shorten(run.question, LISTED)
        run.answer = run.answer and shorten(run.answer, LISTED)
    return _json(RunList(runs=runs[:limit], next=runs[limit - 1].id if more else None))


@routes.get("/v1/runs/{id}")
async def show(request: web.Request) -> web.Response:
    """A run as it stands."""
    return _json(await _find(request))


@routes.delete("/v1/runs/{id}")
async def cancel(request: web.Request) -> web.Response:
    """Ends a run; one that has ended stays as it is. The answer is the run as it then stands."""
    run = await _find(request)
    await request.app[GATEWAY].runs.cancel(run.id)
    return _json(await _find(request))


@routes.get("/v1/runs/{id}/events", allow_head=False)
async def events(request: web.Request) -> web.StreamResponse:
    """A run's events: those that have happened, behind Last-Event-ID, then the others live."""
    run, after = await _find(request), last_event_id(request)
    followed = request.app[GATEWAY].runs.follow(run.id, after, PING_SECONDS)
    async with aclosing(followed) as some:
        return await send_events(request, {}, some)


@routes.get("/v1/tools")
async def tools(request: web.Request) -> web.Response:
    """The tools that the caller's runs may use."""
    toolbox = request.app[GATEWAY].tools(request[CALLER])
    return _json(
        ToolList(
            tools=[
                ToolDescription(
                    name=tool.name, description=tool.description, parameters=dict(tool.parameters)
                )
                for tool in toolbox
            ]
        )
    )


def _json(item: BaseModel, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        text=item.model_dump_json(), content_type="application/json", headers=headers
    )


async def _find(request: web.Request) -> Run:
    id = request.match_info["id"]
    run = await request.app[GATEWAY].runs.find(id, request[CALLER].reads)
    if run is None:
        raise Problem("not-found", f"there is no run {id}")
    return run
