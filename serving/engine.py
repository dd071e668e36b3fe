"""Our vLLM server as a running process: whether it lives, what it died of, its end.

The engine is a process group of its own; engine_room.py starts it and finds it again.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil

from executor.errors import EngineError
from planner_prompts.grammar import Backend
from planner_prompts.profile import FEW_SHOT, Profile, profile_named
from serving.engine_log import cause, stage
from serving.model import VllmModel

STOP_SECONDS = 15.0  # from the request to end until the engine is killed
POLL_SECONDS = 0.2
HEALTH_SECONDS = 2.0

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Engine:
    """A running engine, as the state file describes it. `started` is the process's start time."""

    pid: int
    started: float
    url: str
    key: str
    model: str
    weights: str
    log: str
    profile_name: str = FEW_SHOT.name  # what the weights said when they were loaded
    warm: tuple[str, ...] = ()  # digests of what it is warm for
    backend: Backend = "outlines"  # what it compiles grammars with
    proved: bool = False  # it obeys grammars

    @property
    def profile(self) -> Profile:
        return profile_named(self.profile_name, "the running engine's profile")

    def alive(self) -> bool:
        """Whether that very process runs, not another one that got its number."""
        try:
            process = psutil.Process(self.pid)
            return self._is(process) and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def processes(self) -> list[psutil.Process]:
        """What is left of its process group, also after its leader's death.

        A number may be somebody else's by now: only what runs our Python counts, and nothing
        does if another process has the leader's number.
        """
        with suppress(psutil.NoSuchProcess):
            if not self._is(psutil.Process(self.pid)):
                return []
        python = os.path.realpath(sys.executable)
        members = []
        for process in psutil.process_iter():
            with suppress(ProcessLookupError, psutil.NoSuchProcess, psutil.AccessDenied):
                if os.getpgid(process.pid) == self.pid and process.exe() == python:
                    members.append(process)
        return [each for each in members if each.status() != psutil.STATUS_ZOMBIE]

    def _is(self, process: psutil.Process) -> bool:
        return abs(process.create_time() - self.started) < 1

    async def healthy(self) -> bool:
        """Whether the server answers and its core lives."""
        return await self._health() == 200

    async def died(self) -> bool:
        """Whether it is gone, or its server says that its core is."""
        return not self.alive() or await self._health() == 503

    async def _health(self) -> int | None:
        """The status of its health page; None if it does not answer."""
        timeout = aiohttp.ClientTimeout(total=HEALTH_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(f"{self.url}/health") as response,
            ):
                return response.status
        except (aiohttp.ClientError, TimeoutError):
            return None

    async def post_mortem(self) -> str:
        """What to add to an error: what the engine died of, or where to look if it lives."""
        log = Path(self.log)
        return "; the engine died" + cause(log) if await self.died() else f"; its log is {log}"

    def connect(self, profile: Profile | None = None) -> AbstractAsyncContextManager[VllmModel]:
        """Its model, addressed as its weights say or as `profile` does."""
        return VllmModel.connect(
            self.url,
            self.key,
            post_mortem=self.post_mortem,
            profile=profile or self.profile,
        )


async def wait_until_healthy(engine: Engine, seconds: float, progress: Progress) -> None:
    """Returns when the engine answers. Raises EngineError if it dies, or takes longer."""
    log = Path(engine.log)
    loop = asyncio.get_running_loop()
    began = loop.time()
    while not await engine.healthy():
        waited = loop.time() - began
        if not engine.alive():
            raise EngineError("the engine died while it was loading" + cause(log))
        if waited > seconds:
            raise EngineError(f"the engine did not answer within {seconds:g} s" + cause(log))
        progress(f"{stage(log)} ({waited:.0f} s)")
        await asyncio.sleep(POLL_SECONDS)


def end(engine: Engine) -> None:
    """Ends the engine's process group: asks first, then kills what is left."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        members = engine.processes()
        for process in members:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        psutil.wait_procs(members, timeout=STOP_SECONDS)
