"""How people write: politely, in lower case, with a typo; and what they ask in vain."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from executor.tools import Tool
from train.own import words
from train.own.slots import Case
from train.own.values import coined
from train.wording import as_words, with_typo

_WORD = re.compile(r"[^\W\d_]+")
# A tool with such a parameter may know anything; only small talk is surely not for it.
_ANYTHING = frozenset({"query", "question", "q", "search", "prompt", "topic", "keywords"})


def noisy(question: str, kept: Sequence[str], rng: Random) -> str:
    """The question as somebody in a hurry writes it; the texts of `kept` stay as they are."""
    is_polite = "please" in question.lower() or question.startswith(("Can you", "I want you"))
    if rng.random() < 0.25 and not is_polite and not question.startswith(tuple(kept)):
        question = _polite(question, rng)
    if rng.random() < 0.2:
        question = question.rstrip("?.! ")
    if rng.random() < 0.2:
        question = _lower(question, kept)
    if rng.random() < 0.12:
        question = with_typo(question, kept, rng)
    return question


def _polite(question: str, rng: Random) -> str:
    bare = question.rstrip("?.! ")
    first = re.split(r"\W", bare)[0].lower()
    lowered = bare[:1].lower() + bare[1:]
    if first in words.VERBS:
        return rng.choice(words.POLITE_BEFORE_REQUEST).format(lowered)
    if first in words.QUESTION_WORDS and rng.random() < 0.7:
        return rng.choice(words.POLITE_BEFORE_QUESTION).format(lowered)
    mark = "?" if question.endswith("?") else ""
    return rng.choice(words.POLITE_BEHIND).format(bare) + mark


def _lower(question: str, kept: Sequence[str]) -> str:
    pieces = re.split(f"({as_words(*kept)})", question) if kept else [question]
    return "".join(piece if at % 2 else piece.lower() for at, piece in enumerate(pieces))


def unanswerable(
    tools: Sequence[Tool], cases: Sequence[Case], known: Sequence[str], rng: Random
) -> Case | None:
    """A question that shares no word with tools or examples; `known` are values of theirs."""
    templates = list(words.SMALL_TALK)
    if not any(_ANYTHING & tool.properties.keys() for tool in tools):
        templates += words.UNANSWERABLE
        templates += words.UNANSWERABLE_OF_VALUE * 2 if known else []
    template = rng.choice(templates)
    spoken = " ".join([*map(_all_words, tools), *(case.question for case in cases if case.tasks)])
    if _telling(template) & _telling(spoken):
        return None
    things = rng.sample(words.THINGS, 2)
    cities = rng.sample(words.CITIES, 2)
    question = template.format(
        person=rng.choice([*words.FIRST_NAMES, coined(rng)]),
        city=cities[0],
        city2=cities[1],
        thing=things[0],
        thing2=things[1],
        value=rng.choice(known) if known else "",
    )
    return Case(question, (), {}, rng.choice(words.ADMISSIONS))


def _all_words(tool: Tool) -> str:
    return " ".join([tool.name, tool.description, *tool.properties]).replace("_", " ")


def _telling(text: str) -> frozenset[str]:
    """The words that say what a text is about, without a plural's s."""
    bare = re.sub(r"\{.*?\}", "", text).lower()
    said = (word.group() for word in _WORD.finditer(bare))
    return frozenset(word.removesuffix("s") for word in said if word not in words.EMPTY_WORDS)
