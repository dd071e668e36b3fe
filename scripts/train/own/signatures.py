"""Questions from signatures and docstrings alone, for tools that no example shows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from executor.plan import Task
from executor.schema_size import Schema
from executor.tools import Tool
from train.own import words
from train.own.lore import Lore
from train.own.slots import Case, tells
from train.own.values import a_value, can_make, choices_of, code_like, number_like, said
from train.own.wide import told
from train.wording import capitalized, listed

_FETCHING = frozenset({"get", "give", "return", "show", "report", "tell", "fetch"})
_ARTICLES = frozenset({"a", "an", "the", "all", "some", "every", "each", "whether", "if"})


def is_teachable(tool: Tool) -> bool:
    """Whether there is anything to ask about: a docstring, or parameters that name themselves.

    What needs a value that isn't made here, such as an object, is learned from examples alone.
    """
    can_call = all(can_make(tool.properties[name]) for name in tool.required)
    return can_call and bool(tool.description.strip() or tool.properties)


def request(tool: Tool, lore: Lore, rng: Random) -> Case:
    """A call of the tool, and a question that asks for it."""
    args = _arguments(tool, lore, rng)
    spoken = {n: _spoken(value, tool.properties[n], rng) for n, value in args.items()}
    purpose = first_sentence(tool.description)
    aspect = _aspect(tool, args)
    if aspect and rng.random() < 0.6:
        question = rng.choice(words.ASK_NOUN).format(f"the {aspect}")
    elif purpose and rng.random() < 0.8:
        question = _from_purpose(purpose, spoken, rng)
    else:
        question = _by_name(tool.name, spoken, rng)
    task = Task(1, tool.name, args)
    result = rng.choice(lore.results_of(task) or [_some_result(rng)])
    named = (spoken[name] for name in args if _is_free_text(args[name], tool.properties[name]))
    about = next(named, tool.name.replace("_", " "))
    return Case(capitalized(question), (task,), {1: result}, told([(about, result)]))


def _aspect(tool: Tool, args: Mapping[str, Any]) -> str:
    """`total of order 4711`, for a call of one name and one choice that isn't the default."""
    if len(args) != 2 or len(tool.required) != 1:
        return ""
    (named, value), (chosen, choice) = args.items()
    if not _is_free_text(value, tool.properties[named]) or not isinstance(choice, str):
        return ""
    if not choices_of(tool.properties[chosen]):
        return ""
    noun = "" if value[:1].islower() else named.replace("_", " ")
    return " ".join(f"{choice} of {noun} {value}".split())


def _is_free_text(value: Any, schema: Schema) -> bool:
    return isinstance(value, str) and not choices_of(schema)


def first_sentence(description: str) -> str:
    """What it says first, on one line: up to a full stop, or a comma with no verb behind it."""
    paragraph = " ".join(description.split("\n\n")[0].split())
    sentence = re.split(r"(?<=[^.]{3})[.;](?:\s|$)", paragraph)[0].rstrip(".:")
    head, _, tail = sentence.partition(", ")
    goes_on = words.VERBS.isdisjoint(tail.lower().split()) and len(head.split()) > 2
    return head if goes_on else sentence


def _arguments(tool: Tool, lore: Lore, rng: Random) -> dict[str, Any]:
    able = [name for name in tool.optional if can_make(tool.properties[name])]
    given = [*tool.required, *(name for name in able if rng.random() < 0.35)]
    args: dict[str, Any] = {}
    for name in given:
        pool = lore.values.get((tool.name, name, "{}"), [])
        value = a_value(tool.properties[name], name, pool, rng)
        for _ in range(5):  # from EUR to EUR is nothing that anybody asks
            if isinstance(value, str) and value in args.values():
                value = a_value(tool.properties[name], name, pool, rng)
        if name in tool.required or value != tool.properties[name].get("default"):
            args[name] = value
    return args


def _spoken(value: Any, schema: Schema, rng: Random) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case None:
            return "none"
        case list():
            return listed([_spoken(item, schema["items"], rng) for item in value])
        case str() if choices_of(schema):
            forms = [form for form in said(value) if tells(form)]
            calm = [form for form in forms if not (form.isupper() and len(form) > 4)]
            return rng.choice([value, *calm])
    return str(value)


def _from_purpose(purpose: str, spoken: Mapping[str, str], rng: Random) -> str:
    """The docstring's sentence with values in the places of the parameters it names."""
    sentence, rest = purpose, dict(spoken)
    for name, value in spoken.items():
        noun = name.replace("_", " ")
        is_code = any(c.isdigit() for c in value) and not value[:1].islower()
        shown = f"{noun} {value}" if is_code and rng.random() < 0.5 else value
        place = rf"\b(?:a|an|the|this|its)(?: given)? {re.escape(noun)}\b(?! of\b)"
        if found := re.search(place, sentence, re.IGNORECASE):
            sentence = sentence[: found.start()] + shown + sentence[found.end() :]
            del rest[name]
    before, _, after = sentence.partition(" ")
    verb = _base(before.lower())
    if verb in _FETCHING:
        verb, before, after = "", *after.partition(" ")[::2]
    ways: Sequence[str]
    if verb:
        ways, asked = words.ASK_REQUEST, f"{verb} {after}"
    elif before.lower() in words.QUESTION_WORDS:
        ways, asked = words.ASK_CLAUSE, f"{before.lower()} {after}"
    else:
        lowered = before.lower() if before.lower() in _ARTICLES else before
        ways, asked = words.ASK_NOUN, f"{lowered} {after}"
    template = rng.choice(ways)
    text = asked.strip() + _appended(rest, rng)
    return template.format(text)


def _base(word: str) -> str:
    """`Returns`, `Return` -> `return`; empty for a word that is no verb we know."""
    stems = (word, word.removesuffix("s"), word.removesuffix("es"))
    return next((stem for stem in stems if stem in words.VERBS), "")


def _appended(rest: Mapping[str, str], rng: Random) -> str:
    if not rest:
        return ""
    pairs = [f"{name.replace('_', ' ')} {value}" for name, value in rest.items()]
    link = rng.choice((": {}", " for {}", " with {}", ", {}", " ({})"))
    return link.format(rng.choice((", ".join(pairs), listed(pairs))))


def _by_name(tool: str, spoken: Mapping[str, str], rng: Random) -> str:
    pairs = [f"{name.replace('_', ' ')} {value}" for name, value in spoken.items()]
    shown = rng.choice((tool, tool.replace("_", " ")))
    if not pairs:
        return rng.choice(("Use {}", "{}", "Call {}")).format(shown)
    return rng.choice(words.ASK_BY_NAME).format(tool=shown, args=", ".join(pairs))


def _some_result(rng: Random) -> str:
    number = number_like(rng.choice(["7", "42", "310", "12.5"]), rng)
    return rng.choice([number, number, code_like("A-100", rng), "open", "done", "ready"])
