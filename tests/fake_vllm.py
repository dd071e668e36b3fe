"""A server that answers as vLLM does, or as a broken one, or none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

MODELS = '{"data": [{"id": "m", "max_model_len": 100}]}'
HALF = 'data: {"choices": [{"delta": {"content": "ha"}, "finish_reason": null}]}\n\n'
WHOLE = 'data: {"choices": [{"delta": {"content": "ha"}, "finish_reason": "stop"}]}\n\n'


@asynccontextmanager
async def server(
    models: str = MODELS,
    status: int = 200,
    body: str = WHOLE,
    seen: list[Mapping[str, str]] | None = None,
) -> AsyncIterator[str]:
    """Its URL; `status` and `body` are its answer to each request for text, whose headers go to
    `seen`."""

    async def health(_: web.Request) -> web.Response:
        return web.Response()

    async def list_models(_: web.Request) -> web.Response:
        return web.Response(text=models)

    async def complete(request: web.Request) -> web.Response:
        if seen is not None:
            seen.append(request.headers)
        return web.Response(status=status, text=body)

    app = web.Application()
    app.router.add_get("/health", health)
    app.router.add_get("/v1/models", list_models)
    app.router.add_post("/v1/chat/completions", complete)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
