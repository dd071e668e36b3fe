"""Types: from the schemas found in the wild to what a plan may write, and back from its text."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import uuid
from collections.abc import Callable
from typing import Annotated, Any, Literal, NotRequired

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import TypedDict

from executor.parser import PlanParser
from executor.plan import Join, Ref, Task, Template, Value, render
from executor.tools import Tool, ToolBox, tool
from executor.types import Anything, Array, Choice, Object, Scalar, Type, Union, fits
from planner_prompts.grammar import matches, plan_regex

ID = 4  # of the task that is written; it may refer to 1, 2 and 3


def from_schema(schema: Any, defs: Any = None) -> Tool:
    parameters = {"type": "object", "properties": {"x": schema}, "required": ["x"]}
    if defs is not None:
        parameters["$defs"] = defs
    return Tool.from_json_schema("f", "", parameters, lambda x: x)


def can_write(made: Tool, text: str) -> bool:
    regex = plan_regex(ToolBox([made]), ID, max_tasks=1, backend="guidance")
    return matches(regex, f"{ID}. {made.name}({text})\n{ID + 1}. join()")


NODE = {
    "type": "object",
    "properties": {"v": {"type": "integer"}, "next": {"$ref": "#/$defs/Node"}},
    "required": ["v"],
}
TREE = {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"$ref": "#/$defs/Tree"}}]}
SCHEMAS: list[tuple[Any, list[str], list[str]]] = [
    ({"type": "string"}, ['"a"', "$1", '"$1 m"'], ["1", "a", "null", "$4", '"$4"']),
    ({"type": "integer"}, ["0", "-12", "$3.a[0]"], ["1.5", '"1"', "01"]),
    ({"type": "number"}, ["0", "-1.5", "2e9"], ["true", "1."]),
    ({"type": "boolean"}, ["true", "$2"], ["True", '"true"']),
    ({"type": "null"}, ["null"], ["None", "0"]),
    ({"type": ["string", "null"]}, ['"a"', "null"], ["1"]),
    ({"type": "string", "nullable": True}, ['"a"', "null"], ["1"]),
    ({"enum": ["a"], "nullable": True, "default": None}, ['"a"', "null"], ['"b"']),
    (
        {"properties": {"nullable": {"type": "boolean"}}, "nullable": False},
        ["{}", '{"nullable": true}'],
        ["null"],
    ),
    ({"type": "integer", "minimum": 5}, ["7", "3"], ["7.5"]),  # bounds are for the seal
    ({"enum": ["a", 1, None, {"k": [1, "$"]}]}, ['"a"', "1", "null", '{"k": [1, "$$"]}'], ['"b"']),
    ({"const": "a"}, ['"a"'], ['"b"']),
    ({"type": "integer", "enum": ["1", 2]}, ["2"], ['"1"', "1"]),
    ({"type": "string", "format": "date"}, ['"2026-02-28"', "$1"], ['"2026-13-01"', '"$1"']),
    ({"type": "string", "format": "time"}, ['"23:59:59Z"', '"01:02:03.5"'], ['"24:00:00"']),
    ({"type": "string", "format": "date-time"}, ['"2026-02-28T01:02:03+01:00"'], ['"2026-02-28"']),
    (
        {"type": "string", "format": "uuid"},
        ['"00000000-0000-0000-0000-00000000000f"'],
        ['"0"'],
    ),
    ({"type": "string", "format": "email"}, ['"a"'], ["1"]),
    ({"type": "array"}, ["[]", '[1, "a", null, [true], $1]'], ["1", "[1,2]"]),
    ({"items": {"type": "integer"}}, ["[]", "[1, $2]"], ['["a"]']),
    ({"type": "array", "items": False}, ["[]"], ["[1]"]),
    (
        {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2},
        ["[1]", "[1, 2]"],
        ["[]", "[1, 2, 3]"],
    ),
    ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, ["[1, 2, 3]"], ["[1]"]),
    (
        {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False},
        ["[]", "[1]", '[1, "a"]', '[$1, "$2"]'],
        ['["a"]', '[1, "a", 2]'],
    ),
    ({"type": "object"}, ["{}", '{"a": 1, "b c": [1]}', '{"a": $1}'], ["[]", '{"a":1}']),
    ({"type": "object", "additionalProperties": False}, ["{}"], ['{"a": 1}']),
    (
        {"additionalProperties": {"type": "integer"}},
        ["{}", '{"a": 1, "b": $1}'],
        ['{"a": "b"}'],
    ),
    (
        {"properties": {"a": {"type": "integer"}, "b": {"type": "string"}}, "required": ["b"]},
        ['{"b": "x"}', '{"b": "x", "a": 1}', '{"b": $1}'],
        ["{}", '{"a": 1}', '{"a": 1, "b": "x"}', '{"b": "x", "c": 1}'],
    ),
    (
        {"properties": {"a": {}, "b": {}}, "additionalProperties": {"type": "null"}},
        ["{}", '{"b": 1}', '{"a": 1, "b": 2, "c": null}', '{"c": null}'],
        ['{"c": 1}', '{"b": 1, "a": 2, "c": 1}'],
    ),
    ({"type": "object", "required": ["a"]}, ['{"a": 1}', '{"a": 1, "b": 2}'], ["{}"]),
    ({}, ["1", '"a"', "null", "[1, $1]", '{"a": 1}', "$1"], ["[[1]]", "x"]),
    (True, ["1", "$1"], ["x"]),
    (
        {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "string"}}]},
        ["1", '["a"]'],
        ['"a"', "[1]"],
    ),
    ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, ["1", '"a"'], ["null"]),
    (
        {"allOf": [{"properties": {"a": {"type": "integer"}}}, {"required": ["a"]}]},
        ['{"a": 1}'],
        ["{}", '{"a": "b"}'],
    ),
    (
        {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
        },
        ['{"a": 1}', '{"b": 1}', '{"b": 1, "a": 2}'],
        ["{}"],
    ),
    ({"type": ["integer", "string"], "enum": [1, "a", None]}, ["1", '"a"'], ["null"]),
    ({"$ref": "#/$defs/Node"}, ['{"v": 1}', '{"v": 1, "next": {"v": 2}}'], ['{"next": {"v": 1}}']),
    ({"$ref": "#/$defs/Tree"}, ["1", "[1, [2, []]]", "[]"], ['"a"', "[[[3]]]"]),
]


@pytest.mark.parametrize(("schema", "within", "out"), SCHEMAS, ids=range(len(SCHEMAS)))
def test_a_json_schema_says_what_a_plan_may_write(
    schema: Any, within: list[str], out: list[str]
) -> None:
    made = from_schema(schema, {"Node": NODE, "Tree": TREE})
    assert [text for text in within if not can_write(made, text)] == []
    assert [text for text in out if can_write(made, text)] == []


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Point(pydantic.BaseModel):
    x: int
    y: int = 0


@dataclasses.dataclass
class Size:
    width: int
    colour: Colour = Colour.RED


class Options(TypedDict):
    deep: bool
    name: NotRequired[str]


class Node(pydantic.BaseModel):
    value: int
    next: Node | None = None


def colour(x: Colour) -> None: ...
def literal(x: Literal["a", 1, None]) -> None: ...
def maybe(x: int | None) -> None: ...
def numbers(x: list[float]) -> None: ...
def pair(x: tuple[int, str]) -> None: ...
def table(x: dict[str, list[int]]) -> None: ...
def point(x: Point) -> None: ...
def size(x: Size) -> None: ...
def options(x: Options) -> None: ...
def points(x: list[Point | Size]) -> None: ...
def bounded(x: Annotated[int, pydantic.Field(ge=1, le=9)]) -> None: ...
def day(x: datetime.date) -> None: ...
def key(x: uuid.UUID) -> None: ...
def anything(x: Any) -> None: ...
def chain(x: Node) -> None: ...


KEY = "00000000-0000-0000-0000-00000000000f"
PYTHON: list[tuple[Callable[..., None], str, Any]] = [
    (colour, '"red"', Colour.RED),
    (literal, "null", None),
    (maybe, "null", None),
    (numbers, "[1, 2.5]", [1.0, 2.5]),
    (pair, '[1, "a"]', (1, "a")),
    (table, '{"a": [1]}', {"a": [1]}),
    (point, '{"x": 1}', Point(x=1)),
    (size, '{"width": 1, "colour": "blue"}', Size(1, Colour.BLUE)),
    (options, '{"deep": true}', {"deep": True}),
    (points, '[{"x": 1, "y": 2}, {"width": 3}]', [Point(x=1, y=2), Size(3)]),
    (bounded, "5", 5),
    (day, '"2026-11-28"', datetime.date(2026, 11, 28)),
    (key, f'"{KEY}"', uuid.UUID(KEY)),
    (anything, '{"a": 1}', {"a": 1}),
    (chain, '{"value": 1, "next": {"value": 2}}', Node(value=1, next=Node(value=2))),
]


@pytest.mark.parametrize(("function", "text", "value"), PYTHON)
def test_what_is_written_reaches_the_function_as_what_it_takes(
    function: Callable[..., None], text: str, value: Any
) -> None:
    made = tool(function)
    assert can_write(made, text)
    (task,) = PlanParser(ToolBox([made]), ID).feed(f"{ID}. {made.name}({text})")
    assert isinstance(task, Task)
    assert made.validate(task.args) == {"x": value}


def test_an_optional_parameter_that_no_value_fits_is_not_written(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = Tool.from_json_schema(
        "f", "", {"type": "object", "properties": {"x": {"type": "integer", "enum": ["1"]}}}, print
    )
    assert made.optional == ()
    assert caplog.messages == ["f(x): no value fits, so no plan will give it one"]
    assert can_write(made, "")
    assert not can_write(made, 'x="1"')


# Round trip, whatever the tools

names = st.from_regex(r"\w[\w./:@-]{0,8}", fullmatch=True).filter(lambda name: name != "join")
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
integers = st.integers(-(10**9), 10**9)
floats = st.floats(-1e90, 1e90).filter(lambda value: value == 0 or abs(value) > 1e-90)
scalars = st.one_of(st.none(), st.booleans(), integers, texts)


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(
        lambda properties, needed, rest: {
            "type": "object",
            "properties": properties,
            "required": [name for name in properties if name in needed],
            "additionalProperties": rest,
        },
        st.dictionaries(texts, inner, max_size=3),
        st.sets(texts, max_size=3),
        st.one_of(st.just(False), inner),
    )


schemas: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.sampled_from([{"type": kind} for kind in ("string", "integer", "number", "boolean")]),
        st.sampled_from([{"type": "null"}, {"type": "string", "format": "date"}, {}]),
        st.lists(scalars, min_size=1, max_size=3).map(lambda values: {"enum": values}),
    ),
    lambda inner: st.one_of(
        inner.map(lambda items: {"type": "array", "items": items}),
        st.lists(inner, min_size=1, max_size=3).map(
            lambda first: {"type": "array", "prefixItems": first, "items": False, "minItems": 1}
        ),
        st.lists(inner, min_size=1, max_size=3).map(lambda choices: {"anyOf": choices}),
        objects(inner),
    ),
    max_leaves=6,
)


@st.composite
def tools(draw: st.DrawFn) -> Tool:
    properties = draw(st.dictionaries(texts.filter(bool), schemas, max_size=4))
    required = [name for name in properties if draw(st.booleans())]
    parameters = {"type": "object", "properties": properties, "required": required}
    return Tool.from_json_schema(draw(names), "", parameters, print)


toolboxes = st.lists(tools(), min_size=1, max_size=3, unique_by=lambda each: each.name).map(ToolBox)


@st.composite
def references(draw: st.DrawFn, id: int) -> Ref:
    steps = st.one_of(
        st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,4}", fullmatch=True), st.integers(0, 99)
    )
    return Ref(draw(st.integers(1, id - 1)), tuple(draw(st.lists(steps, max_size=2))))


@st.composite
def templates(draw: st.DrawFn, id: int) -> Value:
    parts: list[str | Ref] = []
    for part in draw(
        st.lists(st.one_of(texts.filter(bool), references(id)), min_size=1, max_size=4)
    ):
        if isinstance(part, str) and parts and isinstance(parts[-1], str):
            parts[-1] += part
        else:
            parts.append(part)
    return Template(tuple(parts)) if any(isinstance(each, Ref) for each in parts) else parts[0]


@st.composite
def values(draw: st.DrawFn, type: Type, id: int, depth: int = 1) -> Value:
    """Something that may be written for the type in the task `id`."""
    if id > 1 and draw(st.integers(0, 5)) == 0:
        return draw(references(id))
    match type:
        case Scalar(kind="string", format=""):
            return draw(templates(id) if id > 1 else texts)
        case Scalar(kind="string"):
            return draw(st.dates().map(str))
        case Scalar(kind=kind):
            kinds = {
                "integer": integers,
                "number": floats,
                "boolean": st.booleans(),
                "null": st.none(),
            }
            return draw(kinds[kind])
        case Choice(values=choices):
            return draw(st.sampled_from(choices))
        case Union(choices=choices):
            return draw(values(draw(st.sampled_from(choices)), id))
        case Array(first=first, rest=rest, least=least):
            count = draw(st.integers(least, len(first) + (2 if rest else 0)))
            of = [*first, *[rest or Anything()] * 2][:count]
            return [draw(values(each, id)) for each in of]
        case Object(required=required, optional=optional, rest=rest):
            chosen = {name: each for name, each in optional.items() if draw(st.booleans())}
            others = draw(st.lists(texts, max_size=2, unique=True)) if rest else []
            more = {n: rest or Anything() for n in others if n not in {**required, **optional}}
            members = {**required, **chosen, **more}
            order = draw(st.permutations(list(members)))
            return {name: draw(values(members[name], id)) for name in order}
        case Anything():
            flat = st.one_of(texts, floats, st.booleans(), st.none())
            inner = values(type, id, depth - 1)
            if depth == 0:
                return draw(flat)
            return draw(
                st.one_of(
                    flat,
                    st.lists(inner, max_size=2),
                    st.dictionaries(texts, inner, max_size=2),
                )
            )


@st.composite
def plans(draw: st.DrawFn) -> tuple[ToolBox, int, list[Task | Join]]:
    toolbox = draw(toolboxes)
    first_id = draw(st.sampled_from([1, 2, 9, 10]))
    items: list[Task | Join] = []
    for id in range(first_id, first_id + draw(st.integers(0, 2))):
        chosen = draw(st.sampled_from(list(toolbox)))
        given = [n for n in chosen.types if n in chosen.required or draw(st.booleans())]
        args = {name: draw(values(chosen.types[name], id)) for name in given}
        items.append(Task(id, chosen.name, args))
    return toolbox, first_id, [*items, Join(first_id + len(items))]


@settings(max_examples=150)
@given(plan=plans(), data=st.data())
def test_a_plan_is_written_within_the_grammar_and_read_back(
    plan: tuple[ToolBox, int, list[Task | Join]], data: st.DataObject
) -> None:
    toolbox, first_id, items = plan
    for item in items:
        if isinstance(item, Task):
            types = toolbox[item.tool_name].types
            assert all(fits(value, types[name]) for name, value in item.args.items())
    text = "\n".join(render(item, toolbox) for item in items)
    assert matches(plan_regex(toolbox, first_id, max_tasks=2, backend="guidance"), text)
    parser = PlanParser(toolbox, first_id)
    found: list[Task | Join] = []
    done = 0
    while done < len(text):
        size = data.draw(st.integers(1, len(text)))
        found += parser.feed(text[done : done + size])
        done += size
    parser.close()
    assert found == items
