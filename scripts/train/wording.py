"""What all made-up questions and answers are worded with."""

from __future__ import annotations

from collections.abc import Sequence


def listed(items: Sequence[str], last: str = " and ") -> str:
    """`a, b and c`, of one text or more."""
    return last.join(filter(None, (", ".join(items[:-1]), items[-1])))


def capitalized(text: str) -> str:
    """With its first letter large and the others as they are."""
    return text[:1].upper() + text[1:]
