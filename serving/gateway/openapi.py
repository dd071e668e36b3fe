"""The gateway's OpenAPI document, made of its routes, its models and its events.

What none of them tells, such as which problems a handler may come to, is in OPERATIONS.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from aiohttp import web
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from executor.events import EVENTS
from serving.gateway import bodies, chat, health, problems, run_routes
from serving.gateway.requests import MOST_PAGE, PAGE

Schema = dict[str, Any]

routes = web.RouteTableDef()
DOCUMENT = web.AppKey("document", str)

ABOUT = (
    "Runs as resources, their events as streams, and the same as an OpenAI-compatible model. What "
    "goes wrong is told as a problem document: its `type` stays, titles and details may change."
)
JSON, STREAM = "application/json", "text/event-stream"
TEXT: Schema = {"type": "string"}


@routes.get("/openapi.json")
async def openapi(request: web.Request) -> web.Response:
    """This document."""
    return web.Response(text=request.app[DOCUMENT], content_type=JSON)


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _json_text(*kinds: str) -> Schema:
    schema = {"anyOf": [_ref(kind) for kind in kinds]}
    return {**TEXT, "contentMediaType": JSON, "contentSchema": schema}


def _message(**fields: Schema) -> Schema:
    """Of an event stream; before OpenAPI 3.2 a stream's schema is that of each of its messages."""
    return {"type": "object", "properties": fields, "required": list(fields)}


EVENTS_STREAM = _message(
    id={**TEXT, "description": "The event's `seq`, for Last-Event-ID."},
    event={"enum": list(EVENTS)},
    data=_json_text("Event"),
)
CHUNKS_STREAM = _message(
    data={"anyOf": [{"const": "[DONE]"}, _json_text("CompletionChunk", "StreamError")]}
)


@dataclass(frozen=True)
class Parameter:
    name: str
    place: Literal["query", "header", "path"]
    schema: Schema
    about: str

    def told(self) -> Schema:
        return {
            "name": self.name,
            "in": self.place,
            "required": self.place == "path",
            "schema": self.schema,
            "description": self.about,
        }


LIMIT = Parameter(
    "limit",
    "query",
    {"type": "integer", "minimum": 1, "maximum": MOST_PAGE, "default": PAGE},
    "So many at most.",
)
BEFORE = Parameter("before", "query", TEXT, "Only those that began before the run of this id.")
LAST_EVENT_ID = Parameter(
    "Last-Event-ID",
    "header",
    {**TEXT, "pattern": "^[0-9]{0,9}$"},
    "The id of the last message that was seen; empty for none.",
)

NOT_READY = ("engine-unavailable", "history-unavailable", "shutting-down")
NO_START = ("invalid-request", "question-too-long", "too-many-runs", *NOT_READY)
NO_BODY = ("slow-request", "body-too-large", "unsupported-media-type")
ANY = ("bad-request", "internal")  # whatever is asked for: it may be no HTTP, and we may fail
NO_KEY = ("unauthorized", "forbidden")


@dataclass(frozen=True)
class Operation:
    """What a handler gives, by media type, what it takes, and what it may come to instead."""

    gives: Mapping[str, type | Schema]
    takes: type | None = None
    parameters: tuple[Parameter, ...] = ()
    problems: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()


OPERATIONS: Mapping[Any, Operation] = {
    run_routes.create: Operation(
        {JSON: bodies.Run, STREAM: EVENTS_STREAM},
        takes=bodies.RunRequest,
        problems=NO_BODY + NO_START,
        headers=("Location",),
    ),
    run_routes.index: Operation(
        {JSON: bodies.RunList}, parameters=(LIMIT, BEFORE), problems=("invalid-request",)
    ),
    run_routes.show: Operation({JSON: bodies.Run}, problems=("not-found",)),
    run_routes.cancel: Operation({JSON: bodies.Run}, problems=("not-found",)),
    run_routes.events: Operation(
        {STREAM: EVENTS_STREAM},
        parameters=(LAST_EVENT_ID,),
        problems=("not-found",),
    ),
    run_routes.tools: Operation({JSON: bodies.ToolList}),
    chat.complete: Operation(
        {JSON: bodies.Completion, STREAM: CHUNKS_STREAM},
        takes=chat.ChatRequest,
        problems=(*NO_BODY, *NO_START, "not-found", "run-failed"),
    ),
    chat.models: Operation({JSON: bodies.ModelList}, problems=NOT_READY),
    health.live: Operation({JSON: bodies.Health}),
    health.ready: Operation({JSON: bodies.Health}, problems=NOT_READY),
    health.metrics: Operation(
        {"text/plain": TEXT, "application/openmetrics-text": TEXT}, problems=("not-acceptable",)
    ),
    openapi: Operation({JSON: {"type": "object"}}),
}
HEADERS: Mapping[int, tuple[str, ...]] = {
    401: ("WWW-Authenticate",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}
KEY = {
    "type": "http",
    "scheme": "bearer",
    "description": "A gateway that listens on the loopback alone may have no keys and need none.",
}


def document(routes: Iterable[web.AbstractRoute]) -> str:
    """The document of these routes, as JSON. Raises KeyError for one that is not in OPERATIONS."""
    paths: dict[str, Schema] = {}
    for route in routes:
        if route.method != "HEAD":  # which comes with each GET
            assert route.resource is not None
            path = route.resource.canonical
            paths.setdefault(path, {})[route.method.lower()] = _operation(path, route.handler)
    return json.dumps(
        {
            "openapi": "3.1.0",
            "info": {"title": "Headstart", "version": "1", "description": ABOUT},
            "paths": paths,
            "components": {"schemas": _schemas(), "securitySchemes": {"key": KEY}},
        }
    )


def _operation(path: str, handler: Any) -> Schema:
    it = OPERATIONS[handler]
    is_keyed = path.startswith("/v1/")
    in_path = [Parameter(name, "path", TEXT, "The run's.") for name in re.findall(r"{(\w+)}", path)]
    told: Schema = {
        "operationId": handler.__name__,
        "summary": inspect.getdoc(handler),
        "security": [{"key": []}] if is_keyed else [],
        "parameters": [each.told() for each in (*in_path, *it.parameters)],
        "responses": {
            "200": _response("As asked", it.headers, it.gives),
            **_problems({*ANY, *it.problems, *(NO_KEY if is_keyed else ())}),
        },
    }
    if it.takes:
        told["requestBody"] = {"required": True, "content": _content({JSON: it.takes})}
    return told


def _problems(types: set[str]) -> Schema:
    """Responses by status; some have several types."""
    of_status: dict[int, list[str]] = {}
    for type, (status, _) in problems.TYPES.items():
        if type in types:
            of_status.setdefault(status, []).append(type)
    return {
        str(status): _response(
            "; ".join(problems.TYPES[type][1] for type in some),
            HEADERS.get(status, ()),
            {problems.CONTENT_TYPE: _ref("ProblemDocument") | {"properties": _typed(some)}},
        )
        for status, some in of_status.items()
    }


def _typed(types: Iterable[str]) -> Schema:
    return {"type": {"enum": [problems.PREFIX + type for type in types]}}


def _response(about: str, headers: Iterable[str], gives: Mapping[str, type | Schema]) -> Schema:
    return {
        "description": about,
        "headers": {name: {"schema": TEXT} for name in headers},
        "content": _content(gives),
    }


def _content(gives: Mapping[str, type | Schema]) -> Schema:
    return {
        media: {"schema": _ref(kind.__name__) if isinstance(kind, type) else kind}
        for media, kind in gives.items()
    }


class _Generator(GenerateJsonSchema):
    """What has a default is always given. Titles would only say the names once more."""

    def field_is_required(self, field: Any, total: bool) -> bool:
        has_default = field["type"] != "typed-dict-field"
        is_given = has_default and self.mode == "serialization"
        return is_given or super().field_is_required(field, total)

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


@cache
def _schemas() -> dict[str, Schema]:
    """The components: what is taken, what is given, and the events."""
    taken = [it.takes for it in OPERATIONS.values() if it.takes]
    given = [each for it in OPERATIONS.values() for each in it.gives.values()]
    given += [bodies.CompletionChunk, bodies.StreamError, bodies.ProblemDocument, *EVENTS.values()]
    _, made = TypeAdapter.json_schemas(
        [
            *((kind, "validation", TypeAdapter(kind)) for kind in taken),
            *(
                (kind, "serialization", TypeAdapter(kind))
                for kind in given
                if isinstance(kind, type)
            ),
        ],
        ref_template=_ref("{model}")["$ref"],
        schema_generator=_Generator,
    )
    schemas: dict[str, Schema] = made["$defs"]
    for name, kind in EVENTS.items():  # `type` is the class's own, which pydantic leaves out
        event = schemas[kind.__name__]
        event["properties"] = {"type": {"const": name}, **event["properties"]}
        event["required"] = ["type", *event["required"]]
    refs = {name: _ref(kind.__name__)["$ref"] for name, kind in EVENTS.items()}
    schemas["Event"] = {
        "oneOf": [{"$ref": ref} for ref in refs.values()],
        "discriminator": {"propertyName": "type", "mapping": refs},
    }
    schemas["ProblemDocument"]["properties"] |= _typed(problems.TYPES)
    return schemas
