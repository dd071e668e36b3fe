"""The `calculate` tool: arithmetic with units under limits."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.builtin.calculator import calculate
from executor.errors import ToolError

GOOD: list[tuple[str, str | float]] = [
    ("2 + 3 * 4", 14),
    ("(2 + 3) * 4", 20),
    ("6 / 4", 1.5),
    ("6 / 3", 2),
    ("0.1 + 0.2", 0.3),
    ("12345.67 + 0.01", 12345.68),
    ("1 - 1", 0),
    ("2^10", 1024),
    ("2 ** -1", 0.5),
    ("-2 ** 2", -4),
    ("2 ^ 3 ^ 2", 512),
    ("1.05 ** 10", 1.62889),
    ("10 ** 100", 10**100),
    ("3 × 4 ÷ 2 − 1", 5),
    ("2 * pi", 6.28319),
    ("8849 m - 8611 m", "238 m"),
    ("8611 m - 8849 m", "-238 m"),
    ("1,234 m + 1 m", "1235 m"),
    ("1,234,567.5 m", "1234567.5 m"),
    ("5 km + 3 m", "5.003 km"),
    ("0.1 m + 0.2 m", "0.3 m"),
    ("8849 m / 8611 m", 1.02764),
    ("8849 m / 1 km", 8.849),
    ("2 * 3 m", "6 m"),
    ("(3 + 4) m", "7 m"),
    ("120 km / 2 hour", "60 km/h"),
    ("100 km per hour", "100 km/h"),
    ("120 km/h * 30 minute", "60 km"),
    ("68000000 person / 340000 km²", "200 person/km^2"),
    ("3 USD * 4", "12 USD"),
    ("90 year - 5 year", "85 year"),
    ("(9 m^2) ** 0.5", "3 m"),
    ("1 / (5 s)", "0.2 s^-1"),
    ("20 degC - 5 degC to K", "15 K"),
    ("-5 degC to K", "268.15 K"),
    ("30%", 0.3),
    ("35%", 0.35),
    ("100 km * 30%", "30 km"),
    ("(1 + 5%) * 200 USD", "210 USD"),
    ("1 / 4 in percent", "25 %"),
    ("8849 m to ft", "29032.2 ft"),
    ("8849 m in ft", "29032.2 ft"),
    ("(5 km + 3 m) in m", "5003 m"),
    ("2 h + 30 min to min", "150 min"),
    ("18 km/h in m/s", "5 m/s"),
    ("1 m^2 in cm^2", "10000 cm^2"),
    ("5 in", "5 in"),
    ("5 in to cm", "12.7 cm"),
    ("5 in in cm", "12.7 cm"),
    ("254 cm in in", "100 in"),
    ("(2 + 3) in to cm", "12.7 cm"),
]

# A number and the unit behind it are one quantity, bound tighter than * and /.
BOUND: list[tuple[str, str | float]] = [
    ("100 km / 50 km/h", "2 h"),
    ("100 km / 50 km / h", "2 h"),
    ("100 km / 2 h", "50 km/h"),
    ("100 km / (3 + 2) h", "20 km/h"),
    ("10 m/s / 2 m/s", 5),
    ("10 N / 2 kg*m/s^2", 5),
    ("6 m^2 / 2 m^2", 3),
    ("6 m^-1/s / 2 m^-1/s", 3),
    ("1 / 2 km", "0.5 km^-1"),
    ("(100 km) / (50 km) / h", "2 h^-1"),
]

BAD = [
    ("", "a number is missing"),
    ("5 +", "a number is missing after '+'"),
    ("* 5", "a number is missing before '*'"),
    ("()", "a number is missing before ')'"),
    ("(5", "'(' is not closed"),
    ("5)", "')' has no '('"),
    ("3 4", "an operator is missing before '4'"),
    ("2 (3)", "an operator is missing before '('"),
    ("10 % 3", "an operator is missing before '3'"),
    ("5 @ 3", "can't read '@ 3'"),
    ("$1 - $2", "can't read '$1 - $2'"),
    ("1,23 m", "can't read ',23 m'"),
    ("Paris - 3", "'Paris' is not a known unit"),
    ("8849 m (Everest)", "an operator is missing before '('"),
    ("__import__", "'__import__' is not a known unit"),
    ("nan", "'nan' is not a known unit"),
    ("inf", "'inf' is not a known unit"),
    ("1e400", "larger than 1e+100"),
    ("1889-03-31", "the date 1889-03-31"),
    ("8849 m - 3 kg", "can't subtract kg from m"),
    ("3 + 5 m", "can't add m to a plain number"),
    ("3 m to kg", "can't convert m to kg"),
    ("3 to kg", "can't convert a plain number to kg"),
    ("3 m to", "a number is missing"),
    ("3 m to 5", "only a unit can follow"),
    ("3 m to ft to km", "'to' is not a known unit"),
    ("2 degC * 3", "can't multiply °C by a plain number"),
    ("20 dB", "can't calculate with dB"),
    ("1 / 0", "division by zero"),
    ("5 m / (0 s)", "division by zero"),
    ("0 ** -1", "division by zero"),
    ("(-8) ** 0.5", "a root of a negative number"),
    ("2 ** 3 m ** 2 kg ** (1 s)", "an exponent must be a plain number, not 1 s"),
    ("9**9**9", "9^387420489 is out of range"),
    ("10**1000000", "10^1000000 is out of range"),
    ("1e99 * 1e99", "larger than 1e+100"),
    ("((h^12)^12)^12", "h^12 to the power 12"),
    ("(" * 400 + "1" + ")" * 400, "more than 200"),
    ("-" * 900 + "1", "more than 200"),
    ("1+" * 5000 + "1", "longer than 1000 characters"),
]


@pytest.mark.parametrize(("expression", "result"), GOOD)
def test_computes(expression: str, result: str | float) -> None:
    assert calculate(expression) == result


@pytest.mark.parametrize(("expression", "result"), BOUND)
def test_a_quantity_is_one_operand(expression: str, result: str | float) -> None:
    assert calculate(expression) == result


@pytest.mark.parametrize(("expression", "reason"), BAD)
def test_refuses(expression: str, reason: str) -> None:
    with pytest.raises(ToolError) as refusal:
        calculate(expression)
    assert reason in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("expression", [each for each, _ in GOOD + BOUND])
def test_its_answers_can_be_calculated_with(expression: str) -> None:
    answer = calculate(expression)
    if answer != "25 %":
        assert calculate(str(answer)) == answer


def test_exact_integers_stay_integers() -> None:
    assert isinstance(calculate("2 + 3"), int)
    assert isinstance(calculate("7 / 2"), float)


def test_many_threads_get_the_same_answers() -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(calculate, [each for each, _ in GOOD] * 5))
    assert answers == [result for _, result in GOOD] * 5


PIECES = (
    "+ - * / ** ^ ( ) % to in per m km h kg degC USD e dB pi rad 0 1 2.5 9 1e9 1e-9 1,000 Paris °"
)


# Without a deadline, since the first example waits for pint's import.
@settings(deadline=None)
@given(st.text(max_size=60) | st.lists(st.sampled_from(PIECES.split()), max_size=25).map(" ".join))
def test_any_text_is_computed_or_refused(expression: str) -> None:
    assert "\n" not in _outcome(expression)


def _outcome(expression: str) -> str:
    try:
        return str(calculate(expression))
    except ToolError as refusal:
        return str(refusal)


@settings(deadline=None)
@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6))
def test_differences_are_exact(left: int, right: int) -> None:
    assert calculate(f"{left} m - ({right} m)") == f"{left - right} m"
