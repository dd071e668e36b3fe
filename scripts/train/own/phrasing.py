"""The same question in other words, as far as that can be done without understanding it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from train.wording import as_words, capitalized

_WHAT = re.compile(r"What (?:is|are) (the .*)")
_ASKING = r"(?:how|what|when|where|which|who)\b"
_ASKED = re.compile(rf"({_ASKING}.*?) (is|are|was|were|does|do) (.*)", re.IGNORECASE)
_TELL = ("Tell me {}", "I want to know {}", "Do you know {}?", "Let me know {}", "Find out {}")
_GIVE = ("What's {}?", "Tell me {}", "Give me {}", "I need {}", "Show me {}", "{}?", "Check {}")
_HAS = {"have": "has", "do": "does", "go": "goes"}


def rephrased(question: str, values: Sequence[str], rng: Random) -> str:
    """The question put another way; `values` are those of its texts that are the plan's.

    It keeps the order in which the values come.
    """
    bare = question.rstrip("?")
    if bare == question or "?" in bare or not values:
        return question
    if what := _WHAT.fullmatch(bare):
        return capitalized(rng.choice(_GIVE).format(what[1]))
    clause = _indirect(bare, values)
    return rng.choice(_TELL).format(clause) if clause else question


def _indirect(bare: str, values: Sequence[str]) -> str:
    """`Where does Ana work` -> `where Ana works`; empty where the subject isn't sure."""
    asked = _ASKED.fullmatch(bare)
    subject = re.match(rf"(?:[a-z]+ )?{as_words(*values)}", asked[3]) if asked else None
    if asked is None or subject is None:
        return ""
    rest = asked[3][subject.end() :]
    if re.match(r",| and ", rest) or re.search(r",| and ", asked[1]):
        return ""  # a list, or two questions in one
    if not re.fullmatch(r"(?:\s+[a-z]+\b.*)?", rest) or re.match(as_words(*values), rest.strip()):
        return ""  # the subject goes on
    start = asked[1][:1].lower() + asked[1][1:]
    if asked[2] in ("do", "does"):
        verb, _, tail = rest.strip().partition(" ")
        verb = _third_person(verb) if asked[2] == "does" else verb
        return f"{start} {subject[0]} {verb} {tail}".rstrip()
    return f"{start} {subject[0]} {asked[2]}{rest}"


def _third_person(verb: str) -> str:
    return _HAS.get(verb, verb + ("es" if verb.endswith(("s", "sh", "ch", "x")) else "s"))


def fronted(question: str, values: Sequence[str]) -> str:
    """`Where is Ben on Monday?` -> `On Monday, where is Ben?`, if a value ends the question."""
    if not values:
        return question
    ending = re.fullmatch(rf"(.*) (on|in|for) ({as_words(*values)})\?", question)
    if ending is None or not re.match(_ASKING, question, re.IGNORECASE):
        return question
    start = ending[1][:1].lower() + ending[1][1:]
    return f"{ending[2].capitalize()} {ending[3]}, {start}?"
