"""Which ready task starts next: limits, turns, what comes first. No event loop; time is told."""

from __future__ import annotations

import pytest

from executor.dispatch import Dispatcher, Gate, Lane
from executor.tools import Tool, tool


@tool
async def free() -> str: ...


@tool(max_running=2)
async def two() -> str: ...


@tool(max_running=1)
async def one() -> str: ...


@tool(rate=2)
async def often() -> str: ...


@tool(rate=0.5)
async def seldom() -> str: ...


@tool
def thread() -> str: ...


@tool(eager=False)
async def late() -> str: ...


@tool
async def keyed() -> str: ...


class Stage:
    """Runs called by letters, and their tasks: `a1` is task 1 of run a."""

    def __init__(self, max_running: int = 16) -> None:
        self.dispatcher = Dispatcher(threads=3, processes=1)
        self.now = 0.0
        self.heights: dict[str, int] = {}
        self._lanes: dict[str, Lane] = {}
        self._names: dict[Lane, str] = {}
        self._running: dict[str, tuple[Lane, Gate]] = {}
        self._max_running = max_running
        self._age = 0

    def wait(self, each: Tool, *names: str, key: str | None = None) -> None:
        for name in names:
            gate = self.dispatcher.gate(each, key)
            self.dispatcher.wait(self._lane(name[0]), gate, int(name[1:]))

    def grow(self, **heights: int) -> None:
        self.heights.update(heights)
        self._age += 1

    def take(self) -> list[str]:
        names = []
        for lane, gate, task_id in self.dispatcher.take(self.now):
            names.append(f"{self._names[lane]}{task_id}")
            self._running[names[-1]] = lane, gate
        return names

    def enters(self, each: Tool, name: str) -> bool:
        gate = self.dispatcher.gate(each, None)
        return self.dispatcher.enter(self._lane(name[0]), gate, self.now)

    def release(self, *names: str) -> None:
        for name in names:
            self.dispatcher.release(*self._running.pop(name))

    def end(self, *names: str) -> list[str]:
        self.release(*names)
        return self.take()

    def leave(self, run: str) -> None:
        self.dispatcher.leave(self._lanes[run])

    def _lane(self, run: str) -> Lane:
        if run not in self._lanes:

            def height(task_id: int) -> int:
                return self.heights.get(f"{run}{task_id}", 1)

            lane = self._lanes[run] = Lane(self._max_running, height, lambda: self._age)
            self._names[lane] = run
        return self._lanes[run]


def test_without_a_limit_all_start_at_once() -> None:
    stage = Stage()
    stage.wait(free, "a1", "a2", "b1")
    assert stage.take() == ["a1", "b1", "a2"]
    assert stage.take() == []
    assert stage.dispatcher.next_time(0.0) is None


@pytest.mark.parametrize(("limited", "most"), [(two, 2), (one, 1), (thread, 3)])
def test_a_limit_holds_over_all_runs(limited: Tool, most: int) -> None:
    stage = Stage()
    stage.wait(limited, "a1", "b1", "a2", "b2")
    started = stage.take()
    assert started == ["a1", "b1", "a2", "b2"][:most]
    stage.wait(free, "c1")
    assert stage.take() == ["c1"]  # which it does not hold up
    assert stage.end(started[0]) == [["b1", "a2", "b2"][most - 1]]


def test_a_run_has_its_own_limit() -> None:
    stage = Stage(max_running=2)
    stage.wait(free, "a1", "a2", "a3", "b1")
    assert stage.take() == ["a1", "b1", "a2"]
    assert stage.end("b1") == []
    assert stage.end("a1") == ["a3"]


def test_runs_take_turns() -> None:
    stage = Stage()
    stage.wait(one, "a1", "a2", "a3", "a4")
    assert stage.take() == ["a1"]
    stage.wait(one, "b1", "b2", "c1")
    order = ["a1"]
    while following := stage.end(order[-1]):
        order += following
    assert order == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]


def test_a_task_that_is_just_ready_takes_its_turn_where_others_wait() -> None:
    stage = Stage()
    stage.wait(one, "a1")
    assert stage.take() == ["a1"]
    stage.wait(one, "b1")
    stage.release("a1")
    assert not stage.enters(one, "a2")
    stage.wait(one, "a2")
    assert stage.take() == ["b1"]
    assert stage.end("b1") == ["a2"]
    assert stage.enters(free, "a3")


def test_who_can_not_start_keeps_its_turn() -> None:
    stage = Stage()
    stage.wait(one, "a1")
    stage.wait(two, "b1", "b2")
    assert stage.take() == ["a1", "b1", "b2"]
    stage.wait(one, "a2", "a3")
    stage.wait(two, "b3", "b4")
    stage.wait(one, "c1")
    assert stage.end("b1") == ["b3"]
    assert stage.end("b2") == ["b4"]
    assert stage.end("a1") == ["a2"]
    assert stage.end("a2") == ["c1"]


def test_the_longest_path_comes_first_then_the_older_task_then_side_effects() -> None:
    stage = Stage(max_running=1)
    stage.grow(a3=2, a5=3, a6=9)
    stage.wait(free, "a1", "a2", "a3", "a4", "a5")
    stage.wait(late, "a6")
    stage.wait(late, "a7")
    order = stage.take()
    while following := stage.end(order[-1]):
        order += following
    assert order == ["a5", "a3", "a1", "a2", "a4", "a6", "a7"]


def test_what_is_sealed_later_may_put_an_older_task_first() -> None:
    stage = Stage(max_running=1)
    stage.wait(free, "a1", "a2", "a3")
    assert stage.take() == ["a1"]
    stage.grow(a3=2)
    assert stage.end("a1") == ["a3"]


def test_calls_with_the_same_key_never_overlap_whatever_the_tool() -> None:
    stage = Stage()
    stage.wait(keyed, "a1", "b1", key="x")
    stage.wait(keyed, "a2", key="y")
    stage.wait(free, "b2", key="x")
    assert stage.take() == ["a1", "a2"]
    assert stage.end("a2") == []
    assert stage.end("a1") == ["b1"]
    assert stage.end("b1") == ["b2"]


def test_a_rate_is_of_starts_in_any_second() -> None:
    stage = Stage()
    stage.wait(often, "a1", "a2", "a3", "a4", "a5")
    assert stage.take() == ["a1", "a2"]
    assert stage.end("a1", "a2") == []
    assert stage.dispatcher.next_time(0.0) == 1.0
    stage.now = 0.9
    assert stage.take() == []
    stage.now = 1.0
    assert stage.take() == ["a3", "a4"]
    stage.now = 2.5
    assert stage.take() == ["a5"]
    assert stage.dispatcher.next_time(2.5) is None


def test_a_rate_below_one_is_of_starts_in_more_than_a_second() -> None:
    stage = Stage()
    stage.wait(seldom, "a1", "b1")
    assert stage.take() == ["a1"]
    assert stage.dispatcher.next_time(0.0) == 2.0
    stage.now = 2.0
    assert stage.take() == ["b1"]


def test_what_waits_for_more_than_its_rate_has_no_time() -> None:
    stage = Stage(max_running=1)
    stage.wait(often, "a1", "a2")
    assert stage.take() == ["a1"]
    assert stage.dispatcher.next_time(0.0) is None


def test_a_run_that_leaves_starts_nothing_more_and_others_go_on() -> None:
    stage = Stage()
    stage.wait(one, "a1", "a2", "b1")
    assert stage.take() == ["a1"]
    stage.leave("a")
    assert stage.take() == []
    assert stage.end("a1") == ["b1"]
