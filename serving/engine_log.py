"""Reads the engine's log for people: what it is doing, and what it died of."""

from __future__ import annotations

import re
from pathlib import Path

TAIL_LINES = 12  # that are shown
LAST_WORDS = 500  # lines among which the cause is looked for
_FATAL = re.compile(r"^\w*(?:Error|Exception)\b.*: |died unexpectedly")

# What the engine's log says, in its order, and what that means to somebody who waits.
_STAGES = (
    ("", "starting Python and vLLM"),
    ("Resolved architecture", "reading the model's configuration"),
    ("Initializing a V1 LLM engine", "starting the engine's core"),
    ("Starting to load model", "loading the weights"),
    ("Loading weights took", "preparing the cache"),
    ("Warming up model for the compilation", "compiling"),
    ("Starting vLLM server", "opening the server"),
)
_NOISE = re.compile(
    r"nanobind: |See https://nanobind| - (?:leaked|\.\.\.) |/.*Warning: |  warnings.warn"
)  # of a process's end
_LOG_PREFIX = re.compile(r"^\([^)]*\) (?:\w+ [\d-]+ [\d:]+ \[[^\]]*\] )?")


def _lines(log: Path) -> list[str]:
    try:
        return log.read_text(errors="replace").splitlines()
    except OSError:
        return []


def stage(log: Path) -> str:
    """What a loading engine is doing."""
    text = "\n".join(_lines(log))
    return [meaning for mark, meaning in _STAGES if mark in text][-1]


def cause(log: Path) -> str:
    """The first error at the log's end, which the others follow from, and its last lines."""
    lines = [_LOG_PREFIX.sub("", line) for line in _lines(log)]
    lines = [line for line in lines if line.strip() and not _NOISE.match(line)]
    first = next(filter(_FATAL.search, lines[-LAST_WORDS:]), None)
    cause = f": {first[:300]}" if first else ""
    tail = "\n".join(f"  | {line[:200]}" for line in lines[-TAIL_LINES:])
    return f"{cause}\nlast lines of {log}:\n{tail}"
