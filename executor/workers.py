"""Where a tool's call runs: on the event loop, in a thread, or in a process.

A thread can't be killed. One that outlives its time limit is left behind as a daemon: its result
is dropped, and it doesn't keep the process from ending. (That is why this is no
`ThreadPoolExecutor`, whose threads the interpreter waits for.) How many there are is counted, and
when they are too many, no others are begun.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Callable
from typing import Any

from executor.errors import ToolError
from executor.processes import Processes
from executor.steps import Steps
from executor.time_limits import TimeLimits
from executor.tools import Tool
from executor.watch import Watch

MOST_LEFT_BEHIND = 200


class Workers:
    """`left_behind` counts the threads that outlived their calls and still run."""

    def __init__(self) -> None:
        self._processes = Processes()
        self.watch = Watch()
        self.limits = TimeLimits()
        self.left_behind = 0

    def close(self) -> None:
        """Ends what is kept for later calls."""
        self._processes.close()

    def call(self, tool: Tool, args: dict[str, Any]) -> Steps:
        """`await` it for the result of these arguments, which have been validated.

        It raises what the tool raises, and CrashedError if its process ends.
        """

        match tool.runs_in:
            case "loop":
                return Steps(tool.function(**args), tool.name, self.watch)
            case "thread":
                return Steps(self._in_thread(tool, args), tool.name, self.watch)
            case "process":
                return Steps(self._processes.call(tool.function, args), tool.name, self.watch)

    async def _in_thread(self, tool: Tool, args: dict[str, Any]) -> Any:
        if self.left_behind >= MOST_LEFT_BEHIND:
            raise ToolError(
                f"{self.left_behind} threads of calls that took too long still run; tools that "
                'hang should be declared with runs_in="process"'
            )
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        context = contextvars.copy_context()

        def hand_over(
            future: asyncio.Future[Any], set_it: Callable[[Any], None], outcome: Any
        ) -> None:
            if future.done():  # nobody waits for a call that was given up
                self.left_behind -= 1
            else:
                set_it(outcome)

        def run(future: asyncio.Future[Any]) -> None:
            try:
                result = context.run(tool.function, **args)
            except BaseException as error:  # noqa: BLE001  crosses to the loop, where the caller decides
                report = (future.set_exception, _passable(error))
            else:
                report = (future.set_result, result)
            if not loop.is_closed():
                loop.call_soon_threadsafe(hand_over, future, *report)
            # An error holds, by its traceback, the frames that it has passed. If they held it, only
            # the garbage collector would free what the tool had in hand.
            del future, report

        name = f"tool {tool.name}"
        threading.Thread(target=run, args=[future], daemon=True, name=name).start()
        try:
            result = await future
        except asyncio.CancelledError:
            self.left_behind += future.cancelled()
            raise
        finally:
            del future
        return await result if inspect.isawaitable(result) else result


def _passable(error: BaseException) -> BaseException:
    """A future refuses to carry StopIteration, which would end the generator that awaits it."""
    return RuntimeError("raised StopIteration") if isinstance(error, StopIteration) else error
