"""From settings to a model that is up, obeys grammars, and is warm for a toolbox."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from executor.errors import EngineError, UsageError
from executor.tools import ToolBox
from planner_prompts.examples import Example
from serving import warmup
from serving.engine import (
    Engine,
    EngineRoom,
    Progress,
    end,
    find_or_launch,
    wait_until_healthy,
)
from serving.model import Model, VllmModel
from serving.settings import Settings

WATCH_SECONDS = 1.0


@asynccontextmanager
async def model(
    settings: Settings, toolbox: ToolBox, examples: Sequence[Example], progress: Progress
) -> AsyncIterator[Model]:
    """Somebody else's engine if the settings name one, else our own, which then stays running."""
    if settings.engine_url:
        url, key = settings.engine_url, settings.engine_key
        async with VllmModel.connect(url, key, settings.model) as connected:
            progress("checking that the engine obeys grammars")
            await warmup.prove_grammar(connected)
            await warmup.warm(connected, toolbox, examples, settings.max_tasks)
            yield connected
        return
    engine, is_new = await asyncio.to_thread(find_or_launch, settings, progress)
    try:
        engine = await _ready(engine, settings, toolbox, examples, progress)
    except BaseException:  # nobody is left with an engine that never came up
        if is_new:
            _end(engine, settings)
        raise
    try:
        async with engine.connect() as connected:
            yield connected
    finally:
        if not await engine.healthy():  # nothing stays behind of one that died meanwhile
            _end(engine, settings)


@asynccontextmanager
async def own_engine(
    settings: Settings,
    toolbox: ToolBox,
    examples: Sequence[Example],
    progress: Progress,
    port: int,
    extra: Sequence[str],
) -> AsyncIterator[Engine]:
    """A new engine that lives as long as the block. Raises UsageError if one runs already."""
    engine, is_new = await asyncio.to_thread(find_or_launch, settings, progress, port, extra)
    if not is_new:
        raise UsageError(
            f"an engine is running already (pid {engine.pid}, {engine.url}); "
            "end it with ./scripts/stop.sh"
        )
    try:
        yield await _ready(engine, settings, toolbox, examples, progress)
    finally:
        _end(engine, settings)


async def until_dead(engine: Engine) -> None:
    """Watches the engine for as long as it lives; then raises EngineError with the cause."""
    while engine.alive():  # noqa: ASYNC110  another process can't set an Event
        await asyncio.sleep(WATCH_SECONDS)
    raise EngineError("the engine stopped" + await engine.post_mortem())


async def _ready(
    engine: Engine,
    settings: Settings,
    toolbox: ToolBox,
    examples: Sequence[Example],
    progress: Progress,
) -> Engine:
    """Waits for the engine, proves it once, warms it once for each toolbox; keeps that in mind."""
    digest = warmup.digest(toolbox, settings.max_tasks)
    await wait_until_healthy(engine, settings.engine_start, progress)
    if engine.proved and digest in engine.warm:
        return engine
    async with engine.connect() as connected:
        if not engine.proved:
            progress("checking that the engine obeys grammars")
            await warmup.prove_grammar(connected)
        progress("compiling the grammar of the tools")
        await warmup.warm(connected, toolbox, examples, settings.max_tasks)
    ready = replace(engine, proved=True, warm=(*engine.warm, digest))
    EngineRoom(settings.cache_dir).remember(ready)
    return ready


def _end(engine: Engine, settings: Settings) -> None:
    end(engine)
    EngineRoom(settings.cache_dir).forget(engine)
