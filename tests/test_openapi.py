"""The OpenAPI document tells the truth: all routes, and answers as they are.

Beside the tables here, every answer that any test gets through `gateways.Client` is held against
it. `--api-examples 400` makes Schemathesis make up some 5,000 requests instead of some 500.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from aiohttp import web
from contract import Contract
from gateways import ENDING, Client, gateway
from jsonschema import Draft202012Validator, ValidationError
from test_chat import ASKED
from test_events import EXAMPLES
from test_gateway import FOREVER, STREAM, problem
from test_keys import a_key

from executor.errors import EngineError
from executor.events import to_wire
from serving.gateway import openapi, requests
from serving.gateway.problems import TYPES
from serving.model import Model
from serving.scripted import ScriptedModel, SteadyModel
from serving.settings import Settings

TESTS = Path(__file__).parent
ASK = {"question": "?"}
Arrange = Callable[[Client, pytest.MonkeyPatch], object]


async def test_it_is_for_everybody_and_valid(tmp_path: Path) -> None:
    a_key(tmp_path)
    async with gateway(tmp_path) as client:
        response = await client.get("/openapi.json")
        assert (response.status, response.content_type) == (200, "application/json")
        document = await response.json()
    schemathesis.openapi.from_dict(document).validate()
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    refs = {ref.removeprefix("#/components/schemas/") for ref in _refs(document)}
    assert refs == set(schemas)  # each is there, and none is there for nothing


def _refs(item: Any) -> Iterator[str]:
    if isinstance(item, dict):
        if isinstance(item.get("$ref"), str):
            yield item["$ref"]
        item = list(item.values())
    if isinstance(item, list):
        for each in item:
            yield from _refs(each)


async def test_every_route_is_in_it_but_the_pages(tmp_path: Path) -> None:
    async with gateway(tmp_path) as client:
        routes = {
            (route.method, route.resource.canonical)
            for route in client.app.router.routes()
            if route.method != "HEAD" and route.resource is not None
        }
        told = {
            (method.upper(), path)
            for path, operations in client.contract.document["paths"].items()
            for method in operations
        }
    assert routes - told == {("GET", "/"), ("GET", "/runs/{id}"), ("GET", "/page")}
    assert told <= routes
    assert len(openapi.OPERATIONS) == len(told)


def test_no_route_can_be_forgotten() -> None:
    async def forgotten(request: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_get("/v1/forgotten", forgotten)
    with pytest.raises(KeyError, match="forgotten"):
        openapi.document(app.router.routes())


async def test_the_check_finds_what_is_not_told(tmp_path: Path) -> None:
    async with gateway(tmp_path) as client:
        contract = client.contract
        contract.check("GET", "/livez", 200, "application/json", '{"status": "alive"}')
        for false in ('{"status": "dead"}', "{}", '{"status": "alive", "more": 1}'):
            with pytest.raises(ValidationError):
                contract.check("GET", "/livez", 200, "application/json", false)
        with pytest.raises(KeyError):
            contract.check("GET", "/livez", 404, "application/problem+json", "{}")


# What is given

DIES = ScriptedModel([[EngineError("it died")]])
CHAT = "/v1/chat/completions"
USAGE = {"stream": True, "stream_options": {"include_usage": True}}
STREAMS: dict[str, tuple[str, dict[str, Any], Model | None]] = {
    "events": ("/v1/runs", ASK, None),
    "events of a run that fails": ("/v1/runs", ASK, DIES),
    "chunks": (CHAT, {**ASKED, "stream": True}, None),
    "chunks with usage": (CHAT, {**ASKED, **USAGE}, None),
    "chunks of a run that fails": (CHAT, {**ASKED, "stream": True}, DIES),
}


@pytest.mark.parametrize(("path", "asked", "model"), STREAMS.values(), ids=STREAMS)
async def test_streams_are_as_told(
    tmp_path: Path, path: str, asked: dict[str, Any], model: Model | None
) -> None:
    async with gateway(tmp_path, model) as client:
        response = await client.post(path, asked, **STREAM)
        assert response.content_type == "text/event-stream"
        text = await response.text()
        client.contract.check("POST", path, 200, "text/event-stream", text)
        again = f"{response.headers['Location']}/events"
        text = await (await client.get(again)).text()
        client.contract.check("GET", again, 200, "text/event-stream", text)


def test_each_event_is_as_told() -> None:
    contract = Contract(openapi.document([]))
    for event in EXAMPLES.values():
        contract.fits(to_wire(event), {"$ref": "#/components/schemas/Event"})


GIVEN = ["/v1/runs", "/v1/runs?limit=1", "/v1/tools", "/v1/models", "/livez", "/readyz"]


async def test_what_is_there_is_as_told(tmp_path: Path) -> None:
    async with gateway(tmp_path) as client:
        run = await (await client.post("/v1/runs", ASK)).json()
        completion = await client.post(CHAT, ASKED)
        cancelled = await client.delete(f"/v1/runs/{run['id']}")
        others = [await client.get(path) for path in [*GIVEN, f"/v1/runs/{run['id']}"]]
        assert {each.status for each in (completion, cancelled, *others)} == {200}
        for accepted in ("", "application/openmetrics-text"):
            metrics = await client.get("/metrics", Accept=accepted)
            text = await metrics.text()
            client.contract.check("GET", "/metrics", metrics.status, metrics.content_type, text)


# What goes wrong


def no_engine() -> Model:
    raise EngineError("the engine is starting")


def nothing(client: Client, patch: pytest.MonkeyPatch) -> None:
    pass


async def slow() -> AsyncIterator[bytes]:
    yield b"{"
    await asyncio.Event().wait()


GET, POST = "GET", "POST"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
AS_JSON = {"Content-Type": "application/json"}
PROVOKED: dict[str, tuple[Arrange, str, str, dict[str, Any]]] = {
    "bad-request": (nothing, POST, "/v1/runs", {"data": b"{", "headers": AS_JSON}),
    "unauthorized": (
        lambda client, _: a_key(client.gateway.settings.data_dir),
        *(GET, "/v1/runs", {}),
    ),
    "forbidden": (nothing, GET, "/v1/runs", {"headers": {"Host": "evil.example"}}),
    "not-found": (nothing, GET, "/v1/runs/nope", {}),
    "method-not-allowed": (nothing, "PUT", "/v1/runs", {}),
    "not-acceptable": (nothing, GET, "/metrics", {"headers": {"Accept": "text/plain;version=x"}}),
    "slow-request": (
        lambda _, patch: patch.setattr(requests, "BODY_SECONDS", 0.0),
        *(POST, "/v1/runs", {"data": slow(), "headers": AS_JSON}),
    ),
    "body-too-large": (nothing, POST, CHAT, {"data": b" " * 1_000_001, "headers": AS_JSON}),
    "unsupported-media-type": (nothing, POST, CHAT, {"data": b"", "headers": FORM}),
    "invalid-request": (nothing, POST, CHAT, {"json": {}}),
    "question-too-long": (nothing, POST, "/v1/runs", {"json": {"question": "word " * 9_000}}),
    "too-many-runs": (
        lambda client, patch: patch.setattr(client.gateway.runs, "_most", 0),
        *(POST, "/v1/runs", {"json": ASK}),
    ),
    "internal": (
        lambda client, patch: patch.setattr(client.gateway.runs, "latest", None),
        *(GET, "/v1/runs", {}),
    ),
    "run-failed": (
        lambda client, _: setattr(client.gateway, "settings", Settings(deadline=0.01)),
        *(POST, CHAT, {"json": ASKED}),
    ),
    "engine-unavailable": (
        lambda client, _: setattr(client.gateway, "model", no_engine),
        *(GET, "/v1/models", {}),
    ),
    "history-unavailable": (
        lambda client, _: setattr(client.history, "fault", "the disk is full"),
        *(GET, "/readyz", {}),
    ),
    "shutting-down": (
        lambda client, _: setattr(client.gateway, "is_draining", True),
        *(POST, CHAT, {"json": ASKED}),
    ),
}


@pytest.mark.parametrize("type", TYPES)
async def test_each_problem_is_as_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, type: str
) -> None:
    arrange, method, path, content = PROVOKED[type]
    async with gateway(tmp_path, SteadyModel(FOREVER, ENDING)) as client:
        arrange(client, monkeypatch)
        assert (await problem(await client.send(method, path, **content)))[1] == type


# What nobody has thought of


async def test_made_up_requests_find_nothing(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """Schemathesis: no fault of ours, and nothing but what the document tells."""
    key = a_key(tmp_path)["Authorization"].removeprefix("Bearer ")
    async with gateway(tmp_path) as client:
        program = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("schemathesis"),
            f"--config-file={TESTS / 'schemathesis.toml'}",
            "run",
            f"{client.url}/openapi.json",
            f"--max-examples={pytestconfig.getoption('--api-examples')}",
            cwd=tmp_path,
            env={**os.environ, "SCHEMATHESIS_HOOKS": f"{TESTS}/schemathesis_hooks.py", "KEY": key},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        told, _ = await program.communicate()
        answered = await (await client.get("/metrics")).text()
    print(told.decode())
    assert program.returncode == 0, told.decode()
    assert 'headstart_runs_total{outcome="finished"' in answered  # it came as far as that
