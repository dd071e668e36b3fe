"""Long work in a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from executor.errors import HeadstartError
from serving.child import Children, run

SLEEP = "import sys, time; open(sys.argv[1], 'w').close(); time.sleep(600)"


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def test_it_tells_what_the_process_wrote_and_how_it_ended() -> None:
    done = run(python("import sys; print('out'); sys.exit('err')"))
    assert (done.returncode, done.stdout, done.stderr) == (1, "out\n", "err\n")


async def test_who_waits_in_a_thread_is_freed_by_the_end(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    children = Children()
    waiting = asyncio.create_task(asyncio.to_thread(children.run, python(SLEEP, str(pipe))))
    await asyncio.to_thread(pipe.read_bytes)  # until the process runs
    children.end()
    assert (await waiting).returncode == -signal.SIGKILL
    with pytest.raises(HeadstartError, match="nobody waits"):
        children.run(python("pass"))
