"""Whether an answer is right, and whether two results are the same."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from math import isclose

from executor.builtin.calculator import calculate
from executor.errors import ToolError
from train.samples import Right

NUMBER_TOLERANCE = 0.005  # of a number in an answer
RESULT_TOLERANCE = 0.001  # of one result against another
EXACT_BELOW = 10_000  # among whole numbers without a unit: years and counts

_LETTERS = str.maketrans({"’": "'", "\u202f": " "})
_FIGURES = str.maketrans({"−": "-", "×": "x", "\u00a0": ",", "\u202f": ","})
_PLAIN = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?"
_NUMBER = re.compile(
    rf"""
    (?P<sign>(?<![\w)])-)?
    (?<![^\W\d_])(?<![\d.])(?P<digits>{_PLAIN}(?:e[+-]?\d+)?)
    (?:\s*[x*·]\s*10\s*(?:\^|\*\*)\s*\(?(?P<power>[+-]?\d+)\)?)?
    (?:\s+(?P<scale>thousand|million|billion|trillion)\b)?
    """,
    re.VERBOSE,
)
_SCALES = {"thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}
_QUANTITY = re.compile(  # not a date, a time or a list, which begin with a number too
    rf"(-?{_PLAIN}(?:e[+-]?\d+)?)(?![\d.,:/-])\s*(.*)", re.IGNORECASE | re.DOTALL
)
_ADMITS = re.compile(
    r"\b(can't|cannot|can not|could not|couldn't|(not|\w+n't) able|unable|not possible"
    r"|nothing (was )?found|found nothing|not found|(did not|didn't) find|not available|unknown"
    r"|no (tool|information|data|result)s?|(do not|don't) (know|have)|(does not|doesn't) know)\b"
)


def answer_right(right: Right, answer: str) -> bool | None:
    """Whether an answer is as `right` asks; None if nothing is asked."""
    if not (right.names or right.numbers or right.admits):
        return None
    return (
        _names_first(right.names, right.rivals, answer)
        and all(holds_number(answer, number) for number in right.numbers)
        and (not right.admits or admits(answer))
    )


def admits(answer: str) -> bool:
    """Whether an answer says that it can't tell, in one of the usual phrasings."""
    return _ADMITS.search(_folded(answer)) is not None


def holds_number(text: str, number: float, tolerance: float = NUMBER_TOLERANCE) -> bool:
    return any(near(found, number, tolerance) for found in numbers_in(text))


def near(found: float, wanted: float, tolerance: float) -> bool:
    """Whether `found` is within a share of `wanted`; nothing but 0 is near 0."""
    return isclose(found, wanted, rel_tol=0, abs_tol=abs(wanted) * tolerance)


def numbers_in(text: str) -> list[float]:
    """The numbers of a text, with thousands separators, exponents and words such as million."""
    found = []
    for match in _NUMBER.finditer(text.casefold().translate(_FIGURES)):
        number = float(match["digits"].replace(",", ""))
        if match["power"]:
            number *= float(f"1e{match['power']}")
        number *= _SCALES.get(match["scale"], 1.0)
        found.append(-number if match["sign"] else number)
    return found


def same_result(one: str, other: str) -> bool:
    """Whether two results are one: the same text, or quantities that differ by 0.1 % at most.

    Years and counts must be equal.
    """
    if _folded(one) == _folded(other):
        return True
    first, second = _quantity(one), _quantity(other)
    if first is None or second is None:
        return False
    if _is_exact(first) and _is_exact(second):
        return first == second
    if first[1] != second[1]:
        second = _quantity(_converted(other, first[1])) if first[1] and second[1] else None
    return second is not None and near(second[0], first[0], RESULT_TOLERANCE)


def _quantity(text: str) -> tuple[float, str] | None:
    """Number and unit, if the text is that."""
    match = _QUANTITY.fullmatch(text.strip())
    return None if match is None else (float(match[1].replace(",", "")), match[2])


def _is_exact(quantity: tuple[float, str]) -> bool:
    number, unit = quantity
    return not unit and number.is_integer() and abs(number) < EXACT_BELOW


def _converted(quantity: str, unit: str) -> str:
    """The quantity in that unit; empty if it has none."""
    try:
        return str(calculate(f"{quantity} to {unit}"))
    except ToolError:
        return ""


def _names_first(names: Iterable[str], rivals: Iterable[str], answer: str) -> bool:
    text = _folded(answer)
    ahead = min((at for rival in rivals if (at := _place(rival, text))), default=None)
    places = [_place(name, text) for name in names]
    return all(at is not None and (ahead is None or at < ahead) for at in places)


def _place(name: str, text: str) -> tuple[int, int] | None:
    """Where a name first stands as whole words, or as their plural.

    Of two names that begin alike the longer one goes first: `Boeing 747-8` is no `Boeing 747`.
    """
    bare = re.sub(r"^the ", "", _folded(name))
    match = re.search(rf"(?<!\w){re.escape(bare)}s?(?!\w)", text)
    return None if match is None else (match.start(), -match.end())


def _folded(text: str) -> str:
    """Without case, accents, and blanks beyond single ones."""
    plain = unicodedata.normalize("NFKD", text.translate(_LETTERS).casefold())
    return " ".join("".join(each for each in plain if not unicodedata.combining(each)).split())
