"""Shapes about what is text: look-ups, look-ups of what another one gives, dates of birth."""

from __future__ import annotations

from dataclasses import replace

from train.bundled.draft import Draft
from train.bundled.questions import and_list, names_by_letter
from train.bundled.scene import NoFit, Scene, at, number
from train.bundled.shapes import Shape, fact, in_order_of_mention, said, stated
from train.bundled.things import Thing, content, known
from train.samples import Right, Sample
from train.wording import capitalized


def text(scene: Scene) -> Sample:
    thing, attribute = _with_text(scene)
    slots = _text_slots(scene, thing, attribute)
    question = capitalized(scene.fill("text", slots))
    draft = Draft()
    draft.search(f"{attribute} of {thing.name}", thing.texts[attribute])
    ending = f"Answer: {capitalized(slots['of'])} is {thing.texts[attribute]}."
    right = Right(names=(thing.texts[attribute],))
    return scene.sample("text", question, [draft.round(ending)], 1, right)


def _with_text(scene: Scene, *, linked: bool = False) -> tuple[Thing, str]:
    entries = content("lexicon")["texts"]
    able = [each for each in known(held_out=scene.held_out) if each.texts]
    kind = scene.rng.choice(sorted({each.kind for each in able}))
    thing = scene.rng.choice([each for each in able if each.kind == kind])
    attributes = sorted(each for each in thing.texts if not linked or "link" in entries[each])
    if not attributes:
        raise NoFit
    return scene.spelled(thing), scene.rng.choice(attributes)


def _text_slots(scene: Scene, thing: Thing, attribute: str) -> dict[str, str]:
    entry = content("lexicon")["texts"][attribute]
    slots = {"of": entry["of"].format(a=thing.written)}
    if asks := scene.part_of(entry["ask"]):
        slots["ask"] = scene.rng.choice(asks).format(a=thing.written)
    return slots


def text_list(scene: Scene) -> Sample:
    """The same text attribute of two or three, or different ones."""
    count = scene.rng.randint(2, 4)
    chosen = [_with_text(scene) for _ in range(count)]
    if len({(thing.name, attribute) for thing, attribute in chosen}) < count:
        raise NoFit
    entries = content("lexicon")["texts"]
    told = [entries[attribute]["of"].format(a=thing.written) for thing, attribute in chosen]
    question = scene.fill("text_list", {"of_list": and_list(told, scene.rng)})
    draft = Draft()
    found = [
        draft.value(draft.search(f"{attribute} of {thing.name}", thing.texts[attribute]))
        for thing, attribute in chosen
    ]
    parts = [f"{of} is {value}" for of, value in zip(told, found, strict=True)]
    ending = f"Answer: {capitalized(', '.join(parts))}."
    right = Right(names=tuple(found))
    return scene.sample("text_list", question, [draft.round(ending)], count, right)


def step(scene: Scene) -> Sample:
    """An attribute of what another look-up gives."""
    thing, link, target, attribute = _linked(scene)
    words = scene.words(attribute) if attribute in target.values else {"noun": attribute}
    entry = content("lexicon")["texts"][link]
    question = scene.fill("step", {**words, "of": entry["of"].format(a=thing.written)})
    draft = Draft()
    ref = draft.search(f"{link} of {thing.name}", thing.texts[link])
    value = {**target.values, **target.texts}[attribute]
    draft.search(f"{attribute} of {ref}", value)
    ending = f"Answer: {capitalized(fact(target, attribute, value))}"
    right = stated([attribute], [value])
    return scene.sample("step", question, [draft.round(ending)], 1, right)


def _linked(scene: Scene) -> tuple[Thing, str, Thing, str]:
    """A thing, the text that names another one, that one, and something known of it."""
    thing, link = _with_text(scene, linked=True)
    kind = content("lexicon")["texts"][link]["link"]
    # What is measured may lead to things that are trained on; the other way round would leak.
    open_to = [*known(held_out=False), *(known(held_out=True) if scene.held_out else ())]
    targets = [each for each in open_to if each.kind == kind and each.name == thing.texts[link]]
    if not targets:
        raise NoFit
    target = replace(targets[0], article="")
    attribute = scene.rng.choice(sorted({*target.values, *target.texts}))
    return thing, link, target, attribute


def step_compare(scene: Scene) -> Sample:
    first, second = (_linked(scene), _linked(scene))
    links = (first[1], second[1])
    shared = sorted(first[2].values.keys() & second[2].values.keys())
    if links[0] != links[1] or first[2].name == second[2].name or not shared:
        raise NoFit
    attribute = scene.rng.choice(shared)
    words = scene.words(attribute)
    of = content("lexicon")["texts"][links[0]]["of"]
    told = [of.format(a=each[0].written) for each in (first, second)]
    slots = {**words, "of_a": told[0], "of_b": told[1]}
    question = scene.fill("step_compare", slots)
    draft = Draft()
    found = [
        draft.search(f"{links[0]} of {each[0].name}", each[2].name) for each in (first, second)
    ]
    refs = [
        draft.search(f"{attribute} of {ref}", each[2].values[attribute])
        for ref, each in zip(found, (first, second), strict=True)
    ]
    best = draft.value(draft.calculate(f"max({', '.join(refs)})"))
    lost, won = sorted((first, second), key=lambda each: number(each[2].values[attribute]))
    if lost[2].values[attribute] == won[2].values[attribute]:
        raise NoFit
    predicate = said(question, words, "more", attribute)
    ending = f"Answer: {at(attribute, best)}, {won[2].name} {predicate}."
    right = Right(names=(won[2].name,), rivals=(lost[2].name,))
    return scene.sample("step_compare", question, [draft.round(ending)], 2, right)


def born_first(scene: Scene) -> Sample:
    people = [each for each in known(held_out=scene.held_out) if "date of birth" in each.texts]
    first, second = (scene.spelled(each) for each in scene.rng.sample(people, 2))
    dates = [each.texts["date of birth"] for each in (first, second)]
    if dates[0] == dates[1]:
        raise NoFit
    question = scene.fill("born_first", names_by_letter([first, second]))
    draft = Draft()
    refs = [
        draft.search(f"date of birth of {each.name}", each.texts["date of birth"])
        for each in in_order_of_mention(question, [first, second])
    ]
    draft.calculate(f"min({', '.join(refs)})")
    won, lost = (first, second) if dates[0] < dates[1] else (second, first)
    ending = f"Answer: {capitalized(won.written)} was born first, on {min(dates)}."
    right = Right(names=(won.name,), rivals=(lost.name,))
    return scene.sample("born_first", question, [draft.round(ending)], 2, right)


TEXTS: dict[str, Shape] = {
    "text": text,
    "text_list": text_list,
    "step": step,
    "step_compare": step_compare,
    "born_first": born_first,
}
