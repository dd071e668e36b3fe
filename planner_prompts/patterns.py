"""A schema's `pattern` -> the regex of the texts that it takes, as a plan spells them.

A pattern is somebody else's regex: it may mean nothing to an automaton (look-around, references to
groups), or take one ages to build. So it is taken apart, put together again as a plan spells its
characters, and built once on trial, in a process that is ended if it takes too long. A pattern
that fails is left to the check of the sealed line.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from re import _constants as kind  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

from executor.plan import render_value

TRIAL_SECONDS = 1.0
MOST_STATES = 300
_MOST_CHARS = 2_000  # of the regex, whose repeats are written out
_REMEMBERED = 256

_TRIAL = """
import sys
from planner_prompts.automaton import states
print(states(sys.stdin.buffer.read().decode()))
"""
# What a plan spells in more than one character; of control characters, those that people write.
_SPECIAL = '"\\$'
_CONTROL = "\t\n\r"
_BARE = "".join(map(chr, range(32))) + _SPECIAL  # never bare in a string of a plan
_CATEGORIES = {
    kind.CATEGORY_DIGIT: "09",
    kind.CATEGORY_WORD: "AZaz09__",
    kind.CATEGORY_SPACE: "  \t\r",
}
_NOT_CATEGORIES = {
    kind.CATEGORY_NOT_DIGIT: kind.CATEGORY_DIGIT,
    kind.CATEGORY_NOT_WORD: kind.CATEGORY_WORD,
    kind.CATEGORY_NOT_SPACE: kind.CATEGORY_SPACE,
}
_DOLLAR = "(?#)"  # its place, until it is said how it is spelled
_Node = tuple[Any, Any]
_Range = tuple[str, str]  # the first and the last character


class _TooMuchError(Exception):
    """Something that no automaton holds, or not in the space there is."""


@lru_cache(_REMEMBERED)
def pattern_regex(pattern: str, dollar: str = "$$") -> str | None:
    """The regex of the strings, without their quotes, in which the pattern is found.

    `dollar` is how a dollar sign is spelled: doubled in a plan, as it is in plain JSON.
    None if it can't be held; what it has is never narrower by more than control characters.
    """
    try:
        parsed = parser.parse(pattern)
        if parsed.state.flags & ~re.UNICODE:
            return None
        regex = _found_in_a_text(list(parsed)).replace(_DOLLAR, re.escape(dollar))
    except (re.error, RecursionError, OverflowError, _TooMuchError):
        return None
    return regex if _compiles(regex) else None


def _found_in_a_text(nodes: list[_Node]) -> str:
    """A pattern is found anywhere, unless it says where."""
    anywhere = f"{_char([], negated=True)}*"
    starts = nodes[:1] == [(kind.AT, kind.AT_BEGINNING)]
    nodes = nodes[starts:]
    ends = nodes[-1:] in ([(kind.AT, kind.AT_END)], [(kind.AT, kind.AT_END_STRING)])
    inner = _sequence(nodes[: len(nodes) - ends])
    return f"{'' if starts else anywhere}(?:{inner}){'' if ends else anywhere}"


def _sequence(nodes: Iterable[_Node]) -> str:
    regex = "".join(map(_node, nodes))
    if len(regex) > _MOST_CHARS:
        raise _TooMuchError
    return regex


def _node(node: _Node) -> str:
    match node:
        case (kind.LITERAL, code):
            return _spelled(chr(code))
        case (kind.NOT_LITERAL, code):
            return _char([(chr(code), chr(code))], negated=True)
        case (kind.ANY, _):
            return _char([], negated=True)
        case (kind.IN, items):
            return _class(items)
        case (kind.BRANCH, (_, branches)):
            return f"(?:{'|'.join(map(_sequence, branches))})"
        case (kind.SUBPATTERN, (_, 0, 0, nodes)):
            return f"(?:{_sequence(nodes)})"
        case (kind.MAX_REPEAT | kind.MIN_REPEAT, (least, most, nodes)):
            return _repeated(f"(?:{_sequence(nodes)})", least, most)
    raise _TooMuchError


def _repeated(regex: str, least: int, most: int) -> str:
    """Written out: to an automaton, a bounded repeat is nothing else."""
    endless = most == kind.MAXREPEAT
    if len(regex) * (least if endless else most) > _MOST_CHARS:
        raise _TooMuchError
    if endless:
        return regex * max(least - 1, 0) + regex + ("+" if least else "*")
    more = ""
    for _ in range(most - least):
        more = f"(?:{regex}{more})?"
    return regex * least + more


def _class(items: Sequence[_Node]) -> str:
    negated = items[0] == (kind.NEGATE, None)
    items = items[negated:]
    match items:
        case [(kind.CATEGORY, category)] if category in _NOT_CATEGORIES and not negated:
            return _char(_ranges((kind.CATEGORY, _NOT_CATEGORIES[category])), negated=True)
    return _char([each for item in items for each in _ranges(item)], negated=negated)


def _ranges(item: _Node) -> list[_Range]:
    match item:
        case (kind.LITERAL, code):
            return [(chr(code), chr(code))]
        case (kind.RANGE, (first, last)):
            return [(chr(first), chr(last))]
        case (kind.CATEGORY, category) if category in _CATEGORIES:
            ends = _CATEGORIES[category]
            return list(zip(ends[::2], ends[1::2], strict=True))
    raise _TooMuchError


def _char(ranges: Sequence[_Range], *, negated: bool) -> str:
    """One of a class: those that stand for themselves, and the spelling of those that don't."""

    def takes(char: str) -> bool:
        return any(first <= char <= last for first, last in ranges) is not negated

    inside = "".join(f"{re.escape(first)}-{re.escape(last)}" for first, last in ranges)
    if negated:
        bare = rf'[^{inside}"\\$\x00-\x1f]'
        spelled = filter(takes, _SPECIAL)
    else:
        kept = [part for each in ranges for part in _without_special(each)]
        inside = "".join(f"{re.escape(first)}-{re.escape(last)}" for first, last in kept)
        bare = f"[{inside}]" if kept else ""
        spelled = filter(takes, _SPECIAL + _CONTROL)
    choices = [*filter(None, [bare]), *map(_spelled, spelled)]
    if not choices:
        raise _TooMuchError  # only characters that nobody writes
    return f"(?:{'|'.join(choices)})"


def _without_special(range_: _Range) -> Iterator[_Range]:
    """What is left of a range when all that is never bare in a string is taken out."""
    first, last = map(ord, range_)
    for char in sorted(_BARE):
        if first <= ord(char) <= last:
            if first < ord(char):
                yield chr(first), chr(ord(char) - 1)
            first = ord(char) + 1
    if first <= last:
        yield chr(first), chr(last)


def _spelled(char: str) -> str:
    return _DOLLAR if char == "$" else re.escape(render_value(char)[1:-1])


def _compiles(regex: str) -> bool:
    """Whether an automaton of it is made in little time, and is small."""
    command = [sys.executable, "-c", _TRIAL]
    try:
        done = subprocess.run(
            command, input=regex.encode(), capture_output=True, timeout=TRIAL_SECONDS, check=False
        )
    except (subprocess.TimeoutExpired, UnicodeEncodeError):
        return False
    return done.returncode == 0 and int(done.stdout) <= MOST_STATES
