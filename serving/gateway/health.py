"""Whether the process lives, and whether it can serve."""

from __future__ import annotations

from aiohttp import web

from serving.gateway.gateway import GATEWAY

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
