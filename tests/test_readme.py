"""The README keeps its promises: its code blocks run."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
from gateways import with_engine

from executor.builtin import TOOLBOX
from executor.tools import ToolBox
from planner_prompts.examples import load_examples
from serving.engine import Engine
from serving.settings import Settings
from serving.toolfile import load_tools

README = (Path(__file__).parent.parent / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.S)
YAML = re.findall(r"```yaml\n(.*?)```", README, re.S)
OPENAI, CLIENT, TOOLS, RUN, EXECUTOR = PYTHON


def test_the_two_commands_stand_at_the_top() -> None:
    top = README.splitlines()[:15]
    assert any(line.startswith("./scripts/ask.sh") for line in top)
    assert "./scripts/test.sh" in top


def test_the_tools_file_and_its_examples_fit_each_other(tmp_path: Path) -> None:
    (tmp_path / "my_tools.py").write_text(TOOLS)
    (tmp_path / "examples.yaml").write_text(YAML[0])
    tools = load_tools(str(tmp_path / "my_tools.py"))
    assert [tool.name for tool in tools] == ["stock"]
    assert len(load_examples(tmp_path / "examples.yaml", ToolBox([*TOOLBOX, *tools]))) == 1


def test_the_executor_runs_without_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "block.py").write_text(EXECUTOR)
    runpy.run_path(str(tmp_path / "block.py"))
    types = [line.split()[1] for line in capsys.readouterr().out.splitlines()]
    assert types.count("task_finished") == 2


@pytest.mark.engine
def test_a_run_from_python(
    engine: Engine,
    settings: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(settings.cache_dir))
    monkeypatch.setenv("HEADSTART_MODEL", "embedded")
    (tmp_path / "block.py").write_text(RUN)
    runpy.run_path(str(tmp_path / "block.py"))
    assert capsys.readouterr().out.splitlines()[-1].endswith(" run_finished")


@pytest.mark.engine
def test_the_ways_to_call_the_service(
    engine: Engine, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with with_engine(tmp_path, engine, settings) as url:
        for block in (OPENAI, CLIENT):
            (tmp_path / "block.py").write_text(block.replace("http://127.0.0.1:8080", url))
            runpy.run_path(str(tmp_path / "block.py"))
    height, *events, answer = capsys.readouterr().out.splitlines()
    assert "28251" in height
    assert events[-1].endswith(" run_finished")
    assert "Everest" in answer
