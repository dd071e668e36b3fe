"""Made-up values in place of those of an example or of a signature.

A planner that is trained on many values that it has never seen learns to copy them.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from random import Random
from typing import Any

from executor.schema_size import Schema
from executor.types import SCALARS
from train.own import words
from train.wording import capitalized

NUMBER = re.compile(r"(?<![\w.,-])(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![\w-]|[.,]\d)")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TIME = re.compile(r"[0-2]?\d:[0-5]\d")
_RUN = re.compile(r"\d+|[A-Za-z]+")
_SYLLABLES = ("bel", "dor", "fen", "gar", "hal", "kor", "lin", "mar", "nor", "pol", "sel", "tor")
_CODE_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"  # without I and O, which are read as digits


def alike(text: str, parameter: str, pool: Sequence[str], rng: Random) -> str:
    """Another value that looks as `text` does; `pool` has the same parameter's other values."""
    if _DATE.fullmatch(text):
        return _a_date(rng)
    if _TIME.fullmatch(text):
        return f"{rng.randrange(24):02}:{rng.randrange(0, 60, 5):02}"
    if any(character.isdigit() for character in text):
        return code_like(rng.choice([text, text, *pool]), rng)
    if pool and rng.random() < 0.4:
        return rng.choice(pool)
    maker = _maker_of(text, parameter)
    return maker(rng) if maker else _words_like(text, rng)


def _maker_of(text: str, parameter: str) -> Callable[[Random], str] | None:
    """Where such a value can be had: a list that holds this one, or that its parameter names."""
    first, *rest = text.split()
    hints = set(parameter.lower().split("_"))
    if first in words.FIRST_NAMES or hints & words.PERSON_HINTS:
        return _a_full_name if rest else _a_first_name
    if text in words.CITIES or hints & words.CITY_HINTS:
        return _a_city
    if text[0].islower() and (text.split()[-1] in words.THINGS or hints & words.THING_HINTS):
        return _a_thing_of_some_kind if rest else _a_thing
    return None


def _words_like(text: str, rng: Random) -> str:
    if text[0].islower():
        return _a_thing(rng)
    if text.isupper():
        return "".join(rng.choices(_CODE_LETTERS, k=len(text)))
    return " ".join(_a_name(rng) if word[0].isupper() else word for word in text.split())


def _a_name(rng: Random) -> str:
    return rng.choice([coined(rng), coined(rng), rng.choice(words.LAST_NAMES), _a_city(rng)])


def code_like(text: str, rng: Random) -> str:
    """`A-100` -> `K-482`: other digits, now and then one more or less, other short letters.

    A word may become another: `press 2` -> `drill 7`.
    """
    keeps_letters = rng.random() < 0.5
    grows = rng.random() < 0.25

    def other(run: re.Match[str]) -> str:
        old = run.group()
        if old.isdigit():
            return _other_digits(old, rng, grows)
        if old.islower() and len(old) > 2:
            return rng.choice(words.THINGS) if rng.random() < 0.25 else old
        if keeps_letters or len(old) > 3 or not (old.isupper() or old.islower()):
            return old
        letters = "".join(rng.choices(_CODE_LETTERS, k=len(old)))
        return letters if old.isupper() else letters.lower()

    return _RUN.sub(other, text)


def _other_digits(old: str, rng: Random, grows: bool) -> str:
    length = len(old)
    if grows and length <= 4 and not old.startswith("0"):
        length = max(1, length + rng.choice((-1, 1)))
    digits = "".join(rng.choices(string.digits, k=length))
    if digits.startswith("0") and not old.startswith("0"):
        digits = rng.choice("123456789") + digits[1:]
    return digits


def coined(rng: Random) -> str:
    """A name that nobody bears, such as `Velmora`."""
    syllables = rng.choices(_SYLLABLES, k=rng.choice((1, 2)))
    end = rng.choice(["a", "en", "ia", "ix", "mora", "ton", "um", "vik", "wick"])
    return ("".join(syllables) + end).capitalize()


def number_like(text: str, rng: Random, schema: Schema | None = None) -> str:
    """Another number of as many digits and decimals, within the schema's bounds, years as years."""
    bare = text.replace(",", "")
    whole, _, decimals = bare.partition(".")
    for _ in range(20):
        if not decimals and len(whole) == 4 and 1700 <= int(whole) < 2100:
            new = str(rng.randint(1700, 2099))
        else:
            new = _other_digits(whole, rng, grows=rng.random() < 0.3)
            new = "0" if whole == "0" and decimals else new
        if decimals:
            new += "." + _other_digits(decimals, rng, grows=False)
        if within(float(new), schema or {}):
            return f"{int(new):,}" if "," in text and not decimals else new
    return bare


def within(number: float, schema: Schema) -> bool:
    """Whether a number keeps a schema's bounds."""
    return (
        schema.get("minimum", number) <= number <= schema.get("maximum", number)
        and ("exclusiveMinimum" not in schema or number > schema["exclusiveMinimum"])
        and ("exclusiveMaximum" not in schema or number < schema["exclusiveMaximum"])
        and ("multipleOf" not in schema or number % schema["multipleOf"] == 0)
    )


def choices_of(schema: Schema) -> list[Any]:
    """The values of a schema that lists them, else none."""
    if "const" in schema:
        return [schema["const"]]
    return list(schema.get("enum", ()))


def said(choice: str) -> list[str]:
    """How a choice may stand in a question: as it is, in other cases, in other words."""
    own = (choice, choice.replace("_", " "))
    cased = [form for text in own for form in (capitalized(text), text.upper())]
    return [*own, *cased, *(form for kind in words.CHOICES for form in kind.get(choice, ()))]


def can_make(schema: Any) -> bool:
    """Whether `a_value` makes one: text, a number, true or false, a choice, a list of such."""
    if not isinstance(schema, Mapping):
        return False
    if "anyOf" in schema:
        return all(map(can_make, schema["anyOf"]))
    if choices := choices_of(schema):
        return not any(isinstance(choice, (list, dict)) for choice in choices)
    if schema.get("type") == "array":
        return can_make(schema.get("items"))
    return schema.get("type") in SCALARS


def a_value(schema: Schema, parameter: str, pool: Sequence[str], rng: Random) -> Any:
    """A JSON value for a parameter, from its schema, its name, and what examples gave it."""
    if "anyOf" in schema:
        real = [choice for choice in schema["anyOf"] if choice.get("type") != "null"]
        return a_value(rng.choice(real), parameter, pool, rng) if real else None
    if choices := choices_of(schema):
        others = [choice for choice in choices if choice != schema.get("default", choices)]
        return rng.choice(others or choices)
    match schema["type"]:
        case "string":
            return _a_text(schema, parameter, pool, rng)
        case "integer" | "number":
            return _a_number(schema, parameter, rng)
        case "array":
            made = [a_value(schema["items"], parameter, pool, rng) for _ in range(3)]
            return [item for at, item in enumerate(made) if item not in made[:at]]
        case "boolean":
            return not schema["default"] if "default" in schema else rng.random() < 0.5
    return None


def _a_text(schema: Schema, parameter: str, pool: Sequence[str], rng: Random) -> str:
    hints = set(parameter.lower().split("_"))
    if schema.get("format") == "date" or hints & words.DATE_HINTS:
        return _a_date(rng)
    if pool and rng.random() < 0.7:
        return alike(rng.choice(pool), parameter, pool, rng)
    if hints & words.CODE_HINTS:
        return _a_code(rng)
    if hints & words.PERSON_HINTS:
        return rng.choice([_a_first_name, _a_full_name])(rng)
    if hints & words.CITY_HINTS:
        return _a_city(rng)
    if hints & words.THING_HINTS:
        return rng.choice([_a_code, _a_thing, _a_thing_of_some_kind])(rng)
    return rng.choice([_a_code, coined, _a_thing, _a_thing_of_some_kind])(rng)


def _a_number(schema: Schema, parameter: str, rng: Random) -> float:
    whole = schema["type"] == "integer"
    lowest = schema.get("minimum", schema.get("exclusiveMinimum"))
    highest = schema.get("maximum", schema.get("exclusiveMaximum"))
    if lowest is not None or highest is not None:
        low = lowest if lowest is not None else min(0, highest - 100)
        high = highest if highest is not None else low + 1000
        for _ in range(20):
            number = rng.randint(int(low), int(high)) if whole else round(rng.uniform(low, high), 1)
            if within(number, schema):
                return number
        return float(low) if not whole else int(low)
    pattern = rng.choice(["7", "42", "350"] if whole else ["7", "42", "350", "12.5", "99.95"])
    text = number_like(pattern, rng)
    return float(text) if "." in text else int(text)


def _a_code(rng: Random) -> str:
    return code_like(rng.choice(["A-100", "4711", "B2", "K-2041", "X7-30", "unit 4", "no-82"]), rng)


def _a_date(rng: Random) -> str:
    return (date(2024, 1, 1) + timedelta(days=rng.randrange(1100))).isoformat()


def _a_first_name(rng: Random) -> str:
    return rng.choice(words.FIRST_NAMES)


def _a_full_name(rng: Random) -> str:
    return f"{rng.choice(words.FIRST_NAMES)} {rng.choice(words.LAST_NAMES)}"


def _a_city(rng: Random) -> str:
    return rng.choice(words.CITIES)


def _a_thing(rng: Random) -> str:
    return rng.choice(words.THINGS)


def _a_thing_of_some_kind(rng: Random) -> str:
    return f"{rng.choice(words.MATERIALS)} {rng.choice(words.THINGS)}"
