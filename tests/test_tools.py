"""Tools: what a signature becomes, and what can't be a tool."""

import datetime
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields
from typing import Annotated, Any, Literal

import pydantic
import pytest

from executor.errors import ArgumentError, ToolDefinitionError, UsageError
from executor.policy import Options, Policy
from executor.tools import Tool, ToolBox, tool


@tool
def search(query: str, limit: int = 5) -> list[str]:
    """Look something up.

    A second paragraph.
    """
    return [query] * limit


@tool(timeout=2.5, eager=False, idempotent=True)
async def send(
    to: Annotated[str, pydantic.Field(min_length=1)],
    kind: Literal["mail", "sms"],
    parts: list[list[int]],
    note: str | None = None,
    day: datetime.date = datetime.date(2026, 1, 2),
) -> str:
    return f"{kind} to {to}"


def test_a_signature_becomes_a_schema() -> None:
    assert search.name == "search"
    assert search.description == "Look something up.\n\nA second paragraph."
    assert search.required == ("query",)
    assert search.optional == ("limit",)
    assert without_titles(search.properties) == {
        "query": {"type": "string"},
        "limit": {"type": "integer", "default": 5},
    }


def test_every_type_that_a_plan_can_write_has_a_schema() -> None:
    assert send.required == ("to", "kind", "parts")
    assert send.optional == ("note", "day")
    assert without_titles(send.properties) == {
        "to": {"type": "string", "minLength": 1},
        "kind": {"type": "string", "enum": ["mail", "sms"]},
        "parts": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        "day": {"type": "string", "format": "date", "default": "2026-01-02"},
    }


def without_titles(properties: Any) -> dict[str, dict[str, Any]]:
    return {
        name: {key: value for key, value in schema.items() if key != "title"}
        for name, schema in properties.items()
    }


def test_what_the_decorator_says_is_kept() -> None:
    assert send.policy == Policy(timeout=2.5, eager=False, idempotent=True)
    assert search.policy == Policy()


def test_the_decorator_takes_what_a_policy_has() -> None:
    assert Options.__annotations__.keys() == {field.name for field in fields(Policy)}


async def test_a_tool_is_called_like_its_function() -> None:
    assert search("a", limit=2) == ["a", "a"]
    assert await send("me", "sms", parts=[]) == "sms to me"


GOOD_ARGUMENTS: list[tuple[Tool, dict[str, Any], dict[str, Any]]] = [
    (search, {"query": "a"}, {"query": "a"}),
    (search, {"query": "a", "limit": 2}, {"query": "a", "limit": 2}),
    # What a template gives is text, whatever is in it.
    (search, {"query": "a", "limit": "2"}, {"query": "a", "limit": 2}),
    (
        send,
        {"to": "me", "kind": "sms", "parts": [[1]], "note": None, "day": "2026-02-03"},
        {
            "to": "me",
            "kind": "sms",
            "parts": [[1]],
            "note": None,
            "day": datetime.date(2026, 2, 3),
        },
    ),
]

BAD_ARGUMENTS: list[tuple[Tool, dict[str, Any], str]] = [
    (search, {}, "query: Field required"),
    (search, {"query": 1}, "query: Input should be a valid string"),
    (search, {"query": None}, "query: Input should be a valid string"),
    (search, {"query": "a", "limit": "many"}, "limit: Input should be a valid integer"),
    (search, {"query": "a", "page": 1}, "page: Extra inputs are not permitted"),
    (send, {"to": "", "kind": "sms", "parts": []}, "to: String should have at least 1 character"),
    (send, {"to": "me", "kind": "fax", "parts": []}, "kind: Input should be 'mail' or 'sms'"),
    (send, {"to": "me", "kind": "sms", "parts": [[1], [2, "x"]]}, "parts[1][1]: Input should be"),
]


@pytest.mark.parametrize(("tool", "args", "checked"), GOOD_ARGUMENTS)
def test_arguments_that_fit_pass(tool: Tool, args: dict[str, Any], checked: dict[str, Any]) -> None:
    assert tool.validate(args) == checked


@pytest.mark.parametrize(("tool", "args", "message"), BAD_ARGUMENTS, ids=range(8))
def test_arguments_that_do_not_fit_are_refused_by_path(
    tool: Tool, args: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArgumentError) as refusal:
        tool.validate(args)
    assert str(refusal.value).startswith(message)


class Thing: ...


def untyped(x, y): ...
def no_parameter_is_special(self: int, cls: int, _x: int, model_config: int) -> None: ...
def rest(x: int, *more: int) -> None: ...
def options(x: int, **more: int) -> None: ...
def positional(x: int, /) -> None: ...
def a_thing(x: int, y: Thing) -> None: ...
def a_callback(x: int, y: Callable[[int], int]) -> None: ...
def a_number(x: 5) -> None: ...
def unknown_name(x: "Nowhere") -> None: ...  # noqa: F821
def unknown_attribute(x: "datetime.nothing") -> None: ...
def no_expression(x: "list[") -> None: ...  # noqa: F722
def wrong_default(x: int = "a") -> None: ...
def wrong_choice(x: Literal["a"] = "b") -> None: ...
def join(x: int) -> None: ...


NO_TOOLS: list[tuple[Callable[[], Any], str]] = [
    (lambda: tool(untyped), "untyped(x): has no type; write one, such as x: str"),
    (lambda: tool(rest), "rest(more): a plan names each argument"),
    (lambda: tool(options), "options(more): a plan names each argument"),
    (lambda: tool(positional), "positional(x): a plan names arguments"),
    (lambda: tool(a_thing), "a_thing(y): no JSON value can stand for"),
    (lambda: tool(a_callback), "a_callback(y): no JSON value can stand for"),
    (lambda: tool(a_number), "a_number(x): no JSON value can stand for 5"),
    (lambda: tool(unknown_name), "unknown_name: its signature can't be read: name 'Nowhere'"),
    (lambda: tool(unknown_attribute), "unknown_attribute: its signature can't be read: module"),
    (lambda: tool(no_expression), "no_expression: its signature can't be read: Forward"),
    (lambda: tool(wrong_default), "wrong_default(x): its default 'a' is no int"),
    (lambda: tool(wrong_choice), "wrong_choice(x): its default 'b' is no Literal['a']"),
    (lambda: tool(max), "max: its signature can't be read"),
    (lambda: tool(join), "a tool can't be called join: that word ends a plan"),
    (lambda: tool(lambda: 1), "a tool can't be called '<lambda>': it needs a plain name"),
    (lambda: tool(Thing), "Thing: a tool is made from a function"),
    (lambda: tool(search), "a tool is made from a function"),
    (lambda: tool(timeout=0)(no_parameter_is_special), "timeout must be above 0 seconds"),
    (lambda: tool(timeout=-1)(no_parameter_is_special), "timeout must be above 0 seconds"),
    (lambda: tool(timeout=float("nan"))(no_parameter_is_special), "timeout must be above 0"),
    (lambda: ToolBox([search, search]), "two tools are called search; rename one"),
    (lambda: ToolBox([search, untyped]), "is no tool; put @tool above the function"),
]


@pytest.mark.parametrize(("make", "message"), NO_TOOLS, ids=[m[:30] for _, m in NO_TOOLS])
def test_what_cannot_be_a_tool_is_refused_by_name(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ToolDefinitionError) as refusal:
        make()
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_no_parameter_name_is_special() -> None:
    args = {"self": 1, "cls": 2, "_x": 3, "model_config": 4}
    made = tool(no_parameter_is_special)
    assert made.required == tuple(args)
    assert made.validate(args) == args


def schema(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


def from_schema(parameters: Any, name: str = "look") -> Tool:
    return Tool.from_json_schema(name, "Looks.", parameters, lambda **args: args)


def test_a_json_schema_becomes_a_tool() -> None:
    made = from_schema(
        schema(
            ("id",),
            kind={"enum": ["a", 1, None]},
            id={"type": "string", "minLength": 2},
            tags={"type": "array", "items": {"type": "string"}},
        ),
        name="web.look-up",
    )
    assert made.name == "web.look-up"
    assert made.description == "Looks."
    assert made.required == ("id",)
    assert made.optional == ("kind", "tags")
    assert made(id="ab") == {"id": "ab"}
    assert made.validate({"id": "ab", "kind": None}) == {"id": "ab", "kind": None}


def test_a_json_schema_without_parameters_becomes_a_tool() -> None:
    made = from_schema({"type": "object"})
    assert (made.required, made.optional) == ((), ())
    assert made.validate({}) == {}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({}, "arguments: 'id' is a required property"),
        ({"id": 1}, "id: 1 is not of type 'string'"),
        ({"id": "a", "tags": ["b", 2]}, "tags[1]: 2 is not of type 'string'"),
    ],
)
def test_arguments_that_a_json_schema_refuses_are_refused_by_path(
    args: dict[str, Any], message: str
) -> None:
    tags = {"type": "array", "items": {"type": "string"}}
    made = from_schema(schema(("id",), id={"type": "string"}, tags=tags))
    with pytest.raises(ArgumentError) as refusal:
        made.validate(args)
    assert str(refusal.value) == message


def nested(levels: int) -> dict[str, Any]:
    return {"type": "array", "items": nested(levels - 1)} if levels else {"type": "null"}


def doubling(levels: int) -> dict[str, Any]:
    inner = doubling(levels - 1) if levels else {"type": "null"}
    return {"type": "object", "properties": {"a": inner, "b": inner}}


def within_itself() -> dict[str, Any]:
    itself = schema(("a",), a={"$ref": "#/$defs/A"})
    return {**itself, "$defs": {"A": itself}}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"type": "string"}, 'look: its parameters must be a schema of type "object"'),
        ({}, 'look: its parameters must be a schema of type "object"'),
        (schema(a={"type": "text"}), "look: $.properties.a.type: 'text' is not valid"),
        ({"type": "object", "required": "a"}, "look: $.required: 'a' is not of type 'array'"),
        (schema(("a",)), "look(a): is required, but has no schema"),
        (schema(("a",), a=False), "look(a): no value fits"),
        (schema(("a",), a={"enum": []}), "look(a): no value fits"),
        (schema(("a",), a={"type": "integer", "enum": ["1"]}), "look(a): no value fits"),
        (schema(a={"$ref": "#/$defs/A"}), "look(a): its $ref '#/$defs/A' leads nowhere"),
        (schema(a={"$ref": "https://x.org/a.json"}), "look(a): its $ref 'https://x.org/a.json'"),
        (schema(a={"items": {"$dynamicRef": "#a"}}), "look(a)[]: $dynamicRef is not supported"),
        (
            schema(a={"anyOf": [{"anyOf": [{}]}], "allOf": [{"anyOf": [{"type": "null"}]}]}),
            "look(a): has two sets of anyOf at once",
        ),
        (schema(a=nested(33)), "look(a)" + "[]" * 33 + ": is nested deeper than 32 levels"),
        (schema(a=doubling(9)), "look(a).b"),
        (schema(a=nested(250)), "look: its schema has more than 20000 parts, or is nested deeper"),
        (within_itself(), "look(a): no value fits: it would have to hold itself for ever"),
    ],
    ids=range(16),
)
def test_a_json_schema_that_a_plan_cannot_write_is_refused_by_name(
    parameters: Any, message: str
) -> None:
    with pytest.raises(ToolDefinitionError) as refusal:
        from_schema(parameters)
    assert str(refusal.value).startswith(message)


@pytest.mark.parametrize("name", ["", "join", "a b", "<a>", "a(b", 'a"', "a=b"])
def test_a_name_that_a_plan_cannot_write_is_refused(name: str) -> None:
    with pytest.raises(ToolDefinitionError, match="a tool can't be called"):
        from_schema({"type": "object"}, name=name)


def test_a_toolbox_holds_its_tools_by_name_in_their_order() -> None:
    box = ToolBox([send, search])
    assert list(box) == [send, search]
    assert box["search"] is search
    assert "search" in box
    assert "fly" not in box
    assert len(box) == 2
    assert str(box) == "send, search"


def test_a_subset_is_a_toolbox_of_its_own_in_the_same_order() -> None:
    box = ToolBox([send, search])
    assert list(box.subset(["search", "send", "search"])) == [send, search]
    assert list(box.subset(["search"])) == [search]
    assert list(box.subset([])) == []
    assert list(box) == [send, search]


def test_a_subset_of_unknown_tools_is_refused() -> None:
    with pytest.raises(UsageError, match="no such tool: fly, swim; there are: send, search"):
        ToolBox([send, search]).subset(["swim", "search", "fly"])


def test_a_toolbox_does_not_change() -> None:
    tools = [search]
    box = ToolBox(tools)
    tools.append(send)
    assert list(box) == [search]
    with pytest.raises(TypeError):
        box["send"] = send
    with pytest.raises(TypeError):
        del box["search"]
    with pytest.raises(FrozenInstanceError):
        search.name = "find"
