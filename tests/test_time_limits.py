"""One timer for all calls of one length: each is told at its own time, or never if it ended."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from virtual_clock import virtual

from executor.time_limits import TimeLimits


@dataclass(eq=False)
class Timed:
    expired_at: list[float] = field(default_factory=list)

    def expire(self) -> None:
        self.expired_at.append(asyncio.get_running_loop().time())


@virtual
async def test_each_is_told_at_its_own_time_unless_it_has_ended() -> None:
    limits = TimeLimits()
    #         length, begins, ends, is told
    rows = [
        (2.0, 0.0, 9.0, [2.0]),
        (2.0, 0.5, 1.0, []),  # in time
        (2.0, 1.0, 9.0, [3.0]),  # while the timer runs for an earlier one
        (1.0, 0.25, 9.0, [1.25]),  # a length of its own
        (2.0, 6.0, 9.0, [8.0]),  # after the timer has found nothing more to do
        (1.0, 6.0, 6.5, []),
    ]

    async def play(length: float, begins: float, ends: float) -> list[float]:
        call = Timed()
        await asyncio.sleep(begins)
        limits.add(call, length)
        await asyncio.sleep(ends - begins)
        limits.drop(call, length)
        await asyncio.sleep(9.0)
        return call.expired_at

    told = await asyncio.gather(*(play(*row[:3]) for row in rows))
    assert told == [pytest.approx(row[3]) for row in rows]


@virtual
async def test_a_call_that_is_tried_again_has_its_whole_time_again() -> None:
    limits, call, other = TimeLimits(), Timed(), Timed()
    limits.add(call, 2.0)
    limits.add(other, 2.0)
    await asyncio.sleep(1.5)
    limits.drop(call, 2.0)
    limits.add(call, 2.0)
    await asyncio.sleep(9.0)
    assert (other.expired_at, call.expired_at) == ([2.0], [3.5])
