"""Rows of ParallelQA (of the LLMCompiler paper, arXiv 2312.04511), with our values and gold plans.

The set's answers are those of an encyclopedia of its time, so a plan is run on fixed values:
`parallelqa.yaml` holds them, and gold plans by the rows' ids. A row without a gold plan is judged
by its own answer: a number by the run's last calculation, a name by the run's answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pydantic
import yaml

from executor.builtin import TOOLBOX
from executor.errors import PlanError, UsageError
from executor.parser import tasks_of
from executor.plan import Task
from executor.tools import ToolBox
from quality.canonical import sinks
from quality.cases import NOTHING_ASKED, Case
from quality.lookups import Lookup, Text, find, words_of
from quality.runs import results_of
from quality.verdicts import numbers_in
from train.samples import Right

FILE = Path(__file__).parent / "parallelqa.yaml"


class Row(pydantic.BaseModel):
    """A question of the set; `branch` is how many things it compares."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    id: Text
    question: Text
    answer: Text
    branch: int

    @property
    def number(self) -> float | None:
        """Its answer, if that is a number."""
        try:
            return float(self.answer.replace(",", ""))
        except ValueError:
            return None


class Key(pydantic.BaseModel):
    """What parallelqa.yaml holds."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    lookups: tuple[Lookup, ...]
    plans: Mapping[str, Text]

    @pydantic.field_validator("plans", mode="before")
    @classmethod
    def _ids_as_text(cls, plans: Any) -> Any:
        return {str(id): plan for id, plan in plans.items()} if isinstance(plans, dict) else plans

    def toolbox(self) -> ToolBox:
        """The bundled tools, with a `search` in these values; the prompt is the same."""

        def search(query: str) -> str:
            return find(self.lookups, query)

        return ToolBox([replace(TOOLBOX["search"], function=search), TOOLBOX["calculate"]])


@cache
def key(path: Path = FILE) -> Key:
    """Raises UsageError for a file that can't be read, or a gold plan that is none."""
    try:
        found = Key.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(f"can't read {path}: {error.strerror}") from None
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UsageError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    for id in found.plans:
        _gold(found, id)
    return found


def case(row: Row, known: Key) -> Case:
    """Judged by a gold plan's yield if there is one, else by the row's answer."""
    toolbox = known.toolbox()
    gold = _gold(known, row.id)
    number = row.number
    return Case(
        id=row.id,
        question=row.question,
        toolbox=toolbox,
        shape="a name is asked" if number is None else "a number is asked",
        width=row.branch,
        gold=gold,
        replans=None if gold is None else False,
        right=_name(row, known.lookups) if number is None else _number(gold, toolbox),
        number=number if gold is None else None,
    )


def _gold(known: Key, id: str) -> tuple[Task, ...] | None:
    if id not in known.plans:
        return None
    try:
        return tuple(tasks_of(known.plans[id], TOOLBOX))
    except PlanError as error:
        raise UsageError(f"the gold plan {id} of ParallelQA: {error}") from None


def _name(row: Row, lookups: Sequence[Lookup]) -> Right:
    """The answer's name before those of all else that the question names."""
    question, answer = words_of(row.question), words_of(row.answer)
    rivals = dict.fromkeys(
        name
        for lookup in lookups
        if not any(words_of(name) <= answer or answer <= words_of(name) for name in lookup.names)
        for name in lookup.names
        if words_of(name) <= question
    )
    return Right(names=(row.answer,), rivals=tuple(rivals))


def _number(gold: Sequence[Task] | None, toolbox: ToolBox) -> Right:
    """The numbers in what the gold plan yields."""
    if not gold:
        return NOTHING_ASKED
    results = asyncio.run(results_of(gold, toolbox))
    yielded = [results[id] for id in sinks(gold) if id in results]
    return Right(numbers=tuple(number for text in yielded for number in numbers_in(text)[:1]))
