"""What Prometheus reads."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from gateways import ENDING, Client, gateway
from prometheus_client.parser import text_string_to_metric_families

from executor.errors import EngineError
from executor.tools import ToolBox, tool
from serving.scripted import Chunk, Reply, ScriptedModel, SteadyModel
from serving.settings import Settings

LABELS = {"tool", "outcome", "reason", "type", "le"}


@tool(idempotent=True)
async def echo(text: str) -> str:
    return text


@tool
async def fail(text: str) -> str:
    raise ValueError("no")


TOOLS = ToolBox([echo, fail])


async def samples(client: Client) -> dict[str, float]:
    """All of our own, by name and labels, those sorted by theirs: `runs_total{failed,engine}`."""
    response = await client.get("/metrics")
    assert response.status == 200
    found = {}
    for family in text_string_to_metric_families(await response.text()):
        assert family.documentation
        for name, labels, value, *_ in family.samples:
            if name.startswith("headstart_") and not name.endswith("_created"):
                assert labels.keys() <= LABELS
                told = f"{{{','.join(labels.values())}}}" if labels else ""
                found[name.removeprefix("headstart_") + told] = value
    return found


RUNS: dict[str, tuple[list[Reply], dict[str, float]]] = {
    "answered": (
        ['1. echo("a")\n2. echo("a")\n3. echo("$1")\n4. join()\n', ENDING],
        {
            "runs_total{finished,}": 1,
            "run_seconds_count{finished}": 1,
            "tasks_total{finished,echo}": 3,
            "tool_seconds_count{echo}": 1,  # one call for all three
            "time_to_first_task_seconds_count": 1,
            "plan_seconds_count": 1,
            "overlap_seconds_count": 1,
            "efficiency_ratio_count": 1,
            "replans_total": 0,
            "repairs_total": 0,
            "engine_errors_total": 0,
        },
    ),
    "without a task": (
        ["1. join()\n", ENDING],
        {"time_to_first_task_seconds_count": 0, "efficiency_ratio_count": 1},
    ),
    "a tool fails": (
        ['1. fail("a")\n2. echo("$1")\n3. join()\n', ENDING],
        {
            "tasks_total{error,fail}": 1,
            "tasks_total{input_failed,echo}": 1,
            "tool_seconds_count{fail}": 1,
            "runs_total{finished,}": 1,
        },
    ),
    "planned twice": (
        ["1. join()\n", "Replan: more", '1. echo("a")\n2. join()\n', ENDING],
        {"replans_total": 1, "plan_seconds_count": 1},
    ),
    "repaired": (["1. fly()\n", "1. join()\n", ENDING], {"repairs_total": 1}),
    "the engine fails": (
        [[EngineError("dead")]],
        {
            "runs_total{failed,engine}": 1,
            "engine_errors_total": 1,
            "run_seconds_count{failed}": 1,
            "plan_seconds_count": 0,
        },
    ),
}


@pytest.mark.parametrize(("replies", "counted"), RUNS.values(), ids=RUNS)
async def test_a_run_is_counted(
    tmp_path: Path, replies: list[Reply], counted: dict[str, float]
) -> None:
    async with gateway(tmp_path, ScriptedModel(replies), TOOLS) as client:
        await client.post("/v1/runs", {"question": "?"})
        found = await samples(client)
    assert {name: found.get(name) for name in counted} == counted


async def test_runs_that_go_on_are_counted(tmp_path: Path) -> None:
    is_running = asyncio.Event()

    @tool
    async def wait() -> str:
        is_running.set()
        await asyncio.Event().wait()
        return ""

    model = SteadyModel([Chunk("1. wait()\n"), Chunk("2. join()\n", 3600.0)], ENDING)
    settings = Settings(max_runs=1, max_waiting=1)
    async with gateway(tmp_path, model, ToolBox([wait]), settings=settings) as client:
        asking = [
            asyncio.ensure_future(client.post("/v1/runs", {"question": "?"})) for _ in range(3)
        ]
        await is_running.wait()
        [refused], _ = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        assert (await refused).status == 429
        found = await samples(client)
        assert (found["runs_running"], found["runs_waiting"]) == (1, 1)
        assert found["problems_total{too-many-runs}"] == 1

        await client.gateway.runs.close(0, asyncio.Event())
        await asyncio.wait(asking)
        found = await samples(client)
        assert (found["runs_running"], found["runs_waiting"]) == (0, 0)
        assert found["runs_total{cancelled,closed}"] == 2
        assert found["tasks_total{run_ended,wait}"] == 1


async def test_threads_that_are_left_behind_are_counted(tmp_path: Path) -> None:
    async with gateway(tmp_path) as client:
        client.gateway.executor.workers.left_behind = 3
        assert (await samples(client))["threads_left_behind"] == 3


@pytest.mark.parametrize(
    ("path", "type"), [("/v2", "not-found"), ("/v1/runs?limit=0", "invalid-request")]
)
async def test_problems_are_counted_by_type(tmp_path: Path, path: str, type: str) -> None:
    async with gateway(tmp_path) as client:
        await client.get(path)
        await client.get(path)
        assert (await samples(client))[f"problems_total{{{type}}}"] == 2


@pytest.mark.parametrize(
    ("accepted", "told"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text", "application/openmetrics-text; version=1.0.0"),
    ],
)
async def test_it_is_told_as_the_reader_wants_it(tmp_path: Path, accepted: str, told: str) -> None:
    async with gateway(tmp_path) as client:
        response = await client.get("/metrics", Accept=accepted)
        assert response.headers["Content-Type"].startswith(told)
