"""Runs as spans, and the trace that is taken from the caller and told to the engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from fake_vllm import server
from gateways import ENDING, PLAN, Client, gateway, quick_model
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from executor.errors import EngineError
from executor.tools import ToolBox, tool
from planner_prompts.messages import Message
from serving import trace_context
from serving.gateway import traces
from serving.gateway.traces import Traces
from serving.model import Delta, Model, Sampling, VllmModel
from serving.scripted import Chunk, ScriptedModel, SteadyModel

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{CALLER}-01"
MODELS = '{"data": [{"id": "m", "max_model_len": 100000}]}'


@asynccontextmanager
async def traced(
    directory: Path, model: Model | None = None, toolbox: ToolBox | None = None
) -> AsyncIterator[tuple[Client, InMemorySpanExporter]]:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    arguments = {} if toolbox is None else {"toolbox": toolbox}
    async with gateway(directory, model, **arguments) as client:
        client.gateway.traces = Traces(provider)
        yield client, exporter


async def spans_of(
    directory: Path, model: Model, toolbox: ToolBox | None = None
) -> Sequence[ReadableSpan]:
    """Those of one run."""
    async with traced(directory, model, toolbox) as (client, exporter):
        response = await client.post("/v1/runs", {"question": "What is 21 * 2?"})
        assert response.status == 200, await response.text()
        return exporter.get_finished_spans()


def drawn(spans: Sequence[ReadableSpan]) -> str:
    """The tree, with ids of tasks, those that they are linked to, and errors."""
    tasks = {each.context.span_id: each.attributes.get("gen_ai.tool.call.id") for each in spans}

    def lines(parent: int | None, depth: int) -> list[str]:
        told = []
        for span in sorted(spans, key=lambda each: each.start_time):
            if (span.parent.span_id if span.parent else None) == parent:
                error = span.attributes.get("error.type")
                assert span.status.is_ok is (error is None)
                links = [tasks[link.context.span_id] for link in span.links]
                told.append(
                    "    " * depth
                    + span.name
                    + (f" {tasks[span.context.span_id]}" if tasks[span.context.span_id] else "")
                    + (f" <- {', '.join(links)}" if links else "")
                    + (f" !{error}" if error else "")
                )
                told += lines(span.context.span_id, depth + 1)
        return told

    return "\n".join(lines(None, 0)) + "\n"


@tool
async def fail(text: str) -> str:
    raise ValueError("no")


@tool
async def echo(text: str) -> str:
    return text


@tool(on_input_error="pass")
async def anyhow(first: str, second: str) -> str:
    return "passed"


RUNS = {
    "one plan": (
        ['1. echo("a")\n2. echo("b")\n3. anyhow(first="$1", second="$2")\n4. join()\n', ENDING],
        """\
invoke_agent headstart
    plan headstart
        chat scripted
    execute_tool echo 1
    execute_tool echo 2
    execute_tool anyhow 3 <- 1, 2
    chat scripted
""",
    ),
    "two plans": (
        ['1. echo("a")\n2. join()\n', "Replan: more", '2. echo("$1")\n3. join()\n', ENDING],
        """\
invoke_agent headstart
    plan headstart
        chat scripted
    execute_tool echo 1
    chat scripted
    plan headstart
        chat scripted
    execute_tool echo 2 <- 1
    chat scripted
""",
    ),
    "a line is refused": (
        ['1. echo("a")\n2. fly("$1")\n', '2. echo("$1")\n3. join()\n', ENDING],
        """\
invoke_agent headstart
    plan headstart
        chat scripted
        chat scripted
    execute_tool echo 1
    execute_tool echo 2 <- 1
    chat scripted
""",
    ),
    "lines are refused until the plan is given up": (
        ["1. fly()\n", "1. fly()\n", "1. fly()\n", ENDING],
        """\
invoke_agent headstart
    plan headstart !error
        chat scripted
        chat scripted
        chat scripted
    chat scripted
""",
    ),
    "a tool fails": (
        ['1. fail("a")\n2. echo("$1")\n3. anyhow(first="$1", second="$2")\n4. join()\n', ENDING],
        """\
invoke_agent headstart
    plan headstart
        chat scripted
    execute_tool fail 1 !error
    execute_tool anyhow 3 <- 1
    chat scripted
""",
    ),
    "the engine fails at the plan": (
        [[EngineError("dead")]],
        """\
invoke_agent headstart !engine
    plan headstart !error
        chat scripted !engine
""",
    ),
    "the engine fails at the join": (
        ["1. join()\n", [EngineError("dead")]],
        """\
invoke_agent headstart !engine
    plan headstart
        chat scripted
    chat scripted !engine
""",
    ),
    "the join is none": (
        ["1. join()\n", "What?"],
        """\
invoke_agent headstart !no_ending
    plan headstart
        chat scripted
    chat scripted !no_ending
""",
    ),
}


@pytest.mark.parametrize(("replies", "tree"), RUNS.values(), ids=RUNS)
async def test_a_run_is_a_tree_of_spans(tmp_path: Path, replies: list[str], tree: str) -> None:
    spans = await spans_of(tmp_path, ScriptedModel(replies), ToolBox([fail, echo, anyhow]))
    assert drawn(spans) == tree
    root = spans[-1]
    for span in spans:
        assert root.start_time <= span.start_time <= span.end_time <= root.end_time


async def test_a_run_that_is_cancelled_has_the_spans_of_what_was_going_on(tmp_path: Path) -> None:
    is_running = asyncio.Event()

    @tool
    async def wait() -> str:
        is_running.set()
        await asyncio.Event().wait()
        return ""

    model = SteadyModel([Chunk("1. wait()\n"), Chunk("2. join()\n", 3600.0)], ENDING)
    async with traced(tmp_path, model, ToolBox([wait])) as (client, exporter):
        asking = asyncio.ensure_future(client.post("/v1/runs", {"question": "?"}))
        await is_running.wait()
        [live] = client.gateway.runs.going_on
        await client.delete(f"/v1/runs/{live.run.id}")
        await asking
        assert (
            drawn(exporter.get_finished_spans())
            == """\
invoke_agent headstart !closed
    plan headstart !closed
        chat scripted !closed
    execute_tool wait 1 !run_ended
"""
        )


async def test_spans_have_the_attributes_of_the_conventions_and_no_content(tmp_path: Path) -> None:
    *spans, root = await spans_of(tmp_path, quick_model())
    by_name = {span.name: dict(span.attributes) for span in spans}
    assert by_name["execute_tool calculate"] == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "calculate",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": "2",
        "headstart.where": "thread",
    }
    assert by_name["chat scripted"] == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "vllm",
        "gen_ai.request.model": "scripted",
    }
    assert root.attributes["gen_ai.request.model"] == "scripted"
    assert root.attributes["headstart.run.id"]
    [chat] = [span for span in spans if "gen_ai.response.time_to_first_chunk" in span.attributes]
    assert chat.kind.name == "CLIENT"
    told = "".join(span.to_json() for span in (*spans, root))
    assert not [text for text in ("What is 21", "20 + 1", "It is 42") if text in told]


# The trace of the caller

CALLERS = {
    "none": ([], [], {}),
    "a trace": ([PARENT], [], {"traceparent": PARENT}),
    "with a state": ([PARENT], ["a=1"], {"traceparent": PARENT, "tracestate": "a=1"}),
    "with two": ([PARENT], ["a=1", "b=2"], {"traceparent": PARENT, "tracestate": "a=1,b=2"}),
    "a state alone": ([], ["a=1"], {}),
    "a state that can't be sent": ([PARENT], ["a=\udcff"], {"traceparent": PARENT}),
    "of a later version": ([f"01{PARENT[2:]}-more"], [], {"traceparent": f"01{PARENT[2:]}-more"}),
    "more than its version has": ([f"{PARENT}-more"], [], {}),
    "less": ([PARENT[:-3]], [], {}),
    "no version": ([f"ff{PARENT[2:]}"], [], {}),
    "capitals": ([PARENT.upper()], [], {}),
    "no trace": ([f"00-{'0' * 32}-{CALLER}-01"], [], {}),
    "no span": ([f"00-{TRACE}-{'0' * 16}-01"], [], {}),
    "something else": (["hello"], ["a=1"], {}),
    "two": ([PARENT, PARENT], [], {}),
}


@pytest.mark.parametrize(("parents", "states", "taken"), CALLERS.values(), ids=CALLERS)
def test_what_is_taken_from_the_caller(
    parents: list[str], states: list[str], taken: dict[str, str]
) -> None:
    assert trace_context.named_by(parents, states) == taken


class Told(SteadyModel):
    """Keeps what an engine would be told of the trace."""

    def __init__(self) -> None:
        super().__init__(PLAN, ENDING)
        self.headers: list[Mapping[str, str]] = []

    @asynccontextmanager
    async def stream(
        self, messages: Sequence[Message], sampling: Sampling
    ) -> AsyncIterator[AsyncIterator[Delta]]:
        self.headers.append(trace_context.headers())
        async with super().stream(messages, sampling) as deltas:
            yield deltas


async def test_the_callers_trace_is_told_to_the_engine_also_without_spans(tmp_path: Path) -> None:
    model = Told()
    async with gateway(tmp_path, model) as client:
        sent = {"traceparent": PARENT, "tracestate": "a=1"}
        await asyncio.gather(
            client.post("/v1/runs", {"question": "?"}, **sent),
            client.post("/v1/runs", {"question": "?"}),
        )
        await client.post("/v1/runs", {"question": "?"}, traceparent="nonsense")
    told = sorted(map(dict, model.headers), key=len)
    assert told == [{}, {}, {}, {}, sent, sent]


async def test_a_run_is_a_part_of_its_callers_trace_and_the_engine_of_its_own(
    tmp_path: Path,
) -> None:
    model = Told()
    async with traced(tmp_path, model) as (client, exporter):
        await client.post("/v1/runs", {"question": "?"}, traceparent=PARENT, tracestate="a=1")
        *spans, root = exporter.get_finished_spans()
    assert {f"{span.context.trace_id:032x}" for span in (*spans, root)} == {TRACE}
    assert f"{root.parent.span_id:016x}" == CALLER
    own = {"traceparent": f"00-{TRACE}-{root.context.span_id:016x}-01", "tracestate": "a=1"}
    assert list(map(dict, model.headers)) == [own, own]


async def test_a_run_whose_caller_is_not_recorded_is_not_recorded(tmp_path: Path) -> None:
    model = Told()
    async with traced(tmp_path, model) as (client, exporter):
        await client.post("/v1/runs", {"question": "?"}, traceparent=f"00-{TRACE}-{CALLER}-00")
        assert exporter.get_finished_spans() == ()
    assert {each["traceparent"][-2:] for each in model.headers} == {"00"}


async def test_the_trace_is_in_the_requests_that_vllm_gets(tmp_path: Path) -> None:
    seen: list[Mapping[str, str]] = []
    async with (
        server(MODELS, seen=seen) as url,
        VllmModel.connect(url) as model,
        gateway(tmp_path, model) as client,
    ):
        await client.post("/v1/runs", {"question": "?"}, traceparent=PARENT)
        await client.post("/v1/runs", {"question": "?"})
    told = [headers.get("traceparent") for headers in seen]
    assert set(told) == {PARENT, None}
    assert told == sorted(told, key=lambda each: each is None)


# Where spans go


async def test_spans_are_sent_to_the_collector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    sent: list[ExportTraceServiceRequest] = []

    async def take(request: web.Request) -> web.Response:
        sent.append(ExportTraceServiceRequest.FromString(await request.read()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/v1/traces", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/traces"
    async with gateway(tmp_path) as client, Traces.sent_to(endpoint) as own:
        client.gateway.traces = own
        await client.post("/v1/runs", {"question": "?"})
    await runner.cleanup()
    [group] = [group for request in sent for group in request.resource_spans]
    resource = {each.key: each.value.string_value for each in group.resource.attributes}
    assert resource["service.name"] == "headstart"
    assert resource["deployment.environment.name"] == "test"
    assert len([span for scope in group.scope_spans for span in scope.spans]) == 6


async def test_a_collector_that_is_down_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "CLOSE_SECONDS", 0.05)
    endpoint = "http://127.0.0.1:9/v1/traces"
    async with gateway(tmp_path) as client, Traces.sent_to(endpoint) as own:
        client.gateway.traces = own
        response = await client.post("/v1/runs", {"question": "?"})
        assert (await response.json())["status"] == "finished"
