"""Running a plan's tasks while they come: when, with what, and what if something goes wrong.

What is async runs on the virtual clock, and its times are exact. What runs in a thread waits for
events, never for a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_clock import run_virtual, virtual

from executor import workers
from executor.errors import PlanError, ToolError, UsageError
from executor.events import (
    Event,
    TaskCancelled,
    TaskFailed,
    TaskFinished,
    TaskSealed,
    TaskSkipped,
    TaskStarted,
    to_wire,
)
from executor.execution import AT_ONCE
from executor.executor import Executor
from executor.plan import Ref, Task, Template
from executor.tools import Tool, ToolBox, tool

GUARD = 60.0  # seconds; a broken test ends here, a sound one never sees it


@tool
async def work(seconds: float, after: list[str] | None = None) -> str:
    await asyncio.sleep(seconds)
    return "worked"


@tool(eager=False)
async def send(after: list[str] | None = None) -> str:
    return "sent"


@tool
async def echo(value: str) -> str:
    return value


def refs(*needs: int) -> list[Ref]:
    return [Ref(need) for need in needs]


def working(id: int, seconds: float, *needs: int) -> Task:
    return Task(id, "work", {"seconds": seconds, "after": refs(*needs)})


# When what starts and finishes


# Task, when it is sealed, how long it takes, what it needs -> when it starts and finishes.
TIMES = {
    "alone": [(1, 0.0, 2.0, (), 0.0, 2.0)],
    "beside one another": [(1, 0.0, 2.0, (), 0.0, 2.0), (2, 0.0, 1.0, (), 0.0, 1.0)],
    "at the seal, before the next line": [
        (1, 1.0, 0.5, (), 1.0, 1.5),
        (2, 5.0, 0.5, (), 5.0, 5.5),
    ],
    "a chain": [
        (1, 0.0, 1.0, (), 0.0, 1.0),
        (2, 0.25, 1.0, (1,), 1.0, 2.0),
        (3, 0.5, 1.0, (2,), 2.0, 3.0),
    ],
    "an input that is done before the seal": [
        (1, 0.0, 1.0, (), 0.0, 1.0),
        (2, 3.0, 1.0, (1,), 3.0, 4.0),
    ],
    "no barrier between levels": [
        (1, 0.0, 1.0, (), 0.0, 1.0),
        (2, 0.0, 9.0, (), 0.0, 9.0),
        (3, 0.0, 1.0, (1,), 1.0, 2.0),
        (4, 0.0, 1.0, (3,), 2.0, 3.0),
        (5, 0.0, 1.0, (2, 4), 9.0, 10.0),
    ],
    "a diamond": [
        (1, 0.0, 1.0, (), 0.0, 1.0),
        (2, 0.5, 1.0, (1,), 1.0, 2.0),
        (3, 1.5, 1.0, (1,), 1.5, 2.5),
        (4, 2.0, 1.0, (2, 3), 2.5, 3.5),
    ],
}


@pytest.mark.parametrize("rows", TIMES.values(), ids=TIMES.keys())
def test_times(rows: list[tuple[int, float, float, tuple[int, ...], float, float]]) -> None:
    measured = times_of([row[:4] for row in rows])
    assert measured == {row[0]: pytest.approx(row[4:]) for row in rows}


QUARTERS = st.integers(0, 12).map(lambda number: number / 4)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(QUARTERS, QUARTERS, st.sets(st.integers(1, 8))), max_size=8))
def test_every_task_starts_when_it_ideally_would(
    lines: list[tuple[float, float, set[int]]],
) -> None:
    rows, expected, sealed = [], {}, 0.0
    for id, (wait, seconds, wish) in enumerate(lines, start=1):
        sealed += wait
        needs = tuple(sorted(need for need in wish if need < id))
        rows.append((id, sealed, seconds, needs))
        start = max([sealed, *(expected[need][1] for need in needs)])
        expected[id] = (start, start + seconds)
    assert times_of(rows) == {id: pytest.approx(times) for id, times in expected.items()}


def times_of(
    rows: list[tuple[int, float, float, tuple[int, ...]]],
) -> dict[int, tuple[float, float]]:
    items: list[Task | float] = []
    now = 0.0
    for id, sealed, seconds, needs in rows:
        items += [sealed - now, Task(id, "work", {"seconds": seconds, "after": refs(*needs)})]
        now = sealed
    events = run_virtual(collect([work], plan(*items)))
    started = {event.task_id: event.at for event in events if isinstance(event, TaskStarted)}
    finished = {event.task_id: event.at for event in events if isinstance(event, TaskFinished)}
    return {id: (started[id], finished[id]) for id in started}


@virtual
async def test_a_task_starts_in_the_same_tick_as_its_seal() -> None:
    events = await collect([work], plan(working(1, 1.0), 0.5, working(2, 1.0)))
    assert [(type(event), event.at) for event in events[:4]] == [
        (TaskSealed, 0.0),
        (TaskStarted, 0.0),
        (TaskSealed, 0.5),
        (TaskStarted, 0.5),
    ]


@virtual
async def test_a_plan_that_is_all_there_does_not_hold_up_its_tasks() -> None:
    events = await collect([work], plan(*(working(id, 0.0) for id in range(1, 1001))))
    first_end = next(event.seq for event in events if isinstance(event, TaskFinished))
    sealed_before = sum(isinstance(event, TaskSealed) for event in events[:first_end])
    assert sealed_before <= 2 * AT_ONCE


@virtual
async def test_at_most_so_many_at_once() -> None:
    tasks = plan(*(working(id, 1.0) for id in range(1, 6)))
    events = await collect([work], tasks, max_running=2)
    started = [(event.task_id, event.at) for event in events if isinstance(event, TaskStarted)]
    assert started == [(1, 0.0), (2, 0.0), (3, 1.0), (4, 1.0), (5, 2.0)]


@virtual
async def test_side_effects_wait_for_the_end_of_the_plan() -> None:
    events = await collect([work, send], plan(Task(1, "send"), working(2, 1.0), 3.0))
    [sent] = [event for event in events if isinstance(event, TaskStarted) and event.task_id == 1]
    assert sent.at == pytest.approx(3.0)


@virtual
async def test_an_empty_plan_has_no_events() -> None:
    assert await collect([work], plan()) == []


# What passes from task to task


@virtual
async def test_results_pass_typed() -> None:
    @tool
    async def facts(name: str) -> dict[str, Any]:
        return {"name": name, "heights": [8611, 8849.5], "open": False, "price": "$2"}

    got: dict[str, Any] = {}

    @tool
    async def keep(number: float, numbers: list[float], flag: bool, text: str) -> None:
        got.update(number=number, numbers=numbers, flag=flag, text=text)

    arguments = {
        "number": Ref(1, ("heights", 1)),
        "numbers": Ref(1, ("heights",)),
        "flag": Ref(1, ("open",)),
        "text": Template(("pay ", Ref(1, ("price",)), " of ", Ref(1, ("heights",)))),
    }
    events = await collect(
        [facts, keep], plan(Task(1, "facts", {"name": "K2"}), Task(2, "keep", arguments))
    )
    assert got == {
        "number": 8849.5,
        "numbers": [8611, 8849.5],
        "flag": False,
        "text": "pay $2 of [8611, 8849.5]",
    }
    [sealed] = [event for event in events if isinstance(event, TaskSealed) and event.task_id == 2]
    assert sealed.needs == [1]
    assert sealed.args["number"] == "$1.heights[1]"
    assert sealed.line == (
        "2. keep(number=$1.heights[1], numbers=$1.heights, flag=$1.open, "
        'text="pay ${1.price} of ${1.heights}")'
    )
    [started] = [event for event in events if isinstance(event, TaskStarted) and event.task_id == 2]
    assert started.args == {
        "number": 8849.5,
        "numbers": "[8611, 8849.5]",
        "flag": False,
        "text": "pay $2 of [8611, 8849.5]",
    }


@virtual
async def test_a_long_result_is_shown_short_and_passed_whole() -> None:
    @tool
    async def long() -> str:
        return "x" * 9000

    @tool
    async def length(text: str) -> int:
        return len(text)

    events = await collect(
        [long, length], plan(Task(1, "long"), Task(2, "length", {"text": Ref(1)}))
    )
    shown = next(event for event in events if isinstance(event, TaskFinished))
    assert len(shown.result) < 600
    assert "8501 characters left out" in shown.result
    assert ends(events)[2] == ("finished", "9000")


SHOWN = [
    (float("inf"), "Infinity"),
    (float("nan"), "NaN"),
    (10**400, 10**400),
    (True, True),
    (None, None),
    (0.5, 0.5),
    ([1, "a"], '[1, "a"]'),
    ("x" * 900, "x" * 333 + " [... 401 characters left out ...] " + "x" * 166),
]


@pytest.mark.parametrize(("value", "shown"), SHOWN)
@virtual
async def test_how_an_argument_is_shown(value: Any, shown: Any) -> None:
    @tool
    async def give() -> Any:
        return value

    @tool
    async def take(value: str) -> None: ...

    tasks = plan(Task(1, "give"), Task(2, "take", {"value": Ref(1)}))
    started = [event for event in await collect([give, take], tasks) if type(event) is TaskStarted]
    assert started[1].args == {"value": shown}


# What can go wrong in a tool


def fails(error: BaseException) -> Callable[[], Any]:
    async def act() -> NoReturn:
        raise error

    return act


def returns(value: Any) -> Callable[[], Any]:
    async def act() -> Any:
        return value

    return act


async def never() -> None:
    await asyncio.Event().wait()


async def never_and_complains() -> NoReturn:
    try:
        await asyncio.Event().wait()
    finally:
        raise LookupError("I was not done")


async def its_own_limit() -> None:
    async with asyncio.timeout(1):
        await asyncio.Event().wait()


async def waits_for_what_is_cancelled() -> None:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


async def cancels_itself() -> None:
    task = asyncio.current_task()
    assert task
    task.cancel()
    await asyncio.sleep(1)


async def its_own_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(fails(ValueError("inside"))())
        group.create_task(never())


class PanicError(BaseException):
    """What a Rust extension raises when it panics is no Exception either."""


class Mute:
    def __str__(self) -> NoReturn:
        raise ValueError("no words")


HERSELF: list[Any] = []
HERSELF.append(HERSELF)

# What the tool does -> the reason and the message of its failure.
FAULTS = {
    "raises": (fails(ValueError("broken")), "error", "ValueError: broken"),
    "raises without a word": (fails(ValueError()), "error", "ValueError"),
    "can't answer": (fails(ToolError("no such place")), "error", "no such place"),
    "says half a character": (fails(ValueError("a\ud800")), "error", "ValueError: a?"),
    "exits": (fails(SystemExit(3)), "error", "SystemExit: 3"),
    "is cancelled": (fails(asyncio.CancelledError()), "error", "it was cancelled"),
    "awaits the cancelled": (waits_for_what_is_cancelled, "error", "it was cancelled"),
    "cancels itself": (cancels_itself, "error", "it was cancelled"),
    "times out": (fails(TimeoutError("mine")), "error", "TimeoutError: mine"),
    "has its own limit": (its_own_limit, "error", "TimeoutError"),
    "has its own group": (
        its_own_group,
        "error",
        "ExceptionGroup: unhandled errors in a TaskGroup",
    ),
    "stops an iteration": (fails(StopIteration()), "error", "RuntimeError: coroutine raised"),
    "panics": (fails(PanicError("at line 1")), "error", "test_executor.PanicError: at line 1"),
    "never returns": (never, "timeout", "no answer within its 30 s"),
    "never returns, and complains": (
        never_and_complains,
        "timeout",
        "no answer within its 30 s",
    ),
    "returns what has no text": (returns(Mute()), "error", "ValueError: no words"),
    "returns too many digits": (returns(10**5000), "error", "ValueError: Exceeds the limit"),
    "returns half a character": (returns("a\ud800"), "error", "UnicodeEncodeError: "),
}


@pytest.mark.parametrize(("act", "reason", "message"), FAULTS.values(), ids=FAULTS.keys())
@virtual
async def test_a_fault_of_a_tool_is_an_observation(
    act: Callable[[], Any], reason: str, message: str
) -> None:
    faulty = Tool.from_json_schema("faulty", "", {"type": "object"}, act)
    tasks = plan(
        working(1, 20.0),
        Task(2, "faulty"),
        working(3, 1.0, 2),
        working(4, 1.0, 3),
        working(5, 1.0, 1),
    )
    events = await collect([work, faulty], tasks)
    assert ends(events) == {
        1: ("finished", "worked"),
        2: (reason, ANY),
        3: ("input_failed", "it needs $2, which gave no result"),
        4: ("input_failed", "it needs $3, which gave no result"),
        5: ("finished", "worked"),
    }
    assert ends(events)[2][1].startswith(message)


# What a tool may well return, and how it is shown.
ODD_RESULTS = {
    "nothing": (None, "null"),
    "an object": (ToolBox([]), ""),
    "keys that are no text": ({(1, 2): 3}, "{(1, 2): 3}"),
    "a value that holds itself": (HERSELF, "[[...]]"),
    "bytes": (b"\xff", "\"b'\\\\xff'\""),
    "a set": ({1}, '"{1}"'),
    "a failure": (ValueError("as a value"), '"as a value"'),
}


@pytest.mark.parametrize(("value", "shown"), ODD_RESULTS.values(), ids=ODD_RESULTS.keys())
@virtual
async def test_an_odd_result_is_a_result(value: Any, shown: str) -> None:
    odd = Tool.from_json_schema("odd", "", {"type": "object"}, returns(value))
    events = await collect([odd, work], plan(Task(1, "odd"), working(2, 1.0)))
    assert ends(events)[1] == ("finished", shown or ANY)
    assert ends(events)[2] == ("finished", "worked")


BAD_ARGUMENTS = {
    "refused by the signature": (Task(2, "work", {"seconds": Ref(1)}), "seconds: "),
    "of a part that is not there": (
        Task(2, "work", {"seconds": Ref(1, ("height",))}),
        "$1.height: the result of task 1 has no 'height'",
    ),
}


@pytest.mark.parametrize(("bad", "message"), BAD_ARGUMENTS.values(), ids=BAD_ARGUMENTS.keys())
@virtual
async def test_a_bad_argument_is_an_observation(bad: Task, message: str) -> None:
    tasks = plan(Task(1, "echo", {"value": "soon"}), bad, working(3, 1.0, 2), working(4, 1.0, 1))
    events = await collect([work, echo], tasks)
    assert ends(events) == {
        1: ("finished", "soon"),
        2: ("bad_argument", ANY),
        3: ("input_failed", "it needs $2, which gave no result"),
        4: ("finished", "worked"),
    }
    assert ends(events)[2][1].startswith(message)


@virtual
async def test_a_tool_that_cancels_itself_and_answers_has_answered() -> None:
    @tool
    async def odd() -> str:
        task = asyncio.current_task()
        assert task
        task.cancel()
        return "well"

    assert ends(await collect([odd], plan(Task(1, "odd"))))[1] == ("finished", "well")


@virtual
async def test_a_time_limit_is_each_calls_own() -> None:
    @tool(timeout=2)
    async def slow(seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "just so"

    tasks = plan(Task(1, "slow", {"seconds": 1.75}), Task(2, "slow", {"seconds": 2.25}))
    events = await collect([slow], tasks)
    assert ends(events) == {1: ("finished", "just so"), 2: ("timeout", "no answer within its 2 s")}
    assert [event.at for event in events[-2:]] == pytest.approx([1.75, 2.0])


# Equal calls


@pytest.mark.parametrize(
    ("idempotent", "made"), [(True, ["a", "b"]), (False, ["a", "a", "b", "a"])]
)
@virtual
async def test_equal_calls(idempotent: bool, made: list[str]) -> None:
    calls: list[str] = []

    @tool(idempotent=idempotent)
    async def look(query: str) -> str:
        calls.append(query)
        await asyncio.sleep(1)
        return query.upper()

    def looking(id: int, query: Any) -> Task:
        return Task(id, "look", {"query": query})

    late = Task(5, "look", {"query": Ref(4)})
    asked = plan(
        looking(1, "a"),
        looking(2, "a"),
        looking(3, "b"),
        5.0,
        Task(4, "echo", {"value": "a"}),
        late,
    )
    events = await collect([look, echo], asked)
    assert calls == made
    assert [ends(events)[id] for id in (1, 2, 3, 5)] == [
        ("finished", "A"),
        ("finished", "A"),
        ("finished", "B"),
        ("finished", "A"),
    ]


@virtual
async def test_a_shared_call_that_fails_fails_for_all() -> None:
    @tool(idempotent=True, timeout=1)
    async def look(query: str) -> None:
        await never()

    tasks = plan(Task(1, "look", {"query": "a"}), 0.5, Task(2, "look", {"query": "a"}))
    events = await collect([look], tasks)
    failed = [
        (event.task_id, event.reason, event.at) for event in events if isinstance(event, TaskFailed)
    ]
    assert failed == [(1, "timeout", pytest.approx(1.0)), (2, "timeout", pytest.approx(1.0))]


@virtual
async def test_a_call_that_has_failed_is_made_again() -> None:
    calls = []

    @tool(idempotent=True)
    async def look() -> str:
        calls.append(1)
        if len(calls) == 1:
            raise ToolError("not yet")
        return "there"

    events = await collect([look], plan(Task(1, "look"), 1.0, Task(2, "look")))
    assert ends(events) == {1: ("error", "not yet"), 2: ("finished", "there")}


@virtual
async def test_nothing_is_shared_between_runs() -> None:
    calls = []

    @tool(idempotent=True)
    async def look() -> None:
        calls.append(1)

    for _ in range(2):
        await collect([look], plan(Task(1, "look")))
    assert len(calls) == 2


# The end of a run before its time


@virtual
async def test_leaving_early_cancels_this_runs_tasks_and_no_others() -> None:
    executor = Executor(ToolBox([work, send]))

    async def bystand() -> list[Event]:
        async with executor.run(plan(working(1, 3.0), working(2, 1.0, 1))) as log:
            return [event async for event in log]

    bystander = asyncio.create_task(bystand())
    tasks = plan(working(1, 1.0), working(2, 9.0), working(3, 1.0, 2), Task(4, "send"), 20.0)
    async with executor.run(tasks) as log:
        async for event in log:
            if isinstance(event, TaskFinished):
                break
    assert log.now() == pytest.approx(1.0)
    rest = [event async for event in log]
    assert [type(event) for event in rest] == [TaskCancelled] * 3
    assert {id for id, (how, _) in ends(rest).items() if how == "run_ended"} == {2, 3, 4}

    events = await bystander
    assert ends(events) == {1: ("finished", "worked"), 2: ("finished", "worked")}
    assert events[-1].at == pytest.approx(4.0)


@pytest.mark.parametrize("read", range(9))
@virtual
async def test_leaving_anywhere_ends_every_task_once(read: int) -> None:
    tasks = plan(working(1, 1.0), working(2, 1.0, 1), 0.5, working(3, 1.0), 5.0)
    async with Executor(ToolBox([work])).run(tasks) as log:
        events = [await anext(log) for _ in range(read)]
    events += [event async for event in log]
    check(events)


@pytest.mark.parametrize(("needs", "ended", "cleaned"), [(0.03, 0.53, True), (2.0, 0.55, False)])
@virtual
async def test_a_tool_may_clean_up_for_a_moment_when_it_is_cancelled(
    needs: float, ended: float, cleaned: bool
) -> None:
    done = []

    @tool
    async def careful() -> str:
        try:
            await never()
        except asyncio.CancelledError:
            await asyncio.sleep(needs)
        done.append("cleaned")
        return "late, and of no use"

    async with Executor(ToolBox([careful])).run(plan(Task(1, "careful"), 1.0)) as log:
        await asyncio.sleep(0.5)
    events = [event async for event in log]
    check(events)
    assert ends(events)[1][0] == "run_ended"
    assert log.now() == pytest.approx(ended)
    assert bool(done) == cleaned


@virtual
async def test_leaving_does_not_wait_for_who_writes_the_plan() -> None:
    async def slow_to_end() -> AsyncGenerator[Task]:
        for id in range(1, 9):
            yield working(id, 0.2)
        try:
            await never()
        finally:
            await asyncio.sleep(3)

    async with (
        aclosing(slow_to_end()) as tasks,
        Executor(ToolBox([work]), max_running=1).run(tasks) as log,
    ):
        await asyncio.sleep(0.5)
    events = [event async for event in log]
    check(events)
    assert max(event.at for event in events) == pytest.approx(0.5)


@virtual
async def test_no_side_effect_comes_after_leaving_whatever_the_plans_writer_does() -> None:
    async def swallowing() -> AsyncGenerator[Task]:
        yield Task(1, "send")
        with contextlib.suppress(asyncio.CancelledError):
            await never()

    async with Executor(ToolBox([send])).run(swallowing()) as log:
        await asyncio.sleep(0.5)
    events = [event async for event in log]
    assert ends(events)[1][0] == "run_ended"
    assert not any(isinstance(event, TaskStarted) for event in events)


@virtual
async def test_what_is_known_of_each_task() -> None:
    async with Executor(ToolBox([work]), max_running=1).run(
        plan(working(1, 1.0), working(2, 1.0, 1), working(3, 1.0))
    ) as log:
        events = [event async for event in log]
    assert ends(events)[3][0] == "finished"
    known = {
        id: (task.sealed, task.ready, task.started, task.finished, task.where, task.tries)
        for id, task in log.tasks().items()
    }
    assert known == {
        1: (0, 0, 0, 1, "loop", 1),
        2: (0, 1, 1, 2, "loop", 1),
        3: (0, 0, 2, 3, "loop", 1),
    }
    assert log.stats().critical_path == [3]


class Moody:
    """Tells its text twice, and then no more."""

    def __init__(self) -> None:
        self.asked = 0

    def __str__(self) -> str:
        self.asked += 1
        if self.asked > 2:
            raise LookupError
        return "moody"


@virtual
async def test_who_does_not_tell_its_text_again_keeps_no_place() -> None:
    @tool
    async def make() -> Any:
        return Moody()

    @tool(max_running=1)
    async def use(value: Any) -> str:
        return "used"

    tasks = [Task(1, "make"), *(Task(id, "use", {"value": Ref(1)}) for id in (2, 3))]
    events = await collect([make, use], plan(*tasks))
    assert ends(events)[2] == ends(events)[3] == ("finished", "used")
    assert [event.args for event in events if isinstance(event, TaskStarted)][1:] == [
        {"value": "<Moody>"},
        {"value": "<Moody>"},
    ]


@virtual
async def test_a_plan_that_breaks_off() -> None:
    broken = PlanError("no more", 3, 1)
    tasks = plan(working(1, 2.0), Task(2, "send"), working(3, 1.0, 1), 0.5, broken)
    events = []
    with pytest.raises(PlanError, match="line 3, column 1: no more"):
        async with Executor(ToolBox([work, send])).run(tasks) as log:
            events = [event async for event in log]
    check(events)
    assert ends(events) == {
        1: ("finished", "worked"),
        2: ("plan_incomplete", "it has side effects, and the plan was not completed"),
        3: ("finished", "worked"),
    }
    assert {event.task_id: event.at for event in events if isinstance(event, TaskSkipped)} == {
        2: pytest.approx(0.5)
    }


@virtual
async def test_an_error_of_whoever_writes_the_plan_ends_the_run() -> None:
    tasks = plan(working(1, 1.0), working(2, 9.0), 2.0, ConnectionError("gone"))
    events = []
    with pytest.raises(ConnectionError, match="gone"):
        async with Executor(ToolBox([work])).run(tasks) as log:
            events = [event async for event in log]
    check(events)
    assert [ends(events)[id][0] for id in (1, 2)] == ["finished", "run_ended"]
    assert events[-1].at == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (working(2, 1.0, 3), "task 2 refers to \\$3, which is not sealed before it"),
        (working(1, 1.0), "task 1 is sealed twice"),
        (Task(2, "nosuch"), "task 2: no tool is called nosuch"),
    ],
)
@virtual
async def test_a_task_that_cannot_be_ends_the_run(wrong: Task, error: str) -> None:
    events = []
    with pytest.raises((ValueError, UsageError), match=error):
        async with (
            aclosing(plan(working(1, 9.0), 1.0, wrong, working(4, 1.0))) as tasks,
            Executor(ToolBox([work])).run(tasks) as log,
        ):
            events = [event async for event in log]
    assert ends(events)[1][0] == "run_ended"
    assert events[-1].at == pytest.approx(1.0)


# Plain functions run in threads: on a real loop, without a look at the clock


async def test_the_loop_goes_on_while_a_plain_function_runs() -> None:
    heard = threading.Event()

    @tool
    def listen() -> bool:
        return heard.wait(GUARD)

    @tool
    async def speak() -> None:
        heard.set()

    events = await collect([listen, speak], plan(Task(1, "listen"), Task(2, "speak")))
    assert ends(events)[1] == ("finished", "true")


async def test_plain_functions_run_beside_one_another() -> None:
    meeting = threading.Barrier(3, timeout=GUARD)

    @tool
    def meet() -> str:
        meeting.wait()
        return "met"

    events = await collect([meet], plan(*(Task(id, "meet") for id in (1, 2, 3))))
    assert ends(events) == dict.fromkeys((1, 2, 3), ("finished", "met"))


async def test_a_plain_function_sees_the_context_of_its_run() -> None:
    who = contextvars.ContextVar("who", default="nobody")

    @tool
    def see() -> str:
        return who.get()

    who.set("me")
    events = await collect([see], plan(Task(1, "see")))
    assert ends(events)[1] == ("finished", "me")


PLAIN_FAULTS = {
    "raises": (ValueError("broken"), "ValueError: broken"),
    "can't answer": (ToolError("no such place"), "no such place"),
    "exits": (SystemExit(3), "SystemExit: 3"),
    "is cancelled": (asyncio.CancelledError(), "it was cancelled"),
    "times out": (TimeoutError("mine"), "TimeoutError: mine"),
    "stops an iteration": (StopIteration(), "RuntimeError: raised StopIteration"),
    "panics": (PanicError("at line 1"), "test_executor.PanicError: at line 1"),
}


@pytest.mark.parametrize(("error", "message"), PLAIN_FAULTS.values(), ids=PLAIN_FAULTS.keys())
async def test_a_fault_in_a_thread_is_an_observation(error: BaseException, message: str) -> None:
    @tool
    def faulty() -> NoReturn:
        raise error

    tasks = plan(Task(1, "faulty"), working(2, 0.0, 1), working(3, 0.0))
    events = await collect([faulty, work], tasks)
    assert ends(events) == {
        1: ("error", message),
        2: ("input_failed", "it needs $1, which gave no result"),
        3: ("finished", "worked"),
    }


def plain(word: str) -> str:
    return f"plain {word}"


class Caller:
    async def __call__(self, word: str) -> str:
        return f"called {word}"


CALLABLES = {
    "a partial": (functools.partial(plain, "word"), "plain word"),
    "an async partial": (functools.partial(Caller().__call__, "word"), "called word"),
    "an object": (functools.partial(Caller(), "word"), "called word"),
    "a lambda that awaits": (lambda: Caller()("word"), "called word"),
}


@pytest.mark.parametrize(("call", "result"), CALLABLES.values(), ids=CALLABLES.keys())
async def test_any_callable_will_do(call: Callable[[], Any], result: str) -> None:
    made = Tool.from_json_schema("made", "", {"type": "object"}, call)
    assert ends(await collect([made], plan(Task(1, "made"))))[1] == ("finished", result)


async def test_a_thread_that_outlives_its_limit_is_left_behind() -> None:
    free = threading.Event()

    @tool(timeout=0.01)
    def stuck() -> str:
        free.wait(GUARD)
        return "too late"

    tasks = plan(Task(1, "stuck"), working(2, 0.0, 1), working(3, 0.0))
    events = await collect([stuck, work], tasks)
    assert ends(events) == {
        1: ("timeout", "no answer within its 0.01 s"),
        2: ("input_failed", "it needs $1, which gave no result"),
        3: ("finished", "worked"),
    }
    [thread] = threads("stuck")
    assert thread.daemon
    free.set()
    thread.join(GUARD)  # its result is dropped without a word
    await asyncio.sleep(0)


async def test_when_too_many_threads_are_left_behind_no_other_is_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "MOST_LEFT_BEHIND", 2)
    may_end = threading.Event()

    @tool(timeout=0.05)
    def stuck(what: int) -> str:
        may_end.wait(GUARD)
        return ""

    executor = Executor(ToolBox([stuck]))
    found = {}
    for what in range(3):
        async with executor.run(plan(Task(1, "stuck", {"what": what}))) as log:
            found[what] = ends([event async for event in log])[1]
    assert [reason for reason, _ in found.values()] == ["timeout", "timeout", "error"]
    assert found[2][1].startswith("2 threads of calls that took too long still run")
    may_end.set()


def test_a_thread_may_outlive_its_loop() -> None:
    free, inside = threading.Event(), threading.Event()

    @tool
    def stuck() -> str:
        inside.set()
        free.wait(GUARD)
        return "too late"

    async def leave() -> list[Event]:
        async with Executor(ToolBox([stuck])).run(plan(Task(1, "stuck"))) as log:
            await asyncio.to_thread(inside.wait, GUARD)
        return [event async for event in log]

    events = asyncio.run(leave())
    check(events)
    assert ends(events)[1][0] == "run_ended"
    [thread] = threads("stuck")
    free.set()
    thread.join(GUARD)


PROGRAM = """
import asyncio, threading
from executor.executor import Executor
from executor.plan import Task
from executor.tools import ToolBox, tool

@tool(timeout=0.01)
def stuck() -> None:
    threading.Event().wait()

async def tasks():
    yield Task(1, "stuck")

async def main():
    async with Executor(ToolBox([stuck])).run(tasks()) as log:
        return [event.type async for event in log]

print(asyncio.run(main())[-1])
"""


def test_a_thread_that_never_ends_does_not_hold_up_the_process() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=GUARD, check=True
    )
    assert ended.stdout == "task_failed\n"
    assert ended.stderr == ""


# Helpers


class Anything:
    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "ANY"


ANY: Any = Anything()


async def plan(*items: Task | float | Exception) -> AsyncGenerator[Task, None]:
    """A plan that is being written: tasks, seconds to wait, and an error that breaks it off."""
    for item in items:
        if isinstance(item, Task):
            yield item
        elif isinstance(item, Exception):
            raise item
        else:
            await asyncio.sleep(item)


async def collect(
    tools: list[Tool], tasks: AsyncIterator[Task], max_running: int = 16
) -> list[Event]:
    """All events of a run, which has left nothing behind."""
    async with Executor(ToolBox(tools), max_running=max_running).run(tasks) as log:
        events = [event async for event in log]
    check(events)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return events


def check(events: list[Event]) -> None:
    """What holds for the events of every run."""
    assert [event.seq for event in events] == list(range(len(events)))
    assert sorted(events, key=lambda event: event.at) == events
    sealed = Counter(event.task_id for event in events if isinstance(event, TaskSealed))
    started = Counter(event.task_id for event in events if isinstance(event, TaskStarted))
    ended = Counter(event.task_id for event in events if isinstance(event, ENDS))
    assert set(sealed.values()) <= {1}
    assert started <= sealed
    assert ended == sealed
    for event in events:
        json.dumps(to_wire(event), allow_nan=False)


ENDS = (TaskFinished, TaskFailed, TaskSkipped, TaskCancelled)


def ends(events: list[Event]) -> dict[int, tuple[str, str]]:
    """How each task ended: its result, or the reason and the message."""
    return {
        event.task_id: ("finished", event.result)
        if isinstance(event, TaskFinished)
        else (event.reason, event.message)
        for event in events
        if isinstance(event, ENDS)
    }


def threads(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if name in thread.name]
