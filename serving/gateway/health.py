"""Whether the process lives, whether it can serve, and what it measures."""

from __future__ import annotations

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from serving.gateway.gateway import GATEWAY
from serving.gateway.problems import Problem

routes = web.RouteTableDef()


@routes.get("/livez")
async def live(request: web.Request) -> web.Response:
    """The process answers."""
    return web.json_response({"status": "alive"})


@routes.get("/readyz")
async def ready(request: web.Request) -> web.Response:
    """Runs can begin: the engine serves, the grammar is warm, the history can be written."""
    request.app[GATEWAY].check_ready()
    return web.json_response({"status": "ready"})


@routes.get("/metrics")
async def metrics(request: web.Request) -> web.Response:
    """What Prometheus reads: the runs' events, counted and measured."""
    try:
        encode, kind = choose_encoder(",".join(request.headers.getall("Accept", [])))
    except TypeError:  # for it compares versions without a look at what they are
        raise Problem("not-acceptable", "Accept names a version that is none") from None
    body = encode(request.app[GATEWAY].metrics.registry)
    response = web.Response(body=body, headers={"Content-Type": kind})
    response.enable_compression()
    return response
