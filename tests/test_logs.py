"""The gateway's log."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gateways import ENDING, gateway

from executor.errors import EngineError
from executor.tools import ToolBox, tool
from serving.gateway import logs
from serving.gateway.logs import ForPrograms, OncePerHour
from serving.scripted import Reply, ScriptedModel

log = logging.getLogger("headstart.tests")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where the log goes; afterwards all is as it was."""
    root, ours = logging.getLogger(), logging.getLogger("headstart")
    handlers, level = root.handlers[:], ours.level
    yield io.StringIO()
    root.handlers[:], ours.level = handlers, level


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@tool
async def shout(text: str) -> str:
    log.warning("so loud")
    return text.upper()


@tool
def murmur(text: str) -> str:
    log.warning("so quiet")
    return text


TOOLS = ToolBox([shout, murmur])
SECRET = "What is the secret?"

RUNS: dict[str, tuple[list[Reply], dict[str, Any]]] = {
    "answered": (
        ["1. join()\n", "Replan: more", '1. shout("a")\n2. murmur("$1")\n3. join()\n', ENDING],
        {"status": "finished", "plans": 2, "tasks": 2},
    ),
    "failed": (
        [[EngineError(f"it can't read {SECRET}")]],
        {"status": "failed", "reason": "engine", "plans": 1, "tasks": 0},
    ),
    "without a usable end": (
        ["1. join()\n", SECRET],
        {"status": "failed", "reason": "no_ending", "plans": 1, "tasks": 0},
    ),
}


@pytest.mark.parametrize(("replies", "told"), RUNS.values(), ids=RUNS)
async def test_a_run_is_a_line_without_what_it_is_about(
    tmp_path: Path, stream: io.StringIO, replies: list[Reply], told: dict[str, Any]
) -> None:
    logs.set_up(stream)
    async with gateway(tmp_path, ScriptedModel(replies), TOOLS) as client:
        run = await (await client.post("/v1/runs", {"question": SECRET})).json()
    *_, line = lines(stream)
    assert line.items() >= {"level": "info", "logger": "headstart.runs", **told}.items()
    assert line["run_id"] == run["id"]
    assert line["seconds"] >= 0
    assert line["message"].startswith(f"run ended: status={told['status']}")
    assert SECRET not in stream.getvalue()


async def test_what_a_tool_logs_has_the_id_of_its_run(tmp_path: Path, stream: io.StringIO) -> None:
    logs.set_up(stream)
    replies = ['1. shout("a")\n2. murmur("$1")\n3. join()\n', ENDING]
    async with gateway(tmp_path, ScriptedModel([*replies, *replies]), TOOLS) as client:
        runs = [await (await client.post("/v1/runs", {"question": "?"})).json() for _ in range(2)]
    told = [(line["message"], line["run_id"]) for line in lines(stream) if "status" not in line]
    expected = [(text, run["id"]) for run in runs for text in ("so loud", "so quiet")]
    assert told == expected


def test_a_line_for_programs_is_one_json_object(stream: io.StringIO) -> None:
    logs.set_up(stream)
    try:
        raise ValueError("two\nlines é")
    except ValueError:
        log.exception("it went %s", "wrong\n")
    log.debug("nobody wants to know")
    [line] = lines(stream)
    assert stream.getvalue().isascii()
    assert line.pop("time").endswith("+00:00")
    exception = line.pop("exception")
    assert exception.startswith("Traceback")
    assert exception.endswith("ValueError: two\nlines é")
    assert line == {"level": "error", "logger": "headstart.tests", "message": "it went wrong\n"}


def test_on_a_terminal_it_is_for_people(stream: io.StringIO) -> None:
    stream.isatty = lambda: True  # type: ignore[method-assign]
    logs.set_up(stream)
    log.info("all is well")
    assert stream.getvalue()[8:] == " INFO headstart.tests: all is well\n"


def test_what_is_said_over_and_over_is_told_once_in_an_hour() -> None:
    once = OncePerHour("loud")

    def passes(seconds: float, name: str, message: str, *args: object) -> bool:
        record = logging.LogRecord(name, logging.INFO, "", 0, message, args, None)
        record.created = seconds
        return once.filter(record)

    assert [
        passes(0, "loud.a", "%s is full", 1),
        passes(1, "loud.a", "%s is full", 2),
        passes(1, "loud.a", "something else"),
        passes(1, "loudest", "%s is full", 3),
        passes(1, "loudest", "%s is full", 3),
        passes(3_600, "loud.b", "%s is full", 4),
        passes(3_601, "loud.b", "%s is full", 5),
    ] == [True, False, True, True, True, True, False]


def test_a_line_of_somebody_elses_logger_is_told_too(stream: io.StringIO) -> None:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(ForPrograms())
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "m", (), sys.exc_info())
    handler.emit(record)
    assert lines(stream)[0]["exception"].endswith("ZeroDivisionError: division by zero")
