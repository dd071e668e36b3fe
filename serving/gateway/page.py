"""The page that asks questions and shows runs. All its files are here: it needs no internet."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

DIRECTORY = Path(__file__).with_name("page")
# Scripts and styles come from here only, and nothing on the page may speak to anyone else.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {  # of every answer: what keeps browsers from guessing, framing and telling
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Server": "headstart",
}

routes = web.RouteTableDef()
routes.static("/page", DIRECTORY)


@routes.get("/")
@routes.get("/runs/{id}")
async def page(request: web.Request) -> web.FileResponse:
    """The same page for all: it finds out by the address which run it shows."""
    return web.FileResponse(DIRECTORY / "index.html")


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Those of every answer, and what else one of the page has."""
    response.headers.update(HEADERS)
    if request.path.startswith("/page/"):
        response.headers["Cache-Control"] = "no-cache"  # asks whether it has changed
