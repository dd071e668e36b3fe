"""Other results for a worked example, and the answer that goes with them.

A number is changed only where the answer quotes it or compares with others: what an answer says of
a number in words must stay true, so numbers keep their order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from random import Random

from executor.builtin import calculate
from executor.errors import HeadstartError
from executor.tools import ToolBox
from executor.values import resolve, text_of
from train.own.slots import Case, Swap, contains, numbers_in, value_of
from train.own.values import alike, number_like
from train.wording import as_words

_AMOUNT = re.compile(r"[-+]?[\d.,]+(?:[eE][-+]?\d+)?[%a-zA-Z°]*")


def other_results(
    case: Case,
    asked: Sequence[str],
    toolbox: ToolBox,
    pools: Mapping[str, Sequence[str]],
    rng: Random,
) -> Swap | None:
    """A swap for the results and the answer; `pools` has what each tool has given so far.

    `asked` are the values of the question, for which the tasks may have new ones already. None if
    what the bundled calculator makes of the new values can't be put in the place of the old.
    """
    texts: dict[str, str] = {}
    for task in case.tasks:
        old = case.results[task.id]
        if not is_code(old) or contains(case.question, old) or old in texts:
            continue
        new = alike(old, "", pools.get(task.tool_name, ()), rng)
        if new not in texts.values() and new not in case.results.values():
            texts[old] = new
    calculated = {task.id for task in case.tasks if toolbox[task.tool_name] is calculate}
    apart = _without(case, [*asked, *texts])
    numbers = _other_numbers(apart, calculated, frozenset(texts), rng)
    if calculated:
        try:
            numbers |= _calculated(case, calculated, Swap(texts, numbers))
        except (HeadstartError, ValueError):
            return None
    return Swap(texts, numbers)


def is_code(result: str) -> bool:
    """Whether a result is one short name with digits, such as `press 2` or `2026-03-01`."""
    words = result.split()
    short = 0 < len(words) <= 2 and any(c.isdigit() for c in result)
    return short and not _AMOUNT.fullmatch(words[0])


def _without(case: Case, texts: Sequence[str]) -> Case:
    """With gaps for texts whose digits are no numbers of their own, such as `press 2`."""
    if not texts:
        return case
    question, answer = (re.sub(as_words(*texts), "_", t) for t in (case.question, case.answer))
    return replace(case, question=question, answer=answer)


def _other_numbers(
    case: Case, calculated: set[int], codes: frozenset[str], rng: Random
) -> dict[float, str]:
    plain = {id: text for id, text in case.results.items() if text not in codes}
    found = _by_value(n for id in plain.keys() - calculated for n in numbers_in(plain[id]))
    worked_out = _by_value(n for id in plain.keys() & calculated for n in numbers_in(plain[id]))
    asked = _by_value(numbers_in(case.question))
    quoted = [value_of(number) for number in numbers_in(case.answer)]
    if not all(_is_one_of(number, [*found, *asked, *worked_out]) for number in quoted):
        return {}  # the answer has worked one out by itself
    free = {value: text for value, text in found.items() if value not in asked}
    if len(free) == 1 and not any(_is_one_of(n, [*free, *worked_out]) for n in quoted):
        return {}
    for _ in range(30):
        new = {value: number_like(text, rng) for value, text in free.items()}
        if _keeps_order({**{v: v for v in asked}, **{v: value_of(t) for v, t in new.items()}}):
            return new
    return {}


def _by_value(numbers: Iterable[str]) -> dict[float, str]:
    return {value_of(number): number for number in numbers}


def _is_one_of(number: float, known: Sequence[float]) -> bool:
    return any(
        number in (value, *(round(value, decimals) for decimals in range(4))) for value in known
    )


def _keeps_order(new: Mapping[float, float]) -> bool:
    return all((a < b) == (new[a] < new[b]) and new[a] != new[b] for a, b in combinations(new, 2))


def _calculated(case: Case, calculated: set[int], swap: Swap) -> dict[float, str]:
    """What the bundled calculator makes of new results.

    Raises ValueError if it has not as many numbers as before.
    """
    numbers: dict[float, str] = {}
    results: dict[int, str] = {}
    for task in case.tasks:
        old = case.results[task.id]
        if task.id not in calculated:
            results[task.id] = swap.in_text(old)
            continue
        results[task.id] = text_of(calculate(**resolve(dict(task.args), results)))
        numbers.update(
            zip(map(value_of, numbers_in(old)), numbers_in(results[task.id]), strict=True)
        )
    return numbers
