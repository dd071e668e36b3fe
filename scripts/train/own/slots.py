"""Which parts of a worked example are values that could be others, and how to change them.

A literal of the plan that stands word for word in the question is a slot. It is changed in the
question, the plan, the results and the answer at once, so that a planner learns to copy it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any, Literal

from executor.parser import tasks_of
from executor.plan import Join, Ref, Task, Template, Value, render
from executor.schema_size import Schema
from executor.tools import ToolBox
from planner_prompts.examples import Example
from train.own.values import NUMBER, choices_of, said
from train.own.words import EMPTY_WORDS
from train.wording import as_words, capitalized

_BETWEEN = re.compile(r"\s*\b(?:of|in|for|at|on|to|from|and|with|by|the)\b\s*|[^\w\s.'-]+")
# What arithmetic in a string takes for itself, as in "$1 * (1 - 10/100)".
_CONSTANTS = frozenset({"1", "100"})


@dataclass(frozen=True, slots=True)
class Case:
    """An example taken apart; it has a result for each of its tasks."""

    question: str
    tasks: tuple[Task, ...]
    results: Mapping[int, str]
    answer: str


@dataclass(frozen=True, slots=True)
class Slot:
    """`text` stands in the question; a choice may stand there in other words.

    `pattern` is the literal with a gap where the slot is: "{}" or "height of {}".
    """

    text: str
    tool: str
    parameter: str
    schema: Schema
    kind: Literal["text", "number", "choice"]
    pattern: str = "{}"

    @property
    def key(self) -> tuple[str, str, str]:
        """What slots must share to take each other's values."""
        return self.tool, self.parameter, self.pattern

    def forms(self) -> list[str]:
        """How it may stand in a sentence, its own spelling first."""
        if self.kind == "choice":
            return said(self.text)
        if not self.text.islower():
            return [self.text]
        return [self.text, capitalized(self.text), self.text + "s"]

    def renamed(self, new: str) -> dict[str, str]:
        """For each form of this slot the form of another text that fits in its place."""
        others = replace(self, text=new).forms()
        pairs = zip_longest(self.forms(), others[: len(self.forms())], fillvalue=new)
        return {old: other for old, other in [*pairs][::-1] if tells(old)}


@dataclass(frozen=True, slots=True)
class Swap:
    """New values by old: words of sentences, numbers by their value, choices of the plan."""

    texts: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[float, str] = field(default_factory=dict)
    choices: Mapping[str, str] = field(default_factory=dict)

    def __or__(self, other: Swap) -> Swap:
        return Swap(
            {**other.texts, **self.texts},
            {**other.numbers, **self.numbers},
            {**other.choices, **self.choices},
        )

    def in_text(self, text: str) -> str:
        """All at once, so that no new value is taken for an old one."""
        words = [as_words(*self.texts)] if self.texts else []
        return re.sub("|".join([*words, NUMBER.pattern]), self._other, text)

    def _other(self, found: re.Match[str]) -> str:
        old = found.group()
        return self.texts.get(old) or _number_as(old, self.numbers)

    def in_value(self, value: Value, schema: Schema) -> Value:
        match value:
            case str() if choices_of(schema):
                return self.choices.get(value, value)
            case str():
                return self.in_text(value)
            case Template(parts=parts):
                return Template(tuple(self.in_text(p) if isinstance(p, str) else p for p in parts))
            case list() | tuple():
                return [self.in_value(item, schema.get("items", {})) for item in value]
            case int() | float() if not isinstance(value, bool) and value in self.numbers:
                new = value_of(self.numbers[value])
                return int(new) if new.is_integer() else new
        return value

    def in_tasks(self, tasks: Sequence[Task], toolbox: ToolBox) -> tuple[Task, ...]:
        return tuple(
            replace(
                task,
                args={
                    name: self.in_value(value, toolbox[task.tool_name].properties[name])
                    for name, value in task.args.items()
                },
            )
            for task in tasks
        )


def _number_as(old: str, numbers: Mapping[float, str]) -> str:
    """The new number in the style of the old: rounded as that was, with commas if it had any."""
    value, decimals = value_of(old), len(old.partition(".")[2])
    rounded = (known for known in numbers if round(known, decimals) == value)
    known = value if value in numbers else next(rounded, None)
    if known is None:
        return old
    new = numbers[known]
    if known == value and not decimals:
        decimals = len(new.partition(".")[2])
    return f"{value_of(new):{',' if ',' in old else ''}.{decimals}f}"


def numbers_in(text: str) -> list[str]:
    """The numbers that stand alone in a text, as they are written there."""
    return [found.group() for found in NUMBER.finditer(text)]


def value_of(number: str) -> float:
    return float(number.replace(",", ""))


def take_apart(example: Example, toolbox: ToolBox) -> Case:
    """Raises PlanError if its plan isn't one for the toolbox."""
    tasks = tuple(tasks_of(example.plan, toolbox))
    return Case(example.question, tasks, example.results, example.answer)


def put_together(case: Case, toolbox: ToolBox) -> Example:
    """The case as an example, with its plan in the grammar's own spelling."""
    items: list[Task | Join] = [*case.tasks, Join(len(case.tasks) + 1)]
    lines = [render(item, toolbox) for item in items]
    return Example(
        question=case.question,
        plan="\n".join(lines),
        results=dict(case.results),
        answer=case.answer,
    )


def slots_of(case: Case, toolbox: ToolBox) -> list[Slot]:
    """The slots in the order of the plan, each text once."""
    found: dict[str, Slot] = {}
    for task in case.tasks:
        for parameter, value in task.args.items():
            schema = toolbox[task.tool_name].properties[parameter]
            for slot in _slots_in(value, schema, task.tool_name, parameter, case.question):
                found.setdefault(slot.text, slot)
    return list(found.values())


def _slots_in(
    value: Value, schema: Schema, tool: str, parameter: str, question: str
) -> Iterator[Slot]:
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _slots_in(item, schema.get("items", {}), tool, parameter, question)
    elif isinstance(value, Template):
        for part in value.parts:
            if isinstance(part, str):
                yield from _slots_in_text(part, schema, tool, parameter, question)
    elif isinstance(value, str) and choices_of(schema):
        slot = Slot(value, tool, parameter, schema, "choice")
        if stands_in(question, slot):
            yield slot
    elif isinstance(value, str):
        yield from _slots_in_text(value, schema, tool, parameter, question)
    elif isinstance(value, (int, float)) and not isinstance(value, (bool, Ref)):
        for text in numbers_in(question):
            if value_of(text) == value and ("." not in text or isinstance(value, float)):
                yield Slot(text, tool, parameter, _numeric(schema), "number")


def _numeric(schema: Schema) -> Schema:
    options: list[Any] = schema.get("anyOf", [schema])
    return next((o for o in options if o.get("type") in ("integer", "number")), schema)


def _slots_in_text(
    literal: str, schema: Schema, tool: str, parameter: str, question: str
) -> Iterator[Slot]:
    parts = [part for part in _BETWEEN.split(literal) if part.strip()]
    telling = [part.strip() for part in parts if any(c.isupper() or c.isdigit() for c in part)]
    whole = Slot(literal, tool, parameter, schema, "text")
    if stands_in(question, whole) and (len(parts) <= 1 or not telling):
        yield whole
        return
    for part in telling:
        is_number = NUMBER.fullmatch(part) is not None
        pattern = literal.replace(part, "{}")
        slot = Slot(part, tool, parameter, schema, "number" if is_number else "text", pattern)
        if stands_in(question, slot) and not (is_number and part in _CONSTANTS):
            yield slot


def stands_in(text: str, slot: Slot) -> bool:
    """Whether any form of a slot stands in a text, as words of their own."""
    return any(contains(text, form) for form in slot.forms())


def contains(text: str, words: str) -> bool:
    """Whether the words stand in the text; words that say nothing never do."""
    return tells(words) and re.search(as_words(words), text) is not None


def tells(words: str) -> bool:
    """Whether words in a sentence can be taken for a value."""
    return bool(words.strip()) and words not in EMPTY_WORDS and words not in ("A", "I")
