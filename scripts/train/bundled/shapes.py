"""Shapes of questions about facts: each makes a question, its plan and its ending."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import isclose

from train.bundled.draft import Draft
from train.bundled.questions import (
    and_list,
    is_year,
    names_by_letter,
    or_list,
    own_questions,
    reads_otherwise,
)
from train.bundled.scene import NoFit, Scene, at, look_up, number, shown
from train.bundled.things import Thing, content, unit_of
from train.samples import Right, Sample
from train.wording import capitalized

Shape = Callable[[Scene], Sample]

# The function that finds an extreme -> how a question names it.
EXTREMES = {
    "max": ("greatest", "largest", "biggest", "maximum", "highest"),
    "min": ("smallest", "least", "minimum", "lowest"),
}
_UNITS = {"m": "metres", "km": "kilometres", "kg": "kilograms", "day": "days", "person": "people"}


def quantity(attribute: str, unit: str) -> bool:
    """What can be added and scaled: no year."""
    return not is_year(attribute)


def anything(attribute: str, unit: str) -> bool:
    return True


def lookup(scene: Scene) -> Sample:
    (thing,), attribute = scene.things(1, anything)
    slots = {**scene.words(attribute), "a": thing.written}
    if is_year(attribute):
        whens = scene.part_of(own_questions(attribute, "when"))
        question = scene.fill_from(whens, slots)
    else:
        question = scene.fill("lookup", slots, own_questions(attribute, "ask"))
    draft = Draft()
    value = draft.value(look_up(draft, thing, attribute))
    ending = f"Answer: {capitalized(fact(thing, attribute, value))}"
    return scene.sample("lookup", question, [draft.round(ending)], 1, stated([attribute], [value]))


def fact(thing: Thing, attribute: str, value: str) -> str:
    if attribute == "year of first flight":
        return f"{thing.written} first flew in {value}."
    if is_year(attribute):
        return f"{thing.written} was {attribute.removeprefix('year ')} in {value}."
    return f"the {attribute} of {thing.written} is {shown(value)}."


def stated(attributes: Sequence[str], values: Sequence[str]) -> Right:
    """What an answer has to state: these values, with years and texts as they are."""
    each = list(zip(attributes, values, strict=True))
    numeric = content("lexicon")["attributes"]
    names = tuple(value for name, value in each if is_year(name) or name not in numeric)
    numbers = tuple(number(value) for name, value in each if name in numeric and not is_year(name))
    return Right(names=names, numbers=numbers)


def attributes(scene: Scene) -> Sample:
    (thing,), _ = scene.things(1, quantity)
    able = sorted({**thing.values, **thing.texts})
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
    ending = f"Answer: {capitalized(thing.written)}: {', '.join(told)}."
    right = stated(chosen, [results[each] for each in chosen])
    return scene.sample("attributes", question, [draft.round(ending)], len(chosen), right)


def two_questions(scene: Scene) -> Sample:
    """Two questions in one, about the same thing or about two."""
    (first,), one = scene.things(1, anything)
    if scene.rng.random() < 0.6:
        second, other = first, scene.rng.choice(sorted(first.values))
        named = "it"
    else:
        (second,), other = scene.things(1, anything)
        named = second.written
    if (first.name, one) == (second.name, other):
        raise NoFit
    asked = [
        _asked(scene, attribute, name) for attribute, name in ((one, first.written), (other, named))
    ]
    slots = {"first": asked[0].removesuffix("?"), "second": asked[1][0].lower() + asked[1][1:]}
    question = scene.fill("two_questions", slots)
    draft = Draft()
    values = [draft.value(look_up(draft, first, one)), draft.value(look_up(draft, second, other))]
    facts = [fact(first, one, values[0]), fact(second, other, values[1])]
    ending = f"Answer: {' '.join(map(capitalized, facts))}"
    right = stated([one, other], values)
    return scene.sample("two_questions", question, [draft.round(ending)], 2, right)


def _asked(scene: Scene, attribute: str, name: str) -> str:
    """One of the attribute's own questions, about what goes by that name."""
    asks = scene.part_of(own_questions(attribute, "when" if is_year(attribute) else "ask"))
    whole = [each for each in asks if "{a}'s" not in each and each[0].isalpha()]
    return scene.fill_from([each for each in whole if each.endswith("?")], {"a": name})


def several(scene: Scene) -> Sample:
    """The same of several, without a calculation."""
    things, attribute = scene.things(scene.rng.randint(2, 6), quantity)
    draft = Draft()
    values = [draft.value(look_up(draft, thing, attribute)) for thing in things]
    told = [f"{thing.written}: {shown(value)}" for thing, value in zip(things, values, strict=True)]
    slots = {**scene.words(attribute), **lists(scene, things)}
    ending = f"Answer: {capitalized(', '.join(told))}."
    right = stated([attribute] * len(things), values)
    question = scene.fill("list", slots)
    return scene.sample("list", question, [draft.round(ending)], len(things), right)


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
    things = in_order_of_mention(question, things)
    draft = Draft()
    refs = [look_up(draft, thing, attribute) for thing in things]
    ref = draft.calculate(f"{function}({', '.join(refs)})")
    ending, right = winner(
        draft, things, refs, ref, attribute, said(question, words, predicate, attribute)
    )
    return scene.sample(shape, question, [draft.round(ending)], count, right)


def extreme_value(scene: Scene) -> Sample:
    """How much the most or the least is, not whose it is."""
    things, attribute = scene.things(scene.rng.choice((3, 3, 4, 5)), quantity)
    function = scene.rng.choice(("max", "min"))
    words = scene.words(attribute)
    slots = {
        "noun": words["noun"],
        "extreme": scene.rng.choice(EXTREMES[function]),
        "and_list": lists(scene, things)["and_list"],
    }
    question = scene.fill("extreme_value", slots)
    if reads_otherwise(question, attribute, slots["noun"]):
        raise NoFit
    draft = Draft()
    refs = [look_up(draft, thing, attribute) for thing in things]
    ref = draft.calculate(f"{function}({', '.join(refs)})")
    predicate = f"has the {'greatest' if function == 'max' else 'smallest'} {attribute}"
    ending, _ = winner(draft, things, refs, ref, attribute, predicate)
    right = stated([attribute], [draft.value(ref)])
    return scene.sample("extreme_value", question, [draft.round(ending)], len(things), right)


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
    unit = unit_of(things[0].values[attribute])
    slots = {**words, **names_by_letter(things)}
    if unit in _UNITS:
        slots["units"] = _UNITS[unit]
    question = scene.fill("compare_by", slots, own_questions(attribute, "by"))
    draft = Draft()
    things = in_order_of_mention(question, things)
    refs = [look_up(draft, thing, attribute) for thing in things]
    draft.calculate(f"max({', '.join(refs)})")
    gap = draft.value(draft.calculate(f"abs({' - '.join(refs)})"))
    lost, won = sorted(things, key=lambda thing: number(thing.values[attribute]))
    predicate = f"has the greater {attribute}"
    if "comp" in words:
        predicate = f"is {words['comp']} than {lost.written}"
    ending = f"{capitalized(won.written)} {predicate}, by {shown(gap)}."
    right = Right(names=(won.name,), rivals=(lost.name,), numbers=(number(gap),))
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
    "two_questions": two_questions,
    "list": several,
    "extreme_value": extreme_value,
    "compare": _extreme("compare", "max", "more", 2),
    "compare_down": _extreme("compare_down", "min", "less", 2),
    "compare_by": compare_by,
    "superlative": _extreme("superlative", "max", "most"),
    "superlative_down": _extreme("superlative_down", "min", "least"),
}
