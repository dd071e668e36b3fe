"""Phrasings -> questions: fills in what a template asks for, where it can be filled."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from string import Formatter

from train.bundled.things import Thing, content
from train.wording import listed


def fields(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name}


def choose(rng: random.Random, templates: Sequence[str], slots: Mapping[str, str]) -> str | None:
    """One of the templates that the slots can fill, filled; None if there is none."""
    fitting = [template for template in templates if fields(template) <= slots.keys()]
    return rng.choice(fitting).format_map(slots) if fitting else None


def and_list(names: Sequence[str], rng: random.Random) -> str:
    return listed(names, rng.choice((" and ", " and ", ", and ") if len(names) > 2 else (" and ",)))


def or_list(names: Sequence[str], rng: random.Random) -> str:
    return listed(names, rng.choice((" or ", ", or ") if len(names) > 2 else (" or ",)))


def words_of(attribute: str, rng: random.Random) -> dict[str, str]:
    """One choice for each kind of word that the attribute has."""
    entry = content("lexicon")["attributes"][attribute]
    chosen = {
        slot: rng.choice(entry[slot])
        for slot in ("adj", "comp", "more", "most", "less", "least")
        if slot in entry
    }
    noun = rng.choice(entry["nouns"])
    return {**chosen, "noun": noun}


def own_questions(attribute: str, slot: str) -> list[str]:
    """The attribute's own templates: `ask`, `when`, `sum`, `by` or `times`."""
    found: list[str] = content("lexicon")["attributes"][attribute].get(slot, [])
    return found


def is_year(attribute: str) -> bool:
    return attribute.startswith("year ")


def names_by_letter(things: Sequence[Thing]) -> dict[str, str]:
    return dict(zip("abcdef", (thing.written for thing in things), strict=False))


def reads_otherwise(question: str, attribute: str, noun: str) -> bool:
    """Whether the noun and the words before it are another noun of the attribute.

    The mean of the temperatures of several is no list of their mean temperatures.
    """
    nouns = content("lexicon")["attributes"][attribute]["nouns"]
    longer = [each for each in nouns if each.endswith(f" {noun}")]
    return any(each in question.casefold() for each in longer)
