"""Shapes that need no fact: arithmetic, and what can't be answered."""

from __future__ import annotations

import random

from train.bundled.draft import Draft
from train.bundled.questions import names_by_letter
from train.bundled.scene import Scene, number
from train.bundled.shapes import Shape
from train.samples import Right, Sample
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


OTHERS: dict[str, Shape] = {
    "arithmetic": arithmetic,
    "unanswerable": unanswerable,
}
