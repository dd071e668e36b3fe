"""Shapes in which values are changed before they are asked about."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from train.bundled.changes import Change, any_change, the_same
from train.bundled.combined import FIGURES
from train.bundled.draft import Draft
from train.bundled.questions import names_by_letter
from train.bundled.scene import NoFit, Scene, look_up, number, shown
from train.bundled.shapes import Shape, in_order_of_mention, quantity, said, winner
from train.bundled.things import Thing, content
from train.samples import Right, Sample
from train.wording import capitalized

# What is asked -> how many things are changed.
_COUNTS = {
    "max": (2, 2, 3, 3, 4, 5),
    "min": (2, 2, 3, 3, 4, 5),
    "sum": (2, 2, 3, 4, 5),
    "average": (2, 2, 3, 4, 5),
    "difference": (2,),
    "ratio": (2,),
    "extremes_ratio": (2, 3, 3, 4),
    "extremes_average": (3, 3, 4),
}


def change_one(scene: Scene) -> Sample:
    (thing,), attribute = scene.things(1, quantity)
    change = any_change(scene.rng)
    slots = _slots(scene, thing, attribute)
    for form in ("finite", "clause", "participle", "imperative"):
        phrase = change.phrase(form, scene, slots)
        if phrase is not None:
            slots[form] = phrase
    question = capitalized(scene.fill("change", slots))
    draft = Draft()
    value = draft.value(draft.calculate(change.expression(look_up(draft, thing, attribute))))
    ending = f"Answer: It would be {shown(value)}."
    right = Right(numbers=(number(value),))
    return scene.sample("change", question, [draft.round(ending)], 1, right)


def _slots(scene: Scene, thing: Thing, attribute: str) -> dict[str, str]:
    return {**scene.words(attribute), "a": thing.written}


def adjusted(scene: Scene, asked: str) -> Sample:
    """Each thing is changed in its own way, then they are compared or combined."""
    things, attribute = scene.things(scene.rng.choice(_COUNTS[asked]), quantity)
    words = scene.words(attribute)
    if not {"most", "least"} <= words.keys():
        raise NoFit
    changes = _changes(scene, len(things))
    ask = _asked(scene, asked, things, words)
    question = _question(scene, things, changes, attribute, ask)
    draft = Draft()
    refs = [look_up(draft, thing, attribute) for thing in things]
    changed = [
        draft.calculate(change.expression(ref)) for change, ref in zip(changes, refs, strict=True)
    ]
    if asked in FIGURES:
        value = draft.value(draft.calculate(FIGURES[asked].of(changed)))
        told = f"Answer: {FIGURES[asked].ending.format(shown(value))}"
        right = Right(numbers=(number(value),))
    else:
        ref = draft.calculate(f"{asked}({', '.join(changed)})")
        predicate = said(ask, words, "most" if asked == "max" else "least", attribute)
        told, right = winner(draft, things, changed, ref, attribute, predicate)
    shape = f"adjusted_{asked}"
    return scene.sample(shape, question, [draft.round(told)], len(things), right)


def _changes(scene: Scene, count: int) -> list[Change]:
    """Mostly one each; now and then the second is changed by what the first one was."""
    changes = [any_change(scene.rng) for _ in range(count)]
    if count == 2 and scene.rng.random() < 0.15:
        first = changes[0]
        if "n" in first.slots:
            way = scene.rng.choice(("more_percent", "less_percent"))
            changes[1] = Change(way, first.slots)
    return changes


def _asked(scene: Scene, asked: str, things: list[Thing], words: dict[str, str]) -> str:
    templates = scene.part_of(content("phrasings")["adjusted_ask"][asked])
    slots = {**words, **names_by_letter(things), "kind": things[0].kind}
    return scene.fill_from(templates, slots)


def _question(
    scene: Scene, things: Sequence[Thing], changes: Sequence[Change], attribute: str, ask: str
) -> str:
    same = len(changes) == 2 and changes[0].slots == changes[1].slots
    repeated = same and "n" in changes[0].slots
    said_as: dict[str, list[str]] = {"clause": [], "participle": [], "imperative": []}
    for at, (thing, change) in enumerate(zip(things, changes, strict=True)):
        slots = _slots(scene, thing, attribute)
        for form, phrases in said_as.items():
            phrase = _phrase(scene, change, form, slots)
            if repeated and at == 1:
                phrase = the_same(phrase, change, scene.rng)
            phrases.append(phrase)
    clauses, participles, imperatives = (_joined(scene, each) for each in said_as.values())
    slots = {
        "clauses": clauses,
        "Clauses": capitalized(clauses),
        "participles": participles,
        "imperatives": imperatives,
        "Imperatives": capitalized(imperatives),
        "ask": ask,
        "Ask": capitalized(ask),
    }
    return scene.fill("adjusted", slots)


def _phrase(scene: Scene, change: Change, form: str, slots: dict[str, str]) -> str:
    """A clause may be a name with a verb; a participle stands behind a name or its attribute."""
    if form == "clause" and scene.rng.random() < 0.5:
        verb = change.phrase("finite", scene, slots)
        phrase = verb and f"{slots['a']} {verb}"
    else:
        phrase = change.phrase(form, scene, slots)
    if phrase is None:
        raise NoFit
    if form == "participle":
        name = slots["a"]
        subject = scene.rng.choice(
            (name, f"{name}'s {slots['noun']}", f"the {slots['noun']} of {name}")
        )
        phrase = f"{subject} {phrase}"
    return phrase


def _joined(scene: Scene, phrases: Sequence[str]) -> str:
    last = scene.rng.choice((" and ", ", and ", ", while ") if len(phrases) > 1 else ("",))
    return ", ".join(phrases[:-1]) + last + phrases[-1]


def changed_and_not(scene: Scene) -> Sample:
    """One is changed, the other is not."""
    things, attribute = scene.things(2, quantity)
    words = scene.words(attribute)
    if "more" not in words:
        raise NoFit
    change = any_change(scene.rng)
    slots = {**words, **names_by_letter(things)}
    for form in ("finite", "clause", "imperative"):
        phrase = change.phrase(form, scene, slots)
        if phrase is not None:
            slots[form] = phrase
    if "imperative" in slots:
        slots["Imperative"] = capitalized(slots["imperative"])
    question = scene.fill("changed_and_not", slots)
    if in_order_of_mention(question, things) != things:
        raise NoFit
    draft = Draft()
    first, second = (look_up(draft, thing, attribute) for thing in things)
    changed = draft.calculate(change.expression(first))
    ref = draft.calculate(f"max({changed}, {second})")
    predicate = said(question, words, "more", attribute)
    told, right = winner(draft, things, [changed, second], ref, attribute, predicate)
    return scene.sample("changed_and_not", question, [draft.round(told)], 2, right)


ADJUSTED: dict[str, Shape] = {
    "change": change_one,
    "changed_and_not": changed_and_not,
    **{f"adjusted_{asked}": partial(adjusted, asked=asked) for asked in _COUNTS},
}
