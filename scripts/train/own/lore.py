"""What the worked examples together say about a user's tools."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from executor.plan import Task, Value
from executor.tools import Tool, ToolBox
from train.own.results import is_code
from train.own.slots import Case, Swap, contains, slots_of
from train.own.values import NUMBER, choices_of
from train.wording import as_words


@dataclass(frozen=True)
class Lore:
    """What the examples together say about values and results."""

    toolbox: ToolBox
    values: Mapping[tuple[str, str, str], Sequence[str]]  # texts by the key of their slot
    results: Mapping[str, Sequence[tuple[Task, str]]]  # by tool
    said: Mapping[tuple[str, str], Sequence[str]]  # results by tool and the answer's word before
    gives: Mapping[tuple[str, str, str], set[str]]  # kinds of result by tool, parameter, choice

    @classmethod
    def of(cls, cases: Iterable[Case], toolbox: ToolBox) -> Lore:
        values, results, said = defaultdict(list), defaultdict(list), defaultdict(list)
        gives = defaultdict(set)
        for case in cases:
            for slot in slots_of(case, toolbox):
                if slot.kind == "text":
                    values[slot.key].append(slot.text)
            for task in case.tasks:
                result = case.results[task.id]
                results[task.tool_name].append((task, result))
                if before := word_before(result, case.answer):
                    said[task.tool_name, before].append(result)
                for name, value in task.args.items():
                    if isinstance(value, str):
                        gives[task.tool_name, name, value].add(kind_of(result))
        return cls(toolbox, values, results, said, gives)

    def calls_of(self, tool: Tool) -> int:
        """How often the examples show a tool."""
        return len(self.results.get(tool.name, ()))

    def results_of(self, task: Task) -> list[str]:
        """What calls gave that name the same optional parameters with the same choices."""
        manner = self._manner(task)
        known = self.results.get(task.tool_name, ())
        return [result for other, result in known if self._manner(other) == manner]

    def _manner(self, task: Task) -> dict[str, Value]:
        tool = self.toolbox[task.tool_name]
        return {
            name: task.args[name] if choices_of(tool.properties[name]) else ...
            for name in tool.optional
            if name in task.args
        }

    def codes(self) -> dict[str, list[str]]:
        """The results that are codes, by tool."""
        return {
            tool: [text for _, text in known if is_code(text)]
            for tool, known in self.results.items()
        }

    def other_words(self, case: Case, rng: Random) -> Swap:
        """Results in words as other answers have them in the same place; not in a yes or no."""
        texts: dict[str, str] = {}
        if says_yes_or_no(case.answer):
            return Swap()
        for task in case.tasks:
            old = case.results[task.id]
            before = word_before(old, case.answer)
            if before and not contains(case.question, old):
                new = rng.choice(self.said.get((task.tool_name, before), [old]))
                if new not in texts.values() and (new == old or new not in case.results.values()):
                    texts[old] = new
        return Swap(texts)


def kind_of(result: str) -> str:
    """`number`, `number kW`, `code` or `words`: what results must share to be exchanged."""
    if is_code(result):
        return "code"
    return NUMBER.sub("number", result) if NUMBER.match(result) else "words"


def word_before(result: str, answer: str) -> str:
    """The word of the answer in front of a result in words; empty if it isn't told there."""
    if kind_of(result) != "words" or not contains(answer, result):
        return ""
    found = re.search(rf"([A-Za-z]+) {as_words(result)}", answer)
    return found[1] if found else ""


def says_yes_or_no(answer: str) -> bool:
    return re.match(r"(?:yes|no)\b", answer, re.IGNORECASE) is not None
