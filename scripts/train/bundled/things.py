"""What the questions are about: entities of the fact base, and others with made-up names."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from executor.builtin.facts import facts
from train.bundled.split import is_held_out_entity

_STARTS = "b br c ch d dr f g gr h j k l m n p r s sh st t tr v w"
_VOWELS = "a e i o u a e o ai ou ei"
_ENDS = ("", "", "n", "r", "l", "s", "m", "nd", "rk", "th", "lt")
_ACCENTED = {
    "a": "áàâäãåāą",
    "c": "çčć",
    "e": "éèêëěę",
    "g": "ğ",
    "i": "íîïī",
    "l": "ł",
    "n": "ñńň",
    "o": "óôöõøō",
    "r": "ř",
    "s": "šśş",
    "t": "ț",
    "u": "úûüūů",
}
_SHARE_ACCENTED = 0.15


@cache
def content(name: str) -> Any:
    """A YAML file that stands beside this module."""
    text = resources.files(__package__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


@dataclass(frozen=True)
class Thing:
    """An entity with its numeric `values` and its `texts`, by attribute, as `search` gives them.

    `name` is how a question writes it, `article` what stands before it there.
    """

    kind: str
    name: str
    article: str
    values: Mapping[str, str]
    texts: Mapping[str, str]

    @property
    def written(self) -> str:
        return f"{self.article} {self.name}".strip()


def unit_of(value: str) -> str:
    """The unit behind a value's number; empty for a plain number or a year."""
    return value.partition(" ")[2]


@cache
def known(*, held_out: bool) -> tuple[Thing, ...]:
    """The entities of the fact base: those to train on, or those held out."""
    rows = defaultdict(list)
    for fact in facts():
        rows[fact.entity].append(fact)
    numeric = content("lexicon")["attributes"]
    texts = content("lexicon")["texts"]
    reworded = content("lexicon")["reworded"]
    things = []
    for entity, own in rows.items():
        if is_held_out_entity(entity) != held_out:
            continue
        named = {reworded.get(fact.attribute, fact.attribute): fact.text for fact in own}
        kind = own[0].category
        things += [
            Thing(
                kind,
                name.removeprefix("The ") if kind != "film" else name,
                "the" if kind in content("lexicon")["articles"] else "",
                {each: value for each, value in named.items() if each in numeric},
                {each: value for each, value in named.items() if each in texts},
            )
            for name in {_plain(entity), *own[0].aliases}
        ]
    return tuple(sorted(things, key=lambda thing: (thing.kind, thing.name)))


def _plain(entity: str) -> str:
    """Without what tells it from its namesakes, as in Mercury (planet)."""
    return entity.partition(" (")[0]


def invented(rng: random.Random) -> Thing:
    """A thing that nobody has heard of, of a kind and with values that could be."""
    kinds = content("lexicon")["invented"]
    kind = rng.choice(list(kinds))
    return invented_of(kind, rng)


def invented_of(kind: str, rng: random.Random) -> Thing:
    spec = content("lexicon")["invented"][kind]
    name = rng.choice(spec["names"]).format(x=_word(rng), y=_word(rng), n=rng.randint(2, 99))
    values = {each: _value(rng, *bounds) for each, bounds in spec["values"].items()}
    return Thing(kind, name, "the" if spec.get("article") else "", values, {})


def _word(rng: random.Random) -> str:
    syllables = [
        rng.choice(_STARTS.split()) + rng.choice(_VOWELS.split()) + rng.choice(_ENDS)
        for _ in range(rng.choice((1, 2, 2, 2)))
    ]
    word = "".join(syllables)
    if rng.random() < _SHARE_ACCENTED:
        word = _accented(word, rng)
    return word.capitalize()


def _accented(word: str, rng: random.Random) -> str:
    """One of the letters, often the first one, with an accent."""
    able = [at for at, letter in enumerate(word) if letter in _ACCENTED]
    if not able:
        return word
    at = able[0] if rng.random() < 0.5 else rng.choice(able)
    return word[:at] + rng.choice(_ACCENTED[word[at]]) + word[at + 1 :]


def _value(rng: random.Random, low: float | str, high: float | str, unit: str) -> str:
    """Spread evenly over the sizes from low to high, written as the fact base writes numbers."""
    low, high = float(low), float(high)
    if not unit and low >= 1000:  # a year
        return str(rng.randint(int(low), int(high)))
    size = max(low, 0.5) * (high / max(low, 0.5)) ** rng.random()
    if size >= 1e15:
        number = f"{size:.2e}".replace("e+", "e")
    elif size < 100 and unit and rng.random() < 0.5:
        number = f"{size:.1f}"
    else:
        digits = rng.choice((2, 3, 4))
        number = str(int(float(f"{size:.{digits}g}")))
    return f"{number} {unit}".strip()
