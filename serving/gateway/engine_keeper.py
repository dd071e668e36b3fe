"""The engine behind the gateway: started, watched, and started again when it dies."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import NoReturn

from executor.errors import EngineError
from executor.tools import ToolBox
from planner_prompts.examples import Example
from serving import startup
from serving.engine import Progress
from serving.model import Model, VllmModel
from serving.settings import Settings

log = logging.getLogger("headstart.engine")

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0  # seconds before it is started again
STEADY_SECONDS = 300.0  # after so long a life, a death is the first one again


class EngineKeeper:
    """`model` is there while the engine serves; `keep` sees to that."""

    def __init__(
        self,
        settings: Settings,
        toolbox: ToolBox,
        examples: Sequence[Example],
        progress: Progress,
        port: int,
        flags: Sequence[str],
    ) -> None:
        self._settings = settings
        self._toolbox = toolbox
        self._examples = examples
        self._progress = progress
        self._port = port
        self._flags = flags
        self._model: Model | None = None
        self._fault = "the engine is starting"

    def model(self) -> Model:
        """Raises EngineError while no engine serves."""
        if self._model is None:
            raise EngineError(self._fault)
        return self._model

    async def keep(self, ready: Callable[[Model], None]) -> NoReturn:
        """Keeps an engine running; calls `ready` when the first one serves. Raises what that one's
        start raises: that is for people to mend."""
        wait, was_ready = FIRST_WAIT, False
        while True:
            began = asyncio.get_running_loop().time()
            try:
                async with self._engine() as model:
                    self._model = model
                    if not was_ready:
                        ready(model)
                    was_ready = True
            except Exception as error:  # whatever it is: the history and the page are still of use
                if not was_ready:
                    raise
                if asyncio.get_running_loop().time() - began > STEADY_SECONDS:
                    wait = FIRST_WAIT
                log.error("%s; starting it again in %g s", error, wait)
                self._fault = "the engine died, and is being started again"
            finally:
                self._model = None
            await asyncio.sleep(wait)
            wait = min(LONGEST_WAIT, 2 * wait)

    @asynccontextmanager
    async def _engine(self) -> AsyncIterator[Model]:
        """A model that serves; the end of the block waits for the engine's death, and raises
        EngineError."""
        settings, toolbox, examples = self._settings, self._toolbox, self._examples
        if settings.engine_url:
            async with startup.model(settings, toolbox, examples, self._progress) as model:
                yield model
                await startup.until_silent(model)
        else:
            async with (
                startup.own_engine(
                    settings, toolbox, examples, self._progress, self._port, self._flags
                ) as engine,
                # Without its post mortem: that is for the log, and not for who asks.
                VllmModel.connect(
                    engine.url, engine.key, profile=settings.profile or engine.profile
                ) as model,
            ):
                yield model
                await startup.until_dead(engine)
