"""What is known to be wrong with a call before it is made: a table of lines and their faults."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field
from typing_extensions import TypedDict

from executor import seal
from executor.errors import ArgumentError, ToolDefinitionError
from executor.parser import tasks_of
from executor.tools import Tool, ToolBox, tool


class Weather(TypedDict):
    degrees: float
    sky: Literal["clear", "cloudy"]


@tool
def weather(
    city: Annotated[str, Field(max_length=8)], days: Annotated[int, Field(ge=1)] = 1
) -> Weather: ...  # type: ignore[empty-body]


@tool
def count(text: str) -> int: ...  # type: ignore[empty-body]


@tool
def rows(table: str) -> list[Weather]: ...  # type: ignore[empty-body]


@tool
def anything(value: Any) -> Any: ...


@tool
def add(left: float, right: float) -> float: ...  # type: ignore[empty-body]


@tool
def mean(values: list[float]) -> float: ...  # type: ignore[empty-body]


@tool
def untold(text: str):  # type: ignore[no-untyped-def]
    ...


WINDOW = Tool.from_json_schema(
    "window",
    "",
    {
        "type": "object",
        "properties": {
            "from": {"type": "integer", "multipleOf": 5},
            "to": {"type": "integer"},
            "tag": {"type": "string", "minLength": 3},
        },
        "required": ["from"],
        "dependentRequired": {"tag": ["to"]},
    },
    lambda **_: None,
    returns={"type": "object", "properties": {"id": {"type": "string"}}},
)
TOOLBOX = ToolBox([weather, count, rows, anything, add, mean, untold, WINDOW])

EARLIER = """\
1. weather("Oslo")
2. count("a")
3. rows("t")
4. anything(1)
5. untold("a")
6. window(5)
"""

GOOD = [
    'weather("Oslo", days=2)',
    "weather($1.sky)",
    'weather("$2")',
    'weather("a text with $1 in it")',
    "weather($4)",
    "weather($5.name[3].x)",
    "weather($6.id)",
    "anything($1)",
    "count($3[7].sky)",
    "add(left=$1.degrees, right=$2)",
    "add(left=$2, right=$1.sky)",  # a text may read as a number
    "mean([1, $2, $1.degrees])",
    "mean($4.values)",
    'anything({"a": [$3[0], $1]})',
    "window(10)",
    'window(10, to=$2, tag="abc")',
    "window($2)",
]

BAD = {
    'weather("Llanfairpwll")': "city: String should have at most 8 characters",
    'weather("Oslo", days=0)': "days: Input should be greater than or equal to 1",
    "weather($1, days=0)": "days: Input should be greater than or equal to 1",
    "weather($1)": "city: $1 is object; inside a string, a reference becomes text",
    "weather($2)": "city: $2 is integer; inside a string, a reference becomes text",
    "weather($3[0])": "city: $3[0] is object",
    "weather($1.wind)": "city: $1.wind leads nowhere: $1 is object of weather, and has no 'wind'",
    'weather("${1.wind}")': "city: $1.wind leads nowhere",
    "weather($1[0])": "city: $1[0] leads nowhere",
    "weather($2.value)": "city: $2.value leads nowhere: $2 is integer of count",
    "weather($3.sky)": "city: $3.sky leads nowhere: $3 is array of rows, and has no 'sky'",
    "weather($1.sky.name)": "city: $1.sky.name leads nowhere: $1.sky is string of weather",
    "weather($6.name)": "city: $6.name leads nowhere",
    'anything([1, {"a": $1.wind}])': "value: $1.wind leads nowhere",
    "add(left=$1, right=1)": "left: $1 is object",
    "mean([$3, 1])": "values: $3 is array",
    "mean($2)": "values: $2 is integer",
    'mean(["a", $2])': "values: is not of its type",
    "window(7)": "from: 7 is not a multiple of 5",
    'window(5, tag="abc")': "arguments: 'to' is a dependency of 'tag'",
    'window(5, to=$2, tag="a")': "tag: 'a' is too short",
}


def check(line: str) -> None:
    *earlier, task = tasks_of(f"{EARLIER}7. {line}\n8. join()", TOOLBOX)
    seal.check(task, TOOLBOX, {each.id: each for each in earlier})


@pytest.mark.parametrize("line", GOOD)
def test_passes(line: str) -> None:
    check(line)


@pytest.mark.parametrize(("line", "fault"), BAD.items(), ids=BAD)
def test_is_faulty(line: str, fault: str) -> None:
    with pytest.raises(ArgumentError) as refusal:
        check(line)
    assert str(refusal.value).startswith(fault)


def test_what_a_tool_gives_may_be_told_by_a_schema_which_must_be_one() -> None:
    with pytest.raises(ToolDefinitionError, match=r"^f: its result: \$dynamicRef is not supported"):
        Tool.from_json_schema("f", "", {"type": "object"}, print, returns={"$dynamicRef": "#a"})
