"""Drives a tool's coroutine: so it can be ended, and is found if it holds up the event loop."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Coroutine, Generator
from time import perf_counter
from typing import Any

BLOCKED_SECONDS = 0.5  # of one step; less, and a collection of garbage may be blamed on a tool


class Steps:
    """Awaits a coroutine. After `kill`, the next cancellation ends it, whatever it does.

    A coroutine gets a cancellation as it always does, and may clean up, or not take notice.
    `blocked` is told how long a step took that held up the event loop.
    """

    def __init__(
        self, coroutine: Coroutine[Any, Any, Any], blocked: Callable[[float], None]
    ) -> None:
        self._coroutine = coroutine
        self._blocked = blocked
        self._killed = False

    def kill(self) -> None:
        self._killed = True

    def __await__(self) -> Generator[Any, Any, Any]:
        step, sent = self._coroutine.send, None
        while True:
            began = perf_counter()
            try:
                waits_for = step(sent)
            except StopIteration as end:
                return end.value
            finally:
                if (seconds := perf_counter() - began) > BLOCKED_SECONDS:
                    self._blocked(seconds)
            try:
                sent = yield waits_for
                step = self._coroutine.send
            except BaseException as error:
                if self._killed or isinstance(error, GeneratorExit):
                    with contextlib.suppress(RuntimeError):  # it wants to go on
                        self._coroutine.close()
                    raise
                step, sent = self._coroutine.throw, error
