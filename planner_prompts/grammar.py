"""A toolbox -> the regex of all plans that can be run with it; and that of the joiner's word.

The terms that it is made of are in terms.py. They are imported where they are used, for Outlines
takes a second to import, which the client of a running engine shouldn't pay at its start.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from executor.errors import UsageError
from executor.tools import ToolBox
from executor.types import Type, kinds
from planner_prompts.sizes import largest_part, least_states, size

ANSWER = "Answer: "
REPLAN = "Replan: "

Backend = Literal["outlines", "guidance"]  # what vLLM compiles a regex with


@dataclass(frozen=True, slots=True)
class Budget:
    """States, as estimated here: how many a grammar should have, and how many any may."""

    wanted: int
    most: int


# Outlines walks the vocabulary once for each state before the first token: a thousand states take
# about 0.6 s with 49,000 tokens, 2 s with 152,000. Guidance makes states as they are reached.
BUDGETS: dict[Backend, Budget] = {
    "outlines": Budget(wanted=1_800, most=9_000),
    "guidance": Budget(wanted=60_000, most=400_000),
}

_REMEMBERED = 64  # grammars; a toolbox needs one for each number a plan begins with
_POSITION = re.compile(
    r"(?P<any_but>\[\^(?:\\.|[^\]\\])*\])|(?:\[(?:\\.|[^\]\\])*\]|\\x..|\\.|\(\?:|[^()|?*+{},\\])"
    r"(?:\{(?:\d+,)?(?P<times>\d+)\})?",
    re.DOTALL,
)
_UTF8 = 9  # states for a character that may be nearly any


@dataclass(frozen=True, slots=True)
class Grammar:
    """The regex of a toolbox's plans, and what it costs.

    `counted` of the plan's lines are written out one by one, so that ids count there and
    references point back. States are estimates, rather above the engine's.
    """

    regex: str
    counted: int
    max_tasks: int
    states_a_line: int
    states_wanted: int

    @property
    def form(self) -> Literal["unrolled", "loop"]:
        """Whether all lines are written out, or others may follow in a loop."""
        return "unrolled" if self.counted == self.max_tasks else "loop"

    def __str__(self) -> str:
        why = f"{self.states_a_line:,} states a line, {self.states_wanted:,} wanted at most"
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

    _check_states(toolbox, least_states(toolbox), backend)  # or it may never be written
    ids = range(first_id, first_id + max_tasks)
    a_line = terms.plan(toolbox, range(ids.stop, ids.stop + 1), counted=1)
    line = estimated_states(to_regex(a_line))
    _check_states(toolbox, line, backend)
    budget = BUDGETS[backend]
    fit = budget.wanted // line
    counted = max_tasks if fit >= max_tasks else max(counted_at_least, fit - 1)  # one: the loop
    regex: str = to_regex(terms.plan(toolbox, ids, counted))
    return Grammar(regex, counted, max_tasks, line, budget.wanted)


def _check_states(toolbox: ToolBox, states: int, backend: Backend) -> None:
    most = BUDGETS[backend].most
    if states <= most:
        return
    largest = max(toolbox, key=size)
    if size(largest) > most or len(toolbox) == 1:
        what = f"{largest_part(largest)} is too much"
        instead = "give it fewer choices or optional values"
    else:
        what = f"{len(toolbox)} tools at once are too many"
        instead = "offer fewer (toolbox.subset(names))"
    raise UsageError(
        f"{what} for the backend {backend}: the grammar would have about {states:,} states, and "
        f"it compiles {most:,}; {instead}" + _or_the_other(states, backend)
    )


def _or_the_other(states: int, backend: Backend) -> str:
    able = [each for each in BUDGETS if each != backend and states <= BUDGETS[each].most]
    return "".join(f", or set HEADSTART_BACKEND={each}" for each in able)


def estimated_states(regex: str) -> int:
    """About how many states the automaton of a regex of ours has, rather more than it has.

    One for each character or class that can stand somewhere; a class of all but a few takes
    several, as a character has up to four bytes. Without shared beginnings, as if it were a tree.
    """
    found = _POSITION.finditer(regex)
    return sum(_UTF8 if each["any_but"] else int(each["times"] or 1) for each in found)


def join_regex(*, replan: bool, answer: Type | None = None) -> str:
    """The regex of the joiner's word: an answer, or, if `replan`, the reason to plan again.

    The answer is JSON of the type, or prose if there is none. A number that stands alone ends
    with a line break: behind what could be the end, Outlines (without our plugin, as in somebody
    else's engine) offers no token that couldn't, so that 0 would never become 0.5.
    """
    from outlines.types.dsl import Regex, to_regex

    from planner_prompts import terms

    if answer is None:
        said = Regex(r"[^ \n](?:.|\n)*")
    else:
        said = terms.plain_json(answer) + ("\n" if "number" in kinds(answer) else "")
    again = REPLAN + Regex(r"[^ \n].*")
    regex: str = to_regex(ANSWER + said | again if replan else ANSWER + said)
    return regex


def check_answer(answer: Type, backend: Backend) -> None:
    """Raises UsageError for a type of which the backend can't compile the answers."""
    try:
        states = estimated_states(join_regex(replan=True, answer=answer))
    except RecursionError:
        raise UsageError(
            "the answer's schema is too large: it has too many values; ask for less at once"
        ) from None
    most = BUDGETS[backend].most
    if states > most:
        raise UsageError(
            f"the answer's schema is too large for the backend {backend}: its grammar would have "
            f"about {states:,} states, and it compiles {most:,}; ask for less at once"
            + _or_the_other(states, backend)
        )


def matches(regex: str, text: str) -> bool:
    """Whether the whole text is in the regex's language."""
    return re.fullmatch(regex, text) is not None
