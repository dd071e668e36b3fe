"""What a log says of a loading engine, and of a dead one."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.engine_log import cause, stage

PREFIX = "(EngineCore pid=7) INFO 11-22 14:00:09 [core.py:68] "
LOADING = [
    ("", "starting Python and vLLM"),
    ("Resolved architecture: LlamaForCausalLM", "reading the model's configuration"),
    ("Initializing a V1 LLM engine (v0.32.0)", "starting the engine's core"),
    ("Starting to load model /models/x...", "loading the weights"),
    ("Loading weights took 1.84 seconds", "preparing the cache"),
    ("Starting vLLM server on http://127.0.0.1:8101", "opening the server"),
]


@pytest.mark.parametrize("count", range(1, len(LOADING) + 1))
def test_the_stage_is_the_last_that_the_log_has_reached(tmp_path: Path, count: int) -> None:
    log = tmp_path / "engine.log"
    log.write_text("".join(f"{PREFIX}{line}\n" for line, _ in LOADING[:count]))
    assert stage(log) == LOADING[count - 1][1]


DEATHS = {
    "an exception": (
        ["Traceback (most recent call last):", "ValueError: no such quantization"],
        ": ValueError: no such quantization",
    ),
    "the first of several": (
        [f"{PREFIX}Worker proc VllmWorker-0 died unexpectedly", "RuntimeError: cancelled"],
        ": Worker proc VllmWorker-0 died unexpectedly",
    ),
    "nothing said": ([f"{PREFIX}all is well"], ""),
}


@pytest.mark.parametrize(("lines", "headline"), DEATHS.values(), ids=DEATHS)
def test_the_cause_stands_first_and_the_tail_behind_it(
    tmp_path: Path, lines: list[str], headline: str
) -> None:
    log = tmp_path / "engine.log"
    log.write_text("\n".join([*lines, "nanobind: leaked 4 instances!", ' - leaked type "x"', ""]))
    first, second, *tail = cause(log).split("\n")
    assert first == headline
    assert second == f"last lines of {log}:"
    assert tail == [f"  | {line.removeprefix(PREFIX)}" for line in lines]


def test_a_log_that_is_gone_is_no_obstacle(tmp_path: Path) -> None:
    assert stage(tmp_path / "gone.log") == "starting Python and vLLM"
    assert "last lines of" in cause(tmp_path / "gone.log")
