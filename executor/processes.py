"""Calls in processes of their own, which can be killed: for work that keeps a CPU busy."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from executor.process_worker import LENGTH

HOME = str(Path(__file__).parents[1])
PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from executor.process_worker import main; main(int(sys.argv[2]))"
)
REAP_SECONDS = 0.2  # in which a process that was killed or has crashed is gone; or it hangs
LOOK_SECONDS = 0.005


class CrashedError(Exception):
    """The process ended in the middle of the call."""


class RemoteError(Exception):
    """An error of the call that could not be passed on as it was; says what it was."""


class Processes:
    """Worker processes, kept for the next call. At most as many as calls run at once."""

    def __init__(self) -> None:
        self._idle: list[_Worker] = []
        self._killed: list[subprocess.Popen[bytes]] = []  # to be reaped
        self._is_closed = False

    async def call(self, function: Callable[..., Any], args: dict[str, Any]) -> Any:
        """The function's result; raises what it raises, or CrashedError.

        If this is cancelled, the process is killed, with all that it has started.
        """
        # The arguments may be of classes that are known once the function's module is there.
        request = pickle.dumps((sys.path, *_place(function), pickle.dumps(args)))
        self._killed = [process for process in self._killed if process.poll() is None]
        worker = self._idle_one() or _Worker()
        try:
            await worker.open()
            reply = await worker.ask(request)
        except BaseException:
            self._end(worker)
            raise
        if self._is_closed:
            self._end(worker)
        else:
            self._idle.append(worker)
        result, error, words = pickle.loads(reply)  # noqa: S301  from a process of ours
        if words:
            raise _error(error, words)
        return result

    def _idle_one(self) -> _Worker | None:
        while self._idle:
            worker = self._idle.pop()
            if worker.is_alive():
                return worker
            self._end(worker)  # and what it has started
        return None

    def close(self) -> None:
        """Ends the processes that are idle, and those at work when they have done it."""
        self._is_closed = True
        while self._idle:
            self._end(self._idle.pop())
        for process in self._killed:
            with contextlib.suppress(subprocess.TimeoutExpired):  # it hangs in the kernel
                process.wait(REAP_SECONDS)

    def _end(self, worker: _Worker) -> None:
        worker.kill()
        self._killed.append(worker.process)


class _Worker:
    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, HOME, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=2,  # our stdout is for answers
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._writer: asyncio.StreamWriter | None = None
        self._death: int | None = None  # can be read when the process ends

    async def open(self) -> None:
        """Before the first request; a second time changes nothing."""
        if self._writer is not None:
            return
        self._reader, self._writer = await asyncio.open_connection(sock=self._channel)
        if hasattr(
            os, "pidfd_open"
        ):  # a child that it leaves behind may hold its end of the channel
            self._death = os.pidfd_open(self.process.pid)
            asyncio.get_running_loop().add_reader(self._death, self._notice_death)

    def _notice_death(self) -> None:
        self._forget_death()
        self._reader.feed_eof()

    def _forget_death(self) -> None:
        if self._death is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                asyncio.get_running_loop().remove_reader(self._death)
            os.close(self._death)
            self._death = None

    async def ask(self, request: bytes) -> bytes:
        assert self._writer is not None
        try:
            self._writer.write(LENGTH.pack(len(request)) + request)
            await self._writer.drain()
            (length,) = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))
            return await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            raise CrashedError(f"its process ended: {await self._how()}") from None

    def is_alive(self) -> bool:
        return self.process.poll() is None

    async def _how(self) -> str:
        for _ in range(round(REAP_SECONDS / LOOK_SECONDS)):
            if not self.is_alive():
                break
            await asyncio.sleep(LOOK_SECONDS)
        code = self.process.returncode
        if code is None:
            return "it has closed its channel"
        if code >= 0:
            return f"exit status {code}"
        known = {each.value: each.name for each in signal.Signals}
        return f"killed by {known.get(-code, f'signal {-code}')}"

    def kill(self) -> None:
        """The process and all that it has started, now."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self._forget_death()
        if self._writer is None:
            self._channel.close()
        else:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._writer.close()


def _place(function: Callable[..., Any]) -> tuple[str, str, str]:
    """The function's module, its file, and its name there."""
    name = function.__module__
    file = getattr(sys.modules[name], "__file__", None) or ""
    return name, file, function.__qualname__


def _error(pickled: bytes | None, words: str) -> BaseException:
    """The error itself, or its words if it can't be had here."""
    if pickled is not None:
        with contextlib.suppress(Exception):
            error = pickle.loads(pickled)  # noqa: S301
            if isinstance(error, BaseException):
                return error
    return RemoteError(words)
