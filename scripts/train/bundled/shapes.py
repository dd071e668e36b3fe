"""Shapes of questions about facts: each makes a question, its plan and its ending."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import isclose

from train.bundled.draft import Draft
from train.bundled.questions import (
    and_list,
    is_year,
    names_by_letter,
    or_list,
    own_questions,
)
from train.bundled.scene import NoFit, Scene, at, look_up, number, shown
from train.bundled.things import Thing, unit_of
from train.samples import Right, Sample
from train.wording import capitalized

Shape = Callable[[Scene], Sample]

_UNITS = {"m": "metres", "km": "kilometres", "kg": "kilograms", "day": "days", "person": "people"}


def quantity(attribute: str, unit: str) -> bool:
    """What can be added and scaled: no year."""
    return not is_year(attribute)


def anything(attribute: str, unit: str) -> bool:
    return True


def lookup(scene: Scene) -> Sample:
    (thing,), attribute = scene.things(1, anything)
    own = own_questions(attribute, "when" if is_year(attribute) else "ask")
    templates = [*(() if is_year(attribute) else scene.templates("lookup")), *own]
    slots = {**scene.words(attribute), "a": thing.written}
    draft = Draft()
    value = draft.value(look_up(draft, thing, attribute))
    ending = f"Answer: {capitalized(fact(thing, attribute, value))}"
    return scene.sample(
        "lookup",
        scene.fill_from(templates, slots),
        [draft.round(ending)],
        1,
        Right(numbers=(number(value),)),
    )


def fact(thing: Thing, attribute: str, value: str) -> str:
    if attribute == "year of first flight":
        return f"{thing.written} first flew in {value}."
    if is_year(attribute):
        return f"{thing.written} was {attribute.removeprefix('year ')} in {value}."
    return f"the {attribute} of {thing.written} is {shown(value)}."


def attributes(scene: Scene) -> Sample:
    (thing,), _ = scene.things(1, quantity)
    able = sorted(each for each in {**thing.values, **thing.texts} if not is_year(each))
    if len(able) < 2:
        raise NoFit
    chosen = scene.rng.sample(able, scene.rng.randint(2, min(4, len(able))))
    question = scene.fill("attributes", {"a": thing.written, "nouns": and_list(chosen, scene.rng)})
    draft = Draft()
    results = {**thing.values, **thing.texts}
    told = []
    for each in chosen:
        draft.search(f"{each} of {thing.name}", results[each])
        told.append(f"{each} {shown(results[each])}")
    numbers = tuple(number(thing.values[each]) for each in chosen if each in thing.values)
    names = tuple(thing.texts[each] for each in chosen if each in thing.texts)
    ending = f"Answer: {capitalized(thing.written)}: {', '.join(told)}."
    right = Right(numbers=numbers, names=names)
    return scene.sample("attributes", question, [draft.round(ending)], len(chosen), right)


def several(scene: Scene) -> Sample:
    """The same of several, without a calculation."""
    things, attribute = scene.things(scene.rng.randint(2, 6), quantity)
    draft = Draft()
    values = [draft.value(look_up(draft, thing, attribute)) for thing in things]
    told = [f"{thing.written}: {shown(value)}" for thing, value in zip(things, values, strict=True)]
    slots = {**scene.words(attribute), **lists(scene, things)}
    ending = f"Answer: {capitalized(', '.join(told))}."
    right = Right(numbers=tuple(map(number, values)))
    return scene.sample(
        "list", scene.fill("list", slots), [draft.round(ending)], len(things), right
    )


def lists(scene: Scene, things: list[Thing]) -> dict[str, str]:
    written = [thing.written for thing in things]
    return {"and_list": and_list(written, scene.rng), "or_list": or_list(written, scene.rng)}


def extreme(scene: Scene, shape: str, function: str, predicate: str, count: int = 0) -> Sample:
    """Which one is the most or the least: `function` finds the value, the joiner the name.

    A `count` of 0 leaves it open how many there are.
    """
    count = count or scene.rng.choice((3, 3, 3, 4, 4, 5, 6))
    things, attribute = scene.things(count, anything)
    words = scene.words(attribute)
    if predicate not in words:
        raise NoFit
    slots = {**words, **names_by_letter(things), **lists(scene, things)}
    if is_year(attribute):
        del slots["noun"]  # nobody says "the greater year"
    question = scene.fill(shape, slots)
    draft = Draft()
    refs = [look_up(draft, thing, attribute) for thing in things]
    ref = draft.calculate(f"{function}({', '.join(refs)})")
    ending, right = winner(
        draft, things, refs, ref, attribute, said(question, words, predicate, attribute)
    )
    return scene.sample(shape, question, [draft.round(ending)], count, right)


def said(question: str, words: dict[str, str], predicate: str, attribute: str) -> str:
    """The question's own predicate where it has one."""
    if words[predicate] in question:
        return words[predicate]
    degree = {"more": "greater", "most": "greatest", "less": "smaller", "least": "smallest"}
    return f"has the {degree[predicate]} {attribute}"


def winner(
    draft: Draft, things: list[Thing], refs: list[str], ref: str, attribute: str, predicate: str
) -> tuple[str, Right]:
    """The ending that names the thing whose value is the result `ref`, and what makes it right."""
    values = [number(draft.value(each)) for each in refs]
    best = draft.value(ref)
    # The calculator may spell the unit its own way and drops digits beyond the sixth.
    close = [isclose(each, number(best), rel_tol=1e-5) for each in values]
    if close.count(True) != 1:
        raise NoFit
    won = things[close.index(True)]
    rivals = tuple(thing.name for thing in things if thing is not won)
    ending = f"Answer: {at(attribute, best)}, {won.written} {predicate}."
    return ending, Right(names=(won.name,), rivals=rivals)


def compare_by(scene: Scene) -> Sample:
    things, attribute = scene.things(2, quantity)
    words = scene.words(attribute)
    if "more" not in words:
        raise NoFit
    first, second = things
    unit = unit_of(first.values[attribute])
    slots = {**words, **names_by_letter(things)}
    if unit in _UNITS:
        slots["units"] = _UNITS[unit]
    question = scene.fill("compare_by", slots)
    draft = Draft()
    ref = draft.calculate(
        f"{look_up(draft, first, attribute)} - {look_up(draft, second, attribute)}"
    )
    gap = draft.value(ref)
    won, lost = (second, first) if gap.startswith("-") else (first, second)
    predicate = f"has the greater {attribute}"
    if "comp" in words:
        predicate = f"is {words['comp']} than {lost.written}"
    ending = f"{capitalized(won.written)} {predicate}, by {shown(gap.removeprefix('-'))}."
    right = Right(names=(won.name,), rivals=(lost.name,), numbers=(abs(number(gap)),))
    return scene.sample("compare_by", question, [draft.round(f"Answer: {ending}")], 2, right)


def in_order_of_mention(question: str, things: list[Thing]) -> list[Thing]:
    places = {thing.name: question.find(thing.name) for thing in things}
    names = list(places)
    if min(places.values()) < 0 or any(a != b and a in b for a in names for b in names):
        raise NoFit  # a name inside of another one can't be found
    return sorted(things, key=lambda thing: places[thing.name])


def _extreme(shape: str, function: str, predicate: str, count: int = 0) -> Shape:
    return partial(extreme, shape=shape, function=function, predicate=predicate, count=count)


FACTS: dict[str, Shape] = {
    "lookup": lookup,
    "attributes": attributes,
    "list": several,
    "compare": _extreme("compare", "max", "more", 2),
    "compare_down": _extreme("compare_down", "min", "less", 2),
    "compare_by": compare_by,
    "superlative": _extreme("superlative", "max", "most"),
    "superlative_down": _extreme("superlative_down", "min", "least"),
}
