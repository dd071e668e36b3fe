"""What a shape has to work with: things to ask about, phrasings, and the randomness."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from executor.builtin import TOOLBOX, search
from executor.errors import ToolError
from train.bundled.draft import Draft
from train.bundled.questions import choose, is_year, words_of
from train.bundled.split import part_of
from train.bundled.things import Thing, content, invented_of, known, unit_of
from train.samples import Right, Round, Sample, ToolSpec
from train.wording import is_long, misspelt

TOOLS = tuple(ToolSpec.of(tool) for tool in TOOLBOX)
SHARE_INVENTED = 0.4
SHARE_MISSPELT = 0.05


class NoFit(Exception):  # noqa: N818  no error: another try is made
    """This shape can't be made of what was drawn."""


@dataclass(frozen=True)
class Scene:
    """Either of what is held out, things and phrasings, or of what is not."""

    rng: random.Random
    held_out: bool
    lower: bool = False

    @property
    def slips(self) -> int:
        """How often words are misspelt or all in lower case, against how often people do it.

        To read them is hard to learn.
        """
        return 1 if self.held_out else 2

    def fill(self, shape: str, slots: dict[str, str], own: Sequence[str] = ()) -> str:
        """A question of the shape; `own` are more phrasings for it."""
        templates = [*self.part_of(content("phrasings")[shape]), *self.part_of(own)]
        return self.fill_from(templates, slots)

    def fill_from(self, templates: Sequence[str], slots: dict[str, str]) -> str:
        question = choose(self.rng, templates, slots)
        if question is None:
            raise NoFit
        return question

    def part_of(self, phrasings: Sequence[str]) -> tuple[str, ...]:
        return part_of(phrasings, held_out=self.held_out)

    def things(self, count: int, fits: Callable[[str, str], bool]) -> tuple[list[Thing], str]:
        """Things of one kind with an attribute that they share; `fits(attribute, unit)`."""
        if not self.held_out and self.rng.random() < SHARE_INVENTED:
            kind = self.rng.choice(list(content("lexicon")["invented"]))
            pool: Sequence[Thing] = [invented_of(kind, self.rng) for _ in range(count)]
        else:
            everything = known(held_out=self.held_out)
            kind = self.rng.choice(sorted({thing.kind for thing in everything}))
            pool = [thing for thing in everything if thing.kind == kind]
        attributes = {
            (attribute, unit_of(value))
            for thing in pool
            for attribute, value in thing.values.items()
        }
        fitting = sorted(each for each in attributes if fits(*each))
        if not fitting:
            raise NoFit
        attribute, unit = self.rng.choice(fitting)
        able = [
            each
            for each in pool
            if attribute in each.values and unit_of(each.values[attribute]) == unit
        ]
        # Different values: of two equals none is the greater one, and an alias is the same thing.
        distinct = {each.values[attribute]: each for each in self.rng.sample(able, len(able))}
        if len(distinct) < count:
            raise NoFit
        chosen = self.rng.sample(sorted(distinct.values(), key=lambda each: each.name), count)
        return [self.spelled(thing) for thing in chosen], attribute

    def spelled(self, thing: Thing) -> Thing:
        """As somebody in a hurry writes it."""
        if not thing.article or self.rng.random() < 0.2:
            thing = replace(thing, article="")
        if not self.held_out and self.rng.random() < SHARE_MISSPELT:
            thing = replace(thing, name=_misspelt(thing, self.rng))
        return replace(thing, name=thing.name.lower()) if self.lower else thing

    def words(self, attribute: str) -> dict[str, str]:
        return words_of(attribute, self.rng)

    def sample(
        self,
        shape: str,
        question: str,
        rounds: Sequence[Round],
        width: int,
        right: Right,
    ) -> Sample:
        return Sample(
            question=question,
            tools=TOOLS,
            rounds=tuple(rounds),
            shape=shape,
            width=width,
            right=right,
        )


def _misspelt(thing: Thing, rng: random.Random) -> str:
    """A known thing's name with one word misspelt, so that it is still found; else its name."""
    words = thing.name.split()
    able = [at for at, word in enumerate(words) if word.isalpha() and is_long(word)]
    if not able:
        return thing.name
    at = rng.choice(able)
    words[at] = misspelt(words[at], rng)
    name = " ".join(words)
    told = {**thing.values, **thing.texts}
    found = all(_finds(f"{attribute} of {name}", value) for attribute, value in told.items())
    return name if found else thing.name


def _finds(query: str, value: str) -> bool:
    try:
        return str(search(query)) == value
    except ToolError:
        return False


def look_up(draft: Draft, thing: Thing, attribute: str) -> str:
    return draft.search(f"{attribute} of {thing.name}", thing.values[attribute])


def shown(value: str) -> str:
    """A result as an answer states it."""
    return f"{value.removesuffix(' person')} people" if value.endswith(" person") else value


def number(value: str) -> float:
    return float(value.split()[0])


def at(attribute: str, value: str) -> str:
    return f"{'In' if is_year(attribute) else 'At'} {shown(value)}"
