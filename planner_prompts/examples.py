"""Worked examples: a question, its plan, the results, the answer. Read from YAML, checked here."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated

import pydantic
import yaml

from executor.errors import PlanError, UsageError
from executor.parser import tasks_of
from executor.tools import ToolBox


class Example(pydantic.BaseModel):
    """`results` holds what each task gave, by its id, as text."""

    model_config = pydantic.ConfigDict(extra="forbid", coerce_numbers_to_str=True, frozen=True)

    question: Annotated[str, pydantic.Field(min_length=1)]
    plan: Annotated[str, pydantic.AfterValidator(str.strip)]
    results: dict[int, str]
    answer: Annotated[str, pydantic.Field(min_length=1)]


_Examples = pydantic.TypeAdapter(list[Example])


def load_examples(path: Path, toolbox: ToolBox) -> list[Example]:
    """The examples of a user's file. Raises UsageError if one could not be run with the toolbox."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"can't read the examples {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"can't read the examples {path}: not UTF-8 text") from None
    examples = _parse(text, str(path))
    for number, example in enumerate(examples, 1):
        _check(example, toolbox, f"{path}, example {number}")
    return examples


def bundled_examples(toolbox: ToolBox) -> list[Example]:
    """The examples that come with the bundled tools, as far as the toolbox holds those."""
    return [example for example in _all_bundled() if _runs_with(example, toolbox)]


@cache
def _all_bundled() -> list[Example]:
    text = resources.files(__package__).joinpath("examples.yaml").read_text(encoding="utf-8")
    return _parse(text, "examples.yaml")


def _parse(text: str, where: str) -> list[Example]:
    try:
        return _Examples.validate_python(yaml.safe_load(text) or [])
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UsageError(f"{where}{_place(first['loc'])}: {first['msg']}") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2024-13-01
        raise UsageError(f"{where} is not YAML: {' '.join(str(error).split())}") from None


def _place(path: tuple[int | str, ...]) -> str:
    if not path:
        return ""
    return "".join([f", example {int(path[0]) + 1}", *(f": {step}" for step in path[1:])])


def _check(example: Example, toolbox: ToolBox, where: str) -> None:
    try:
        tasks = {task.id for task in tasks_of(example.plan, toolbox)}
    except PlanError as error:
        raise UsageError(f"{where}: its plan: {error}") from None
    if tasks != example.results.keys():
        raise UsageError(f"{where}: it needs one result for each of the tasks {sorted(tasks)}")


def _runs_with(example: Example, toolbox: ToolBox) -> bool:
    try:
        _check(example, toolbox, "")
    except UsageError:
        return False
    return True
