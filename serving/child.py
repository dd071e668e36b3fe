"""Long work in a process of its own, which can be ended: a thread that waits for it can't be."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Sequence

from executor.errors import HeadstartError

Done = subprocess.CompletedProcess[str]
Run = Callable[[Sequence[str]], Done]


class Children:
    """The processes that a thread runs, one after the other. `end` may come from another one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: subprocess.Popen[str] | None = None
        self._are_ended = False

    def run(self, command: Sequence[str]) -> Done:
        """Waits for its end. Raises HeadstartError if none is wanted any more."""
        with self._lock:
            if self._are_ended:
                raise HeadstartError("nobody waits for this any more")
            pipe = subprocess.PIPE
            self._running = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)
        with self._running as process:
            try:
                stdout, stderr = process.communicate()
            except BaseException:  # such as a Ctrl-C
                process.kill()
                raise
        return Done(command, process.returncode, stdout, stderr)

    def end(self) -> None:
        """Kills the one that runs; none will follow."""
        with self._lock:
            self._are_ended = True
            if self._running is not None:
                self._running.kill()


def run(command: Sequence[str]) -> Done:
    """For who waits himself: what ends him ends it."""
    return Children().run(command)
