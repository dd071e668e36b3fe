"""The real engine at temperature 2: whatever it writes is a plan that can be run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from toolboxes import TOOLBOXES

from executor import seal
from executor.errors import PlanError
from executor.events import EventLog
from executor.parser import tasks_of
from executor.plan import Task
from executor.tools import ToolBox
from planner_prompts.render import opening
from serving import startup
from serving.engine import Engine
from serving.engine_room import EngineRoom
from serving.model import Model, VllmModel
from serving.planner import Planner
from serving.settings import Settings

PLANS = 20  # for each toolbox: 200 in all
HOT = Settings(temperature=2.0, plan_tokens=80, max_tasks=4)


async def written(model: Model, toolbox: ToolBox, settings: Settings) -> Planner:
    planner = Planner(model, toolbox, settings, number=1, earlier={})
    messages = opening(toolbox, (), "What can you do for me today?", model.profile)
    with suppress(PlanError):  # out of tokens, most of them
        async with aclosing(planner.tasks(messages, EventLog())) as tasks:
            async for _ in tasks:
                pass
    return planner


async def check(model: Model, toolbox: ToolBox, settings: Settings) -> int:
    """Has plans written, and looks at each; how many calls they have."""
    planners = await asyncio.gather(*(written(model, toolbox, settings) for _ in range(PLANS)))
    for planner in planners:
        tasks = tasks_of(planner.text, toolbox)
        assert tasks == planner.sealed
        known: dict[int, Task] = {}
        for task in tasks:
            seal.check(task, toolbox, known)
            known[task.id] = task
    return sum(len(planner.sealed) for planner in planners)


@pytest.mark.engine
async def test_every_plan_can_be_run(model: VllmModel) -> None:
    calls = [await check(model, toolbox, HOT) for toolbox in TOOLBOXES.values()]
    assert sum(calls) > 0  # most plans run out of tokens in their first line


@pytest.fixture(scope="module")
def guided(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of an engine with the other backend, and the same weights."""
    cache = tmp_path_factory.mktemp("guided")
    yield replace(HOT, model=engine.weights, cache_dir=Path(cache), backend="guidance")
    EngineRoom(cache).stop()


@pytest_asyncio.fixture
async def guided_model(guided: Settings) -> AsyncIterator[Model]:
    async with startup.model(guided, TOOLBOXES["choices"], (), lambda _: None) as model:
        yield model


@pytest.mark.engine
async def test_every_plan_can_be_run_with_guidance(guided_model: Model, guided: Settings) -> None:
    names = ("choices", "models", "anything", "patterns and odd names")
    calls = [await check(guided_model, TOOLBOXES[name], guided) for name in names]
    assert sum(calls) > 0
