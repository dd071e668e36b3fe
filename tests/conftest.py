"""The real engine, started once for all tests that ask for it, in a cache of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from executor.builtin import TOOLBOX
from planner_prompts.examples import bundled_examples
from serving import startup
from serving.engine import Engine, EngineRoom
from serving.model import VllmModel
from serving.settings import EMBEDDED, Settings


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
        examples = bundled_examples(TOOLBOX)
        async with startup.model(settings, TOOLBOX, examples, lambda _: None):
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
def tools_file(tmp_path: Path) -> Path:
    """A user's own tools, as the README shows them."""
    path = tmp_path / "my_tools.py"
    path.write_text(
        "from executor.tools import tool\n\n@tool\ndef shout(text: str) -> str:\n"
        '    "Says it louder."\n    return text.upper()\n'
    )
    return path
