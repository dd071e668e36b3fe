"""The directory that a training writes to."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from executor.errors import UsageError
from planner_prompts import profile

DATA = "data.jsonl"
CHECKPOINT = "checkpoint"
MARK = profile.FILE  # says that the rest is whole: written last
ASIDE = ".writing-"  # what begins the name of what is not yet in place


@contextmanager
def held(out: Path, *, restart: bool) -> Iterator[None]:
    """Makes `out` ours while we train. Raises UsageError if it holds what we must not replace."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        directory = os.open(out, os.O_RDONLY)
    except OSError as error:
        raise UsageError(f"can't write to --out {out}: {error.strerror}") from None
    if not os.access(out, os.W_OK):
        os.close(directory)
        raise UsageError(f"can't write to --out {out}: its owner does not let you")
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(directory)
        raise UsageError(f"another training writes to {out}; give another --out") from None
    try:
        _check(out, restart=restart)
        for partial in out.glob(f"{ASIDE}*"):  # of a training that was killed
            shutil.rmtree(partial)
        if restart:
            (out / CHECKPOINT).unlink(missing_ok=True)
        yield
    finally:
        os.close(directory)


def _check(out: Path, *, restart: bool) -> None:
    if (out / CHECKPOINT).exists():
        return
    if (out / MARK).exists():
        if not restart:
            raise UsageError(f"{out} holds a tuned planner; --restart replaces it")
    elif (out / "config.json").exists():
        raise UsageError(f"{out} holds a model that is none of ours; give another --out")
