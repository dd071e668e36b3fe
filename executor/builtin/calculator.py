"""The `calculate` tool: arithmetic with units, read by pint's evaluator under our own limits.

An expression is cut into tokens (expression.py), and pint's expression tree is evaluated with the
guarded operators below. Text never reaches Python's `eval`.
"""

import math
import operator
import threading
from collections.abc import Callable
from functools import cache, partial
from token import ENDMARKER, NUMBER
from tokenize import TokenInfo
from typing import Any

from executor.builtin.dates import with_dates
from executor.builtin.expression import (
    bind_units,
    check_order,
    enclose_calls,
    scan,
    split_conversion,
)
from executor.builtin.functions import FUNCTIONS
from executor.errors import ToolError

# pint is imported late, and its quantities are generic over a magnitude that here is int or float.
Quantity = Any

MAX_CHARACTERS = 1000
MAX_MAGNITUDE = 1e100
MAX_EXPONENT = 1000
MAX_UNIT_POWER = 20

# "per" is the division inside a unit; it and the blank between number and unit bind tighter
# than the division of two quantities.
_PRIORITY = {"**": 5, "unary": 4, "": 3, "per": 3, "*": 2, "/": 2, "+": 1, "-": 1, ",": 0}
# To pint's tree builder a function is a prefix operator, as the minus is.
_PRIORITY |= {f"{name}(": _PRIORITY["unary"] for name in FUNCTIONS}
# pint's symbols for these, a and d, are hard to read and easily taken for something else.
_SPELLED_OUT = frozenset({"year", "day"})
# pint fills its caches while it computes, and its documentation promises nothing about threads.
_lock = threading.Lock()


def calculate(expression: str) -> str | float:
    """Compute an arithmetic expression such as `max(8849 m, 8611 m)` or `8849 m to ft`.

    Knows + - * / ^ ** ( ) and %, `X to UNIT` or `X in UNIT` for conversions, and the functions
    max, min, mean (or average, avg), sum, abs, sqrt and round, as `round(X)` or `round(X, DIGITS)`.
    A number and the unit right behind it are one quantity, and bind tighter than * and /:
    `100 km / 50 km/h` is 100 km divided by 50 km/h, 2 h. Sums and means have the unit of their
    first operand, max and min that of the argument they choose; round keeps the unit it rounds in.

    A comma right between digits, with exactly three behind it, belongs to the number: `1,234 m`,
    and `max(1,234, 5)` has two arguments. Any other comma parts arguments: write a blank behind it.

    Of dates, as in `min(1879-03-14, 1643-01-04)` or `1969-07-20 - 1961-04-12`, it finds the first,
    the last, and the days from one to another.
    """
    if len(expression) > MAX_CHARACTERS:
        raise ToolError(f"the expression is longer than {MAX_CHARACTERS} characters")
    if (result := with_dates(expression)) is not None:
        return result
    tokens = scan(expression)
    operands, target = split_conversion(tokens)
    with _lock:
        result = _evaluate(operands)
        if target is None:
            return _answer(result)
        return _quantity_text(_converted(result, _target_unit(target)))


def _evaluate(tokens: list[TokenInfo]) -> Quantity:
    from pint.pint_eval import build_eval_tree

    check_order(tokens)
    end = TokenInfo(ENDMARKER, "", (1, 0), (1, 0), "")
    tree = build_eval_tree([*enclose_calls(bind_units(tokens)), end], _PRIORITY)
    return tree.evaluate(_operand, _BINARY, _UNARY)


@cache
def _registry() -> Any:
    # Importing pint and reading its definitions takes half a second; a run without
    # calculations needn't wait for it.
    from pint import UnitRegistry

    registry: Any = UnitRegistry()
    registry.define("USD = [currency]")
    registry.define("person = [population] = _ = people")
    return registry


def _operand(token: TokenInfo) -> Quantity:
    if token.type == NUMBER:
        number = int(token.string) if token.string.isdigit() else float(token.string)
        return _bounded(_registry().Quantity(number))
    unit = _unit(token.string)
    base = unit.to_base_units()
    # pi, ppm and the like are units to pint and numbers to everyone else.
    return base if base.unitless else unit


def _unit(name: str) -> Quantity:
    from pint.errors import PintError

    try:
        unit = _registry().Quantity(1, _registry().parse_units(name))
    except (PintError, ValueError):
        raise ToolError(f"{name[:40]!r} is not a known unit") from None
    # Nothing is 0 in the base unit too, except for decibels and their like, and temperatures.
    nothing = _registry().Quantity(0, unit.units)
    base = _attempt(nothing.to_base_units, f"calculate with {name}")
    if base.magnitude != 0 and not unit.check("[temperature]"):
        raise ToolError(f"can't calculate with {name}")
    return unit


def _target_unit(tokens: list[TokenInfo]) -> Quantity:
    if [token.string for token in tokens] == ["%"]:
        return _unit("percent").units
    target = _evaluate(tokens)
    if target.unitless or target.magnitude != 1:
        raise ToolError("after 'to' or 'in' only a unit can follow")
    return target.units


def _converted(value: Quantity, unit: Quantity) -> Quantity:
    return _attempt(lambda: value.to(unit), f"convert {_name(value)} to {_unit_text(1 * unit)}")


def _guarded(apply: Callable[[Any, Any], Any], what: str) -> Callable[[Any, Any], Any]:
    def operation(left: Quantity, right: Quantity) -> Quantity:
        return _attempt(lambda: apply(left, right), what.format(_name(left), _name(right)))

    return operation


def _attach(left: Quantity, right: Quantity) -> Quantity:
    if left.unitless:
        # A product would be refused for 20 degC, whose zero is not the kelvin's.
        return _bounded(_registry().Quantity(left.magnitude * right.magnitude, right.units))
    return _attempt(lambda: left * right, f"multiply {_name(left)} by {_name(right)}")


def _negative(value: Quantity) -> Quantity:
    return _registry().Quantity(-value.magnitude, value.units)


def _power(base: Quantity, exponent: Quantity) -> Quantity:
    if not exponent.unitless:
        raise ToolError(f"an exponent must be a plain number, not {_quantity_text(exponent)}")
    size, power = abs(base.magnitude), exponent.magnitude
    if base.magnitude < 0 and power != int(power):
        raise ToolError("can't take a root of a negative number")
    # The size is foreseen by logarithm, since computing 9**9**9 to find it too large never ends.
    digits = abs(power * math.log10(size)) if size else 0
    unit_power = max((abs(power * each) for _, each in base.unit_items()), default=0)
    if unit_power > MAX_UNIT_POWER:
        raise ToolError(f"{_name(base)} to the power {_plain(power)} is no usable unit")
    if abs(power) > MAX_EXPONENT or digits > math.log10(MAX_MAGNITUDE):
        raise ToolError(f"the power {_plain(base.magnitude)}^{_plain(power)} is out of range")
    return _attempt(lambda: base**power, f"raise {_name(base)} to a power")


def _arguments(left: Quantity | list[Quantity], right: Quantity) -> list[Quantity]:
    return [*(left if isinstance(left, list) else [left]), right]


def _call(name: str, arguments: Quantity | list[Quantity]) -> Quantity:
    # Folded, since 1500 m/km rounds to 2.
    values = [_folded(each) for each in (arguments if isinstance(arguments, list) else [arguments])]
    apply, verb, most = FUNCTIONS[name]
    if most is not None and len(values) > most:
        count = "1 argument" if most == 1 else f"at most {most} arguments"
        raise ToolError(f"{name} takes {count}, not {len(values)}")
    first, others = values[0], values[1:] if most is None else []
    for other in others:
        if other.dimensionality != first.dimensionality:
            raise ToolError(f"can't {verb} {_name(first)} with {_name(other)}")
    return _attempt(lambda: apply(*values), f"take the {name} of {_name(first)}")


_divide = _guarded(operator.truediv, "divide {0} by {1}")
_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "+": _guarded(operator.add, "add {1} to {0}"),
    "-": _guarded(operator.sub, "subtract {1} from {0}"),
    "*": _guarded(operator.mul, "multiply {0} by {1}"),
    "/": _divide,
    "per": _divide,
    "": _attach,
    ",": _arguments,
    "**": _power,
}
_UNARY: dict[str, Callable[[Any], Any]] = {
    "+": lambda value: value,
    "-": _negative,
    **{f"{name}(": partial(_call, name) for name in FUNCTIONS},
}


def _attempt(operation: Callable[[], Quantity], what: str) -> Quantity:
    from pint.errors import PintError

    try:
        return _bounded(operation())
    except ZeroDivisionError:
        raise ToolError("division by zero") from None
    except OverflowError:
        raise ToolError("a number is too large") from None
    except PintError:
        raise ToolError(f"can't {what}") from None


def _bounded(value: Quantity) -> Quantity:
    # Not written with >, since every comparison with NaN is false.
    if not abs(value.magnitude) <= MAX_MAGNITUDE:
        raise ToolError(f"a number is larger than {MAX_MAGNITUDE:g}")
    return value


def _answer(value: Quantity) -> str | float:
    value = _folded(value)
    return _plain(value.magnitude) if value.unitless else _quantity_text(value)


def _folded(value: Quantity) -> Quantity:
    """Fold units of one dimension into one: km/m is a number, and km min/h are km."""
    if len(value.unit_items()) < 2:
        return value
    fold = partial(value.to, "") if value.dimensionless else value.to_reduced_units
    return _attempt(fold, f"reduce {_name(value)}")


def _quantity_text(value: Quantity) -> str:
    return f"{_plain(value.magnitude)} {_unit_text(value)}"


def _plain(number: float) -> float:
    """Drop a float's rounding noise, and digits beyond six where the decimals don't end soon."""
    if isinstance(number, int):
        return number
    near = float(f"{number:.14g}")
    if near != float(f"{number:.10g}"):
        near = float(f"{near:.{max(6, len(str(int(abs(near)))))}g}")
    return int(near) if near.is_integer() and abs(near) < 1e15 else near


def _name(value: Quantity) -> str:
    return "a plain number" if value.unitless else _unit_text(value)


def _unit_text(value: Quantity) -> str:
    """The unit in symbols that `calculate` reads back; 1/s is s^-1, as 5 1/s would be no number."""
    powers = [(_symbol(name), power) for name, power in value.unit_items()]
    over = "*".join(_with_power(symbol, power) for symbol, power in powers if power > 0)
    if not over:
        return "*".join(_with_power(*each) for each in powers)
    under = (_with_power(symbol, -power) for symbol, power in powers if power < 0)
    return "/".join([over, *under])


def _symbol(unit: str) -> str:
    return unit if unit in _SPELLED_OUT else str(_registry().get_symbol(unit))


def _with_power(symbol: str, power: float) -> str:
    return symbol if power == 1 else f"{symbol}^{_plain(power)}"
