"""How large an automaton becomes of a regex: what a backend's work grows with."""

from __future__ import annotations

from functools import cache
from typing import Any


def states(regex: str) -> int:
    """The states of Outlines' automaton over bytes. Raises ValueError for what it can't read."""
    from outlines_core import Index

    # Behind what is nowhere in a text: Outlines makes another automaton, that looks for the regex
    # anywhere in one, and which has states for any two places where the text could be at once.
    return len(Index(f"\x00(?:{regex})", _bytes()).get_transitions()) - 1


@cache
def _bytes() -> Any:
    from outlines_core import Vocabulary

    return Vocabulary(256, {bytes([byte]): [byte] for byte in range(256)})
