"""The gateway's process: it comes up, keeps its engine, and goes down in good order."""

from __future__ import annotations

import asyncio
import os
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
from serving.engine_room import EngineRoom
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


async def test_sigterm_ends_it_while_it_fetches_the_weights(tmp_path: Path) -> None:
    """From a hub that takes the request and says nothing."""
    is_asked, is_let_go = asyncio.Event(), asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_asked.set()
        await reader.read()
        is_let_go.set()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as hub:
        port = hub.sockets[0].getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "from serving.cli import main; main()"),
            *("serve", "--port", "0"),
            env={
                **{name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ},
                "HOME": str(tmp_path),
                "HEADSTART_MODEL": "owner/name",
                "HF_ENDPOINT": f"http://127.0.0.1:{port}",
                "HF_HUB_ETAG_TIMEOUT": "600",
            },
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(120):
                await is_asked.wait()
                process.send_signal(signal.SIGTERM)
                printed, _ = await process.communicate()
                await is_let_go.wait()  # what fetches is gone, too
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    assert (process.returncode, printed) == (0, b"ended the gateway\n")


async def test_an_engine_that_loads_ends_with_who_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text("{}")
    silent = [sys.executable, "-c", "import time; time.sleep(600)"]
    monkeypatch.setattr("serving.engine_room.command", lambda *_, **__: silent)
    settings, is_launched = Settings(model=str(tmp_path), cache_dir=tmp_path), asyncio.Event()

    def progress(text: str) -> None:
        if not text.startswith("preparing"):
            is_launched.set()

    keeper = EngineKeeper(settings, TOOLBOX, (), progress, 0, ())
    keeping = asyncio.ensure_future(keeper.keep(lambda _: None))
    async with asyncio.timeout(60):
        await is_launched.wait()
    engine = EngineRoom(tmp_path).find()
    assert engine is not None
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping
    assert not engine.processes()


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
