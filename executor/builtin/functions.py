"""The functions an expression can call, such as `max(8849 m, 8611 m)`, on pint's quantities."""

import operator
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import reduce
from typing import Any, NamedTuple

from executor.errors import ToolError

Quantity = Any

MAX_DIGITS = 100
# Enough for a number of 1e100, the calculator's largest, with as many digits behind the point.
_EXACT = Context(prec=2 * MAX_DIGITS + 2)


class Function(NamedTuple):
    """What to apply to the arguments.

    With `most`, there are one to that many of them. Without, there are any number of one dimension,
    and `verb` says in an error what can't be done with others.
    """

    apply: Callable[..., Quantity]
    verb: str = ""
    most: int | None = None


def _largest(*values: Quantity) -> Quantity:
    return max(values)


def _smallest(*values: Quantity) -> Quantity:
    return min(values)


def _sum(*values: Quantity) -> Quantity:
    return reduce(operator.add, values)


def _mean(*values: Quantity) -> Quantity:
    # The sum of two temperatures in degC means nothing, and is refused; their mean is well defined.
    unit = values[0].units
    return type(values[0])(sum(each.m_as(unit) for each in values) / len(values), unit)


def _root(value: Quantity) -> Quantity:
    if value.magnitude < 0:
        raise ToolError("can't take a root of a negative number")
    return value**0.5


def _rounded(value: Quantity, digits: Quantity | None = None) -> Quantity:
    """Round in the value's own unit, halves away from zero, as people do and Python doesn't.

    Decimals decide, not the float behind them: 1.005 to 2 digits is 1.01.
    """
    places = 0 if digits is None else _places(digits)
    number = value.magnitude
    exact = Decimal(number if isinstance(number, int) else f"{number:.15g}")
    near = exact.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP, _EXACT)
    return type(value)(float(near) if places > 0 else int(near), value.units)


def _places(digits: Quantity) -> int:
    number = digits.magnitude
    if not digits.unitless or abs(number) > MAX_DIGITS or number != int(number):
        raise ToolError(f"round takes a whole number of digits, at most {MAX_DIGITS}")
    return int(number)


_average = Function(_mean, verb="average")
FUNCTIONS = {
    "max": Function(_largest, verb="compare"),
    "min": Function(_smallest, verb="compare"),
    "mean": _average,
    "average": _average,
    "avg": _average,
    "sum": Function(_sum, verb="sum up"),
    "abs": Function(abs, most=1),
    "sqrt": Function(_root, most=1),
    "round": Function(_rounded, most=2),
}
