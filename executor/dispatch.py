"""Which ready tasks start now, over all runs of an executor. Pure: no I/O; it is told the time.

A task passes a gate, that of its tool and its exclusive key, if all limits allow it. Runs take
turns, one task each. Within a run the longest known path comes first, then the older task; tasks
with side effects come behind the others, in the plan's order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from math import inf
from weakref import WeakValueDictionary

from executor.tools import Tool

SOON = 1e-6  # seconds by which a clock may be early
Priority = tuple[bool, int, int]  # has side effects, minus the path's length, id


class _Use:
    """Of one tool: how many of its calls run, and when the last ones started."""

    __slots__ = ("running", "starts")

    def __init__(self) -> None:
        self.running = 0
        self.starts: deque[float] = deque()


class _Room:
    """Of one place: how many more calls it takes."""

    __slots__ = ("free",)

    def __init__(self, free: float) -> None:
        self.free = free


@dataclass(eq=False, slots=True, weakref_slot=True)
class Gate:
    """What calls of one tool, and with one key, have to pass."""

    tool: Tool
    key: str | None
    use: _Use
    room: _Room


class Lane:
    """The ready tasks of one run: how many wait, and how many run.

    `height` tells the longest known path from a task; `age` changes when that may have changed.
    """

    def __init__(
        self, max_running: float, height: Callable[[int], int], age: Callable[[], int]
    ) -> None:
        self._height = height
        self._age = age
        self._waiting: dict[Gate, list[Priority]] = {}  # heaps, if they are in order
        self._ordered_at = -1
        self.waits = 0
        self.max_running = max_running
        self.running = 0

    def add(self, gate: Gate, task_id: int) -> None:
        self.waits += 1
        heap = self._waiting.setdefault(gate, [])
        if self._ordered_at == self._age():
            heappush(heap, self._priority(gate, task_id))
        else:  # paths are measured when there is a choice
            heap.append((False, 0, task_id))

    def clear(self) -> None:
        self._waiting.clear()
        self.waits = 0

    def take(self, is_open: Callable[[Gate], bool]) -> tuple[Gate, int] | None:
        """The first of those whose gate is open."""
        if self.running >= self.max_running:
            return None
        open_gates = [gate for gate in self._waiting if is_open(gate)]
        if not open_gates:
            return None
        if self.waits > 1:
            self._order()
        gate = min(open_gates, key=lambda gate: self._waiting[gate][0])
        heap = self._waiting[gate]
        *_, task_id = heappop(heap)
        self.waits -= 1
        if not heap:
            del self._waiting[gate]
        return gate, task_id

    def gates(self) -> Iterator[Gate]:
        return iter(self._waiting)

    def _priority(self, gate: Gate, task_id: int) -> Priority:
        eager = gate.tool.policy.eager
        return (not eager, -self._height(task_id) if eager else 0, task_id)

    def _order(self) -> None:
        """New tasks have made paths longer."""
        if self._ordered_at == self._age():
            return
        self._ordered_at = self._age()
        for gate, heap in self._waiting.items():
            heap[:] = [self._priority(gate, task_id) for *_, task_id in heap]
            heapify(heap)


class Dispatcher:
    """All limits but those of a run, and the turns that runs take."""

    def __init__(self, *, threads: int, processes: int) -> None:
        self._rooms = {
            "loop": _Room(inf),
            "thread": _Room(threads),
            "process": _Room(processes),
        }
        self._gates: dict[Tool, Gate] = {}
        self._keyed: WeakValueDictionary[tuple[Tool, str], Gate] = WeakValueDictionary()
        self._held: set[str] = set()  # exclusive keys
        self._turns: deque[Lane] = deque()

    @property
    def has_waiting(self) -> bool:
        """Whether any task waits for its turn."""
        return bool(self._turns)

    @property
    def is_idle(self) -> bool:
        """Whether no task waits, and nothing is held; for tests."""
        is_free = all(not gate.use.running for gate in self._gates.values())
        return is_free and not self._held and not self._turns

    def gate(self, tool: Tool, key: str | None) -> Gate:
        gate = self._gates.get(tool)
        if gate is None:
            gate = self._gates[tool] = Gate(tool, None, _Use(), self._rooms[tool.runs_in])
        if key is None:
            return gate
        return self._keyed.setdefault((tool, key), Gate(tool, key, gate.use, gate.room))

    def enter(self, lane: Lane, gate: Gate, now: float) -> bool:
        """Whether a ready task starts at once: where others wait, it has to take its turn."""
        if (
            self._turns
            or lane.running >= lane.max_running
            or self._opens_at(gate, now) > now + SOON
        ):
            return False
        self._hold(lane, gate, now)
        return True

    def wait(self, lane: Lane, gate: Gate, task_id: int) -> None:
        """A task is ready."""
        if not lane.waits:
            self._turns.append(lane)
        lane.add(gate, task_id)

    def leave(self, lane: Lane) -> None:
        """A run ends: its ready tasks will never start."""
        if lane.waits:
            lane.clear()
            self._turns.remove(lane)

    def take(self, now: float) -> list[tuple[Lane, Gate, int]]:
        """The tasks that start now; each holds its place until `release`."""
        taken = []
        while (found := self._next(now)) is not None:
            lane, gate, _ = found
            self._hold(lane, gate, now)
            self._turns.remove(lane)
            if lane.waits:
                self._turns.append(lane)
            taken.append(found)
        return taken

    def _next(self, now: float) -> tuple[Lane, Gate, int] | None:
        for lane in self._turns:
            if (
                found := lane.take(lambda gate: self._opens_at(gate, now) <= now + SOON)
            ) is not None:
                return lane, *found
        return None

    def next_time(self, now: float) -> float | None:
        """When a rate will let a task start that waits for nothing else; None if there is none."""
        times = [
            self._opens_at(gate, now)
            for lane in self._turns
            if lane.running < lane.max_running
            for gate in lane.gates()
        ]
        return min((time for time in times if time < inf), default=None)

    def release(self, lane: Lane, gate: Gate) -> None:
        """A call has ended."""
        lane.running -= 1
        gate.use.running -= 1
        gate.room.free += 1
        if gate.key is not None:
            self._held.remove(gate.key)

    def _hold(self, lane: Lane, gate: Gate, now: float) -> None:
        lane.running += 1
        gate.use.running += 1
        gate.room.free -= 1
        if gate.key is not None:
            self._held.add(gate.key)
        if (rate := gate.tool.policy.rate) is not None:
            gate.use.starts.append(now)
            if len(gate.use.starts) > max(1, int(rate)):
                gate.use.starts.popleft()

    def _opens_at(self, gate: Gate, now: float) -> float:
        """Now, or when the rate allows it; never, as long as anything else doesn't."""
        use, policy = gate.use, gate.tool.policy
        if (
            not gate.room.free
            or (policy.max_running is not None and use.running >= policy.max_running)
            or gate.key in self._held
        ):
            return inf
        if policy.rate is None:
            return now
        many = max(1, int(policy.rate))  # so many in the time that they take at this rate
        return use.starts[0] + many / policy.rate if len(use.starts) == many else now
