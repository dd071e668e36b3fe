"""The gateway as an aiohttp application: what every request passes, and where it goes."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from serving.gateway import chat, health, page, run_routes
from serving.gateway.gateway import GATEWAY, Gateway
from serving.gateway.keys import CALLER
from serving.gateway.problems import Problem
from serving.gateway.requests import BODY_BYTES

log = logging.getLogger("headstart.gateway")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_TYPES = {404: "not-found", 405: "method-not-allowed"}  # of what aiohttp itself refuses


def make_app(gateway: Gateway) -> web.Application:
    middlewares = [tell_problems, know_caller]
    app = web.Application(middlewares=middlewares, client_max_size=BODY_BYTES)
    app[GATEWAY] = gateway
    for room in (run_routes, chat, health, page):
        app.add_routes(room.routes)
    app.on_response_prepare.append(page.add_headers)
    return app


@web.middleware
async def know_caller(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What is under /v1 is for those who have a key, where keys are on."""
    if request.path.startswith("/v1/"):
        keys = request.app[GATEWAY].keys
        request[CALLER] = keys.caller(request.headers.get("Authorization", ""), request.host)
    return await handler(request)


@web.middleware
async def tell_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whatever goes wrong is told as a problem. A fault of ours is told to the log alone."""
    try:
        return await handler(request)
    except Problem as problem:
        return problem.response()
    except web.HTTPException as error:
        if error.status < 400:
            raise
        detail = f"{request.method} {request.path}: {error.reason}"
        allowed = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return Problem(_TYPES.get(error.status, "bad-request"), detail).response(allowed)
    except Exception:
        log.exception("%s %s failed by a fault of ours", request.method, request.path)
        detail = "the gateway's log has the details"
        return Problem("internal", detail).response()
