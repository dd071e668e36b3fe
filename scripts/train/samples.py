"""What a planner learns from and is measured on: a question, and what its run should be.

A file of samples has one JSON object a line, with the fields of `Sample`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, NoReturn

import pydantic

from executor.errors import PlanError, UsageError
from executor.parser import tasks_of
from executor.tools import Tool, ToolBox
from planner_prompts import render
from planner_prompts.grammar import ANSWER, REPLAN
from planner_prompts.messages import Message
from planner_prompts.profile import TUNED
from train.lines import numbered_lines

Text = Annotated[str, pydantic.Field(min_length=1)]


class _Record(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class ToolSpec(_Record):
    """A tool as far as a prompt and a grammar need it; it can't be called."""

    name: Text
    description: str = ""
    parameters: dict[str, Any]

    @classmethod
    def of(cls, tool: Tool) -> ToolSpec:
        return cls(name=tool.name, description=tool.description, parameters=dict(tool.parameters))


class Round(_Record):
    """One plan with what its tasks gave, as text by id, and the joiner's word on it."""

    plan: Text
    results: dict[int, str] = {}
    ending: Text


class Right(_Record):
    """What makes an answer right.

    `names` must all occur, each before any of the `rivals`; each of the `numbers` must occur
    within half a per cent; an answer that `admits` says that it can't tell.
    """

    names: tuple[str, ...] = ()
    rivals: tuple[str, ...] = ()
    numbers: tuple[float, ...] = ()
    admits: bool = False


class Sample(_Record):
    """`shape` names the kind of question; `width` is how many calls need nothing of each other."""

    question: Text
    tools: tuple[ToolSpec, ...]
    rounds: Annotated[tuple[Round, ...], pydantic.Field(min_length=1)]
    shape: Text
    width: int = 0
    right: Right = Right()

    @cached_property
    def toolbox(self) -> ToolBox:
        return ToolBox(
            Tool.from_json_schema(spec.name, spec.description, spec.parameters, _unavailable)
            for spec in self.tools
        )

    @property
    def plan(self) -> str:
        return self.rounds[0].plan

    @property
    def replans(self) -> bool:
        return len(self.rounds) > 1

    def transcript(self) -> list[Message]:
        """The whole run as a tuned model sees it; what the assistant says is to be learned."""
        messages = render.opening(self.toolbox, (), self.question, TUNED)
        results: dict[int, str] = {}
        for round_ in self.rounds:
            tasks = tasks_of(round_.plan, self.toolbox, first_id=len(results) + 1)
            results |= round_.results
            told = render.results_message(tasks, results, self.toolbox)
            messages += [render.plan_message(round_.plan), told]
            if round_ is not self.rounds[-1]:
                messages += render.replan_messages(round_.ending, len(results) + 1)
        return [*messages, Message(role="assistant", content=self.rounds[-1].ending)]

    def check(self) -> None:
        """Raises UsageError unless every round could happen as it stands."""
        first_id = 1
        for round_ in self.rounds:
            try:
                tasks = tasks_of(round_.plan, self.toolbox, first_id)
            except PlanError as error:
                raise UsageError(f"its plan: {error}") from None
            ids = [task.id for task in tasks]
            if ids != list(round_.results):
                raise UsageError(f"it needs one result for each of the tasks {ids}")
            word = ANSWER if round_ is self.rounds[-1] else REPLAN
            if not round_.ending.startswith(word):
                raise UsageError(f"the ending must begin with {word!r}")
            first_id += len(tasks)


def _unavailable(**_: Any) -> NoReturn:
    raise NotImplementedError("a tool that is only described can't be called")


def write(samples: Iterable[Sample], path: Path) -> None:
    lines = [sample.model_dump_json(exclude_defaults=True) for sample in samples]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read(path: Path) -> list[Sample]:
    """The samples of a file. Raises UsageError that names the first bad line and its fault."""
    samples = [_from_line(line, f"{path}, line {at}") for at, line in numbered_lines(path)]
    if not samples:
        raise UsageError(f"{path} holds no samples")
    return samples


def _from_line(line: str, where: str) -> Sample:
    try:
        sample = Sample.model_validate_json(line)
        sample.check()
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise UsageError(f"{where}: {place and place + ': '}{first['msg']}") from None
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
    return sample
