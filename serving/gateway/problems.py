"""Errors as the gateway tells them: problem documents (RFC 9457), with a `type` that stays.

The types are what programs may rely on; titles and details are for people. `error` says the same in
OpenAI's way, for clients that look there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

CONTENT_TYPE = "application/problem+json"
PREFIX = "urn:headstart:problem:"

# type: (status, title)
TYPES: dict[str, tuple[int, str]] = {
    "bad-request": (400, "The request can't be read"),
    "unauthorized": (401, "A valid key is needed"),
    "forbidden": (403, "The key does not allow this"),
    "not-found": (404, "There is no such thing"),
    "method-not-allowed": (405, "This can't be done here"),
    "not-acceptable": (406, "There is no such form of it"),
    "slow-request": (408, "The request came too slowly"),
    "body-too-large": (413, "The request is too large"),
    "unsupported-media-type": (415, "The body must be JSON"),
    "invalid-request": (422, "The request can't be done as asked"),
    "question-too-long": (422, "The question does not fit the model"),
    "too-many-runs": (429, "Too many runs at once"),
    "internal": (500, "A fault of the gateway"),
    "run-failed": (422, "The run has no answer"),
    "engine-unavailable": (503, "The engine does not serve now"),
    "history-unavailable": (503, "The history can't be written now"),
    "shutting-down": (503, "The gateway is shutting down"),
}


@dataclass
class Problem(Exception):  # noqa: N818  the name that RFC 9457 has for it
    """Ends a request with this problem. `members` go into the document as they are."""

    type: str
    detail: str
    retry_after: int | None = None  # seconds
    members: dict[str, Any] | None = None

    def document(self) -> dict[str, Any]:
        status, title = TYPES[self.type]
        return {
            "type": PREFIX + self.type,
            "title": title,
            "status": status,
            "detail": self.detail,
            "error": {"message": self.detail, "type": self.type, "code": self.type},
            **(self.members or {}),
        }

    def response(self, headers: Mapping[str, str] | None = None) -> web.Response:
        status, _ = TYPES[self.type]
        retry = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        challenge = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
        return web.json_response(
            self.document(),
            status=status,
            headers={**retry, **challenge, **(headers or {})},
            content_type=CONTENT_TYPE,
        )
