"""What a tool's declaration does to its calls, on the virtual clock where that is exact."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
from test_executor import GUARD, collect, ends, plan, refs
from virtual_clock import run_virtual, virtual

from executor.errors import RunError, ToolDefinitionError, ToolError
from executor.events import Event, TaskFailed, TaskFinished, TaskStarted
from executor.executor import Executor
from executor.plan import Ref, Task
from executor.policy import Options, Policy
from executor.tools import Tool, ToolBox, tool


async def nothing() -> str:
    return ""


def plainly() -> str:
    return ""


FAULTS: dict[str, tuple[Callable[..., Any], Options]] = {
    "timeout must be above 0": (nothing, {"timeout": 0}),
    "retries must not be below 0": (nothing, {"retries": -1}),
    "retries need idempotent=True": (nothing, {"retries": 1}),
    "max_running must be at least 1": (nothing, {"max_running": 0}),
    "rate must be above 0": (nothing, {"rate": 0.0}),
    "cache_seconds must not be below 0": (nothing, {"cache_seconds": -1.0}),
    "cache_seconds need idempotent=True": (nothing, {"cache_seconds": 1.0}),
    "runs_in must be loop, thread or process": (nothing, {"runs_in": "cloud"}),  # type: ignore[typeddict-item]
    "an async function runs in the loop": (nothing, {"runs_in": "thread"}),
    "a plain function would hold up the loop": (plainly, {"runs_in": "loop"}),
    "on_input_error must be skip or pass": (nothing, {"on_input_error": "stop"}),  # type: ignore[typeddict-item]
}


@pytest.mark.parametrize(("message", "declared"), FAULTS.items(), ids=FAULTS)
def test_what_makes_no_sense_is_refused(
    message: str, declared: tuple[Callable[..., Any], Options]
) -> None:
    function, options = declared
    with pytest.raises(ToolDefinitionError, match=message):
        tool(**options)(function)


def of_the_script() -> str:
    return ""


of_the_script.__module__ = "__main__"


@pytest.mark.parametrize(
    "function",
    [lambda: "", of_the_script, partial(plainly), Path().exists],
    ids=["inner", "of the script", "partial", "method"],
)
def test_a_function_that_no_other_process_can_find_is_refused(function: Any) -> None:
    schema = {"type": "object", "properties": {}}
    policy = Policy(runs_in="process")
    with pytest.raises(ToolDefinitionError, match="f: to run in a process it must be a function"):
        Tool.from_json_schema("f", "", schema, function, policy=policy)


# Retries


def flaky(
    fails: int, error: Callable[[], BaseException], **options: Any
) -> tuple[Tool, list[float]]:
    """Fails so many times; and when it was called."""
    calls: list[float] = []

    @tool(**options)
    async def ask() -> str:
        calls.append(asyncio.get_running_loop().time())
        if len(calls) <= fails:
            raise error()
        return "well"

    return ask, calls


RETRIES = {
    "until it is well": (2, ConnectionError, {"retries": 3, "idempotent": True}, "finished", 3),
    "until there are no more": (9, ConnectionError, {"retries": 2, "idempotent": True}, "error", 3),
    "a retryable error": (1, OSError, {"retries": 1, "retryable": (OSError,)}, "finished", 2),
    "and no other": (1, KeyError, {"retries": 1, "retryable": (OSError,)}, "error", 1),
    "a tool's own word": (1, ToolError, {"retries": 1, "idempotent": True}, "finished", 2),
    "none are asked for": (1, OSError, {"idempotent": True}, "error", 1),
}  # fmt: skip


@pytest.mark.parametrize(
    ("fails", "error", "options", "end", "tries"), RETRIES.values(), ids=RETRIES
)
@virtual
async def test_a_call_is_tried_again(
    fails: int, error: Callable[[], BaseException], options: Options, end: str, tries: int
) -> None:
    ask, calls = flaky(fails, error, **options)
    events = await collect([ask], plan(Task(1, "ask")))
    assert ends(events)[1][0] == end
    assert len(calls) == tries
    assert [each.tries for each in events if isinstance(each, (TaskFinished, TaskFailed))] == [
        tries
    ]


@virtual
async def test_between_tries_it_waits_twice_as_long_each_time_and_a_little_more() -> None:
    random.seed(5)
    ask, calls = flaky(4, OSError, retries=4, idempotent=True)
    await collect([ask], plan(Task(1, "ask")))
    waits = [after - before for before, after in pairwise(calls)]
    for least, wait in zip([0.1, 0.2, 0.4, 0.8], waits, strict=True):
        assert least <= wait <= least + 0.1


@virtual
async def test_each_try_has_its_own_time_limit() -> None:
    calls = []

    @tool(timeout=1.0, retries=1, idempotent=True)
    async def slow() -> str:
        calls.append(1)
        await asyncio.sleep(0.9 if len(calls) == 2 else 9)
        return "well"

    assert ends(await collect([slow], plan(Task(1, "slow"))))[1] == ("finished", "well")


@virtual
async def test_a_bad_argument_is_never_tried_again() -> None:
    @tool(retries=5, idempotent=True)
    async def ask(count: int) -> str:
        return ""

    [failed] = [
        each
        for each in await collect([ask], plan(Task(1, "ask", {"count": "many"})))
        if isinstance(each, TaskFailed)
    ]
    assert (failed.reason, failed.tries) == ("bad_argument", 1)


# Inputs that failed


@virtual
async def test_who_takes_errors_is_called_with_them() -> None:
    @tool
    async def fails() -> str:
        raise ToolError("no such city")

    @tool(on_input_error="pass")
    async def echo(value: str) -> str:
        return value

    events = await collect(
        [fails, echo],
        plan(Task(1, "fails"), Task(2, "echo", {"value": Ref(1, ("name",))})),
    )
    assert ends(events)[2] == ("finished", "error: no such city")


# Results that are kept


@virtual
async def test_a_result_is_kept_for_other_runs_for_so_long() -> None:
    calls = []

    @tool(idempotent=True, cache_seconds=10)
    async def ask(what: str) -> str:
        calls.append(what)
        return f"{what} {len(calls)}"

    executor = Executor(ToolBox([ask]))

    async def run(what: str) -> tuple[str, str]:
        async with executor.run(plan(Task(1, "ask", {"what": what}))) as log:
            events = [event async for event in log]
        [where] = [each.where for each in events if isinstance(each, TaskStarted)]
        return ends(events)[1][1], where

    assert await run("a") == ("a 1", "loop")
    await asyncio.sleep(9)
    assert await run("a") == ("a 1", "cache")
    assert await run("b") == ("b 2", "loop")
    await asyncio.sleep(2)
    assert await run("a") == ("a 3", "loop")


@virtual
async def test_who_waited_for_its_turn_has_a_result_that_came_meanwhile() -> None:
    calls = []

    @tool(idempotent=True, cache_seconds=10, max_running=1)
    async def ask() -> str:
        calls.append("")
        await asyncio.sleep(1)
        return "well"

    executor = Executor(ToolBox([ask]))

    async def run() -> str:
        async with executor.run(plan(Task(1, "ask"))) as log:
            events = [event async for event in log]
        assert ends(events)[1] == ("finished", "well")
        return next(each.where for each in events if isinstance(each, TaskStarted))

    assert await asyncio.gather(run(), run()) == ["loop", "cache"]
    assert len(calls) == 1


@virtual
async def test_a_failure_is_not_kept() -> None:
    ask, calls = flaky(1, OSError, idempotent=True, cache_seconds=10)
    executor = Executor(ToolBox([ask]))
    for expected in ("error", "finished"):
        async with executor.run(plan(Task(1, "ask"))) as log:
            assert ends([event async for event in log])[1][0] == expected
    assert len(calls) == 2


@virtual
async def test_a_long_chain_of_kept_results_is_no_deep_recursion() -> None:
    @tool(idempotent=True, cache_seconds=10)
    async def step(after: list[str]) -> str:
        return "x"

    executor = Executor(ToolBox([step]))
    for _ in range(2):
        tasks = [
            Task(id, "step", {"after": refs(id - 1) if id > 1 else []}) for id in range(1, 3000)
        ]
        async with executor.run(plan(*tasks)) as log:
            assert {end for end, _ in ends([event async for event in log]).values()} == {"finished"}


# Limits of a run


@virtual
async def test_a_run_has_a_deadline() -> None:
    @tool
    async def slow() -> str:
        await asyncio.sleep(60)
        return ""

    with pytest.raises(RunError, match="not done within the deadline of 2 s"):
        async with Executor(ToolBox([slow]), deadline=2).run(plan(Task(1, "slow"))) as log:
            events = [event async for event in log]
    assert ends(events)[1][0] == "run_ended"
    assert log.now() == pytest.approx(2)


@virtual
async def test_a_run_has_so_many_tasks_and_no_more() -> None:
    tasks = [Task(id, "nothing") for id in range(1, 5)]
    executor = Executor(ToolBox([tool(nothing)]), max_tasks=3)
    with pytest.raises(RunError, match="more than 3 tasks"):
        async with aclosing(plan(*tasks)) as own, executor.run(own) as log:
            events = [event async for event in log]
    assert len(ends(events)) == 3


# Limits of a tool, through the executor


def starts(events: list[Event]) -> list[tuple[int, float]]:
    return [(each.task_id, each.at) for each in events if isinstance(each, TaskStarted)]


@virtual
async def test_a_rate_spaces_the_starts() -> None:
    @tool(rate=2)
    async def ask() -> str:
        return ""

    events = await collect([ask], plan(*(Task(id, "ask") for id in range(1, 6))))
    assert [at for _, at in starts(events)] == pytest.approx([0, 0, 1, 1, 2])


@virtual
async def test_a_key_may_hang_on_the_arguments() -> None:
    @tool(exclusive=lambda path: path)
    async def write(path: str) -> str:
        await asyncio.sleep(1)
        return path

    tasks = [Task(id, "write", {"path": path}) for id, path in enumerate("aabb", start=1)]
    events = await collect([write], plan(*tasks))
    assert dict(starts(events)) == pytest.approx({1: 0, 2: 1, 3: 0, 4: 1})


@virtual
async def test_a_key_that_can_not_be_told_is_the_tools_fault() -> None:
    @tool(exclusive=lambda path: path["no"])
    async def write(path: str) -> str:
        return path

    events = await collect([write], plan(Task(1, "write", {"path": "a"})))
    assert ends(events)[1][0] == "error"


@pytest.mark.parametrize("value", [["a"], None, 1])
@virtual
async def test_a_key_is_a_text(value: Any) -> None:
    @tool(exclusive=lambda: value)
    async def write() -> str:
        return ""

    found = ends(await collect([write], plan(Task(1, "write"))))
    assert found[1] == ("error", f"TypeError: its exclusive gives {value!r}, which is no text")


@virtual
async def test_a_result_that_holds_itself_is_no_argument() -> None:
    @tool
    async def odd() -> list[Any]:
        result: list[Any] = []
        result.append(result)
        return result

    @tool
    async def use(value: Any) -> str:
        return ""

    found = ends(await collect([odd, use], plan(Task(1, "odd"), Task(2, "use", {"value": Ref(1)}))))
    assert found[2] == ("bad_argument", "$1: the result of task 1 is too deep, or holds itself")


@virtual
async def test_a_cancellation_that_a_try_has_left_ends_the_call() -> None:
    @tool(retries=2, idempotent=True)
    async def ask() -> str:
        task = asyncio.current_task()
        assert task
        asyncio.get_running_loop().call_later(0.05, task.cancel)
        raise OSError

    assert ends(await collect([ask], plan(Task(1, "ask"))))[1] == ("error", "it was cancelled")


@virtual
async def test_a_run_does_not_keep_a_tool_for_itself() -> None:
    @tool(max_running=1)
    async def alone(run: str, after: list[str]) -> str:
        order.append(run)
        await asyncio.sleep(1)
        return ""

    order: list[str] = []
    executor = Executor(ToolBox([alone]))

    async def run(name: str) -> None:
        chain = (
            Task(id, "alone", {"run": name, "after": refs(id - 1) if id > 1 else []})
            for id in range(1, 4)
        )
        async with executor.run(plan(*chain)) as log:
            assert {end for end, _ in ends([event async for event in log]).values()} == {"finished"}

    await asyncio.gather(run("a"), run("b"))
    assert "".join(order) == "ababab"


# Processes


@tool(runs_in="process", timeout=20)
def pid() -> int:
    return os.getpid()


@tool(runs_in="process", timeout=20)
def double(value: float) -> float:
    return value * 2


@tool(runs_in="process", timeout=0.5)
def busy() -> str:
    while True:
        pass


@tool(runs_in="process", timeout=20)
def crash() -> str:
    os.kill(os.getpid(), signal.SIGSEGV)
    return ""


@tool(runs_in="process", timeout=3 * GUARD)
def linger(path: str) -> str:
    Path(path).write_text(str(os.getpid()))
    time.sleep(2 * GUARD)
    return ""


async def outcomes(executor: Executor, *tasks: Task) -> dict[int, tuple[str, str]]:
    async with executor.run(plan(*tasks)) as log:
        return ends([event async for event in log])


@pytest.fixture
async def executor() -> AsyncGenerator[Executor]:
    made = Executor(ToolBox([pid, double, busy, crash, linger]), processes=2)
    yield made
    made.close()


async def test_a_process_is_another_one_and_kept(executor: Executor) -> None:
    first = await outcomes(executor, Task(1, "pid"))
    second = await outcomes(executor, Task(1, "pid"))
    assert first == second
    assert first[1] != ("finished", str(os.getpid()))


async def test_a_process_is_killed_at_its_time_limit_and_replaced(executor: Executor) -> None:
    found = await outcomes(
        executor, Task(1, "busy"), Task(2, "busy"), Task(3, "double", {"value": 2.0})
    )
    assert found[1] == found[2] == ("timeout", "no answer within its 0.5 s")
    assert found[3] == ("finished", "4.0")


async def test_a_process_that_ends_is_told_and_replaced(executor: Executor) -> None:
    found = await outcomes(executor, Task(1, "crash"), Task(2, "double", {"value": 2.0}))
    assert found[1] == ("crashed", "its process ended: killed by SIGSEGV")
    assert found[2] == ("finished", "4.0")


async def test_a_process_is_killed_when_its_run_is_left(executor: Executor, tmp_path: Path) -> None:
    pipe = tmp_path / "pid"
    os.mkfifo(pipe)
    async with executor.run(plan(Task(1, "linger", {"path": str(pipe)}))):
        process = psutil.Process(int(await asyncio.to_thread(pipe.read_text)))
    await asyncio.to_thread(process.wait, GUARD)  # it ends, and not by itself
    assert (await outcomes(executor, Task(1, "double", {"value": 1.0})))[1] == ("finished", "2.0")


SERVER = """
import asyncio, sys
from executor.executor import Executor
from executor.plan import Task
from executor.tools import ToolBox
from serving.toolfile import load_tools

async def plan():
    yield Task(1, "linger", {"path": sys.argv[2]})

async def main():
    tools = [each for each in load_tools(sys.argv[1]) if each.name == "linger"]
    async with Executor(ToolBox(tools)).run(plan()) as log:
        async for _ in log:
            pass

asyncio.run(main())
"""
LINGER = """
import os, time
from pathlib import Path
from executor.tools import tool

@tool(runs_in="process", timeout=600)
def linger(path: str) -> str:
    Path(path).write_text(str(os.getpid()))
    time.sleep(600)
    return ""
"""


def test_a_process_ends_with_its_server_however_that_ends(tmp_path: Path) -> None:
    pipe, tools = tmp_path / "pid", tmp_path / "linger_tools.py"
    os.mkfifo(pipe)
    tools.write_text(LINGER)
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(tools), str(pipe)])
    worker = psutil.Process(int(pipe.read_text()))
    server.kill()
    server.wait()
    worker.wait(GUARD)


def test_runs_share_the_limits_of_their_executor() -> None:
    @tool(max_running=1)
    async def alone() -> str:
        await asyncio.sleep(1)
        return ""

    async def together() -> list[float]:
        executor = Executor(ToolBox([alone]))

        async def run() -> float:
            async with executor.run(plan(Task(1, "alone"))) as log:
                events = [event async for event in log]
            assert ends(events)[1][0] == "finished"
            return asyncio.get_running_loop().time()

        return await asyncio.gather(run(), run(), run())

    assert run_virtual(together()) == pytest.approx([1, 2, 3])
