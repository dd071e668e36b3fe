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
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import aiohttp
import psutil

from executor.errors import EngineError, UsageError
from serving import models
from serving.engine_log import cause, stage
from serving.model import VllmModel
from serving.settings import Settings
from serving.vllm_command import HOST, command, environment, has_gpu

STOP_SECONDS = 15.0  # from the request to end until the engine is killed
POLL_SECONDS = 0.2

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Engine:
    """A running engine, as the state file describes it. `started` is the process's start time."""

    pid: int
    started: float
    url: str
    key: str
    model: str
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
        """What is left of its process group, also after its leader's death."""
        if psutil.pid_exists(self.pid) and not self._is(psutil.Process(self.pid)):
            return []  # the number is another's now, which it can't be while the group lives
        members = []
        for process in psutil.process_iter():
            with suppress(ProcessLookupError, psutil.NoSuchProcess):
                is_member = os.getpgid(process.pid) == self.pid
                if is_member and process.status() != psutil.STATUS_ZOMBIE:
                    members.append(process)
        return members

    def _is(self, process: psutil.Process) -> bool:
        return abs(process.create_time() - self.started) < 1

    async def healthy(self) -> bool:
        """Whether the server answers and its core lives."""
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{self.url}/health") as response,
            ):
                return response.status == 200
        except aiohttp.ClientError:
            return False

    async def post_mortem(self) -> str:
        """What to add to an error: what the engine died of, or where to look if it lives."""
        log = Path(self.log)
        return f"; its log is {log}" if await self.healthy() else "; the engine died" + cause(log)

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

    def launch(
        self, weights: models.Weights, port: int, *, gpu: bool, extra: Sequence[str]
    ) -> Engine:
        """Starts the engine's process and returns at once; it answers later."""
        log = self._directory / "engine.log"
        key = secrets.token_urlsafe(24)
        arguments = command(weights, port, gpu=gpu, extra=extra)
        # Not subprocess.Popen, which expects that whoever starts a process also outlives it.
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
        engine = Engine(pid, started, f"http://{HOST}:{port}", key, weights.name, str(log))
        self.remember(engine)
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

    def stop(self) -> Engine | None:
        """Ends the engine and all its processes; returns what it was, None if there was none."""
        with self.lock():
            engine = self.find()
            if engine is not None:
                end(engine)
                self.forget(engine)
            return engine


def find_or_launch(
    settings: Settings, progress: Progress, port: int = 0, extra: Sequence[str] = ()
) -> tuple[Engine, bool]:
    """The running engine, or a new one that is still loading; and whether it is new.

    `port` 0 takes a free one; `extra` are further vLLM flags for a new engine.
    """
    gpu = has_gpu()
    name = settings.model or models.default_model(gpu=gpu)
    room = EngineRoom(settings.cache_dir)
    progress(f"preparing the model {name}")
    weights = models.resolve(name, settings.cache_dir)
    with room.lock():
        engine = room.find()
        if engine is None:
            check_port(port)
            return room.launch(weights, port or free_port(), gpu=gpu, extra=extra), True
    if engine.model != weights.name:
        raise UsageError(
            f"an engine with the model {engine.model} is running and {weights.name} is asked for; "
            "end it with ./scripts/stop.sh"
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
        if not members:
            return
        os.killpg(engine.pid, number)
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
