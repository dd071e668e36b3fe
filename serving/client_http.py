"""How the client reaches the gateway: requests whose every failure is one of these.

HeadstartError
  GatewayError   the gateway's: not there, or it broke off its answer
  ProblemError   its refusal of the request, with a `type` for programs
  UsageError     the caller's: what stands at the URL is no gateway
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
from aiohttp.http import HttpProcessingError
from pydantic import BaseModel, ValidationError

from executor.errors import HeadstartError, UsageError

CONNECT_SECONDS = 10.0
URN = "urn:headstart:problem:"

T = TypeVar("T", bound=BaseModel)


class GatewayError(HeadstartError):
    """The gateway is not there, or broke off its answer. It may be there again later."""


class ProblemError(HeadstartError):
    """A request that was refused, as a problem document (RFC 9457) tells it.

    `type` is such as not-found; about:blank if something in front of the gateway refused.
    `retry_after` is in seconds.
    """

    def __init__(self, type: str, status: int, detail: str, retry_after: int | None) -> None:
        super().__init__(detail)
        self.type = type
        self.status = status
        self.detail = detail
        self.retry_after = retry_after


class GatewayHttp:
    """Requests to one gateway, from `open` to `close`. An answer may be silent for `silence`
    seconds. Raises UsageError for a URL that is none."""

    def __init__(self, url: str, key: str, silence: float) -> None:
        if not _is_http(url):
            raise UsageError(f"{url!r} is no URL of a gateway; it looks like http://host:port")
        self.url = url.rstrip("/").removesuffix("/v1") + "/"
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._timeout = aiohttp.ClientTimeout(
            total=None, connect=CONNECT_SECONDS, sock_read=silence
        )
        self._session: aiohttp.ClientSession | None = None

    def open(self) -> None:
        # A connection kept for the next request may be closed by the gateway just as that is
        # sent; and many runs that are followed must not keep another's cancellation waiting.
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        self._session = aiohttp.ClientSession(
            self.url, headers=self._headers, timeout=self._timeout, connector=connector
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def fetch(self, kind: type[T], method: str, path: str, **params: str) -> T:
        """An answer that is a `kind`."""
        async with await self._begin(method, path, params=params) as response:
            with self.watching():
                text = await response.text()
        try:
            return kind.model_validate_json(text)
        except ValidationError:
            raise self.stranger(text[:80]) from None

    async def stream(
        self, method: str, path: str, headers: Mapping[str, str], body: object = None
    ) -> aiohttp.ClientResponse:
        """An answer that is an event stream, of which the head has come."""
        headers = {"Accept": "text/event-stream", **headers}
        response = await self._begin(method, path, headers=headers, json=body)
        if response.content_type != "text/event-stream":
            response.close()
            raise self.stranger(response.content_type)
        return response

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Whatever happens to a connection is a GatewayError."""
        try:
            yield
        except aiohttp.ClientConnectorError as error:
            reason = error.strerror or error
            raise GatewayError(
                f"no gateway answers at {self.url} ({reason}); is it running there?"
            ) from None
        except (aiohttp.ClientError, HttpProcessingError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise GatewayError(
                f"the gateway at {self.url} broke off ({reason}); what was asked of it may be done "
                "all the same: see the latest runs"
            ) from None

    def stranger(self, answer: str) -> UsageError:
        """The error of somebody who answers in this way."""
        return UsageError(
            f"what stands at {self.url} is no gateway, or none that this client understands: it "
            f"answers {answer!r}; look at the URL"
        )

    async def _begin(self, method: str, path: str, **content: Any) -> aiohttp.ClientResponse:
        """An answer of which the head has come, unless it is a refusal."""
        if self._session is None:
            raise UsageError("use a client inside its block: `async with Client(url) as client`")
        with self.watching():
            response = await self._session.request(method, path, **content)
            if response.status < 400:
                return response
            async with response:
                raise self._refusal(response, await response.text(errors="replace"))

    def _refusal(self, response: aiohttp.ClientResponse, text: str) -> HeadstartError:
        status, after = response.status, response.headers.get("Retry-After", "")
        retry_after = int(after) if after.isascii() and after.isdigit() else None
        try:
            problem = json.loads(text)
            type, detail = problem["type"].removeprefix(URN), problem["detail"]
        except (ValueError, KeyError, TypeError, AttributeError):
            told = f"{status} {response.reason}"
            if status < 500:
                return self.stranger(told)
            type, detail = "about:blank", f"something in front of {self.url} answers {told}"
        return ProblemError(type, status, detail, retry_after)


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
