"""Tools that mean harm, or are only broken: each ends as its row says, and all others go on."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import random
import signal
import sys
import threading
import time
from collections.abc import AsyncGenerator
from typing import Any

import psutil
import pytest
from test_executor import ends, plan

from executor.executor import Executor
from executor.plan import Task
from executor.policy import Place
from executor.tools import Tool, ToolBox, tool

HUNDRED_MEGABYTES = 100 << 20
LIMIT = 0.3  # seconds of those that never end
GUARD = 60.0  # of those that do


async def raises() -> str:
    raise KeyError("no")


async def exits() -> str:
    sys.exit("enough")


class Panic(BaseException):
    pass


async def panics() -> str:
    raise Panic


async def never() -> str:
    await asyncio.Event().wait()
    return ""


async def clings() -> str:
    while True:
        with contextlib.suppress(BaseException):
            await asyncio.sleep(60)


async def clings_politely() -> str:
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)


async def awaits_who_clings() -> str:
    return await asyncio.create_task(clings_politely())


async def gathers_who_clings() -> str:
    return (await asyncio.gather(clings_politely()))[0]


async def holds_itself() -> list[Any]:
    result: list[Any] = []
    result.append(result)
    return result


async def blocks() -> str:
    time.sleep(2)  # noqa: ASYNC251  that is its fault
    return "at last"


async def is_large() -> str:
    return "x" * HUNDRED_MEGABYTES


async def recurses() -> str:
    return await recurses()


def raises_plainly() -> str:
    raise KeyError("no")


def exits_plainly() -> str:
    sys.exit("enough")


def panics_plainly() -> str:
    raise Panic


def interrupts() -> str:
    raise KeyboardInterrupt


def sleeps() -> str:
    time.sleep(5)
    return ""


def spins() -> str:
    end = time.monotonic() + 5
    while time.monotonic() < end:
        pass
    return ""


def is_large_plainly() -> str:
    return "x" * HUNDRED_MEGABYTES


def gives_a_lock() -> Any:
    return threading.Lock()


def recurses_plainly() -> str:
    return recurses_plainly()


def is_killed() -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


def is_killed_oddly() -> str:
    os.kill(os.getpid(), signal.SIGRTMIN + 6)
    return ""


def exits_hard() -> str:
    os._exit(3)


def forks() -> str:
    return "child" if os.fork() == 0 else "parent"


def forks_and_stays() -> str:
    if os.fork() == 0:
        time.sleep(GUARD)
    return "parent"


def forks_and_crashes() -> str:
    if os.fork() == 0:
        time.sleep(GUARD)
    os._exit(3)


def prints() -> str:
    print("not for you")
    os.write(1, b"nor this\n")
    os.system("echo and this")
    return "printed"


def moves() -> str:
    os.chdir("/")
    return os.getcwd()


def where() -> str:
    return os.getcwd()


class OddError(Exception):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(one)


def raises_oddly() -> str:
    raise OddError("one", "two")


# Tool, where it runs, and how it ends: as what, and with which words.
ROWS: dict[str, tuple[Any, Place, str, str]] = {
    "raises": (raises, "loop", "error", "KeyError: 'no'"),
    "raises SystemExit": (exits, "loop", "error", "SystemExit: enough"),
    "raises BaseException": (panics, "loop", "error", "Panic"),
    "never returns": (never, "loop", "timeout", "no answer within"),
    "swallows cancellation": (clings_politely, "loop", "timeout", "no answer within"),
    "swallows even its end": (clings, "loop", "timeout", "no answer within"),
    "awaits who does": (awaits_who_clings, "loop", "timeout", "no answer within"),
    "gathers who does": (gathers_who_clings, "loop", "timeout", "no answer within"),
    "returns what holds itself": (holds_itself, "loop", "finished", "[[...]]"),
    "blocks the loop": (blocks, "loop", "finished", "at last"),
    "returns 100 MB": (is_large, "loop", "finished", "xxx"),
    "recurses for ever": (recurses, "loop", "error", "RecursionError: "),
    "raises in a thread": (raises_plainly, "thread", "error", "KeyError: 'no'"),
    "raises SystemExit in a thread": (exits_plainly, "thread", "error", "SystemExit: enough"),
    "raises BaseException in a thread": (panics_plainly, "thread", "error", "Panic"),
    "interrupts in a thread": (interrupts, "thread", "error", "KeyboardInterrupt"),
    "sleeps in a thread": (sleeps, "thread", "timeout", "no answer within"),
    "spins in a thread": (spins, "thread", "timeout", "no answer within"),
    "returns 100 MB in a thread": (is_large_plainly, "thread", "finished", "xxx"),
    "returns a lock in a thread": (gives_a_lock, "thread", "finished", "unlocked _thread.lock"),
    "recurses for ever in a thread": (recurses_plainly, "thread", "error", "RecursionError: "),
    "raises in a process": (raises_plainly, "process", "error", "KeyError: 'no'"),
    "raises SystemExit in a process": (exits_plainly, "process", "error", "SystemExit: enough"),
    "raises BaseException in a process": (panics_plainly, "process", "error", "Panic"),
    "raises what no pickle holds": (raises_oddly, "process", "error", "OddError: one"),
    "sleeps in a process": (sleeps, "process", "timeout", "no answer within"),
    "spins in a process": (spins, "process", "timeout", "no answer within"),
    "returns 100 MB in a process": (is_large_plainly, "process", "finished", "xxx"),
    "returns what no pickle holds": (gives_a_lock, "process", "error", "TypeError: cannot pickle"),
    "recurses for ever in a process": (recurses_plainly, "process", "error", "RecursionError: "),
    "is killed": (is_killed, "process", "crashed", "its process ended: killed by SIGKILL"),
    "interrupts in a process": (interrupts, "process", "error", "KeyboardInterrupt"),
    "is killed oddly": (is_killed_oddly, "process", "crashed", "killed by signal "),
    "exits hard": (exits_hard, "process", "crashed", "its process ended: exit status 3"),
    "forks": (forks, "process", "finished", "parent"),
    "forks, and the child stays": (forks_and_stays, "process", "finished", "parent"),
    "forks, and crashes": (forks_and_crashes, "process", "crashed", "exit status 3"),
    "writes on stdout": (prints, "process", "finished", "printed"),
    "changes the directory": (moves, "process", "finished", "/"),
}  # fmt: skip
ENDLESS = (
    never,
    clings,
    clings_politely,
    awaits_who_clings,
    gathers_who_clings,
    sleeps,
    spins,
)


@tool
async def echo(value: str) -> str:
    await asyncio.sleep(0)
    return value


at_home = tool(runs_in="process", timeout=GUARD)(where)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it clings so
@pytest.mark.parametrize(("function", "place", "end", "words"), ROWS.values(), ids=ROWS)
async def test_it_ends_as_its_row_says_and_others_go_on(
    function: Any,
    place: Place,
    end: str,
    words: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    timeout = LIMIT if function in ENDLESS else GUARD
    hostile = tool(runs_in=place, timeout=timeout)(function)
    executor = Executor(ToolBox([hostile, echo, at_home]), processes=1)

    async def run(*tasks: Task) -> dict[int, tuple[str, str]]:
        async with executor.run(plan(*tasks)) as log:
            return ends([event async for event in log])

    echoing = Task(2, "echo", {"value": "x"})
    with caplog.at_level(logging.WARNING):
        own, other = await asyncio.gather(run(Task(1, hostile.name), echoing), run(echoing))
    assert own[1][0] == end, own
    assert words in own[1][1]
    assert own[2] == other[2] == ("finished", "x")
    assert ("blocks holds up all others" in caplog.text) == (function is blocks)
    assert (await run(Task(1, "where"), echoing)) == {
        1: ("finished", os.getcwd()),
        2: ("finished", "x"),
    }
    executor.close()
    assert capfd.readouterr().out == ""
    for task in asyncio.all_tasks() - {asyncio.current_task()}:  # children that nobody can end
        task.get_coro().close()
    gc.collect()  # where a coroutine that clings complains


# Nothing is left behind


@tool(idempotent=True, retries=1)
async def some_time(what: int) -> str:
    await asyncio.sleep(what / 1_000)
    if what == 3:
        raise OSError
    return str(what)


@tool
def some_time_in_a_thread(what: int) -> str:
    time.sleep(what / 1_000)
    return str(what)


@tool(runs_in="process")
def some_time_in_a_process(what: int) -> str:
    time.sleep(what / 1_000)
    return str(what)


TOOLS: list[Tool] = [some_time, some_time_in_a_thread, some_time_in_a_process]


def join_those_left_behind() -> None:
    for thread in threading.enumerate():
        if thread.name.startswith(("tool ", "watch of ")):
            thread.join()


async def test_a_thousand_runs_leave_nothing_behind() -> None:
    rng = random.Random(3)
    executor = Executor(ToolBox(TOOLS), processes=2)

    async def tasks() -> AsyncGenerator[Task]:
        for id in range(1, 7):
            await asyncio.sleep(rng.choice([0, 0, 0.001]))
            name = rng.choices(TOOLS, [20, 10, 1])[0].name
            yield Task(id, name, {"what": rng.randrange(5)})

    async def run() -> None:
        async with contextlib.aclosing(tasks()) as own, executor.run(own) as log:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(rng.choice([0.002, 0.005, 60])):
                    async for _ in log:
                        pass

    async def runs(count: int) -> None:
        for _ in range(count // 10):
            await asyncio.gather(*(run() for _ in range(10)))

    def left() -> dict[str, int]:
        gc.collect()
        process = psutil.Process()
        return {
            "tasks": len(asyncio.all_tasks()),
            "threads": threading.active_count(),
            "processes": len(process.children(recursive=True)),
            "files": process.num_fds(),
            "objects": len(gc.get_objects()),
        }

    await runs(100)
    executor.close()
    await asyncio.to_thread(join_those_left_behind)
    before, memory = left(), psutil.Process().memory_info().rss
    await runs(1_000)
    executor.close()
    await asyncio.to_thread(join_those_left_behind)
    after = left()
    objects = after.pop("objects") - before.pop("objects")
    assert after == before
    assert objects < 2_000  # two a run would be a leak
    assert psutil.Process().memory_info().rss - memory < 20 << 20
    assert executor.workers.left_behind == 0
