"""Time limits of calls. Those of one length end in the order in which they began, so that one timer
does for all of them; a timer for each call takes three times as long.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Protocol

SOON = 1e-6  # seconds by which a clock may be early


class Limited(Protocol):
    def expire(self) -> None:
        """Its time is over."""


class TimeLimits:
    """Tells each call that its time is over, unless it is dropped before."""

    def __init__(self) -> None:
        self._rows: defaultdict[float, dict[Limited, float]] = defaultdict(dict)  # until when
        self._timed: set[float] = set()  # rows that have a timer, for their first

    def add(self, call: Limited, seconds: float) -> None:
        """It has so many seconds from now."""
        loop = asyncio.get_running_loop()
        until = self._rows[seconds][call] = loop.time() + seconds
        if seconds not in self._timed:
            self._timed.add(seconds)
            loop.call_at(until, self._ring, seconds)

    def drop(self, call: Limited, seconds: float) -> None:
        """It has ended, in time or not."""
        self._rows[seconds].pop(call, None)

    def _ring(self, seconds: float) -> None:
        loop, row = asyncio.get_running_loop(), self._rows[seconds]
        while row:
            call, until = next(iter(row.items()))
            if until > loop.time() + SOON:
                loop.call_at(until, self._ring, seconds)
                return
            del row[call]
            call.expire()
        self._timed.discard(seconds)
