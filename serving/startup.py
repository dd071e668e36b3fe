"""From settings to a model that is up, obeys grammars, and is warm for a toolbox."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from executor.errors import EngineError, UsageError
from executor.tools import ToolBox
from planner_prompts.examples import Example
from planner_prompts.grammar import plan_grammar
from planner_prompts.profile import FEW_SHOT
from serving import models, warmup
from serving.child import Children
from serving.engine import Engine, Progress, wait_until_healthy
from serving.engine_room import EngineRoom, find_or_launch
from serving.model import VllmModel
from serving.models import Weights
from serving.settings import Settings
from serving.vllm_command import has_gpu

WATCH_SECONDS = 1.0


@asynccontextmanager
async def model(
    settings: Settings, toolbox: ToolBox, examples: Sequence[Example], progress: Progress
) -> AsyncIterator[VllmModel]:
    """Somebody else's engine if the settings name one, else our own, which then stays running."""
    if settings.engine_url:
        url, key = settings.engine_url, settings.engine_key
        profile = settings.profile or FEW_SHOT
        async with VllmModel.connect(url, key, settings.model, profile=profile) as connected:
            async with _in_time(settings):
                progress("checking that the engine obeys grammars")
                await warmup.prove_grammar(connected)
                await warmup.warm(connected, toolbox, examples, settings)
            yield connected
        return
    engine, is_new = find_or_launch(await _prepare(settings, progress), settings)
    try:
        engine = await _ready(engine, settings, toolbox, examples, progress)
    except BaseException:  # nobody is left with an engine that never came up
        if is_new:
            EngineRoom(settings.cache_dir).stop(engine)
        raise
    try:
        async with engine.connect(settings.profile) as connected:
            yield connected
    finally:
        if await engine.died():  # nothing stays behind of one that died meanwhile
            EngineRoom(settings.cache_dir).stop(engine)


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
    weights = await _prepare(settings, progress)
    engine, is_new = find_or_launch(weights, settings, port, extra)
    if not is_new:
        raise UsageError(
            f"an engine is running already (pid {engine.pid}, {engine.url}); "
            "end it with ./scripts/stop.sh"
        )
    try:
        yield await _ready(engine, settings, toolbox, examples, progress)
    finally:
        EngineRoom(settings.cache_dir).stop(engine)


async def until_dead(engine: Engine) -> None:
    """Watches the engine for as long as it lives; then raises EngineError with the cause."""
    while engine.alive():  # noqa: ASYNC110  another process can't set an Event
        await asyncio.sleep(WATCH_SECONDS)
    raise EngineError("the engine stopped" + await engine.post_mortem())


async def until_silent(model: VllmModel) -> None:
    """Watches somebody else's engine for as long as it answers; then raises EngineError."""
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        await model.check()


async def _ready(
    engine: Engine,
    settings: Settings,
    toolbox: ToolBox,
    examples: Sequence[Example],
    progress: Progress,
) -> Engine:
    """Waits for the engine, proves it once, warms it once for each toolbox; keeps that in mind."""
    profile = settings.profile or engine.profile
    digest = warmup.digest(toolbox, settings, profile)
    await wait_until_healthy(engine, settings.engine_start, progress)
    if engine.proved and digest in engine.warm:
        return engine
    async with _in_time(settings), engine.connect(profile) as connected:
        if not engine.proved:
            progress("checking that the engine obeys grammars")
            await warmup.prove_grammar(connected)
        grammar = plan_grammar(toolbox, 1, settings.max_tasks, settings.backend)
        progress(f"compiling the grammar of the tools: {grammar}")
        await warmup.warm(connected, toolbox, examples, settings)
    return EngineRoom(settings.cache_dir).note_ready(engine, digest)


async def _prepare(settings: Settings, progress: Progress) -> Weights:
    """In a thread: a download or a conversion takes long, and whoever waits may give up."""
    name = settings.model or models.default_model(gpu=has_gpu())
    progress(f"preparing the model {name}")
    children = Children()
    try:
        return await asyncio.to_thread(models.resolve, name, settings.cache_dir, children.run)
    finally:
        children.end()  # and the thread with them, for which the program's end would wait


@asynccontextmanager
async def _in_time(settings: Settings) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(settings.engine_check):
            yield
    except TimeoutError:
        raise EngineError(
            f"the engine took more than {settings.engine_check:g} s over a few words; is it stuck?"
        ) from None
