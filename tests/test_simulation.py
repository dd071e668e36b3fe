"""The real executor on the virtual clock: random tools, graphs, faults, limits, seals and cancels.

`--simulations 50000` plays more of them; `--simulation 123` plays the one that failed.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from test_executor import ENDS, check, refs
from virtual_clock import run_virtual

from executor.errors import PlanError
from executor.events import Event, TaskFinished, TaskSealed, TaskStarted
from executor.executor import Executor
from executor.plan import Task
from executor.policy import Options
from executor.tools import Tool, ToolBox, tool

CHUNKS = 20
RUN: ContextVar[int] = ContextVar("RUN")
SOON = 1e-5


class FlakyError(Exception):
    pass


@dataclass
class Span:
    """A try of a call, as the tool saw it."""

    tool: Tool
    run: int
    args: tuple[Any, ...]
    began: float
    ended: float = float("inf")
    is_done: bool = False


@dataclass
class World:
    """What a seed stands for: tools that note what happens to them, and runs."""

    seed: int
    spans: list[Span] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = Random(self.seed)
        self.is_free = self.rng.random() < 0.3  # no limits, no faults: then the times are exact
        self.tools = [self._tool(f"tool_{at}") for at in range(self.rng.randint(1, 4))]
        self.max_running = 10_000 if self.is_free else self.rng.choice([1, 2, 3, 16])

    def _tool(self, name: str) -> Tool:
        rng = self.rng
        options: Options = {"idempotent": rng.random() < 0.4, "timeout": 1_000.0}
        if not self.is_free:
            options["timeout"] = rng.choice([1.1, 3.1, 30.0])
            options["eager"] = rng.random() < 0.8
            options["on_input_error"] = rng.choice(["skip", "skip", "pass"])
            options["retries"] = rng.choice([0, 0, 2])
            options["retryable"] = (FlakyError,)
            if rng.random() < 0.3:
                options["max_running"] = rng.randint(1, 3)
            if rng.random() < 0.2:
                options["rate"] = rng.choice([0.5, 1, 3])
            if rng.random() < 0.3:
                options["exclusive"] = rng.choice(["key", lambda what, after: f"key {what % 2}"])
            if options["idempotent"]:
                options["cache_seconds"] = rng.choice([0, 2])
        acts = [self._act() for _ in range(6)]

        async def function(what: int, after: list[str]) -> str:
            loop = asyncio.get_running_loop()
            span = Span(made, RUN.get(), (what, *after), loop.time())
            self.spans.append(span)
            try:
                await self._perform(acts[what])
                span.is_done = True
            finally:
                span.ended = loop.time()
            return f"{what}"

        function.__name__ = name
        made = tool(**options)(function)
        return made

    def _act(self) -> tuple[float, str]:
        """How long a call takes, and what comes of it."""
        seconds = self.rng.choice([0.0, 0.25, 0.5, 1.0, 2.0])
        faults = ["raises", "flaky", "hangs", "clings"]
        is_well = self.is_free or self.rng.random() < 0.7
        return seconds, "well" if is_well else self.rng.choice(faults)

    async def _perform(self, act: tuple[float, str]) -> None:
        seconds, end = act
        await asyncio.sleep(seconds)
        match end:
            case "raises":
                raise KeyError("no")
            case "flaky" if self.rng.random() < 0.5:
                raise FlakyError
            case "hangs":
                await asyncio.sleep(1_000)
            case "clings":  # until it is killed
                for _ in range(5):
                    with suppress(asyncio.CancelledError):
                        await asyncio.sleep(1_000)

    async def plan(self) -> AsyncGenerator[Task]:
        rng = self.rng
        for id in range(1, rng.randint(1, 25)):
            await asyncio.sleep(rng.choice([0.0, 0.0, 0.1, 0.5]))
            needs = sorted(rng.sample(range(1, id), min(id - 1, rng.choice([0, 0, 1, 2]))))
            args = {"what": rng.randrange(6), "after": refs(*needs)}
            yield Task(id, rng.choice(self.tools).name, args)
        if not self.is_free and rng.random() < 0.1:
            raise PlanError("broken off", 1, 1)

    async def play(self) -> dict[int, list[Event]]:
        """The events of each run."""
        executor = Executor(ToolBox(self.tools), max_running=self.max_running)
        told: dict[int, list[Event]] = {}

        async def run(number: int) -> None:
            RUN.set(number)
            events = told[number] = []
            leaves_at = 1e9 if self.is_free or self.rng.random() < 0.7 else self.rng.random() * 5
            with suppress(PlanError, TimeoutError):
                async with aclosing(self.plan()) as plan, executor.run(plan) as log:
                    try:
                        async with asyncio.timeout(leaves_at):
                            async for event in log:
                                events.append(event)  # noqa: PERF401  it may be cut off
                    except TimeoutError:
                        began = log.now()
                        log.stop()
                        events += [event async for event in log]
                        assert log.now() - began <= 0.1, "it is over at once"

        async with asyncio.TaskGroup() as runs:
            for number in range(self.rng.randint(1, 3)):
                runs.create_task(run(number))
        assert self.at_rest(executor), "places are given back"
        return told

    @staticmethod
    def at_rest(executor: Executor) -> bool:
        return executor._dispatcher.is_idle and not executor._runs


def check_world(world: World) -> None:
    random.seed(world.seed)  # of the waits before a call is tried again
    told = run_virtual(world.play())
    for number, events in told.items():
        check(events)
        check_order(world, events)
        check_run_limit(world, events)
        check_shared(world, number)
    for each in world.tools:
        check_tool_limits(world, each)
    check_keys(world)


def check_order(world: World, events: list[Event]) -> None:
    """No task starts before its inputs; where nothing binds, none starts later."""
    ended = {event.task_id: event for event in events if isinstance(event, ENDS)}
    sealed = {event.task_id: event for event in events if isinstance(event, TaskSealed)}
    policies = {each.name: each.policy for each in world.tools}
    for event in events:
        if not isinstance(event, TaskStarted):
            continue
        told = sealed[event.task_id]
        for need in told.needs:
            assert ended[need].seq < event.seq
            if policies[told.tool].on_input_error == "skip":
                assert isinstance(ended[need], TaskFinished)
        assert event.ready <= event.at
        if world.is_free:
            ideal = max([told.at, *(ended[need].at for need in told.needs)])
            assert event.at == pytest.approx(ideal)


def check_run_limit(world: World, events: list[Event]) -> None:
    running: set[int] = set()
    for event in events:
        if isinstance(event, TaskStarted) and event.where == "loop":
            running.add(event.task_id)
            assert len(running) <= world.max_running
        elif isinstance(event, ENDS):
            running.discard(event.task_id)


def check_shared(world: World, number: int) -> None:
    """Of equal calls of an idempotent tool, one gives the result, and no two run at once."""
    equal: dict[Any, list[Span]] = defaultdict(list)
    for span in world.spans:
        if span.run == number and span.tool.policy.idempotent:
            equal[span.tool.name, span.args].append(span)
    for spans in equal.values():
        assert overlaps(spans) <= 1
        assert sum(span.is_done for span in spans) <= 1


def overlaps(spans: list[Span]) -> int:
    """The most at once."""
    edges = sorted(
        [(span.began + SOON, 1) for span in spans] + [(span.ended, -1) for span in spans]
    )
    count = most = 0
    for _, step in edges:
        count += step
        most = max(most, count)
    return most


def check_tool_limits(world: World, each: Tool) -> None:
    spans = [span for span in world.spans if span.tool is each]
    if (most := each.policy.max_running) is not None:
        assert overlaps(spans) <= most
    if (rate := each.policy.rate) is not None and not each.policy.retries:
        many = max(1, int(rate))
        starts = sorted(span.began for span in spans)
        for first, later in zip(starts, starts[many:], strict=False):
            assert later - first >= many / rate - SOON


def check_keys(world: World) -> None:
    keyed = defaultdict(list)
    for span in world.spans:
        key = span.tool.policy.exclusive
        if key is not None:
            keyed[key(what=span.args[0], after=[]) if callable(key) else key].append(span)
    for spans in keyed.values():
        assert overlaps(spans) <= 1


def seeds(config: pytest.Config) -> list[range]:
    one = config.getoption("--simulation")
    if one is not None:
        return [range(one, one + 1)]
    count = config.getoption("--simulations")
    return [range(count)[at::CHUNKS] for at in range(CHUNKS)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "chunk" in metafunc.fixturenames:
        metafunc.parametrize("chunk", seeds(metafunc.config), ids=lambda chunk: str(chunk[0]))


def test_every_run_keeps_the_rules(chunk: range) -> None:
    for seed in chunk:
        try:
            check_world(World(seed))
        except BaseException as error:
            error.add_note(f"again: pytest tests/test_simulation.py --simulation {seed}")
            raise
