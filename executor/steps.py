"""Drives a tool's coroutine: so it can be ended, and is found if it holds up the event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Generator
from time import monotonic
from typing import Any

from executor.watch import Watch


class Steps:
    """Awaits a coroutine of the tool called `name`.

    The coroutine gets a cancellation as it always does, and may clean up, or not take notice. After
    `kill`, the next cancellation ends it, whatever it does, and whatever it waits for.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any], name: str, watch: Watch) -> None:
        self._coroutine = coroutine
        self._name = name
        self._watch = watch
        self._killed = False

    def kill(self) -> None:
        self._killed = True

    def __await__(self) -> Generator[Any, Any, Any]:
        step, sent = self._coroutine.send, None
        while True:
            self._watch.step = self._name, monotonic()
            try:
                waits_for = step(sent)
            except StopIteration as end:
                return end.value
            finally:
                self._watch.step = None
                sent = None  # an error would hold, by its traceback, this frame, which holds it
            step = self._coroutine.send
            try:
                if waits_for is None:  # for nothing but its turn
                    yield
                else:
                    yield from self._until_done(waits_for)
                del waits_for  # which holds its error, too
            except BaseException as error:
                if self._killed or isinstance(error, GeneratorExit):
                    with contextlib.suppress(RuntimeError):  # it wants to go on
                        self._coroutine.close()
                    raise
                step, sent = self._coroutine.throw, error

    def _until_done(self, future: asyncio.Future[Any]) -> Generator[Any, Any, None]:
        """Waits for what the coroutine waits for, but not on it: a task that ignores its
        cancellation would hold up whoever waits on it."""
        future._asyncio_future_blocking = False  # as the loop does for what a task waits on
        while not future.done():
            turn = future.get_loop().create_future()
            wake = _waking(turn)
            future.add_done_callback(wake)
            try:
                yield from turn
            except asyncio.CancelledError as error:
                future.remove_done_callback(wake)
                # The coroutine gets it when the future has been cancelled, as it would without us.
                if self._killed or not future.cancel(*error.args):
                    raise


def _waking(turn: asyncio.Future[None]) -> Any:
    def wake(_: asyncio.Future[Any]) -> None:
        if not turn.done():
            turn.set_result(None)

    return wake
