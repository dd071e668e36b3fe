"""Questions of other shapes with a look-up that finds nothing, or two.

Where the fact base knows the name, another try would find no more, and the answer tells what it has
instead. Where it doesn't, the bare name is tried, and then the answer admits it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from executor.builtin import search
from executor.errors import ToolError
from train.bundled.combined import COMBINED
from train.bundled.draft import Draft
from train.bundled.scene import NoFit, Scene, shown
from train.bundled.shapes import FACTS, Shape
from train.bundled.texts import TEXTS
from train.bundled.things import Thing, content, invented, known
from train.samples import Right, Sample
from train.wording import capitalized

# How often which shape's questions are asked: mostly the plain ones.
_ASKED: dict[str, float] = {
    "lookup": 6,
    "text": 3,
    "list": 2,
    "compare": 3,
    "compare_by": 1,
    "superlative": 1,
    "convert": 3,
    "difference": 1,
    "ratio": 1,
    "sum": 1,
    "average": 1,
    "step": 2,
}
_SHAPES: dict[str, Shape] = {**FACTS, **COMBINED, **TEXTS}
_SHARE_OF_TWO = 0.4
_LINE = re.compile(r'(\d+)\. (search|calculate)\("(.*)"\)')


@dataclass(frozen=True)
class _LookUp:
    """What is looked up directly, by the id of its task; `written` is how the question has it."""

    id: int
    attribute: str
    name: str
    written: str

    @property
    def query(self) -> str:
        return f"{self.attribute} of {self.name}"


def lost(scene: Scene, *, unknown: bool) -> Sample:
    """`unknown`: nobody has heard of what is asked about; else something else is known of it."""
    base = _SHAPES[scene.rng.choices(list(_ASKED), list(_ASKED.values()))[0]](scene)
    (told,) = base.rounds
    question = base.question
    look_ups = _look_ups(told.plan, question)
    several = not unknown and scene.rng.random() < _SHARE_OF_TWO
    gone = []
    for each in scene.rng.sample(look_ups, min(len(look_ups), 2 if several else 1)):
        thing = scene.spelled(
            invented(scene.rng) if unknown else _lacking(scene, each.attribute, question)
        )
        question = capitalized(_spot(each.name).sub(thing.written, question))
        gone.append(_LookUp(each.id, each.attribute, thing.name, thing.written))
    gone.sort(key=lambda each: each.id)
    if len({each.name for each in gone}) < len(gone) or len({each.attribute for each in gone}) > 1:
        raise NoFit
    draft = _without(told.plan, told.results, gone)
    left = [each for each in look_ups if each.id not in {one.id for one in gone}]
    ending = _admission(draft, gone, left, tell_known=not unknown)
    if any(("; known of " in draft.value(f"${each.id}")) == unknown for each in gone):
        raise NoFit
    if not unknown:
        rounds = [draft.round(ending)]
    else:
        (it,) = gone
        first = draft.round(f"Replan: nothing found on the {it.attribute} of {it.name}")
        again = Draft(draft.next_id, first.results)
        again.search(it.name, _found(it.name))
        rounds = [first, again.round(ending)]
    shape = "nothing_found" if unknown else "gap"
    return scene.sample(shape, question, rounds, base.width, Right(admits=True))


def _look_ups(plan: str, question: str) -> list[_LookUp]:
    """Raises NoFit if one's name doesn't stand in the question, once."""
    attributes = {*content("lexicon")["attributes"], *content("lexicon")["texts"]}
    found = []
    for id, tool, argument in _LINE.findall(plan):
        if tool == "calculate" or "$" in argument:
            continue
        parts = argument.split(" of ")
        splits = [(" of ".join(parts[:at]), " of ".join(parts[at:])) for at in range(1, len(parts))]
        spots = [
            (attribute, name, _spot(name).findall(question))
            for attribute, name in splits
            if attribute in attributes
        ]
        fitting = [each for each in spots if len(each[2]) == 1]
        if len(fitting) != 1:
            raise NoFit
        attribute, name, (written,) = fitting[0]
        article = written.removesuffix(name).lower()
        found.append(_LookUp(int(id), attribute, name, article + name))
    return found


def _spot(name: str) -> re.Pattern[str]:
    """Where a name stands in a question, with its article."""
    return re.compile(rf"(?<!\w)(?:[Tt]he )?{re.escape(name)}(?!\w)")


def _lacking(scene: Scene, attribute: str, question: str) -> Thing:
    """Something known, but not that about it; of any kind if the question has the attribute's name.

    Otherwise the question's words for it, such as "how deep", may not fit.
    """
    everything = known(held_out=scene.held_out)
    kinds = {each.kind for each in everything if _has(each, attribute)}
    able = [
        each
        for each in everything
        if not _has(each, attribute) and (each.kind in kinds or attribute in question)
    ]
    if not able:
        raise NoFit
    kind = scene.rng.choice(sorted({each.kind for each in able}))
    return scene.rng.choice([each for each in able if each.kind == kind])


def _has(thing: Thing, attribute: str) -> bool:
    return attribute in thing.values or attribute in thing.texts


def _without(plan: str, results: dict[int, str], gone: Sequence[_LookUp]) -> Draft:
    """The plan again; what needs one of the lost look-ups is skipped."""
    queries = {each.id: each.query for each in gone}
    draft = Draft()
    for number, tool, argument in _LINE.findall(plan):
        id = int(number)
        if id in queries:
            draft.search(queries[id], _found(queries[id]))
        elif tool == "search":
            draft.search(argument, results[id])
        else:
            draft.calculate(argument)
    return draft


def _found(query: str) -> str:
    """What the real fact base says, as the joiner reads it."""
    try:
        return str(search(query))
    except ToolError as error:
        return f"failed: {error}"


def _admission(
    draft: Draft, gone: Sequence[_LookUp], left: Sequence[_LookUp], *, tell_known: bool
) -> str:
    attribute = gone[0].attribute
    said = f"I found nothing on the {attribute} of {' and of '.join(e.written for e in gone)}"
    if left:
        facts = [
            f"{'that' if each.attribute == attribute else f'the {each.attribute}'} of "
            f"{each.written} is {shown(draft.value(f'${each.id}'))}"
            for each in left
        ]
        said += f"; {', '.join(facts)}"
    elif tell_known and len(gone) == 1:
        _, _, known_of = draft.value(f"${gone[0].id}").partition("; known of ")
        said += f"; known are {known_of.partition(': ')[2]}"
    return f"Answer: {said}."


LOST: dict[str, Shape] = {
    "nothing_found": partial(lost, unknown=True),
    "gap": partial(lost, unknown=False),
}
