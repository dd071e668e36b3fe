"""Reads requests: in time, within bounds, and as what they should be. Raises Problem."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from serving.gateway.problems import Problem

BODY_SECONDS = 10.0  # in which a whole body must have come
BODY_BYTES = 1_000_000
MOST_FAULTS = 20  # that are told
PAGE, MOST_PAGE = 20, 100  # runs of a list

T = TypeVar("T", bound=BaseModel)


async def body(request: web.Request) -> bytes:
    """The request's body, which is said to be JSON."""
    if request.content_type != "application/json":
        detail = f"the body is {request.content_type}; send application/json"
        raise Problem("unsupported-media-type", detail)
    if "Content-Encoding" in request.headers:
        raise Problem("unsupported-media-type", "the body is packed; send it as it is")
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except TimeoutError:
        detail = f"the body did not come within {BODY_SECONDS:g} s"
        raise Problem("slow-request", detail) from None
    except web.HTTPRequestEntityTooLarge:
        detail = f"the body has more than {BODY_BYTES} bytes"
        raise Problem("body-too-large", detail) from None


def parse(body: bytes, kind: type[T]) -> T:
    """The body as a `kind`."""
    try:
        return kind.model_validate_json(body, strict=True)
    except ValidationError as error:
        raise refusal(error) from None


def refusal(error: ValidationError) -> Problem:
    """What is wrong with a request, member by member."""
    if error.error_count() > MOST_FAULTS:
        detail = f"the body has {error.error_count()} faults, too many to tell"
        return Problem("invalid-request", detail)
    faults = [
        {"at": ".".join(map(str, each["loc"])), "message": each["msg"]}
        for each in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    detail = "; ".join(f"{each['at']}: {each['message']}".lstrip(": ") for each in faults)
    kind_of = "bad-request" if error.errors()[0]["type"] == "json_invalid" else "invalid-request"
    return Problem(kind_of, detail, members={"faults": faults})


def whole(request: web.Request, name: str, default: int, most: int) -> int:
    """A whole number from 1 on in the query."""
    text = request.query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most):
        raise Problem("invalid-request", f"{name} must be a whole number from 1 to {most}")
    return int(text)


def last_event_id(request: web.Request) -> int:
    """The number of the last event that the reader has seen; -1 if it has seen none."""
    text = request.headers.get("Last-Event-ID", "")
    if not text:
        return -1
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Problem("bad-request", "Last-Event-ID must be the id of one of the run's events")
    return int(text)


def wants_stream(request: web.Request) -> bool:
    """Whether the reader asks for events as they happen."""
    return "text/event-stream" in request.headers.get("Accept", "")
