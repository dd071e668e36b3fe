"""What all made-up questions and answers are worded with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

_WORD = re.compile(r"[^\W\d_]+")


def listed(items: Sequence[str], last: str = " and ") -> str:
    """`a, b and c`, of one text or more."""
    return last.join(filter(None, (", ".join(items[:-1]), items[-1])))


def capitalized(text: str) -> str:
    """With its first letter large and the others as they are."""
    return text[:1].upper() + text[1:]


def as_words(*alternatives: str) -> str:
    """The regex of any of the texts as words of their own, longer ones first."""
    either = "|".join(map(re.escape, sorted(alternatives, key=len, reverse=True)))
    return rf"(?<![\w-])(?:{either})(?![\w-]|\.\d)"


def with_typo(text: str, kept: Sequence[str], rng: Random) -> str:
    """One longer word of the text misspelt, if there is one; names and the texts of `kept` stay."""
    values = [found.span() for found in re.finditer(as_words(*kept), text)] if kept else []
    found = [
        word
        for word in _WORD.finditer(text)
        if is_long(word[0])
        and word[0].islower()
        and not any(start <= word.start() < end for start, end in values)
    ]
    if not found:
        return text
    word = rng.choice(found)
    return text[: word.start()] + misspelt(word[0], rng) + text[word.end() :]


def is_long(word: str) -> bool:
    """Whether it can still be read when it is misspelt."""
    return len(word) > 4


def misspelt(word: str, rng: Random) -> str:
    """With two letters in the wrong order, one left out or one doubled; the outer ones stay."""
    at = rng.randrange(1, len(word) - 2)
    left, pair, right = word[:at], word[at : at + 2], word[at + 2 :]
    return left + rng.choice((pair[::-1], pair[0], pair[0] + pair)) + right
