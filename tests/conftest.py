"""The real engine, started once for all tests that ask for it, in a cache of their own.

And what stands in for it where only its process matters.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import hypothesis
import psutil
import pytest
import pytest_asyncio

from executor.builtin import TOOLBOX
from serving import startup
from serving.engine import Engine, end
from serving.engine_room import EngineRoom
from serving.model import VllmModel
from serving.settings import EMBEDDED, Settings

SLEEP = "import time; time.sleep(600)"
LEAD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEP!r}])"

# How fast a machine is, and what else it does meanwhile, is no property of the code.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--simulations", type=int, default=1_000, help="how many random worlds")
    parser.addoption("--kills", type=int, default=3, help="of the gateway, under load")
    parser.addoption("--simulation", type=int, help="only this one")
    parser.addoption("--api-examples", type=int, default=10, help="made-up requests an operation")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that ends the engine comes last."""
    items.sort(key=lambda item: item.get_closest_marker("ends_engine") is not None)


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(model=EMBEDDED, cache_dir=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def engine(settings: Settings) -> Iterator[Engine]:
    """vLLM with the embedded weights, proved and warm for the bundled tools."""
    room = EngineRoom(settings.cache_dir)

    async def start() -> None:
        async with startup.model(settings, TOOLBOX, (), lambda _: None):
            pass

    async def start_twice_at_once() -> None:
        await asyncio.gather(start(), start())

    asyncio.run(start_twice_at_once())
    engine = room.find()
    assert engine is not None
    yield engine
    room.stop()


@pytest_asyncio.fixture
async def model(engine: Engine) -> AsyncIterator[VllmModel]:
    async with engine.connect() as connected:
        yield connected


@pytest.fixture
def sleeper() -> Iterator[Engine]:
    """A process group of two that stands where an engine would."""
    process = subprocess.Popen([sys.executable, "-c", LEAD], start_new_session=True)
    process.returncode = 0  # psutil reaps it
    leader = psutil.Process(process.pid)
    while not leader.children():
        assert leader.is_running()
    engine = Engine(
        pid=process.pid,
        started=leader.create_time(),
        url="http://127.0.0.1:9",
        key="key",
        model="embedded",
        weights="/weights",
        log="/dev/null",
    )
    yield engine
    end(engine)


@pytest.fixture
def tools_file(tmp_path: Path) -> Path:
    """A user's own tools, as the README shows them."""
    path = tmp_path / "my_tools.py"
    path.write_text(
        "from executor.tools import tool\n\n@tool\ndef shout(text: str) -> str:\n"
        '    "Says it louder."\n    return text.upper()\n'
    )
    return path
