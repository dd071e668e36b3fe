"""What a run has in hand is freed when it ends, and not when the garbage collector comes by, which
is seldom: a tool may hold megabytes. An error holds, by its traceback, all frames that it has
passed; a frame that holds the error closes the circle."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from executor.errors import EngineError
from executor.events import Event
from executor.tools import ToolBox, tool
from serving.compiler import answer
from serving.scripted import Reply, ScriptedModel
from serving.settings import Settings


class Load:
    """What a tool has in hand, by its frame; each is noted."""

    made: ClassVar[list[weakref.ref[Load]]] = []

    def __init__(self) -> None:
        self.made.append(weakref.ref(self))


@tool
async def works(x: str) -> str:
    load = Load()
    await asyncio.sleep(0)
    return f"{x} of {load}"


@tool
async def fails(x: str) -> str:
    load = Load()
    raise ValueError(f"{x} is not what {load} is for")


@tool
async def fails_anew(x: str) -> str:
    load = Load()
    try:
        return x[load]  # type: ignore[index]
    except TypeError as error:
        raise ValueError(x) from error


@tool(retries=1, idempotent=True)
async def fails_twice(x: str) -> str:
    load = Load()
    raise ValueError(f"{x} is not what {load} is for")


@tool
async def waits(x: str) -> str:
    load = Load()
    await asyncio.sleep(3600)
    return f"{x} of {load}"


@tool(timeout=0.01)
async def is_late(x: str) -> str:
    load = Load()
    await asyncio.sleep(3600)
    return f"{x} of {load}"


@tool(timeout=0.01)
async def is_deaf(x: str) -> str:
    load = Load()
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            x += str(load)


@tool(runs_in="thread")
def works_in_thread(x: str) -> str:
    load = Load()
    return f"{x} of {load}"


@tool(runs_in="thread")
def fails_in_thread(x: str) -> str:
    load = Load()
    raise ValueError(f"{x} is not what {load} is for")


@tool(runs_in="thread", timeout=0.01)
def is_late_in_thread(x: str) -> str:
    load = Load()
    time.sleep(0.05)
    return f"{x} of {load}"


@tool
async def gives(x: str) -> Any:
    return Load()


@tool(retries=3, idempotent=True)
async def fails_over(x: Any) -> str:
    raise ValueError("it is not what it is for")


TOOLBOX = ToolBox(
    [
        *(gives, fails_over),
        *(works, fails, fails_anew, fails_twice, waits, is_late, is_deaf),
        *(works_in_thread, fails_in_thread, is_late_in_thread),
    ]
)
ENDING = "Answer: one"


def plan(*lines: str) -> str:
    return "".join(f"{id}. {line}\n" for id, line in enumerate([*lines, "join()"], 1))


@dataclass
class Case:
    ends: str  # with this event
    replies: list[Reply]
    settings: Settings = field(default_factory=lambda: Settings(max_rewrites=1))
    leaves_at: str = ""  # the event at which the reader goes


CASES = {
    **{
        tool.name: Case("run_finished", [plan(f'{tool.name}("a")'), ENDING])
        for tool in TOOLBOX
        if tool.name not in ("waits", "fails_over")
    },
    "one of two fails": Case("run_finished", [plan('works("a")', 'fails("$1")'), ENDING]),
    "the reader goes": Case("task_started", [plan('waits("a")')], leaves_at="task_started"),
    "deadline": Case("run_failed", [plan('waits("a")')], Settings(deadline=0.05)),
    "deadline before the next try": Case(
        "run_failed", [plan('gives("a")', "fails_over($1)")], Settings(deadline=0.05)
    ),
    "a line is refused": Case(
        "run_finished", [plan('works("a")', 'nothing("a")'), '2. works("b")\n3. join()\n', ENDING]
    ),
    "a plan breaks off": Case(
        "run_finished", [plan('works("a")', "nothing()"), plan("nothing()"), ENDING]
    ),
    "the engine fails": Case("run_failed", [[EngineError("it stopped")]]),
    "the engine fails the join": Case("run_failed", [plan('works("a")'), [EngineError("no")]]),
    "another plan": Case(
        "run_finished", [plan('works("a")'), "Replan: more", '2. works("b")\n3. join()\n', ENDING]
    ),
}


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_what_a_run_had_is_freed_when_it_ends(case: Case) -> None:
    Load.made.clear()
    last, log = await _run(case)
    for thread in threading.enumerate():
        if thread.name.startswith("tool "):
            thread.join()
    await asyncio.sleep(0)
    assert last.type == case.ends
    assert [load() for load in Load.made if load() is not None] == []
    assert log() is None


@pytest.mark.usefixtures("no_collector")
async def test_what_a_run_had_is_freed_though_it_ends_by_a_bug() -> None:
    Load.made.clear()
    try:
        await _run(Case("", [plan('gives("a")'), [ValueError("a bug of the model's client")]]))
    except ValueError:  # pytest.raises would keep it, and by its traceback the run
        assert [load() for load in Load.made if load() is not None] != []
    else:
        pytest.fail("the bug is told to nobody")
    assert [load() for load in Load.made if load() is not None] == []


async def _run(case: Case) -> tuple[Event, weakref.ref[object]]:
    """The last event, and what the run wrote them to."""
    running = answer(
        "How many?",
        toolbox=TOOLBOX,
        model=ScriptedModel(case.replies),
        settings=case.settings,
    )
    async with running as events:
        async for event in events:
            if event.type == case.leaves_at:
                break
        return event, weakref.ref(events)
