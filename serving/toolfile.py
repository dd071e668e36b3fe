"""Tools from a user's file or module."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from executor.errors import HeadstartError, UsageError
from executor.tools import Tool


def load_tools(source: str) -> list[Tool]:
    """All tools at the top level of a `.py` file or of a module, in the order of the file.

    Raises UsageError, in one line, if it isn't there, can't be run, or holds no tool.
    """
    is_file = source.endswith(".py") or "/" in source
    module = _from_file(Path(source)) if is_file else _by_name(source)
    tools = list(dict.fromkeys(item for item in vars(module).values() if isinstance(item, Tool)))
    if not tools:
        raise UsageError(f"{source} holds no tool; put @tool above a function")
    return tools


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"there is no tools file {path}")
    spec = importlib.util.spec_from_file_location(f"tools_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is no Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where annotations are looked up
    try:
        with _on_path(str(path.parent)):  # its neighbours, as `python FILE` finds them
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise _unusable(str(path), path.name, error) from error
    return module


def _by_name(name: str) -> ModuleType:
    try:
        with _on_path(""):  # where the user stands, as `python -m` finds it
            return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise _unusable(name, f"{name.rpartition('.')[2]}.py", error) from error


@contextmanager
def _on_path(directory: str) -> Iterator[None]:
    sys.path.insert(0, directory)
    try:
        yield
    finally:
        sys.path.remove(directory)


def _unusable(source: str, file: str, error: BaseException) -> UsageError:
    """The fault with its place in the user's own code, not in ours or the import system's."""
    message = " ".join(str(error).split())
    if isinstance(error, HeadstartError):
        return UsageError(f"{source}: {message}")
    if isinstance(error, SyntaxError) and Path(error.filename or "").name == file:
        return UsageError(f"{source}: line {error.lineno}: {error.msg}")
    frames = traceback.extract_tb(error.__traceback__)
    own = [f"line {f.lineno}: " for f in frames if Path(f.filename).name == file]
    return UsageError(f"{source}: {(own or [''])[-1]}{type(error).__name__}: {message}")
