"""The words that made-up questions about a user's tools are built from. No logic here.

The longer lists lie in words.yaml.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

_LISTS: dict[str, Any] = yaml.safe_load(
    Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8")
)


def _words(name: str) -> tuple[str, ...]:
    return tuple(_LISTS[name].split())


FIRST_NAMES = _words("first_names")
LAST_NAMES = _words("last_names")
CITIES = _words("cities")
THINGS = _words("things")
MATERIALS = _words("materials")
PERSON_HINTS = frozenset(_words("person_hints"))
CITY_HINTS = frozenset(_words("city_hints"))
THING_HINTS = frozenset(_words("thing_hints"))
DATE_HINTS = frozenset(_words("date_hints"))
CODE_HINTS = frozenset(_words("code_hints"))
VERBS = frozenset(_words("verbs"))
QUESTION_WORDS = frozenset(_words("question_words"))
EMPTY_WORDS = frozenset(_words("empty_words"))
# {person}, {city}, {city2}, {thing}, {thing2} and {value} are filled in.
SMALL_TALK: tuple[str, ...] = tuple(_LISTS["small_talk"])
UNANSWERABLE: tuple[str, ...] = tuple(_LISTS["unanswerable"])
UNANSWERABLE_OF_VALUE: tuple[str, ...] = tuple(_LISTS["unanswerable_of_value"])

ADMISSIONS = (
    "I can't answer that with these tools.",
    "I can't tell that from these tools.",
    "My tools can't tell me that.",
)

# How people say a choice that a schema has in short. Each row is one kind of choice.
CHOICES: tuple[dict[str, tuple[str, ...]], ...] = (
    {
        "EUR": ("euros", "euro"),
        "USD": ("dollars", "dollar"),
        "GBP": ("pounds", "pound"),
        "CHF": ("francs", "franc"),
        "JPY": ("yen",),
        "SEK": ("kronor", "krona"),
        "PLN": ("zlotys", "zloty"),
        "INR": ("rupees", "rupee"),
        "CNY": ("yuan",),
    },
    {
        "mon": ("Monday",),
        "tue": ("Tuesday",),
        "wed": ("Wednesday",),
        "thu": ("Thursday",),
        "fri": ("Friday",),
        "sat": ("Saturday",),
        "sun": ("Sunday",),
    },
    {"C": ("Celsius",), "F": ("Fahrenheit",), "K": ("Kelvin",)},
    {
        "m": ("metres", "meters"),
        "km": ("kilometres", "kilometers"),
        "mi": ("miles",),
        "ft": ("feet",),
        "kg": ("kilograms", "kilos"),
        "lb": ("pounds",),
        "kw": ("kilowatts", "kW"),
        "percent": ("per cent",),
    },
    {
        "en": ("English",),
        "de": ("German",),
        "fr": ("French",),
        "es": ("Spanish",),
        "it": ("Italian",),
    },
)

POLITE_BEFORE_REQUEST = ("Please {}", "Can you {}?", "Could you {}?", "I need you to {}", "Now {}")
POLITE_BEFORE_QUESTION = (
    "Can you tell me: {}?",
    "Quick question: {}?",
    "I need to know: {}?",
    "Please tell me: {}?",
    "Hi, {}?",
    "Hello, {}?",
    "One more thing: {}?",
)
POLITE_BEHIND = ("{} please", "{}, please", "{}, thanks")

# What a docstring is made into; {} is "the stock of K-12", "how many ..." or "look up ...".
ASK_NOUN = ("What is {}?", "Give me {}", "Tell me {}", "I need {}", "Show me {}")
ASK_CLAUSE = ("Tell me {}", "I want to know {}", "Do you know {}?", "Find out {}")
ASK_REQUEST = ("{}", "{}", "Please {}", "Can you {}?", "I want you to {}")
ASK_BY_NAME = (
    "Use {tool} for {args}",
    "{tool} with {args}",
    "{tool}: {args}",
    "Call {tool}, {args}",
)
