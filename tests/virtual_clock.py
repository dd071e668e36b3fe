"""An event loop whose clock jumps to the next timer instead of waiting for it.

Time stands still while anything can be done, so a test states times exactly and takes none. When
nothing can happen any more, that is an error at once and not a test that hangs. Threads live on
the real clock: what runs in one is tested on an ordinary loop.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")


class _JumpingSelector(selectors.DefaultSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "all wait, and nothing will ever wake them"
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Starts at 0 seconds. `complaints` holds what an ordinary loop would only log."""

    def __init__(self) -> None:
        self._selector_with_clock = _JumpingSelector()
        self.complaints: list[str] = []
        super().__init__(self._selector_with_clock)
        self.set_exception_handler(lambda _, context: self.complaints.append(context["message"]))

    def time(self) -> float:
        return self._selector_with_clock.now

    def unfinished(self) -> list[str]:
        """Async generators that nobody has closed, and that only the garbage collector would."""
        return [each.__qualname__ for each in self._asyncgens if each.ag_frame is not None]


def run_virtual(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine on the virtual clock; nothing that it started may be left behind."""

    async def alone() -> T:
        result = await coroutine
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"still at work: {left}"
        assert not loop.unfinished()
        assert not loop.complaints
        return result

    loop = VirtualLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(alone())


def virtual(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Decorates an async test: it runs on the virtual clock."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        run_virtual(test(*args, **kwargs))

    return run
