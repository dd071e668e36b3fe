"""Drives a tool's coroutine: so it can be ended, and is found if it holds up the event loop."""

from __future__ import annotations

import contextlib
from collections.abc import Coroutine, Generator
from time import monotonic
from typing import Any

from executor.watch import Watch


class Steps:
    """Awaits a coroutine of the tool called `name`.

    The coroutine gets a cancellation as it always does, and may clean up, or not take notice. After
    `kill`, the next cancellation ends it, whatever it does.
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
            try:
                sent = yield waits_for
                step = self._coroutine.send
            except BaseException as error:
                if self._killed or isinstance(error, GeneratorExit):
                    with contextlib.suppress(RuntimeError):  # it wants to go on
                        self._coroutine.close()
                    raise
                step, sent = self._coroutine.throw, error
