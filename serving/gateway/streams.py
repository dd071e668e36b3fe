"""Event streams (text/event-stream) to readers that may be slow, or gone.

aiohttp waits for a slow reader for ever; here it is cut off when it has taken nothing for a while.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing

from aiohttp import web

from serving.gateway.database import KeptEvent

log = logging.getLogger("headstart.gateway")

READER_SECONDS = 10.0  # in which a reader must take what is sent to it
PING_SECONDS = 15.0  # of silence, after which proxies would think that a connection is dead
HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would hold events back
}
PING = ": still here\n\n"


class SlowReaderError(ConnectionError):
    """A reader has taken nothing for `READER_SECONDS`."""


class EventStream:
    """An answer that is written piece by piece."""

    def __init__(self, request: web.Request, headers: Mapping[str, str]) -> None:
        self._request = request
        self._response = web.StreamResponse(headers={**HEADERS, **headers})

    async def send_all(self, texts: AsyncGenerator[str]) -> web.StreamResponse:
        """Sends what comes until the last of it, or until nobody reads it any more."""
        try:
            async with aclosing(texts):
                async for text in texts:
                    # Not before the first of it: who reads the head can rely on what it names.
                    if not self._response.prepared:
                        await self._response.prepare(self._request)
                    await self._send(text)
        except ConnectionError:
            pass  # nobody is there to be told
        except Exception:
            if not self._response.prepared:
                raise
            log.exception("a stream broke off by a fault of ours")
            self._cut_off()  # rather than to put another answer into the middle of this one
        return self._response

    def _cut_off(self) -> None:
        if (transport := self._request.transport) is not None:
            transport.abort()

    async def _send(self, text: str) -> None:
        """Raises ConnectionError if the reader is gone, or so slow that it is cut off."""
        try:
            async with asyncio.timeout(READER_SECONDS):
                await self._response.write(text.encode())
        except TimeoutError:
            self._cut_off()
            raise SlowReaderError from None


async def send_events(
    request: web.Request, headers: Mapping[str, str], events: AsyncIterator[list[KeptEvent]]
) -> web.StreamResponse:
    """Answers with the events until the last one; each message has the event's number as its id."""
    texts = ("".join(map(_message, some)) or PING async for some in events)
    return await EventStream(request, headers).send_all(texts)


def _message(event: KeptEvent) -> str:
    return f"id: {event.seq}\nevent: {event.type}\ndata: {event.json}\n\n"
