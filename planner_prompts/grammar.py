"""A toolbox -> the regex of all plans that can be run with it.

The terms that it is made of are in terms.py. They are imported where they are used, for Outlines
takes a second to import, which the client of a running engine shouldn't pay at its start.
"""

from __future__ import annotations

import re

from executor.tools import ToolBox

ANSWER = "Answer: "
REPLAN = "Replan: "


def plan_regex(toolbox: ToolBox, first_id: int = 1, max_tasks: int = 16) -> str:
    """The regex of the plans of at most `max_tasks` tasks whose ids count from `first_id`.

    References may point to all tasks before, from $1 on: those below `first_id` are of the
    run's earlier plans.
    """
    from outlines.types.dsl import to_regex

    from planner_prompts import terms

    regex: str = to_regex(terms.unrolled(toolbox, range(first_id, first_id + max_tasks)))
    return regex


def join_regex(*, replan: bool) -> str:
    """The regex of the joiner's word: an answer, or, if `replan`, the reason to plan again."""
    from outlines.types.dsl import Regex, to_regex

    answer = ANSWER + Regex(r"[^ \n](?:.|\n)*")
    again = REPLAN + Regex(r"[^ \n].*")
    regex: str = to_regex(answer | again if replan else answer)
    return regex


def matches(regex: str, text: str) -> bool:
    """Whether the whole text is in the regex's language."""
    return re.fullmatch(regex, text) is not None
