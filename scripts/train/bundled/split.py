"""What is held out: a part of the entities, by name, so that it is the same for every seed."""

import hashlib

HELD_OUT_OF = 5


def is_held_out_entity(name: str) -> bool:
    """One name in five, whatever else there is."""
    return hashlib.sha256(name.casefold().encode()).digest()[0] % HELD_OUT_OF == 0
