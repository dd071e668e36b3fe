"""One call of a tool: tried, timed, tried again, and ended when it must be. Whatever the tool does
wrong is an outcome.
"""

from __future__ import annotations

import asyncio
import random
import traceback
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from executor.dispatch import Gate
from executor.errors import ArgumentError, ToolError
from executor.fetching import Outcome, State
from executor.policy import Policy
from executor.processes import CrashedError, RemoteError
from executor.steps import Steps
from executor.values import shorten, text_of
from executor.workers import Workers

GRACE_SECONDS = 0.05  # in which a call that is ended may clean up
FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0  # seconds before a call is tried again
MESSAGE = 500  # characters


@dataclass(slots=True, eq=False)
class Call:
    """A call that is `wanted_by` one task, or by several that are equal, each since a time.

    It runs in `task`, which whoever makes it sets.
    """

    gate: Gate
    args: dict[str, Any]
    wanted_by: list[tuple[int, float]] = field(default_factory=list)
    tries: int = 0
    outcome: Outcome | None = None
    task: asyncio.Task[None] | None = None
    _steps: Steps | None = None
    _retryable: bool = False  # what was wrong with the last try, if anything was
    _expired: bool = False
    _closing: bool = False
    _killing: asyncio.TimerHandle | None = None
    _cancels: int = 0  # of this try, by us

    def close(self) -> None:
        """Nobody wants it any more. In `GRACE_SECONDS` it is over, whatever it does."""
        self._closing = True
        self._end()

    def make(self, workers: Workers) -> Coroutine[Any, Any, Outcome]:
        """Tries until it has an outcome, or is closed: then CancelledError is raised."""
        return self._tries(workers) if self.gate.tool.policy.retries else self._try(workers)

    async def _tries(self, workers: Workers) -> Outcome:
        wait = FIRST_WAIT
        try:
            for _ in range(self.gate.tool.policy.retries):
                outcome = await self._try(workers)
                if not self._retryable:
                    return outcome
                spread = random.uniform(0, FIRST_WAIT)  # noqa: S311  it keeps no secret
                await asyncio.sleep(wait + spread)
                wait = min(2 * wait, LONGEST_WAIT)
        except asyncio.CancelledError as error:
            self._settle()
            if self._closing:
                raise
            return failed_by(error)  # between two tries, by what one of them has left
        return await self._try(workers)

    async def _try(self, workers: Workers) -> Outcome:
        self.tries += 1
        self._retryable, self._expired = False, False
        tool = self.gate.tool
        workers.limits.add(self, tool.policy.timeout)
        try:
            self._steps = workers.call(tool, tool.validate(self.args))
            value = await self._steps
            text_of(value).encode()  # what can't be told to anyone is no result
            outcome = Outcome(State.DONE, value=value)
        except KeyboardInterrupt as error:
            if tool.runs_in == "loop":  # it is not the tool's, but meant for us
                raise
            outcome = failed_by(error)
        except ArgumentError as error:
            outcome = _failed("bad_argument", str(error))
        except BaseException as error:  # noqa: BLE001  a tool's fault is an observation
            # The error itself is not kept: its traceback holds all that the tool had in hand.
            self._retryable = _is_retryable(tool.policy, error)
            outcome = failed_by(error)
        finally:
            workers.limits.drop(self, tool.policy.timeout)
            self._settle()
        if self._closing:
            raise asyncio.CancelledError
        if self._expired:  # too late, whatever it says
            self._retryable = _is_retryable(tool.policy, TimeoutError())
            return _failed("timeout", f"no answer within its {tool.policy.timeout:g} s")
        return outcome

    def expire(self) -> None:
        """The time of a try is over."""
        self._expired = True
        self._end()

    def _end(self) -> None:
        self._cancel()
        if self._killing is None:
            loop = asyncio.get_running_loop()
            self._killing = loop.call_later(GRACE_SECONDS, self._kill)

    def _kill(self) -> None:
        if self._steps is not None:
            self._steps.kill()
            self._cancel()

    def _cancel(self) -> None:
        assert self.task is not None
        self.task.cancel()
        self._cancels += 1

    def _settle(self) -> None:
        """A try is over, so that there is nothing to kill."""
        self._steps = None
        if self._killing is not None:
            self._killing.cancel()
            self._killing = None
        # Or the next try would think it is cancelled.
        while self._cancels and self.task is not None:
            self.task.uncancel()
            self._cancels -= 1


def _is_retryable(policy: Policy, error: BaseException) -> bool:
    return policy.idempotent or isinstance(error, policy.retryable)


def failed_by(error: BaseException) -> Outcome:
    """What a tool did wrong, in words."""
    match error:
        case asyncio.CancelledError():
            return _failed("error", "it was cancelled")
        case CrashedError():
            return _failed("crashed", str(error))
        case ToolError() | RemoteError():
            return _failed("error", str(error))
        case _:
            return _failed("error", "".join(traceback.format_exception_only(error)).strip())


def _failed(reason: str, message: str) -> Outcome:
    readable = message.encode(errors="replace").decode()
    return Outcome(State.FAILED, reason=reason, message=shorten(readable, MESSAGE))
