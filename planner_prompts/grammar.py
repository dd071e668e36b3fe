"""A toolbox -> the regex of all plans that can be run with it; and that of the joiner's word.

The terms that it is made of are in terms.py. They are imported where they are used, for Outlines
takes a second to import, which the client of a running engine shouldn't pay at its start.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from executor.errors import UsageError
from executor.plan import JOIN
from executor.tools import ToolBox
from executor.types import Type, kinds
from planner_prompts.automaton import states
from planner_prompts.sizes import largest_part, largest_tool, size, size_of_calls

ANSWER = "Answer: "
REPLAN = "Replan: "

Backend = Literal["outlines", "guidance"]  # what vLLM compiles a regex with


@dataclass(frozen=True, slots=True)
class Budget:
    """What a grammar should cost, and what a line of it, or an answer, may at most."""

    unit: Literal["states", "characters"]
    wanted: int
    most: int
    longest: int  # in characters, or it is not even written


# Outlines walks the vocabulary once for each state before the first token: a thousand states take
# about 0.6 s with 49,000 tokens, 3 s with 152,000. Guidance makes states as they are reached.
BUDGETS: dict[Backend, Budget] = {
    "outlines": Budget("states", wanted=1_000, most=5_000, longest=120_000),
    "guidance": Budget("characters", wanted=500_000, most=2_000_000, longest=2_000_000),
}

_REMEMBERED = 64  # grammars; a toolbox needs one for each number a plan begins with


@dataclass(frozen=True, slots=True)
class Grammar:
    """The regex of a toolbox's plans, and what it costs.

    `counted` of the plan's lines are written out one by one, so that ids count there and
    references point back. Each costs `line_cost`, and so does the loop.
    """

    regex: str
    counted: int
    max_tasks: int
    line_cost: int
    budget: Budget

    @property
    def form(self) -> Literal["unrolled", "loop"]:
        """Whether all lines are written out, or others may follow in a loop."""
        return "unrolled" if self.counted == self.max_tasks else "loop"

    def __str__(self) -> str:
        unit, wanted = self.budget.unit, self.budget.wanted
        why = f"{self.line_cost:,} {unit} a line, {wanted:,} wanted at most"
        if self.form == "unrolled":
            return f"all {self.max_tasks} lines are written out, of {why}"
        return f"{self.counted} of {self.max_tasks} lines are written out, then a loop, of {why}"


def plan_regex(
    toolbox: ToolBox, first_id: int = 1, max_tasks: int = 16, backend: Backend = "outlines"
) -> str:
    """The regex of the plans of at most `max_tasks` tasks whose ids count from `first_id`.

    References may point to all tasks before, from $1 on: those below `first_id` are of the
    run's earlier plans. How far it holds this is told by `plan_grammar`.
    """
    return plan_grammar(toolbox, first_id, max_tasks, backend).regex


@lru_cache(_REMEMBERED)
def plan_grammar(
    toolbox: ToolBox,
    first_id: int = 1,
    max_tasks: int = 16,
    backend: Backend = "outlines",
    counted_at_least: int = 0,
) -> Grammar:
    """The tightest grammar within the backend's budget: as many lines written out as fit.

    `counted_at_least` are, whether they fit or not.
    Raises UsageError for a toolbox of which not even a loop over its calls can be compiled.
    """
    from outlines.types.dsl import to_regex

    from planner_prompts import terms

    budget = BUDGETS[backend]
    ids = range(first_id, first_id + max_tasks)
    line_cost = _line_cost(toolbox, ids.stop, backend)
    fit = budget.wanted // line_cost
    counted = max_tasks if fit >= max_tasks else max(counted_at_least, fit - 1)  # one: the loop
    regex: str = to_regex(terms.plan(toolbox, ids, counted))
    return Grammar(regex, counted, max_tasks, line_cost, budget)


def _line_cost(toolbox: ToolBox, id: int, backend: Backend) -> int:
    """Of the line of a plan that has the id. Raises UsageError."""
    from outlines.types.dsl import to_regex

    from planner_prompts import terms

    at_least = size_of_calls(toolbox)
    try:
        cost = _cost(at_least, lambda: to_regex(terms.plan(toolbox, range(id, id + 1), 1)), backend)
        return cost - len(f"{id + 1}. {JOIN}()")
    except _TooMuchError as too_much:
        raise UsageError(
            f"{_what(toolbox)} for the backend {backend}: a line of a plan's grammar would have "
            f"{too_much}; {_instead(toolbox)}" + _or_guidance(at_least, backend)
        ) from None


class _TooMuchError(Exception):
    def __init__(self, has: int, unit: str, most: int) -> None:
        super().__init__(f"{has:,} {unit}, and it compiles {most:,}")


def _cost(at_least: int, write: Callable[[], str], backend: Backend) -> int:
    """Of a regex that has at least so many characters; if they are too many, it isn't written."""
    budget = BUDGETS[backend]
    if at_least > budget.longest:
        raise _TooMuchError(at_least, "characters", budget.longest)
    regex = write()
    cost = states(regex) if budget.unit == "states" else len(regex)
    if cost > budget.most:
        raise _TooMuchError(cost, budget.unit, budget.most)
    return cost


def _what(toolbox: ToolBox) -> str:
    largest = largest_tool(toolbox)
    if largest is None:
        return f"{len(toolbox)} tools at once are too many"
    return f"{largest_part(largest)} is too much"


def _instead(toolbox: ToolBox) -> str:
    if largest_tool(toolbox) is None:
        return "offer fewer (toolbox.subset(names))"
    return "give it fewer choices or optional values"


def _or_guidance(characters: int, backend: Backend) -> str:
    other: Backend = "guidance"
    able = backend != other and characters <= BUDGETS[other].longest
    return f", or set HEADSTART_BACKEND={other}" if able else ""


def join_regex(*, replan: bool, answer: Type | None = None) -> str:
    """The regex of the joiner's word: an answer, or, if `replan`, the reason to plan again.

    The answer is JSON of the type, or prose if there is none: lines that may have tabs, but no
    other control characters. A number that stands alone ends with a line break: behind what could
    be the end, Outlines (without our plugin, as in somebody else's engine) offers no token that
    couldn't, so that 0 would never become 0.5.
    """
    from outlines.types.dsl import Regex, to_regex

    from planner_prompts import terms

    if answer is None:
        said = Regex(r"[^\x00- ][^\x00-\x08\x0b-\x1f]*")
    else:
        said = terms.plain_json(answer) + ("\n" if "number" in kinds(answer) else "")
    again = REPLAN + Regex(r"[^\x00- ][^\x00-\x1f]*")
    regex: str = to_regex(ANSWER + said | again if replan else ANSWER + said)
    return regex


def check_answer(answer: Type, backend: Backend) -> None:
    """Raises UsageError for a type of which the backend can't compile the answers."""
    at_least = size(answer)
    instead = "ask for less at once"
    try:
        _cost(at_least, lambda: join_regex(replan=True, answer=answer), backend)
    except RecursionError:
        raise UsageError(
            f"the answer's schema is too large: it has too many values; {instead}"
        ) from None
    except _TooMuchError as too_much:
        raise UsageError(
            f"the answer's schema is too large for the backend {backend}: its grammar would have "
            f"{too_much}; {instead}" + _or_guidance(at_least, backend)
        ) from None


def matches(regex: str, text: str) -> bool:
    """Whether the whole text is in the regex's language."""
    return re.fullmatch(regex, text) is not None
