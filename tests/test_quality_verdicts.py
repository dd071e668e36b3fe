"""Whether an answer is right, and whether two results are the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quality.verdicts import answer_right, numbers_in, same_result
from train.samples import Right

NUMBERS = [
    ("It is 8849 m high.", [8849]),
    ("8,849 m and 1,234,567.5 km", [8849, 1234567.5]),
    ("in 1889, 1931 and 2001", [1889, 1931, 2001]),
    ("8849m", [8849]),
    ("K2 and Boeing747 are names", []),
    ("version 1.2.3", [1.2]),
    ("5.68e26 kg, 1E-3", [5.68e26, 1e-3]),
    ("5.68 × 10^26 kg", [5.68e26]),
    ("5.68 x 10**-3 or 2*10^(3)", [5.68e-3, 2000]),
    ("1.4 billion people, 2 million more", [1.4e9, 2e6]),
    ("-5 degC, −3.5, 7-8", [-5, -3.5, 7, 8]),
    ("about 10%", [10]),
    ("12\u202f345 km", [12345]),
    ("no number", []),
]


@pytest.mark.parametrize(("text", "numbers"), NUMBERS)
def test_numbers_are_read(text: str, numbers: list[float]) -> None:
    assert numbers_in(text) == pytest.approx(numbers)


@given(st.floats(-1e15, 1e15), st.sampled_from(["{}", "{:,}", "{:e}", "about {} m."]))
def test_a_number_is_read_as_it_was_written(number: float, form: str) -> None:
    written = f"{number:.6f}" if form in ("{}", "about {} m.") else number
    assert numbers_in(form.format(written)) == pytest.approx([number], rel=1e-5, abs=1e-6)


FIRST = Right(names=("Mount Everest",), rivals=("K2", "Mount Kenya"))
BOTH = Right(names=("Norway", "Sweden"), rivals=("Denmark",))
LONGER = Right(names=("Boeing 747-8",), rivals=("Boeing 747",))
SHORTER = Right(names=("Boeing 747",), rivals=("Boeing 747-8",))
ANSWERS = [
    (FIRST, "Mount Everest is taller than K2.", True),
    (FIRST, "mount  everest's height is more than that of K2", True),
    (FIRST, "Mount Everest.", True),
    (FIRST, "K2 is less tall than Mount Everest.", False),
    (FIRST, "Everest", False),
    (FIRST, "Mount Everestia", False),
    (FIRST, "", False),
    (Right(names=("Kenya",), rivals=("Mount Kenya",)), "Mount Kenya", False),
    (Right(names=("the Nile",)), "Nile: 6650 km", True),
    (Right(names=("greyhound",), rivals=("cheetah",)), "Greyhounds are slower", True),
    (Right(names=("São Paulo",)), "Sao Paulo", True),
    (
        BOTH,
        "Sweden and Norway, not Denmark",
        True,
    ),
    (BOTH, "Norway, Denmark, Sweden", False),
    (LONGER, "The Boeing 747-8 is longer than the Boeing 747.", True),
    (LONGER, "The Boeing 747 is longer.", False),
    (SHORTER, "The Boeing 747 is shorter than the Boeing 747-8.", True),
    (SHORTER, "The Boeing 747-8 is shorter.", False),
    (Right(numbers=(238,)), "by 238 m", True),
    (Right(numbers=(238,)), "by 239.1 m", True),
    (Right(numbers=(238,)), "by 240 m", False),
    (Right(numbers=(238,)), "by -238 m", False),
    (Right(numbers=(0,)), "no difference, 0 m", True),
    (Right(numbers=(0,)), "0.001", False),
    (Right(numbers=(8849, 8611)), "8,611 m and 8,849 m", True),
    (Right(numbers=(8849, 8611)), "8849 m twice", False),
    (Right(names=("Everest",), numbers=(238,)), "Everest, by 238 m", True),
    (Right(names=("Everest",), numbers=(238,)), "Everest", False),
    (Right(admits=True), "I can't tell.", True),
    (Right(admits=True), "I can’t tell.", True),
    (Right(admits=True), "That could not be found.", True),
    (Right(admits=True), "Nothing was found on that.", True),
    (Right(admits=True), "None of the tools knows; no tool can.", True),
    (Right(admits=True), "I don't know.", True),
    (Right(admits=True), "I am unable to help.", True),
    (Right(admits=True), "I found nothing on the height of Nowhere Peak.", True),
    (Right(admits=True), "I can't answer that: my tools only look up facts and calculate.", True),
    (Right(admits=True), "I wasn't able to check the weather: access denied.", True),
    (Right(admits=True), "The height is unknown.", True),
    (Right(admits=True), "It was found in 1998.", False),
    (Right(admits=True), "It is 5 m, canonically.", False),
    (Right(admits=True, numbers=(5,)), "A is 5 m; B cannot be found.", True),
    (Right(admits=True, numbers=(5,)), "Neither can be found, I cannot tell.", False),
    (Right(), "anything", None),
    (Right(rivals=("K2",)), "anything", None),
]


@pytest.mark.parametrize(("right", "answer", "is_right"), ANSWERS)
def test_answers(right: Right, answer: str, is_right: bool | None) -> None:
    assert answer_right(right, answer) is is_right


RESULTS = [
    ("238 m", "238 m", True),
    ("238 m", "238.2 m", True),
    ("238 m", "239 m", False),
    ("238 m", "-238 m", False),
    ("238 m", "0.238 km", True),
    ("238 m", "238 kg", False),
    ("238 m", "238", False),
    ("238", "238.0", True),
    ("5.68e26 kg", "5.681e+26 kg", True),
    ("100 km/h", "27.7778 m/s", True),
    ("20 degC", "293.15 K", True),
    ("Paris", "paris ", True),
    ("Paris", "London", False),
    ("1969-07-20", "1969-07-20", True),
    ("1969-07-20", "1969-07-21", False),
    ("1969-07-20", "1968-07-20", False),
    ("10:30", "10:31", False),
    ("1931", "1930", False),
    ("1931", "1931.0", True),
    ("123456", "123457", True),
    ("1931.5", "1931", True),
    ("1969", "Paris", False),
    ("5 of them", "5 of those", False),
    ("height: 5 m; mass: 3 kg", "height: 5 m; mass: 3 kg", True),
]


@pytest.mark.parametrize(("one", "other", "same"), RESULTS)
def test_results(one: str, other: str, same: bool) -> None:
    assert same_result(one, other) is same
