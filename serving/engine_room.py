"""Finds, starts and stops our engine.

It outlives who started it, so that the next question finds it warm. A state file says where it is;
whoever finds the file's process dead cleans it up.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import psutil

from executor.errors import UsageError
from planner_prompts.grammar import Backend
from serving.engine import Engine, end
from serving.models import Weights
from serving.settings import Settings
from serving.vllm_command import HOST, command, environment, has_gpu


class EngineRoom:
    """The directory in which one user's engine keeps its state file, its lock and its log."""

    def __init__(self, cache_dir: Path) -> None:
        self._cache_dir = cache_dir
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
        self, weights: Weights, port: int, *, backend: Backend, extra: Sequence[str]
    ) -> Engine:
        """Starts the engine's process and returns at once; it answers later."""
        log = self._directory / "engine.log"
        profile = weights.profile
        key = secrets.token_urlsafe(24)
        arguments = command(weights, port, gpu=has_gpu(), backend=backend, extra=extra)
        # Not subprocess.Popen, which expects that whoever starts a process also outlives it.
        with self._writing():  # the log
            pid = os.posix_spawn(
                arguments[0],
                arguments,
                environment(key, self._cache_dir),
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
            profile_name=profile.name,
            backend=backend,
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
        """Writes down that the engine obeys grammars and is warm for this one."""
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
            port = port or free_port()
            return room.launch(weights, port, backend=settings.backend, extra=extra), True
    if engine.weights != str(weights.path):
        raise UsageError(
            f"an engine with the model {engine.model} ({engine.weights}) is running and "
            f"{weights.name} ({weights.path}) is asked for; end it with ./scripts/stop.sh"
        )
    if engine.backend != settings.backend:
        raise UsageError(
            f"the running engine compiles grammars with {engine.backend}, and {settings.backend} "
            "is asked for (HEADSTART_BACKEND); end it with ./scripts/stop.sh"
        )
    return engine, False


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
