"""Results as they pass from task to task, and as they are shown."""

import datetime
import re
from dataclasses import dataclass
from typing import Any

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.errors import ArgumentError
from executor.plan import Ref, Template
from executor.values import resolve, shorten, text_of

PLACE = {"name": "K2", "heights": [8611, {"unit": "m"}], "1": "one"}
LOOP: list[Any] = []
LOOP.append(LOOP)
RESULTS: dict[int, Any] = {1: PLACE, 2: "costs $1", 3: 4.5, 4: None, 5: [1, 2]}


@pytest.mark.parametrize(
    ("value", "resolved"),
    [
        ("$1", "$1"),
        (1, 1),
        (None, None),
        (Ref(1), PLACE),
        (Ref(3), 4.5),
        (Ref(4), None),
        (Ref(1, ("name",)), "K2"),
        (Ref(1, ("heights", 1, "unit")), "m"),
        (Ref(5, (1,)), 2),
        ([Ref(3), [Ref(5)], "x"], [4.5, [[1, 2]], "x"]),
        ({"a": Ref(3), "b": {"c": Ref(2)}}, {"a": 4.5, "b": {"c": "costs $1"}}),
        (Template((Ref(3),)), "4.5"),
        (Template((Ref(1, ("name",)), " is ", Ref(1, ("heights", 0)), " m")), "K2 is 8611 m"),
        (Template(("it ", Ref(2), Ref(3))), "it costs $14.5"),
        (Template((Ref(4), " ", Ref(5))), "null [1, 2]"),
    ],
)
def test_references_give_way_to_results(value: Any, resolved: Any) -> None:
    assert resolve(value, RESULTS) == resolved


def test_a_whole_value_is_the_result_itself() -> None:
    assert resolve(Ref(1), RESULTS) == PLACE


def test_what_one_tool_does_to_a_result_no_other_one_sees() -> None:
    resolve(Ref(1), RESULTS)["heights"].clear()
    assert resolve(Ref(1, ("heights", 0)), RESULTS) == 8611


def test_an_object_that_is_no_json_is_passed_on_but_not_looked_into() -> None:
    class Row:
        def __getitem__(self, key: str) -> str:
            raise RuntimeError("the row is closed")

    row = Row()
    assert resolve(Ref(1), {1: row}) is row
    with pytest.raises(ArgumentError, match="has no 'name'"):
        resolve(Ref(1, ("name",)), {1: row})


class Peak(pydantic.BaseModel):
    name: str
    at: dict[str, float] = {}


@dataclass
class Range:
    peaks: list[Peak]


def test_a_model_or_a_dataclass_is_looked_into_and_told_as_its_fields() -> None:
    peak = Peak(name="K2", at={"lat": 35.9})
    results = {1: Range([peak]), 2: {peak.name: peak, "seen": peak}}
    assert resolve(Ref(1, ("peaks", 0)), results) is peak
    assert resolve(Ref(1, ("peaks", 0, "at", "lat")), results) == 35.9
    assert text_of(results[1]) == '{"peaks": [{"name": "K2", "at": {"lat": 35.9}}]}'
    with pytest.raises(ArgumentError, match="has no 'model_dump'"):
        resolve(Ref(1, ("peaks", 0, "model_dump")), results)


@settings(deadline=None, max_examples=100)
@given(st.text('$1{}[].a"', max_size=8), st.text("$1{}a", max_size=4))
def test_a_result_is_never_scanned_again(result: str, text: str) -> None:
    parts = tuple(part for part in (text, Ref(1)) if part != "")
    assert resolve(Template(parts), {1: result}) == text + result
    assert resolve([Ref(1)], {1: result}) == [result]


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        (Ref(1, ("height",)), "$1.height: the result of task 1 has no 'height'"),
        (Ref(1, (1,)), "$1[1]: the result of task 1 has no 1"),
        (Ref(5, (2,)), "$5[2]: the result of task 5 has no 2"),
        (Ref(5, ("a",)), "$5.a: the result of task 5 has no 'a'"),
        (Ref(2, ("a",)), "$2.a: the result of task 2 has no 'a'"),
        (Ref(3, (0,)), "$3[0]: the result of task 3 has no 0"),
        (Ref(4, ("a", "b")), "$4.a.b: the result of task 4 has no 'a'"),
    ],
    ids=str,
)
def test_a_path_that_leads_nowhere_is_the_arguments_fault(ref: Ref, message: str) -> None:
    for value in (ref, Template((ref, "!")), [ref]):
        with pytest.raises(ArgumentError) as refusal:
            resolve(value, RESULTS)
        assert str(refusal.value) == message


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ("K2", "K2"),
        ("", ""),
        ('a "quote"', 'a "quote"'),
        (None, "null"),
        (True, "true"),
        (3, "3"),
        (0.1, "0.1"),
        (["é", 1, None], '["é", 1, null]'),
        ({"a": {"b": True}}, '{"a": {"b": true}}'),
        (datetime.date(2026, 1, 2), '"2026-01-02"'),
        ({(1, 2): 3}, "{(1, 2): 3}"),
        (LOOP, "[[...]]"),
    ],
    ids=repr,
)
def test_every_result_has_a_text(result: Any, text: str) -> None:
    assert text_of(result) == text


@pytest.mark.parametrize(
    ("limit", "shown"),
    [
        (9, "123456789"),
        (6, "1234 [... 3 characters left out ...] 89"),
        (2, "1 [... 8 characters left out ...] "),
        (0, " [... 9 characters left out ...] "),
    ],
)
def test_a_long_text_keeps_its_head_and_tail(limit: int, shown: str) -> None:
    assert shorten("123456789", limit) == shown


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=80), st.integers(0, 60))
def test_shortening_says_how_much_is_missing(text: str, limit: int) -> None:
    short = shorten(text, limit)
    if len(text) <= limit:
        assert short == text
        return
    parts = re.fullmatch(r"(.*) \[\.\.\. (\d+) characters left out \.\.\.\] (.*)", short, re.DOTALL)
    assert parts is not None
    head, missing, tail = parts.groups()
    assert limit - 2 <= len(head + tail) <= limit
    assert int(missing) == len(text) - len(head + tail)
    assert text.startswith(head)
    assert text.endswith(tail)
