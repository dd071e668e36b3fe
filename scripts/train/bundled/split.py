"""What is held out: a part of the entities and of the phrasings, the same for every seed."""

import hashlib
from collections.abc import Sequence
from functools import cache

HELD_OUT_OF = 5


def is_held_out_entity(name: str) -> bool:
    """One name in five, whatever else there is."""
    return _digest(name.casefold())[0] % HELD_OUT_OF == 0


def part_of(phrasings: Sequence[str], *, held_out: bool) -> tuple[str, ...]:
    """One in five of a list is held out, drawn by lot; none of fewer than five."""
    return _parts(tuple(phrasings))[held_out]


@cache
def _parts(phrasings: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    lot = sorted(phrasings, key=_digest)
    count = len(lot) // HELD_OUT_OF
    return tuple(lot[count:]), tuple(lot[:count])


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
