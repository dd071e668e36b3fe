"""The gateway's process: it comes up, keeps its engine, and goes down in good order."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from virtual_clock import virtual

from executor.builtin import TOOLBOX
from executor.errors import EngineError, UsageError
from serving.client import Client
from serving.engine import Engine
from serving.gateway.engine_keeper import EngineKeeper
from serving.model import Model
from serving.scripted import ScriptedModel
from serving.settings import Settings

QUESTION = "Which is taller, Mount Everest or K2?"


class Flaky(EngineKeeper):
    """Its engines live so many seconds each; None: one does not even start."""

    def __init__(self, lives: list[float | None]) -> None:
        super().__init__(Settings(), TOOLBOX, (), lambda _: None, 0, ())
        self._lives = iter(lives)
        self.starts: list[float] = []

    @asynccontextmanager
    async def _engine(self) -> AsyncIterator[Model]:
        self.starts.append(asyncio.get_running_loop().time())
        life = next(self._lives)
        if life is None:
            raise EngineError("it did not start")
        yield ScriptedModel(())
        await asyncio.sleep(life)
        raise EngineError("the engine stopped; its last words")


@virtual
async def test_a_dead_engine_is_started_again_ever_later() -> None:
    keeper, ready = Flaky([10.0, 0.0, None, 400.0, 3600.0]), asyncio.Event()
    with pytest.raises(EngineError, match="is starting"):
        keeper.model()
    keeping = asyncio.ensure_future(keeper.keep(lambda _: ready.set()))
    await ready.wait()
    assert keeper.model().name == "scripted"
    await asyncio.sleep(10.5)
    with pytest.raises(EngineError, match=r"^the engine died, and is being started again$"):
        keeper.model()  # its last words are for the log
    await asyncio.sleep(1000)
    # It waits 1, 2 and 4 s; after a long life, 1 s again.
    assert keeper.starts == pytest.approx([0, 11, 13, 17, 418])
    assert keeper.model().name == "scripted"
    keeping.cancel()
    with suppress(asyncio.CancelledError):
        await keeping


@virtual
async def test_an_engine_that_never_came_up_is_for_people_to_mend() -> None:
    with pytest.raises(EngineError, match="it did not start"):
        await Flaky([None]).keep(lambda _: None)


@virtual
async def test_a_mistake_in_a_setting_ends_it_at_any_time() -> None:
    class Mistaken(Flaky):
        @asynccontextmanager
        async def _engine(self) -> AsyncIterator[Model]:
            raise UsageError("no such model")
            yield

    with pytest.raises(UsageError, match="no such model"):
        await Mistaken([]).keep(lambda _: None)


@asynccontextmanager
async def served(
    engine: Engine, directory: Path
) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """`headstart serve` on a free port, with this engine; its URL and its process."""
    process = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).with_name("headstart")), "serve", "--port", "0"),
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(directory),
            "HEADSTART_DATA": str(directory),
            "HEADSTART_ENGINE_URL": engine.url,
            "HEADSTART_ENGINE_KEY": engine.key,
            "HEADSTART_PROFILE": engine.profile_name,
        },
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    try:
        yield line.split(" answers at ")[1].split(";")[0], process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.engine
async def test_it_serves_and_on_sigterm_lets_runs_end(engine: Engine, tmp_path: Path) -> None:
    async with served(engine, tmp_path) as (url, process), Client(url) as client:
        assert "Everest" in await client.ask(QUESTION)
        async with client.run(QUESTION) as run:
            async for event in run:
                if event.type == "plan_started":
                    process.send_signal(signal.SIGTERM)
            assert "Everest" in run.answer
        assert await process.wait() == 0


@pytest.mark.engine
async def test_who_asks_it_twice_to_end_does_not_wait_for_runs(
    engine: Engine, tmp_path: Path
) -> None:
    async with served(engine, tmp_path) as (url, process), Client(url) as client:
        async with client.run(QUESTION) as run:
            async for event in run:
                if event.type == "plan_started":
                    process.send_signal(signal.SIGINT)
                    process.send_signal(signal.SIGTERM)
        assert event.type == "run_cancelled"
        assert await process.wait() == 0
