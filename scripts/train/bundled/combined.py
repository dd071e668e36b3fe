"""Shapes that put several values into one figure: sums, averages, ratios, conversions, pairs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from train.bundled.draft import Draft
from train.bundled.questions import (
    and_list,
    is_year,
    names_by_letter,
    own_questions,
    reads_otherwise,
)
from train.bundled.scene import NoFit, Scene, look_up, number, shown
from train.bundled.shapes import EXTREMES, Shape, fact, in_order_of_mention, lists, quantity
from train.bundled.things import Thing, content, unit_of
from train.samples import Right, Sample
from train.wording import capitalized

_OF_TWO = {"max": "larger", "min": "smaller"}


class Figure(NamedTuple):
    """How several values become one: {all} are all of them, {0} and {1} the first two."""

    expression: str
    ending: str

    def of(self, refs: Sequence[str]) -> str:
        return self.expression.format(*refs, all=", ".join(refs), plus=" + ".join(refs))


FIGURES = {
    "sum": Figure("{plus}", "The total is {}."),
    "average": Figure("mean({all})", "The average is {}."),
    "difference": Figure("abs({0} - {1})", "The difference is {}."),
    "ratio": Figure("{0} / {1}", "The ratio is {}."),
    "share": Figure("{0} / {1} * 100", "It is {}%."),
    "extremes_ratio": Figure("max({all}) / min({all})", "The ratio is {}."),
    "extremes_average": Figure("mean(max({all}), min({all}))", "The average is {}."),
    "extremes_difference": Figure("max({all}) - min({all})", "The difference is {}."),
}


def with_result(
    scene: Scene, shape: str, question: str, draft: Draft, ending: str, width: int
) -> Sample:
    """A sample whose answer is the result of the draft's last call, put into `ending`."""
    value = draft.value(f"${draft.next_id - 1}")
    told = f"Answer: {ending.format(shown(value))}"
    right = Right(numbers=(number(value),))
    return scene.sample(shape, question, [draft.round(told)], width, right)


def combined(scene: Scene, shape: str, count: int = 0) -> Sample:
    """The figure of several things; a `count` of 0 leaves it open how many."""
    count = count or scene.rng.choice((2, 2, 3, 3, 4, 5, 6))
    if shape.startswith("extremes") and count == 2:
        count = 3
    things, attribute = scene.things(count, quantity)
    slots = {**scene.words(attribute), **names_by_letter(things), **lists(scene, things)}
    own = own_questions(attribute, "sum") if shape == "sum" else ()
    question = scene.fill(shape, slots, own)
    if reads_otherwise(question, attribute, slots["noun"]):
        raise NoFit
    draft = Draft()
    refs = [look_up(draft, thing, attribute) for thing in things]
    draft.calculate(FIGURES[shape].of(refs))
    return with_result(scene, shape, question, draft, FIGURES[shape].ending, count)


def quotient(scene: Scene, shape: str) -> Sample:
    """The figure of two things, looked up in the order in which the question names them."""
    things, attribute = scene.things(2, quantity)
    slots = {**scene.words(attribute), **names_by_letter(things)}
    own = own_questions(attribute, "times") if shape == "ratio" else ()
    question = scene.fill(shape, slots, own)
    draft = Draft()
    draft.calculate(FIGURES[shape].of(_as_mentioned(draft, question, things, attribute)))
    return with_result(scene, shape, question, draft, FIGURES[shape].ending, 2)


def _as_mentioned(draft: Draft, question: str, things: list[Thing], attribute: str) -> list[str]:
    """Looks the things up in the order of the question; their references in the given order."""
    ordered = in_order_of_mention(question, things)
    refs = {thing.name: look_up(draft, thing, attribute) for thing in ordered}
    return [refs[thing.name] for thing in things]


def convert(scene: Scene) -> Sample:
    table = content("lexicon")["conversions"]
    (thing,), attribute = scene.things(1, lambda attribute, unit: unit in table)
    target, unit = scene.rng.choice(list(table[unit_of(thing.values[attribute])].items()))
    slots = {**scene.words(attribute), "a": thing.written, "target": target}
    question = scene.fill("convert", slots)
    draft = Draft()
    value = draft.value(draft.calculate(f"{look_up(draft, thing, attribute)} to {unit}"))
    ending = capitalized(fact(thing, attribute, value))
    return with_result(scene, "convert", question, draft, ending, 1)


def combined_convert(scene: Scene) -> Sample:
    table = content("lexicon")["conversions"]
    count = scene.rng.randint(2, 3)
    things, attribute = scene.things(count, lambda _, unit: unit in table and unit != "K")
    target, unit = scene.rng.choice(list(table[unit_of(things[0].values[attribute])].items()))
    slots = {**scene.words(attribute), **lists(scene, things), "target": target}
    question = scene.fill("combined_convert", slots)
    draft = Draft()
    refs = [look_up(draft, thing, attribute) for thing in things]
    total = draft.calculate(" + ".join(refs))
    draft.calculate(f"{total} to {unit}")
    return with_result(scene, "combined_convert", question, draft, "The total is {}.", count)


def difference_convert(scene: Scene) -> Sample:
    table = content("lexicon")["conversions"]
    things, attribute = scene.things(2, lambda _, unit: unit in table and unit != "K")
    target, unit = scene.rng.choice(list(table[unit_of(things[0].values[attribute])].items()))
    slots = {**scene.words(attribute), **names_by_letter(things), "target": target}
    question = scene.fill("difference_convert", slots)
    draft = Draft()
    things = in_order_of_mention(question, things)
    refs = [look_up(draft, thing, attribute) for thing in things]
    gap = draft.calculate(f"abs({' - '.join(refs)})")
    draft.calculate(f"{gap} to {unit}")
    return with_result(scene, "difference_convert", question, draft, "The difference is {}.", 2)


def per(scene: Scene) -> Sample:
    """One attribute divided by another one of the same thing."""
    (thing,), _ = scene.things(1, quantity)
    able = sorted(each for each in thing.values if not is_year(each))
    if len(able) < 2:
        raise NoFit
    over, under = scene.rng.sample(able, 2)
    question = scene.fill("per", {"a": thing.written, "noun": over, "noun2": under})
    draft = Draft()
    refs = [look_up(draft, thing, each) for each in (over, under)]
    draft.calculate(f"{refs[0]} / {refs[1]}")
    return with_result(scene, "per", question, draft, "It is {}.", 2)


def years_between(scene: Scene) -> Sample:
    things, attribute = scene.things(2, lambda attribute, _: is_year(attribute))
    things.sort(key=lambda thing: number(thing.values[attribute]))
    second = things[1]
    was = "did" if attribute == "year of first flight" else "was"
    verb = "fly" if was == "did" else attribute.removeprefix("year ")
    slots = {**names_by_letter(things), "noun": attribute, "was": was}
    question = scene.fill("years_between", slots)
    if question.endswith(f"{was} {second.written}?"):
        question = f"{question[:-1]} {verb}?"
    draft = Draft()
    refs = [look_up(draft, thing, attribute) for thing in things]
    draft.calculate(f"abs({refs[0]} - {refs[1]})")
    return with_result(scene, "years_between", question, draft, "{} years.", 2)


def pairs(scene: Scene, shape: str, figure: Figure) -> Sample:
    """The greatest or the smallest of what pairs have between them; a thing may be in two pairs."""
    count = scene.rng.choice((3, 4, 4, 4, 5))
    things, attribute = scene.things(count, quantity)
    chain = count != 4 or scene.rng.random() < 0.3
    starts = range(0, count - 1, 1 if chain else 2)
    chosen = [(things[at], things[at + 1]) for at in starts]
    function = scene.rng.choice(("max", "min"))
    question = scene.fill(shape, _pair_slots(scene, things, chosen, attribute, function))
    draft = Draft()
    refs = {thing.name: look_up(draft, thing, attribute) for thing in things}
    values = [draft.calculate(figure.of([refs[a.name], refs[b.name]])) for a, b in chosen]
    draft.calculate(f"{function}({', '.join(values)})")
    return with_result(scene, shape, question, draft, "It is {}.", count)


def _pair_slots(
    scene: Scene,
    things: list[Thing],
    chosen: list[tuple[Thing, Thing]],
    attribute: str,
    function: str,
) -> dict[str, str]:
    between = [f"between {a.written} and {b.written}" for a, b in chosen]
    to = [f"{a.written} to {b.written}" for a, b in chosen]
    slots = {
        "noun": scene.words(attribute)["noun"],
        "extreme": scene.rng.choice(EXTREMES[function]),
        "between_pairs": and_list(between, scene.rng),
        "to_pairs": and_list(to, scene.rng),
    }
    if len(chosen) == 2 and len(things) == 4:
        slots |= {**names_by_letter(things), "extreme_of_two": _OF_TWO[function]}
    return slots


def four(scene: Scene, shape: str, operator: str, ending: str) -> Sample:
    """Two sums against each other."""
    things, attribute = scene.things(4, quantity)
    slots = {**scene.words(attribute), **names_by_letter(things)}
    question = scene.fill(shape, slots)
    draft = Draft()
    first, second, third, fourth = _as_mentioned(draft, question, things, attribute)
    sums = sorted([(first, second), (third, fourth)])
    made = {pair: draft.calculate(" + ".join(pair)) for pair in sums}
    result = draft.calculate(f"{made[first, second]} {operator} {made[third, fourth]}")
    if draft.value(result).startswith("-"):
        raise NoFit  # nobody asks by how much the smaller one is greater
    return with_result(scene, shape, question, draft, ending, 4)


COMBINED: dict[str, Shape] = {
    "difference": partial(combined, shape="difference", count=2),
    "ratio": partial(quotient, shape="ratio"),
    "sum": partial(combined, shape="sum"),
    "average": partial(combined, shape="average"),
    "extremes_ratio": partial(combined, shape="extremes_ratio"),
    "extremes_average": partial(combined, shape="extremes_average"),
    "extremes_difference": partial(combined, shape="extremes_difference"),
    "share": partial(quotient, shape="share"),
    "convert": convert,
    "combined_convert": combined_convert,
    "difference_convert": difference_convert,
    "per": per,
    "years_between": years_between,
    "pair_difference": partial(pairs, shape="pair_difference", figure=FIGURES["difference"]),
    "pair_ratio": partial(pairs, shape="pair_ratio", figure=FIGURES["ratio"]),
    "combined_by": partial(four, shape="combined_by", operator="-", ending="By {}."),
    "combined_ratio": partial(
        four, shape="combined_ratio", operator="/", ending="The ratio is {}."
    ),
}
