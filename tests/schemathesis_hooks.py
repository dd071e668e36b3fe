"""Turns some of what Schemathesis makes up into requests that come further."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.hook
def before_call(
    context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]
) -> None:
    """Every other case asks for a stream. A chat asks the model there is, and what is well-formed
    ends with a user's message, or names a tool that there is."""
    if ord(case.id[-1]) % 2:
        case.headers["Accept"] = "text/event-stream"
    if not isinstance(case.body, dict):
        return
    if isinstance(case.body.get("model"), str):
        case.body["model"] = "scripted"
    if case.meta is not None and case.meta.generation.mode.is_positive:
        if "messages" in case.body:
            case.body["messages"][-1]["role"] = "user"
        if case.body.get("tools"):
            case.body["tools"] = ["calculate"]
