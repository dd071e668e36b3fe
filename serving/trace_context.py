"""The trace that work belongs to (W3C Trace Context): from who asks us to the engine that we ask.

It is kept with the asyncio task that does the work, and with those that this one makes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from types import MappingProxyType

# Of a version that we don't know there may be more behind what we do.
_PARENT = re.compile(
    r"(00-{ids}|(?!00|ff)[0-9a-f]{{2}}-{ids}(-[\x21-\x7e]*)?)".format(
        ids=r"(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
    )
)

_headers: ContextVar[Mapping[str, str]] = ContextVar("trace", default=MappingProxyType({}))


def enter(headers: Mapping[str, str]) -> None:
    """From here on this task's work belongs to the trace that these headers name, or to none."""
    _headers.set(headers)


def headers() -> Mapping[str, str]:
    """What tells others the trace that this task's work belongs to."""
    return _headers.get()


def named_by(parents: Sequence[str], states: Sequence[str]) -> dict[str, str]:
    """The trace that a request's `traceparent` and `tracestate` headers name, as headers; none if
    they do so wrongly, which the standard wants to be ignored."""
    if len(parents) != 1 or not _PARENT.fullmatch(parents[0]):
        return {}
    state = ",".join(states)
    sendable = state and state.isascii() and state.isprintable()
    return {"traceparent": parents[0], **({"tracestate": state} if sendable else {})}
