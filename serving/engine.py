"""Starts, finds, watches and stops our vLLM server.

The engine is a process group of its own that outlives who started it, so that the next question
finds it warm. A state file says where it is; whoever finds the file's process dead cleans it up.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import aiohttp
import psutil

from executor.errors import EngineError, UsageError
from serving.engine_log import cause, stage
from serving.model import VllmModel
from serving.models import Weights
from serving.settings import Settings
from serving.vllm_command import HOST, command, environment, has_gpu

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
    warm: tuple[str, ...] = ()  # digests of the grammars that it has compiled
    proved: bool = False  # it obeys grammars

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

    def connect(self) -> AbstractAsyncContextManager[VllmModel]:
        return VllmModel.connect(self.url, self.key, post_mortem=self.post_mortem)


class EngineRoom:
    """The directory in which one user's engine keeps its state file, its lock and its log."""

    def __init__(self, cache_dir: Path) -> None:
        self._directory = cache_dir / "engine"
        self._state = self._directory / "state.json"
        with self._writing():
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    def find(self) -> Engine | None:
        """The engine that runs, if one does; forgets one that has died."""
        engine = self._read()
        if engine is not None and not engine.alive():
            end(engine)  # its leader is dead; a worker may not be
            self.forget(engine)
            return None
        return engine

    def _read(self) -> Engine | None:
        try:
            engine = Engine(**json.loads(self._state.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        return replace(engine, warm=tuple(engine.warm))

    def remember(self, engine: Engine) -> None:
        """Writes the state file, readable by its owner only, in one step."""
        partial = self._state.with_suffix(f".{os.getpid()}")
        with self._writing():
            with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump(asdict(engine), file)
            partial.replace(self._state)

    def forget(self, engine: Engine) -> None:
        """Removes the state file if it still speaks of this engine."""
        known = self._read()
        if known is not None and known.pid == engine.pid:
            self._state.unlink(missing_ok=True)

    def launch(self, weights: Weights, port: int, *, extra: Sequence[str]) -> Engine:
        """Starts the engine's process and returns at once; it answers later."""
        log = self._directory / "engine.log"
        key = secrets.token_urlsafe(24)
        arguments = command(weights, port, gpu=has_gpu(), extra=extra)
        # Not subprocess.Popen, which expects that whoever starts a process also outlives it.
        with self._writing():  # the log
            pid = os.posix_spawn(
                arguments[0],
                arguments,
                environment(key),
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
                setsid=True,
            )
        started = psutil.Process(pid).create_time()
        engine = Engine(
            pid=pid,
            started=started,
            url=f"http://{HOST}:{port}",
            key=key,
            model=weights.name,
            weights=str(weights.path),
            log=str(log),
        )
        try:
            self.remember(engine)
        except UsageError:  # one that nobody can find again must not run on
            end(engine)
            raise
        return engine

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Held while looking for the engine and starting it, so that two starts end with one."""
        with self._writing():
            file = (self._directory / "lock").open("w")
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UsageError(
                f"can't write to {self._directory}: {error.strerror}; make room there, or set "
                "HEADSTART_CACHE to another directory"
            ) from None

    def stop(self, engine: Engine | None = None) -> Engine | None:
        """Ends the engine, or the one that runs, with all its processes; returns what it ended."""
        with self.lock():
            engine = engine or self.find()
            if engine is not None:
                end(engine)
                self.forget(engine)
            return engine

    def note_ready(self, engine: Engine, grammar: str) -> Engine:
        """Writes down that the engine obeys grammars and has compiled this one."""
        with self.lock():
            known = self._read()
            warm = known.warm if known is not None and known.pid == engine.pid else engine.warm
            ready = replace(engine, proved=True, warm=tuple({*warm, grammar}))
            self.remember(ready)
            return ready


def find_or_launch(
    weights: Weights, settings: Settings, port: int = 0, extra: Sequence[str] = ()
) -> tuple[Engine, bool]:
    """The running engine, or a new one that is still loading; and whether it is new.

    `port` 0 takes a free one; `extra` are further vLLM flags for a new engine.
    """
    room = EngineRoom(settings.cache_dir)
    with room.lock():
        engine = room.find()
        if engine is None:
            check_port(port)
            return room.launch(weights, port or free_port(), extra=extra), True
    if engine.weights != str(weights.path):
        raise UsageError(
            f"an engine with the model {engine.model} ({engine.weights}) is running and "
            f"{weights.name} ({weights.path}) is asked for; end it with ./scripts/stop.sh"
        )
    return engine, False


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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def check_port(port: int) -> None:
    """Raises UsageError if somebody else listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UsageError(
                f"port {port} can't be used: {error.strerror}; choose another with --port, or "
                "leave it out for a free one"
            ) from None
