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
from typing import Any

from executor.process_worker import LENGTH, MAIN

KILL_SECONDS = 0.2


class CrashedError(Exception):
    """The process ended in the middle of the call."""


class RemoteError(Exception):
    """An error of the call that could not be passed on as it was; says what it was."""


class Processes:
    """Worker processes, kept for the next call. At most as many as calls run at once."""

    def __init__(self) -> None:
        self._idle: list[_Worker] = []
        self._is_closed = False

    async def call(self, function: Callable[..., Any], args: dict[str, Any]) -> Any:
        """The function's result; raises what it raises, or CrashedError.

        If this is cancelled, the process is killed, with all that it has started.
        """
        # The arguments may be of classes that are known once the function's module is there.
        request = pickle.dumps((sys.path, *_place(function), pickle.dumps(args)))
        worker = self._idle_one() or await _Worker.start()
        try:
            reply = await worker.ask(request)
        except BaseException:
            worker.kill()
            raise
        if self._is_closed:
            worker.kill()
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
        return None

    def close(self) -> None:
        """Ends the processes that are idle, and those at work when they have done it."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().kill()


class _Worker:
    def __init__(
        self,
        process: subprocess.Popen[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer

    @classmethod
    async def start(cls) -> _Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(  # noqa: ASYNC220  which takes some milliseconds
                [sys.executable, "-m", "executor.process_worker", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=2,  # our stdout is for answers
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        try:
            return cls(process, *await asyncio.open_connection(sock=ours))
        except BaseException:
            _kill(process)
            raise

    async def ask(self, request: bytes) -> bytes:
        try:
            self._writer.write(LENGTH.pack(len(request)) + request)
            await self._writer.drain()
            (length,) = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))
            return await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            raise CrashedError(f"its process ended: {self._how()}") from None

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def _how(self) -> str:
        self.kill()
        code = self._process.returncode or 0
        if code >= 0:
            return f"exit status {code}"
        known = {each.value: each.name for each in signal.Signals}
        return f"killed by {known.get(-code, f'signal {-code}')}"

    def kill(self) -> None:
        """The process and all that it has started, now."""
        _kill(self._process)
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._writer.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):  # it hangs in the kernel
        process.wait(KILL_SECONDS)


def _place(function: Callable[..., Any]) -> tuple[str, str, str]:
    """The function's module, its file, and its name there."""
    name = function.__module__
    file = getattr(sys.modules[name], "__file__", None) or ""
    if name == "__main__":
        name = MAIN
        sys.modules.setdefault(MAIN, sys.modules["__main__"])  # of whose classes results may be
    return name, file, function.__qualname__


def _error(pickled: bytes | None, words: str) -> BaseException:
    """The error itself, or its words if it can't be had here."""
    if pickled is not None:
        with contextlib.suppress(Exception):
            error = pickle.loads(pickled)  # noqa: S301
            if isinstance(error, BaseException):
                return error
    return RemoteError(words)
