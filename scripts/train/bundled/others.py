"""Shapes that need no fact: arithmetic, what can't be answered, what isn't found."""

from __future__ import annotations

import random

from executor.builtin import search
from executor.errors import ToolError
from train.bundled.draft import Draft
from train.bundled.questions import names_by_letter, own_questions
from train.bundled.scene import NoFit, Scene, look_up, number, shown
from train.bundled.shapes import Shape, quantity
from train.bundled.things import Thing, invented, known
from train.samples import Right, Round, Sample
from train.wording import capitalized

ABOUT_ITSELF = {
    "Who are you?": "I answer questions by looking facts up and calculating with them.",
    "What can you do?": "I look facts up and calculate with them.",
    "Hello": "Hello. Ask me for facts and figures.",
    "Hi there!": "Hello. Ask me for facts and figures.",
    "Thanks": "You are welcome.",
}
# What is said, and how the calculator is asked for it.
_SPOKEN = (
    ("{a} + {b}", "{a} + {b}"),
    ("{a} plus {b}", "{a} + {b}"),
    ("{a} minus {b}", "{a} - {b}"),
    ("{a} - {b}", "{a} - {b}"),
    ("{a} times {b}", "{a} * {b}"),
    ("{a} * {b}", "{a} * {b}"),
    ("{a} x {b}", "{a} * {b}"),
    ("{a} divided by {b}", "{a} / {b}"),
    ("{a} / {b}", "{a} / {b}"),
    ("{n}% of {b}", "{n}/100 * {b}"),
    ("{n} percent of {a}", "{n}/100 * {a}"),
    ("{a} increased by {n}%", "{a} * (1 + {n}/100)"),
    ("{a} reduced by {n}%", "{a} * (1 - {n}/100)"),
    ("the average of {a}, {b} and {c}", "mean({a}, {b}, {c})"),
    ("the sum of {a}, {b} and {c}", "{a} + {b} + {c}"),
    ("the square root of {a}", "sqrt({a})"),
    ("{a} squared", "{a}^2"),
    ("({a} + {b}) / {c}", "({a} + {b}) / {c}"),
    ("{a} * ({b} - {c})", "{a} * ({b} - {c})"),
    ("{a} miles in kilometres", "{a} mi to km"),
    ("{a} km in miles", "{a} km to mi"),
    ("{a} kg in pounds", "{a} kg to lb"),
    ("{a} feet in metres", "{a} ft to m"),
    ("{a} metres in feet", "{a} m to ft"),
    ("{a} hours in minutes", "{a} hour to minute"),
    ("{a} degrees Celsius in Fahrenheit", "{a} degC to degF"),
    ("{a} degrees Fahrenheit in Celsius", "{a} degF to degC"),
)
CANT = "I can't answer that: my tools only look up facts and calculate."


def arithmetic(scene: Scene) -> Sample:
    """Only the calculator is needed."""
    a, b, c = (_some_number(scene.rng) for _ in range(3))
    numbers = {"a": a, "b": b, "c": c, "n": scene.rng.randint(1, 95)}
    words, expression = (each.format_map(numbers) for each in scene.rng.choice(_SPOKEN))
    question = capitalized(scene.fill("arithmetic", {"expression_words": words}))
    draft = Draft()
    value = draft.value(draft.calculate(expression))
    ending = f"Answer: That is {value}."
    right = Right(numbers=(number(value),))
    return scene.sample("arithmetic", question, [draft.round(ending)], 1, right)


def _some_number(rng: random.Random) -> float:
    return rng.choice((rng.randint(2, 99), rng.randint(2, 9999), rng.randint(11, 99) / 10))


def unanswerable(scene: Scene) -> Sample:
    if not scene.held_out and scene.rng.random() < 0.08:
        question, answer = scene.rng.choice(list(ABOUT_ITSELF.items()))
        told = Draft().round(f"Answer: {answer}")
        return scene.sample("unanswerable", question, [told], 0, Right())
    things, _ = scene.things(2, lambda *_: True)
    question = scene.fill("unanswerable", names_by_letter(things))
    right = Right(admits=True)
    return scene.sample("unanswerable", question, [Draft().round(f"Answer: {CANT}")], 0, right)


def nothing_found(scene: Scene) -> Sample:
    """A look-up that finds nothing: another try by the bare name, then a plain admission."""
    _, attribute = scene.things(1, quantity)
    thing = scene.spelled(invented(scene.rng))
    slots = {**scene.words(attribute), "a": thing.written}
    question = scene.fill("lookup", slots, own_questions(attribute, "ask"))
    rounds = _two_tries(Draft(), thing, attribute)
    return scene.sample("nothing_found", question, rounds, 1, Right(admits=True))


def _two_tries(draft: Draft, thing: Thing, attribute: str) -> list[Round]:
    draft.search(f"{attribute} of {thing.name}", _found(f"{attribute} of {thing.name}"))
    if not draft.value("$1").endswith("it names nothing known"):
        raise NoFit
    first = draft.round(f"Replan: nothing found on the {attribute} of {thing.name}")
    again = Draft(draft.next_id, first.results)
    again.search(thing.name, _found(thing.name))
    return [first, again.round(f"Answer: {_nothing_on(attribute, thing)}.")]


def _found(query: str) -> str:
    """What the real fact base says, as the joiner reads it."""
    try:
        return str(search(query))
    except ToolError as error:
        return f"failed: {error}"


def gap(scene: Scene) -> Sample:
    """What is known, but not that about it: another try would find no more."""
    (like,), attribute = scene.things(1, quantity)
    lacking = _lacking(scene, like.kind, attribute)
    slots = {**scene.words(attribute)}
    own = own_questions(attribute, "ask")
    if not lacking:  # of another kind, asked for by the attribute's name only
        lacking = [each for each in known(held_out=scene.held_out) if each.kind != like.kind]
        slots, own = {"noun": attribute}, []
    thing = scene.spelled(scene.rng.choice(lacking))
    question = scene.fill("lookup", {**slots, "a": thing.written}, own)
    draft = Draft()
    ref = draft.search(f"{attribute} of {thing.name}", _found(f"{attribute} of {thing.name}"))
    ending = f"{_nothing_on(attribute, thing)}; known are {_known_of(draft.value(ref))}."
    right = Right(admits=True)
    return scene.sample("gap", question, [draft.round(f"Answer: {ending}")], 1, right)


def _lacking(scene: Scene, kind: str, attribute: str) -> list[Thing]:
    """Things of a kind of which the attribute is not known."""
    everything = known(held_out=scene.held_out)
    return [each for each in everything if each.kind == kind and attribute not in each.values]


def _known_of(failure: str) -> str:
    """What the fact base has instead. Raises NoFit if it doesn't know the thing."""
    _, found, attributes = failure.partition("; known of ")
    if not found:
        raise NoFit
    return attributes.partition(": ")[2]


def _nothing_on(attribute: str, thing: Thing) -> str:
    return f"I found nothing on the {attribute} of {thing.written}"


def nothing_found_of_two(scene: Scene) -> Sample:
    """One of two look-ups finds nothing, so that what needs both is skipped."""
    things, attribute = scene.things(2, quantity)
    words = scene.words(attribute)
    if "more" not in words:
        raise NoFit
    at = scene.rng.choice((0, 1))
    lacking = _lacking(scene, things[at].kind, attribute)
    is_gap = bool(lacking) and scene.rng.random() < 0.7
    lost = scene.spelled(scene.rng.choice(lacking) if is_gap else invented(scene.rng))
    things[at] = lost
    question = scene.fill("compare", {**words, **names_by_letter(things)})
    draft = Draft()
    refs = [
        draft.search(f"{attribute} of {each.name}", _found(f"{attribute} of {each.name}"))
        if each is lost
        else look_up(draft, each, attribute)
        for each in things
    ]
    draft.calculate(f"max({', '.join(refs)})")
    failure = draft.value(refs[at])
    if not failure.startswith("failed") or is_gap != ("; known of " in failure):
        raise NoFit
    other = things[1 - at]
    ending = (
        f"Answer: {_nothing_on(attribute, lost)}; "
        f"that of {other.written} is {shown(other.values[attribute])}."
    )
    if is_gap:
        rounds = [draft.round(ending)]
    else:
        first = draft.round(f"Replan: nothing found on the {attribute} of {lost.name}")
        again = Draft(draft.next_id, first.results)
        again.search(lost.name, _found(lost.name))
        rounds = [first, again.round(ending)]
    shape = "gap" if is_gap else "nothing_found"
    return scene.sample(shape, question, rounds, 2, Right(admits=True))


OTHERS: dict[str, Shape] = {
    "arithmetic": arithmetic,
    "unanswerable": unanswerable,
    "nothing_found": nothing_found,
    "gap": gap,
    "nothing_found_of_two": nothing_found_of_two,
}
