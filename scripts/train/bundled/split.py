"""What is held out: a part of the entities and of the phrasings, the same for every seed."""

import hashlib
from collections.abc import Sequence
from functools import cache

HELD_OUT_OF = 5


def is_held_out_entity(name: str) -> bool:
    """One name in five, whatever else there is."""
    return _digest(name.casefold())[0] % HELD_OUT_OF == 0


def part_of(phrasings: Sequence[str], *, held_out: bool) -> tuple[str, ...]:
    """Of each five of a list, in its order, one is held out by lot; none of fewer than five.

    So what is held out stays so when others are added at the end of its list.
    """
    return _parts(tuple(phrasings))[held_out]


@cache
def _parts(phrasings: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    fives = range(0, len(phrasings) - HELD_OUT_OF + 1, HELD_OUT_OF)
    held = tuple(min(phrasings[at : at + HELD_OUT_OF], key=_digest) for at in fives)
    return tuple(each for each in phrasings if each not in held), held


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
