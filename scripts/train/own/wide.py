"""Wider questions: one about several values at once, and two in one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from random import Random

from executor.plan import Ref, Task, Template, Value
from train.own.lore import Lore, kind_of, says_yes_or_no
from train.own.results import is_code
from train.own.slots import Case, Swap, contains, slots_of
from train.own.values import NUMBER, alike, number_like
from train.own.variants import other_value, swap_of, text_values
from train.own.words import EMPTY_WORDS, QUESTION_WORDS, VERBS
from train.wording import as_words, capitalized, listed

WIDEST = 8  # tasks of a question that was made of two


def wide(case: Case, lore: Lore, rng: Random) -> Case | None:
    """The same question about 2 to 4 values, for a case of one task with a slot said once."""
    if len(case.tasks) != 1 or says_yes_or_no(case.answer):
        return None
    slots = [
        (slot, form)
        for slot in slots_of(case, lore.toolbox)
        for form in slot.forms()
        if contains(case.question, form) and len(re.findall(as_words(form), case.question)) == 1
    ]
    if not slots:
        return None
    slot, form = rng.choice(slots)
    taken = {slot.text, *text_values(case)}
    swaps, shown = [Swap()], [form]
    for _ in range(rng.choice((1, 1, 2, 2, 3))):
        new = other_value(slot, case.question, taken, lore, rng)
        if new is not None:
            taken.add(new)
            swaps.append(swap_of(slot, new))
            shown.append(swaps[-1].in_text(form))
    if len(swaps) == 1:
        return None
    tasks = [
        replace(task, id=id)
        for id, swap in enumerate(swaps, 1)
        for task in swap.in_tasks(case.tasks, lore.toolbox)
    ]
    results = {task.id: _a_result(case.results[1], task, lore, rng) for task in tasks}
    return Case(
        re.sub(as_words(form), lambda _: listed(shown), case.question),
        tuple(tasks),
        results,
        told(zip(shown, results.values(), strict=True)),
    )


def told(pairs: Iterable[tuple[str, str]]) -> str:
    """What each thing gave, as an answer."""
    return capitalized(", ".join(f"{thing}: {result}" for thing, result in pairs) + ".")


def _a_result(like: str, task: Task, lore: Lore, rng: Random) -> str:
    pool = [text for text in lore.results_of(task) if kind_of(text) == kind_of(like)]
    if is_code(like):
        return alike(like, "", pool, rng)
    if kind_of(like) == "words":
        return rng.choice(pool or [like])
    return NUMBER.sub(lambda found: number_like(found.group(), rng), like)


def joined(first: Case, second: Case, rng: Random) -> Case | None:
    """Two questions in one, their plans one behind the other."""
    if not first.tasks or not second.tasks or len(first.tasks + second.tasks) > WIDEST:
        return None
    before = len(first.tasks)
    start, end = (case.question.rstrip("?.! ") for case in (first, second))
    if end.split(" ")[0].lower() in QUESTION_WORDS | VERBS | EMPTY_WORDS:
        end = end[0].lower() + end[1:]
    asks, mark = "?" in first.question, "?" if "?" in first.question + second.question else ""
    link = rng.choice((" and ", ", and ", ", and also ", f"{'?' if asks else '.'} And "))
    return Case(
        f"{start}{link}{end}{mark}",
        (*first.tasks, *(_shifted(task, before) for task in second.tasks)),
        {**first.results, **{id + before: text for id, text in second.results.items()}},
        f"{first.answer} {second.answer}",
    )


def _shifted(task: Task, by: int) -> Task:
    args = {name: _shifted_value(value, by) for name, value in task.args.items()}
    return replace(task, id=task.id + by, args=args)


def _shifted_value(value: Value, by: int) -> Value:
    match value:
        case Ref():
            return replace(value, task_id=value.task_id + by)
        case Template(parts=parts):
            return Template(tuple(_shifted_value(part, by) for part in parts))
        case list() | tuple():
            return [_shifted_value(item, by) for item in value]
    return value
