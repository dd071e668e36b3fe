"""Where a tool's call runs: async functions on the event loop, plain ones in a thread each.

A thread can't be killed. One that outlives its time limit is left behind as a daemon: its result
is dropped, and it doesn't keep the process from ending. (That is why this is no
`ThreadPoolExecutor`, whose threads the interpreter waits for.)
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Callable
from typing import Any

from executor.tools import Tool


async def call(tool: Tool, args: dict[str, Any]) -> Any:
    """The tool's result for these arguments, which have been validated; raises what it raises."""
    if inspect.iscoroutinefunction(tool.function):
        return await tool.function(**args)
    result = await _in_thread(tool, args)
    return await result if inspect.isawaitable(result) else result


async def _in_thread(tool: Tool, args: dict[str, Any]) -> Any:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def hand_over(set_it: Callable[[Any], None], outcome: Any) -> None:
        if not future.done():  # nobody waits for a call that was given up
            set_it(outcome)

    def run() -> None:
        try:
            result = context.run(tool.function, **args)
        except BaseException as error:  # noqa: BLE001  crosses to the loop, where the caller decides
            report = (future.set_exception, _passable(error))
        else:
            report = (future.set_result, result)
        if not loop.is_closed():
            loop.call_soon_threadsafe(hand_over, *report)

    threading.Thread(target=run, daemon=True, name=f"tool {tool.name}").start()
    return await future


def _passable(error: BaseException) -> BaseException:
    """A future refuses to carry StopIteration, which would end the generator that awaits it."""
    return RuntimeError("raised StopIteration") if isinstance(error, StopIteration) else error
