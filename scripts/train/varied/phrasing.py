"""Templates of questions and answers, and the values that fill them.

In a template `{city}` is a slot; `[ in {unit}]` stands only if all of its slots are filled;
`(is|are)` is the wording for one thing and for several.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

Scalar = str | int | float | bool
# A list to choose from, values by their wordings, the name of a list, or `1..9`, `0.5..9.5`.
Values = str | list[Scalar] | dict[str, Scalar]

_SLOT = re.compile(r"\{([a-z_]+(?:\.[a-z_]+)?)\}")
_OPTION = re.compile(r"\[([^][]*)\]")
_COUNTED = re.compile(r"\(([^()|]*)\|([^()|]*)\)")
_RANGE = re.compile(r"(-?[0-9.]+?)\.\.(-?[0-9.]+)")
_GENERATOR = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True)
class Drawn:
    """A value for a slot, and how a question writes it."""

    wording: str
    value: Any


Slots = Mapping[str, Drawn]


def slots_of(template: str) -> frozenset[str]:
    return frozenset(_SLOT.findall(template))


def optional_slots(template: str) -> frozenset[str]:
    return frozenset[str]().union(*map(slots_of, _OPTION.findall(template)))


def fill(template: str, texts: Mapping[str, str], *, many: bool = False) -> str:
    """Raises KeyError for a slot that has no text."""

    def option(match: re.Match[str]) -> str:
        return match[1] if slots_of(match[1]) <= texts.keys() else ""

    chosen = _COUNTED.sub(lambda m: m[2 if many else 1], _OPTION.sub(option, template))
    return _SLOT.sub(lambda m: texts[m[1]], chosen)


def wordings(slots: Slots) -> dict[str, str]:
    return {name: drawn.wording for name, drawn in slots.items()}


def draw(values: Values, lists: Mapping[str, list[Scalar]], rng: Random) -> Drawn:
    """One of the values; each `#` in it becomes a digit. Raises KeyError for an unknown list."""
    if isinstance(values, dict):
        wording = rng.choice(list(values))
        return Drawn(wording, values[wording])
    if isinstance(values, str) and (match := _RANGE.fullmatch(values)):
        number = _between(match[1], match[2], rng)
        return Drawn(str(number), number)
    value = rng.choice(lists[values] if isinstance(values, str) else values)
    if isinstance(value, str):
        value = re.sub("#", lambda _: str(rng.randint(1, 9)), value)
    return Drawn(str(value), value)


def draw_text(
    template: str, slots: Slots, lists: Mapping[str, list[Scalar]], rng: Random
) -> Scalar:
    """A result such as `{-5..30} degC`, `{open|closed}` or `{title} by {author}`, typed."""

    def generate(match: re.Match[str]) -> str:
        source = match[1]
        if source in slots:
            return str(slots[source].value)
        values: Values = list(source.split("|")) if "|" in source else source
        return draw(values, lists, rng).wording

    text = _GENERATOR.sub(generate, template)
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            pass
    return text


def _between(low: str, high: str, rng: Random) -> int | float:
    """With as many decimals as the bounds have; a float never looks like an integer."""
    if "." not in low:
        return rng.randint(int(low), int(high))
    decimals = len(low.split(".")[1])
    scale: int = 10**decimals
    scaled = rng.randint(round(float(low) * scale), round(float(high) * scale))
    return (scaled + (scaled % scale == 0)) / scale
