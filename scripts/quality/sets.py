"""Sets of questions: made on the fly by name, or read from a file."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from executor.builtin import TOOLBOX
from executor.errors import UsageError
from executor.tools import ToolBox
from planner_prompts.examples import load_examples
from quality import calls, parallelqa
from quality.cases import Case, of_sample
from serving.toolfile import load_tools
from train.lines import numbered_lines
from train.own import sample_of
from train.samples import Sample

HELD_OUT, NEW_SHAPES, NEW_TOOLS = "held-out", "new-shapes", "new-tools"
SEED = 0
SIZE = 300  # of a set that is made here
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CaseSet:
    """`left_out` counts the rows that measure nothing, by the reason."""

    name: str
    cases: list[Case]
    left_out: Counter[str] = field(default_factory=Counter)


def load(name: str, limit: int | None, tools: str = "") -> CaseSet:
    """A set by its name, or from a file; of more than `limit`, an even choice.

    A .yaml file holds worked examples for the bundled tools and those of `tools`. Raises UsageError
    that names a file's first bad line or example.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        return CaseSet(path.stem, evenly(_worked(path, tools), limit))
    if tools:
        raise UsageError(f"--tools goes with a .yaml set, not with {name}")
    if name in (HELD_OUT, NEW_SHAPES, NEW_TOOLS):
        samples = evenly(_made(name, max(SIZE, limit or 0)), limit or SIZE)
        return CaseSet(name, [of_sample(each, str(at)) for at, each in enumerate(samples, 1)])
    if path.suffix != ".jsonl":
        raise UsageError(
            f"there is no set {name!r}: {HELD_OUT}, {NEW_SHAPES}, {NEW_TOOLS}, or a .jsonl or "
            ".yaml file"
        )
    return _rows(path, limit)


def _worked(path: Path, tools: str) -> list[Case]:
    """A user's tools are never called here: their examples' own results are replayed."""
    toolbox = ToolBox([*TOOLBOX, *load_tools(tools)]) if tools else TOOLBOX
    examples = load_examples(path, toolbox)
    if not examples:
        raise UsageError(f"{path} holds no examples")
    samples = [sample_of(each, toolbox, path.stem) for each in examples]
    return [of_sample(each, f"example {at}") for at, each in enumerate(samples, 1)]


def _rows(path: Path, limit: int | None) -> CaseSet:
    found = CaseSet(path.stem, [])
    for at, line in numbered_lines(path):
        try:
            found.cases.append(_case(line, at))
        except calls.SkipError as reason:
            found.left_out[str(reason)] += 1
        except pydantic.ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise UsageError(f"{path}, line {at}: {place and place + ': '}{first['msg']}") from None
        except UsageError as error:
            raise UsageError(f"{path}, line {at}: {error}") from None
    if not found.cases:
        raise UsageError(f"{path} holds no rows that can be measured")
    return CaseSet(found.name, evenly(found.cases, limit), found.left_out)


def _made(name: str, count: int) -> list[Sample]:
    from train import bundled, varied  # read the fact base and all phrasings

    makers = {
        HELD_OUT: bundled.held_out,
        NEW_SHAPES: bundled.new_shapes,
        NEW_TOOLS: varied.held_out,
    }
    return makers[name](SEED, count)


def evenly(cases: list[T], count: int | None) -> list[T]:
    """At most `count` of them, spread over all of them, in their order."""
    if count is None or count >= len(cases):
        return cases
    return [cases[at * len(cases) // count] for at in range(count)]


def _case(line: str, at: int) -> Case:
    row = _row(line)
    if "branch" in row:
        return parallelqa.case(parallelqa.Row.model_validate(row), parallelqa.key())
    if "calls" in row:
        return calls.case(calls.Row.model_validate(row))
    sample = Sample.model_validate(row)
    sample.check()
    return of_sample(sample, f"line {at}")


def _row(line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise UsageError(f"not JSON: {error}") from None
    if not isinstance(row, dict):
        raise UsageError("no JSON object")
    return row
