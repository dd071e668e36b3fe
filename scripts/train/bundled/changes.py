"""How a question changes a value before it asks: by per cent, by a factor, to a fraction."""

from __future__ import annotations

import random
from dataclasses import dataclass

from train.bundled.questions import choose
from train.bundled.scene import Scene
from train.bundled.things import content

# With the weights by which they are drawn.
WAYS = {
    "more_percent": 6,
    "less_percent": 6,
    "times": 3,
    "divided": 1,
    "word": 2,
    "fraction": 1,
    "more_fraction": 1,
    "less_fraction": 1,
}
_FACTORS = ("2", "3", "4", "5", "1.5", "2.5", "3.5", "4.5", "1.2", "1.25", "10", "6", "1.75")


@dataclass(frozen=True)
class Change:
    """One way of changing; `slots` are its numbers and words."""

    way: str
    slots: dict[str, str]

    def expression(self, ref: str) -> str:
        """What the calculator is to do: numbers are copied, not worked out."""
        template: str = content("phrasings")["changes"][self.way]["expression"]
        return template.format(ref=ref, **self.slots)

    def phrase(self, form: str, scene: Scene, slots: dict[str, str]) -> str | None:
        """As a `finite` verb, a whole `clause`, a `participle` or an `imperative`."""
        templates = scene.part_of(content("phrasings")["changes"][self.way][form])
        return choose(scene.rng, templates, {**slots, **self.slots})


def any_change(rng: random.Random) -> Change:
    (way,) = rng.choices(list(WAYS), list(WAYS.values()))
    if way.endswith("percent"):
        return Change(way, {"n": _percent(rng)})
    if way == "word":
        return Change(way, rng.choice(content("phrasings")["factors"]))
    if way.endswith("fraction"):
        fraction, whole = rng.choice(list(content("phrasings")["fractions"].items()))
        return Change(way, {"fraction": fraction, "whole": str(whole)})
    return Change(way, {"x": rng.choice(_FACTORS)})


def _percent(rng: random.Random) -> str:
    if rng.random() < 0.08:
        return rng.choice(("2.5", "12.5", "7.5", "0.5", "33.3", "1.5"))
    return str(rng.choice((rng.randint(1, 99), 5 * rng.randint(1, 19))))


def the_same(phrase: str, change: Change, rng: random.Random) -> str:
    """The change's number said as that of the one before it, where the phrase allows it."""
    same = rng.choice(("the same percentage", "the same fraction"))
    for amount in (f"by {change.slots['n']}%", f"by {change.slots['n']} percent"):
        if phrase.endswith(amount):
            return f"{phrase.removesuffix(amount)}by {same}"
    return phrase
