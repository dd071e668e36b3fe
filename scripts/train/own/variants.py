"""New examples from worked ones by other values: in question, plan, results and answer at once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from random import Random

from train.own.lore import Lore, says_yes_or_no
from train.own.results import other_results
from train.own.slots import Case, Slot, Swap, contains, slots_of, tells, value_of
from train.own.values import alike, choices_of, number_like
from train.wording import as_words


def variant(case: Case, lore: Lore, rng: Random) -> Case | None:
    """The case with other values and results; None if they can't be found."""
    if rng.random() < 0.5:
        case = mirrored(case)
    slots = slots_of(case, lore.toolbox)
    asked = other_values(case, slots, lore, rng)
    if asked is None:
        return None
    tasks = asked.in_tasks(case.tasks, lore.toolbox)
    spoken = [form for slot in slots for form in slot.forms() if tells(form)]
    with_tasks = replace(case, tasks=tasks)
    found = other_results(with_tasks, spoken, lore.toolbox, lore.codes(), rng)
    if found is None:
        return None
    both = asked | found | lore.other_words(case, rng)
    return Case(
        asked.in_text(case.question),
        tasks,
        {id: both.in_text(text) for id, text in case.results.items()},
        both.in_text(case.answer),
    )


def mirrored(case: Case) -> Case:
    """`A or B` asked the other way round, so that not always the first of two is the answer."""
    if len(case.tasks) != 2 or any(task.needs for task in case.tasks):
        return case
    one, other = case.tasks
    differing = [value for value in one.args.values() if value not in other.args.values()]
    opposite = [value for value in other.args.values() if value not in one.args.values()]
    if one.tool_name != other.tool_name or len(differing) != 1 or len(opposite) != 1:
        return case
    first, second = differing[0], opposite[0]
    if not (isinstance(first, str) and isinstance(second, str)):
        return case
    between = rf"{as_words(first)}[^?.]*\bor\b[^?.]*{as_words(second)}"
    if says_yes_or_no(case.answer) or not re.search(between, case.question):
        return case
    return Case(
        Swap({first: second, second: first}).in_text(case.question),
        (replace(other, id=1), replace(one, id=2)),
        {1: case.results[2], 2: case.results[1]},
        case.answer,
    )


def other_values(case: Case, slots: Sequence[Slot], lore: Lore, rng: Random) -> Swap | None:
    """New values for the slots, all different; None if one that stays is needed by another."""
    swap = Swap()
    texts = {slot.text for slot in slots}
    taken = {value for value in text_values(case) if value not in texts}
    for slot in slots:
        new = other_value(slot, case.question, taken, lore, rng) or slot.text
        if new in taken:
            return None
        taken.add(new)
        swap |= swap_of(slot, new)
    return swap


def text_values(case: Case) -> list[str]:
    """The texts that are arguments of the plan."""
    return [value for task in case.tasks for value in task.args.values() if isinstance(value, str)]


def swap_of(slot: Slot, new: str) -> Swap:
    """What puts another value into one slot."""
    if slot.kind == "number":
        return Swap(numbers={value_of(slot.text): new})
    choices = {slot.text: new} if slot.kind == "choice" else {}
    return Swap(slot.renamed(new), {}, choices)


def other_value(slot: Slot, question: str, taken: set[str], lore: Lore, rng: Random) -> str | None:
    """A value like the slot's that is neither taken nor in the question; None if none is found."""
    for _ in range(20):
        match slot.kind:
            case "number":
                new = number_like(slot.text, rng, slot.schema)
            case "choice":
                new = rng.choice(_exchangeable(slot, lore))
            case "text":
                new = alike(slot.text, slot.parameter, lore.values.get(slot.key, ()), rng)
        fits = _takes_plural(new) or not contains(question, slot.text + "s")
        fits = fits and (slot.kind == "choice" or not contains(question, new))
        if fits and new not in taken and new != slot.text:
            return new
    return None


def _exchangeable(slot: Slot, lore: Lore) -> list[str]:
    """The choices that give results of the same kind; a default is left out of a plan."""
    here = lore.gives.get((slot.tool, slot.parameter, slot.text), set())
    options = [c for c in choices_of(slot.schema) if isinstance(c, str)]
    fitting = [
        choice
        for choice in options
        if choice != slot.schema.get("default")
        and lore.gives.get((slot.tool, slot.parameter, choice), here) == here
    ]
    return fitting or [slot.text]


def _takes_plural(text: str) -> bool:
    return text.islower() and text[-1].isalpha() and text[-1] not in "hsxyz"
