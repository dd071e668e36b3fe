"""Connections: aiohttp's own, but for what it does not do as this API does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from aiohttp import web

from serving.gateway.problems import Problem

log = logging.getLogger("headstart.gateway")

UNREAD_SECONDS = 10.0  # for which bytes behind a request may find no place before they are read


class Connections:
    """Makes a connection for each peer that comes, as `create_server` asks for it; no more than
    `most` are open at once."""

    def __init__(
        self,
        server: web.Server,
        tell: Callable[[Problem], web.Response],
        most: int,
        **settings: Any,
    ) -> None:
        self.server = server
        self.tell = tell
        self.most = most
        self.settings = settings
        self.open: set[Connection] = set()

    def __call__(self) -> Connection:
        return Connection(self)


class Connection(web.RequestHandler):
    """The HTTP of one peer."""

    def __init__(self, among: Connections) -> None:
        super().__init__(among.server, loop=asyncio.get_running_loop(), **among.settings)
        self._among = among
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Who comes when all places are taken is sent away without a word: there would have to be
        a request before there can be an answer."""
        among = self._among
        if len(among.open) >= among.most:
            assert isinstance(transport, asyncio.Transport)
            transport.abort()
            return
        among.open.add(self)
        if len(among.open) == among.most:
            log.warning("%d connections are open; more are sent away", among.most)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Who sends so much behind his request that no more of it is read could go away without
        being noticed. He is cut off, unless it is read soon."""
        super().data_received(data)
        self._forget_unread()
        if self.transport is not None and not self.transport.is_reading():
            loop = asyncio.get_running_loop()
            self._unread = loop.call_later(UNREAD_SECONDS, self._cut_off_unread)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._among.open.discard(self)
        self._forget_unread()
        super().connection_lost(exc)

    def _forget_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _cut_off_unread(self) -> None:
        if self.transport is not None and not self.transport.is_reading():
            self.transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answers what is no HTTP, where aiohttp would do it in plain text. It is the peer's fault,
        so nothing of it goes to the log."""
        if status == 400:
            said = " ".join((message or "").partition("\n\n")[0].split()).rstrip(":")
            problem = Problem("bad-request", f"the request can't be read: {said}")
        else:
            super().handle_error(request, status, exc, message)  # to the log
            problem = Problem("internal", "the gateway's log has the details")
        response = self._among.tell(problem)
        response.force_close()
        return response
