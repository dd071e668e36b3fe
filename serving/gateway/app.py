"""The gateway as an aiohttp application: what every request passes, and where it goes."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from serving import trace_context
from serving.gateway import chat, health, openapi, page, run_routes
from serving.gateway.gateway import GATEWAY, Gateway
from serving.gateway.keys import CALLER
from serving.gateway.problems import Problem
from serving.gateway.requests import BODY_BYTES

log = logging.getLogger("headstart.gateway")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
ASKING = ("/v1/runs", "/v1/chat/completions")  # where a POST asks for a run
_TYPES = {404: "not-found", 405: "method-not-allowed"}  # of what aiohttp itself refuses


def make_app(gateway: Gateway) -> web.Application:
    app = web.Application(middlewares=[take_trace, know_caller], client_max_size=BODY_BYTES)
    app[GATEWAY] = gateway
    for room in (run_routes, chat, health, openapi):
        app.add_routes(room.routes)
    app[openapi.DOCUMENT] = openapi.document(app.router.routes())  # the page is for people
    app.add_routes(page.routes)
    app.on_response_prepare.append(page.add_headers)
    return app


@web.middleware
async def take_trace(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What is done for a request belongs to the trace that it names."""
    headers = request.headers
    parents, states = headers.getall("traceparent", []), headers.getall("tracestate", [])
    trace_context.enter(trace_context.named_by(parents, states))
    return await handler(request)


@web.middleware
async def know_caller(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What is under /v1 is for those who have a key, where keys are on."""
    if request.path.startswith("/v1/"):
        keys = request.app[GATEWAY].keys
        request[CALLER] = keys.caller(request.headers.get("Authorization", ""), request.host)
    return await handler(request)


async def shed_load(
    gateway: Gateway, answer: Answer, request: web.BaseRequest
) -> web.StreamResponse:
    """Where there is no room for a run, that is said before anything else is done for it."""
    if request.method == "POST" and request.path in ASKING:
        gateway.check_ready()
        gateway.runs.check_room()
    return await answer(request)


async def tell_problems(
    gateway: Gateway, answer: Answer, request: web.BaseRequest
) -> web.StreamResponse:
    """Whatever goes wrong is told as a problem. A fault of ours is told to the log alone. This is
    no middleware: aiohttp refuses an Expect before it comes to one."""
    try:
        return await answer(request)
    except Problem as problem:
        return tell(gateway, problem)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        detail = f"{request.method} {request.path}: {error.reason}"
        allowed = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return tell(gateway, Problem(_TYPES.get(error.status, "bad-request"), detail), allowed)
    except Exception:
        log.exception("%s %s failed by a fault of ours", request.method, request.path)
        detail = "the gateway's log has the details"
        return tell(gateway, Problem("internal", detail))


def tell(
    gateway: Gateway, problem: Problem, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A problem as the answer, which may not pass the application any more."""
    gateway.metrics.problem(problem.type).inc()
    return problem.response({**page.HEADERS, **(headers or {})})
