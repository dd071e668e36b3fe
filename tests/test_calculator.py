"""The `calculate` tool: arithmetic with units under limits."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
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

DATES: list[tuple[str, str | float]] = [
    ("min(1879-03-14, 1643-01-04)", "1643-01-04"),
    ("max (1879-03-14,1643-01-04, 0999-12-31)", "1879-03-14"),
    ("max(1889-03-31)", "1889-03-31"),
    ("1969-07-20 - 1961-04-12", "3021 day"),
    ("1961-04-12 − 1969-07-20", "-3021 day"),
    ("abs(1961-04-12 - 1969-07-20)", "3021 day"),
]

# max(8849 m, 8611 m) and the others; min( is the function, and min alone the minute.
CALLS: list[tuple[str, str | float]] = [
    ("max(8849 m, 8611 m, 6190 m)", "8849 m"),
    ("min(8849 m, 8611 m, 6190 m)", "6190 m"),
    ("max(1 km, 900 m)", "1 km"),
    ("max(900 m, 1 km)", "1 km"),
    ("min(1 km, 900 m)", "900 m"),
    ("max(20 degC, 50 degF)", "20 °C"),
    ("max(2, 3)", 3),
    ("max(5 m)", "5 m"),
    ("max (1, 2)", 2),
    ("max(-5, -3)", -3),
    ("max(1500 m / 1 km, 1)", 1.5),
    ("sum(1 km, 500 m)", "1.5 km"),
    ("sum(1, 2, 3)", 6),
    ("mean(1 km, 500 m)", "0.75 km"),
    ("mean(1, 2)", 1.5),
    ("average(1 m, 2 m)", "1.5 m"),
    ("avg(1 m, 2 m)", "1.5 m"),
    ("mean(20 degC, 30 degC)", "25 °C"),
    ("abs(8611 m - 8849 m)", "238 m"),
    ("abs(-5)", 5),
    ("sqrt(16 m^2)", "4 m"),
    ("sqrt(2)", 1.41421),
    ("round(3.14159, 2)", 3.14),
    ("round(8849.4 m)", "8849 m"),
    ("round(1234 m, -2)", "1200 m"),
    ("round(1 km / 3, 1)", "0.3 km"),
    ("round(1500 m / 1 km)", 2),
    ("round(2.5)", 3),
    ("round(-2.5)", -3),
    ("round(1.005, 2)", 1.01),
    ("round(1.1 * 2.5, 1)", 2.8),
    ("round(1e100, 100)", 1e100),
    ("round(1e-300, 100)", 0),
    ("max(8849 m, 8611 m) / min(8849 m, 8611 m)", 1.02764),
    ("mean(max(1 m, 2 m), min(3 m, 4 m)) to ft", "8.2021 ft"),
    ("max(5 in, 3 in) in cm", "12.7 cm"),
    ("abs(5 m - 8 m) * (1 - 10/100)", "2.7 m"),
    ("max((1 + 2) * 3, 4)", 9),
    ("sqrt(4) ** 3", 8),
    ("2 ** sqrt(4)", 4),
    ("-sqrt(4) ** 2", -4),
    ("max(1, 2) m", "2 m"),
    ("max(30%, 20%)", 0.3),
    ("max(10, 20)%", 0.2),
    ("5 m * max(1, 2)", "10 m"),
    ("10 m / min(2 s, 3 s)", "5 m/s"),
    ("100 km / 50 km/h / max(1, 2)", "1 h"),
    ("5 min", "5 min"),
    ("5 min to s", "300 s"),
    ("6 km / 2 km/min", "3 min"),
    ("min(5 min, 200 s)", "200 s"),
    ("max(5 min, 200 s)", "5 min"),
    ("abs(" * 99 + "-1" + ")" * 99, 1),
]

# A comma right between digits, with exactly three behind it, belongs to the number.
COMMAS: list[tuple[str, str | float]] = [
    ("sum(1,234, 5)", 1239),
    ("sum(1,234,5)", 1239),
    ("sum(1,234 m,1,235 m)", "2469 m"),
    ("sum(100,200)", 100200),
    ("sum(100, 200)", 300),
    ("sum(100 ,200)", 300),
    ("sum(100,2000)", 2100),
    ("sum(1889,1973)", 3862),
    ("sum(1.5,200)", 201.5),
    ("sum(8849 m,200 m)", "9049 m"),
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
    ("max(1889-03-31, 5)", "the date 1889-03-31"),
    ("abs(1961-04-12 - 1969-07-20", "the date 1961-04-12"),
    ("min(2023-02-30, 2023-01-01)", "2023-02-30 is no date"),
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
    ("foo(1, 2)", "'foo' is not a known function; there are max, min, mean"),
    ("2 * foo(1)", "'foo' is not a known function; there are max, min, mean"),
    ("8849 m (Everest, Nepal)", "an operator is missing before '('"),
    ("2 max(3, 4)", "an operator is missing before 'max('"),
    ("5 min (3)", "an operator is missing before 'min('"),
    ("max", "'max' is not a known unit"),
    ("max(1 m, 2 kg)", "can't compare m with kg"),
    ("min(1 m, 2)", "can't compare m with a plain number"),
    ("mean(1 m, 2 kg)", "can't average m with kg"),
    ("sum(1 m, 2 kg)", "can't sum up m with kg"),
    ("sum(20 degC, 30 degC)", "can't take the sum of °C"),
    ("sqrt(4 degC)", "can't take the sqrt of °C"),
    ("sqrt(-4)", "a root of a negative number"),
    ("abs(1, 2)", "abs takes 1 argument, not 2"),
    ("round(1, 2, 3)", "round takes at most 2 arguments, not 3"),
    ("round(1, 2 m)", "round takes a whole number of digits"),
    ("round(1, 2.5)", "round takes a whole number of digits"),
    ("round(1, 1e50)", "round takes a whole number of digits, at most 100"),
    ("sum(1e100, 1e100)", "larger than 1e+100"),
    ("max()", "a number is missing before ')'"),
    ("max(1,)", "a number is missing before ')'"),
    ("max(, 1)", "a number is missing before ','"),
    ("max(1,, 2)", "a number is missing before ','"),
    ("max(1, 2", "'(' is not closed"),
    ("max(1, 2))", "')' has no '('"),
    ("1, 2", "can't read ', 2' as arithmetic: a comma parts only a function's arguments"),
    ("max((1, 2), 3)", "can't read ', 2), 3)' as arithmetic: a comma parts only"),
    ("round(8849 m to ft)", "'to' converts a whole expression"),
    ("max(3 m in ft, 2 m)", "'in' converts a whole expression"),
    ("abs(" * 120 + "1" + ")" * 120, "more than 200"),
]


@pytest.mark.parametrize(("expression", "result"), GOOD)
def test_computes(expression: str, result: str | float) -> None:
    assert calculate(expression) == result


@pytest.mark.parametrize(("expression", "result"), BOUND)
def test_a_quantity_is_one_operand(expression: str, result: str | float) -> None:
    assert calculate(expression) == result


@pytest.mark.parametrize(("expression", "result"), CALLS + DATES)
def test_calls_functions(expression: str, result: str | float) -> None:
    assert calculate(expression) == result


@pytest.mark.parametrize(("expression", "result"), COMMAS)
def test_a_comma_parts_arguments_or_groups_digits(expression: str, result: str | float) -> None:
    assert calculate(expression) == result


@pytest.mark.parametrize(("expression", "reason"), BAD)
def test_refuses(expression: str, reason: str) -> None:
    with pytest.raises(ToolError) as refusal:
        calculate(expression)
    assert reason in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("expression", [each for each, _ in GOOD + BOUND + CALLS])
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
    " , , max( min( mean( sum( abs( sqrt( round( foo( min"
)


@given(st.text(max_size=60) | st.lists(st.sampled_from(PIECES.split()), max_size=25).map(" ".join))
def test_any_text_is_computed_or_refused(expression: str) -> None:
    assert "\n" not in _outcome(expression)


def _outcome(expression: str) -> str:
    try:
        return str(calculate(expression))
    except ToolError as refusal:
        return str(refusal)


@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6))
def test_differences_are_exact(left: int, right: int) -> None:
    assert calculate(f"{left} m - ({right} m)") == f"{left - right} m"


UNITS = {"mm": 1, "m": 10**3, "km": 10**6}
LENGTHS = st.tuples(st.integers(-(10**6), 10**6), st.sampled_from(list(UNITS)))


@given(st.lists(LENGTHS, min_size=1, max_size=8))
def test_max_and_min_choose_an_argument_and_mean_lies_between(
    lengths: list[tuple[int, str]],
) -> None:
    arguments = [f"{number} {unit}" for number, unit in lengths]
    smallest, mean, largest = (
        str(calculate(f"{name}({', '.join(arguments)})")) for name in ("min", "mean", "max")
    )
    assert {smallest, largest} <= set(arguments)
    in_mm = [number * UNITS[unit] for number, unit in lengths]
    assert _in_mm(smallest) == min(in_mm)
    assert _in_mm(largest) == max(in_mm)
    # A mean is written with six digits or more.
    slack = 1e-5 * max(map(abs, in_mm))
    assert min(in_mm) - slack <= _in_mm(mean) <= max(in_mm) + slack


def _in_mm(length: str) -> float:
    number, unit = length.split()
    return float(number) * UNITS[unit]


@given(st.integers(-(10**9), 10**9), st.integers(0, 4))
def test_rounding_moves_a_number_by_half_a_digit_at_most(number: int, digits: int) -> None:
    rounded = calculate(f"round({number}, -{digits})")
    assert isinstance(rounded, int)
    assert rounded % 10**digits == 0
    assert 2 * abs(rounded - number) <= 10**digits
