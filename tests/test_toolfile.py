"""Tools from a user's file or module, and what a user is told of one that can't be used."""

import itertools
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from executor.errors import UsageError
from executor.events import TaskFailed, TaskFinished
from executor.executor import Executor
from executor.plan import Task
from executor.tools import ToolBox
from serving.toolfile import load_tools

GOOD = '''
from __future__ import annotations

from typing import Literal

from executor.tools import tool

Unit = Literal["m", "ft"]


def helper() -> int:
    return 2


@tool
async def second(unit: Unit) -> str:
    """Comes first in the file."""
    return unit


@tool
def first() -> int:
    return helper()
'''

UNTYPED = """
from executor.tools import tool

@tool
def untyped(x):
    return x
"""

BAD: dict[str, tuple[str, str]] = {
    "syntax error": ("x = 1\ny = (\n", "line 2: '(' was never closed"),
    "raises": ("x = 1\n\nx / 0\n", "line 3: ZeroDivisionError: division by zero"),
    "raises in a function": (
        "def broken():\n    raise ValueError('no key')\n\nbroken()\n",
        "line 2: ValueError: no key",
    ),
    "raises in a library": (
        "import json\n\njson.loads('{')\n",
        "line 3: JSONDecodeError: Expecting property name",
    ),
    "raises in many lines": (
        "raise ValueError('one\\n  two\\n')\n",
        "line 1: ValueError: one two",
    ),
    "raises in silence": ("raise OSError\n", "line 1: OSError"),
    "unknown import": ("import no_such_thing\n", "line 1: ModuleNotFoundError: No module named"),
    "no good tool": (UNTYPED, "untyped(x): has no type; write one, such as x: str"),
    "no tool": ("def search(): ...\n", "holds no tool; put @tool above a function"),
    "empty": ("", "holds no tool; put @tool above a function"),
}


NUMBERS = itertools.count()


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("source", ["good.py", "./good.py", "{here}/good.py", "good_module"])
def test_a_file_or_a_module_gives_its_tools_in_their_order(source: str) -> None:
    Path("good.py").write_text(GOOD)
    Path("good_module.py").write_text(GOOD)
    tools = load_tools(source.format(here=Path.cwd()))
    assert [tool.name for tool in tools] == ["second", "first"]
    assert tools[0].properties["unit"]["enum"] == ["m", "ft"]
    assert tools[1]() == 2


def test_a_module_in_a_package_and_an_installed_one_give_their_tools() -> None:
    package = Path("some_package")
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "good.py").write_text(GOOD)
    assert len(load_tools("some_package.good")) == 2
    assert [tool.name for tool in load_tools("executor.builtin")] == ["search", "calculate"]


@pytest.mark.parametrize(("code", "message"), BAD.values(), ids=BAD)
def test_a_file_that_cannot_be_used_is_refused_in_one_line_with_its_place(
    code: str, message: str
) -> None:
    Path("bad.py").write_text(code)
    refused("bad.py", message)


@pytest.mark.parametrize(("code", "message"), BAD.values(), ids=BAD)
def test_a_module_that_cannot_be_used_is_refused_in_one_line_with_its_place(
    code: str, message: str
) -> None:
    name = f"bad_module_{next(NUMBERS)}"  # of its own, since Python remembers modules
    Path(f"{name}.py").write_text(code)
    refused(name, message)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("none.py", "there is no tools file none.py"),
        ("no/such/file.py", "there is no tools file no/such/file.py"),
        (".py", "there is no tools file .py"),
        ("directory.py", "there is no tools file directory.py"),
        ("./text.txt", "text.txt is no Python file; its name must end in .py"),
        ("binary.py", "binary.py: "),  # SyntaxError or ValueError, by the version of Python
        ("no_such_module", "no_such_module: ModuleNotFoundError: No module named"),
        ("executor.nothing", "executor.nothing: ModuleNotFoundError: No module named"),
        ("", ": ValueError: Empty module name"),
        ("..tools", "..tools: TypeError: "),
        ("json", "json holds no tool; put @tool above a function"),
    ],
)
def test_a_source_that_is_none_is_refused_in_one_line(source: str, message: str) -> None:
    Path("directory.py").mkdir()
    Path("text.txt").write_text(GOOD)
    Path("binary.py").write_bytes(b"\xff\x00")
    refused(source, message)


def refused(source: str, message: str) -> None:
    path = list(sys.path)
    with pytest.raises(UsageError) as refusal:
        load_tools(source)
    text = str(refusal.value)
    assert message in text
    assert text.startswith((source, message))
    assert "\n" not in text
    assert sys.path == path


def test_a_syntax_error_in_an_imported_module_names_both_places() -> None:
    Path("broken_helper.py").write_text("x = 1\ny = (\n")
    Path("importing_module.py").write_text("import sys\nimport broken_helper\n")
    refused(
        "importing_module",
        "line 2: SyntaxError: '(' was never closed (broken_helper.py, line 2)",
    )


def test_a_file_can_be_loaded_again_after_it_was_repaired() -> None:
    Path("again.py").write_text("1 / 0\n")
    refused("again.py", "line 1: ZeroDivisionError")
    Path("again.py").write_text(GOOD)
    assert len(load_tools("again.py")) == 2


def test_a_module_can_be_loaded_again_after_it_was_repaired() -> None:
    Path("again_module.py").write_text("1 /\n")
    refused("again_module", "line 1: invalid syntax")
    Path("again_module.py").write_text(GOOD)
    assert len(load_tools("again_module")) == 2


def test_files_of_one_name_do_not_mix() -> None:
    for directory, name in (("a", "one"), ("b", "another")):
        Path(directory).mkdir()
        Path(directory, "tools.py").write_text(GOOD.replace("first", name))
    a, b, again = (load_tools(f"{directory}/tools.py") for directory in "aba")
    assert [tool.name for tool in a] == [tool.name for tool in again] == ["second", "one"]
    assert [tool.name for tool in b] == ["second", "another"]
    assert [tool() for tool in (a[1], b[1], again[1])] == [2, 2, 2]


def test_loading_leaves_the_search_path_as_it_was() -> None:
    Path("good.py").write_text(GOOD)
    Path("path_module.py").write_text(GOOD)
    path = list(sys.path)
    load_tools("good.py")
    load_tools("path_module")
    assert sys.path == path


PROCESS = """
from neighbour import FACTOR
from executor.tools import tool

@tool(runs_in="process")
def heavy(number: int) -> int:
    "Takes long."
    return number * FACTOR
"""


BROKEN = """
from executor.tools import tool
import os
if "pytest" not in __import__("sys").modules:
    raise OSError("not here")

@tool(runs_in="process")
def heavy() -> int:
    return 1
"""


async def test_a_file_that_fails_in_the_process_says_so_each_time(tmp_path: Path) -> None:
    (tmp_path / "broken_tools.py").write_text(BROKEN)
    executor = Executor(ToolBox(load_tools(str(tmp_path / "broken_tools.py"))), processes=1)

    async def plan() -> AsyncIterator[Task]:
        yield Task(1, "heavy")
        yield Task(2, "heavy")

    async with executor.run(plan()) as log:
        events = [event async for event in log]
    executor.close()
    messages = [event.message for event in events if isinstance(event, TaskFailed)]
    assert messages == ["OSError: not here"] * 2


async def test_a_files_tool_may_run_in_a_process(tmp_path: Path) -> None:
    (tmp_path / "heavy_tools.py").write_text(PROCESS)
    (tmp_path / "neighbour.py").write_text("FACTOR = 3")
    executor = Executor(ToolBox(load_tools(str(tmp_path / "heavy_tools.py"))))

    async def plan() -> AsyncIterator[Task]:
        yield Task(1, "heavy", {"number": 2})

    async with executor.run(plan()) as log:
        events = [event async for event in log]
    executor.close()
    assert [event.result for event in events if isinstance(event, TaskFinished)] == ["6"]
