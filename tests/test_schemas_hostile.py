"""Schemas and signatures that mean harm, or seem to: served, or refused with the fault's place."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from typing import Any, Literal, NotRequired

import pydantic
import pytest
from outlines.types.dsl import to_regex
from typing_extensions import TypedDict

from executor.errors import ArgumentError, UsageError
from executor.parser import tasks_of
from executor.seal import check
from executor.tools import Tool, ToolBox, tool
from planner_prompts.grammar import matches, plan_regex
from planner_prompts.sizes import size_of_calls
from planner_prompts.terms import ANY_ID, calls

WATCHDOG = 60  # seconds; what hangs, hangs for ever
MEGABYTE = 2**20
TEXT = {"type": "string"}
NUMBER = {"type": "integer"}


@pytest.fixture(autouse=True)
def watchdog() -> Iterator[None]:
    def bark(*_: Any) -> None:
        raise TimeoutError(f"not done after {WATCHDOG} seconds")

    before = signal.signal(signal.SIGALRM, bark)
    signal.alarm(WATCHDOG)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def made(parameters: Any, name: Any = "look", description: str = "") -> Tool:
    return Tool.from_json_schema(name, description, parameters, lambda **_: None)


def look(schema: Any, *, optional: bool = False, **root: Any) -> Tool:
    """A tool whose only parameter is `x`."""
    required = [] if optional else ["x"]
    return made({"type": "object", "properties": {"x": schema}, "required": required, **root})


def called(name: Any) -> Tool:
    return made({"type": "object"}, name)


def with_parameters(properties: dict[Any, Any], **root: Any) -> Tool:
    return made({"type": "object", "properties": properties, **root})


def needing_all(properties: dict[str, Any]) -> Tool:
    return with_parameters(properties, required=list(properties))


def nested(keyword: str, levels: int, innermost: Any = NUMBER, **beside: Any) -> Any:
    schema = innermost
    for _ in range(levels):
        schema = {keyword: [schema] if keyword.endswith("Of") else schema, **beside}
    return schema


def many(count: int, schema: Any = TEXT) -> dict[str, Any]:
    return {f"p{at}": schema for at in range(count)}


def patterns(count: int, pattern: str) -> dict[str, Any]:
    return {f"p{at}": {"type": "string", "pattern": f"{pattern}{at}$"} for at in range(count)}


def an_object(properties: dict[Any, Any]) -> Any:
    return {"type": "object", "properties": properties}


def ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/$defs/{name}"}


def to(pointer: str) -> dict[str, str]:
    return {"$ref": pointer}


def defined(schema: Any, /, **definitions: Any) -> Tool:
    return look(schema, **{"$defs": definitions})


def chain(links: int) -> Tool:
    """Definitions of which each is the next one."""
    return defined(
        ref("d0"), **{f"d{at}": ref(f"d{at + 1}") for at in range(links)} | {f"d{links}": TEXT}
    )


def ladder(rungs: int, keyword: str) -> dict[str, Any]:
    """Definitions of which each names the next one twice."""
    twice = {f"d{at}": {keyword: [ref(f"d{at + 1}")] * 2} for at in range(rungs)}
    return twice | {f"d{rungs}": NUMBER}


def pairs(rungs: int) -> dict[str, Any]:
    """Definitions of which each has two members that are the next one."""
    both = {f"d{at}": an_object(dict.fromkeys("ab", ref(f"d{at + 1}"))) for at in range(rungs)}
    return both | {f"d{rungs}": NUMBER}


def all_of_each(count: int) -> dict[str, Any]:
    """Definitions of which each has all of them as members."""
    members = {f"p{at}": ref(f"d{at}") for at in range(count)}
    return {f"d{at}": an_object(members) for at in range(count)}


def within_itself() -> Any:
    schema: dict[str, Any] = {"type": "array"}
    schema["items"] = schema
    return schema


def shared(levels: int) -> Any:
    schema: dict[str, Any] = NUMBER
    for _ in range(levels):
        schema = {"anyOf": [schema, schema]}
    return schema


class Chain(pydantic.BaseModel):
    value: int
    next: Chain | None = None


class Endless(pydantic.BaseModel):
    next: Endless


class Folder(TypedDict):
    name: str
    folders: NotRequired[list[Folder]]


Wide: Any = pydantic.create_model("Wide", **{f"f{at}": (int, ...) for at in range(500)})
Loose: Any = pydantic.create_model("Loose", **{f"f{at}": (int, 0) for at in range(500)})


class Handle:
    """Nothing that JSON could say."""


def a_chain(x: Chain) -> None: ...
def endless(x: Endless) -> None: ...
def folder(x: Folder) -> None: ...
def wide(x: Wide) -> None: ...
def loose(x: Loose) -> None: ...
def untyped(x): ...
def starred(*x: int) -> None: ...
def two_starred(**x: int) -> None: ...
def positional(x: int, /) -> None: ...
def handles(x: list[dict[str, Handle]]) -> None: ...
def callback(x: Callable[..., Any]) -> None: ...
def wrong_default(x: int = "a") -> None: ...
def half_a_letter(x: Literal["\ud800"]) -> None: ...


Build = Callable[[], Tool | list[Tool]]
SERVED = None
TOO_LARGE = "look: its schema has more than 20000 parts, or is nested deeper than 100 levels"
TOO_MANY_CHARS = "look: the choices in its schema have more than 400000 characters"
TOO_LONG = "look: its schema has a name or a pattern of more than 4000 characters"
IN_PLACE = (
    "look(x): more than 50 schemas name each other, or one names itself, with no value between"
)
NONE_FITS = "look(x): no value fits"
TOO_MUCH = "look(x) is too much for the backend guidance: a line of a plan's grammar would have "
NO_JSON = "look(x): holds what no JSON text can say: "

CASES: dict[str, tuple[Build, str | None]] = {
    # Sheer size
    "10,000 choices": (lambda: look({"enum": [f"value {at}" for at in range(10_000)]}), SERVED),
    "30,000 choices": (lambda: look({"enum": list(range(30_000))}), TOO_LARGE),
    "a choice of 1 MB": (lambda: look({"enum": ["a" * MEGABYTE, "b"]}), TOO_MANY_CHARS),
    "10 MB of choices": (
        lambda: look({"enum": [f"{at:01000}" for at in range(10_000)]}),
        TOO_MANY_CHARS,
    ),
    "100 choices for each of 100": (
        lambda: with_parameters(many(100, {"enum": list(range(100))})),
        SERVED,
    ),
    "a constant's key of 1 MB": (lambda: look({"const": {"a" * MEGABYTE: 1}}), TOO_LONG),
    "a member's name of 1 MB": (lambda: look(an_object({"a" * MEGABYTE: {}})), TOO_LONG),
    "a parameter's name of 1 MB": (lambda: with_parameters({"a" * MEGABYTE: {}}), TOO_LONG),
    "a tool's name of 1 MB": (
        lambda: called("a" * MEGABYTE),
        "a tool can't be called aaaaaaaaaaaaaaaaaaaa...: it has more than 200 letters",
    ),
    "a tool's description of 10 MB": (
        lambda: made({"type": "object"}, description="a" * 10 * MEGABYTE),
        SERVED,
    ),
    "a description of 10 MB": (
        lambda: look({"type": "string", "description": "a" * 10 * MEGABYTE}),
        SERVED,
    ),
    "500 required": (lambda: needing_all(many(500)), SERVED),
    "1,900 required": (lambda: needing_all(many(1_900)), SERVED),
    "5,000 required": (lambda: needing_all(many(5_000)), TOO_LARGE),
    "100 optional": (lambda: with_parameters(many(100)), SERVED),
    "1,000 optional": (lambda: with_parameters(many(1_000)), SERVED),
    "1,500 optional": (
        lambda: with_parameters(many(1_500)),
        "look(p1000) is too much for the backend guidance",
    ),
    "1,000 optional behind one": (
        lambda: with_parameters(many(1_000), required=["p0"]),
        SERVED,
    ),
    "1,900 optional members": (lambda: look(an_object(many(1_900))), TOO_MUCH),
    "40 optional in each of 40": (lambda: look(an_object(many(40, an_object(many(40))))), TOO_MUCH),
    "15,000 required members": (
        lambda: look({"type": "object", "required": [f"p{at}" for at in range(15_000)]}),
        "look(x).p1999: describes more than 2000 values",
    ),
    "2,000 values in each of 1,000": (
        lambda: with_parameters(many(1_000, ref("d0")), **{"$defs": pairs(8)}),
        "look(p8): the parameters before it describe more than 10000 values",
    ),
    "50 tools of 60 optional": (
        lambda: [
            made(an_object({f"p{at}_{n}": TEXT for n in range(60)}), f"t{at}") for at in range(50)
        ],
        "50 tools at once are too many for the backend guidance",
    ),
    "1,000 tools": (
        lambda: [made(an_object({f"p{at}": TEXT}), f"t{at}") for at in range(1_000)],
        SERVED,
    ),
    # Depth
    "arrays, 6 deep": (lambda: look(nested("items", 6)), SERVED),
    "arrays, 20 deep": (lambda: look(nested("items", 20)), TOO_MUCH),
    "arrays of four, 10 deep": (lambda: look(nested("items", 10, minItems=4)), TOO_MUCH),
    "arrays of four, 32 deep": (lambda: look(nested("items", 32, minItems=4)), TOO_MUCH),
    "arrays, 50 deep": (
        lambda: look(nested("items", 50)),
        "look(x)" + "[]" * 33 + ": is nested deeper than 32 levels",
    ),
    "arrays, 1,000 deep": (lambda: look(nested("items", 1_000)), TOO_LARGE),
    "anyOf, 45 deep": (lambda: look(nested("anyOf", 45)), SERVED),
    "anyOf, 95 deep": (lambda: look(nested("anyOf", 95)), TOO_LARGE),
    "anyOf, 1,000 deep": (lambda: look(nested("anyOf", 1_000)), TOO_LARGE),
    "allOf, 45 deep": (lambda: look(nested("allOf", 45)), SERVED),
    "not, 45 deep": (lambda: look({**TEXT, **nested("not", 45)}), SERVED),
    "a constant, 40 deep": (
        lambda: look({"const": nested("a", 40)}),
        "look(x): is nested deeper than 32 levels",
    ),
    "a schema that is its own part": (lambda: look(within_itself()), TOO_LARGE),
    "2 ** 40 parts that are one": (lambda: look(shared(40)), TOO_LARGE),
    # References
    "to itself": (lambda: defined(ref("a"), a=ref("a")), IN_PLACE),
    "to itself in a choice": (lambda: defined({"anyOf": [ref("a"), TEXT]}, a=ref("a")), IN_PLACE),
    "to each other": (lambda: defined(ref("a"), a=ref("b"), b=ref("a")), IN_PLACE),
    "to each other by allOf": (
        lambda: defined(ref("a"), a={"allOf": [ref("b"), TEXT]}, b={"allOf": [ref("a")]}),
        IN_PLACE,
    ),
    "to itself by anyOf": (lambda: defined(ref("a"), a={"anyOf": [ref("a"), TEXT]}), IN_PLACE),
    "to itself by not": (
        lambda: defined({**TEXT, "not": ref("a")}, a={"not": ref("a")}),
        IN_PLACE,
    ),
    "to itself by dependentSchemas": (
        lambda: defined({**TEXT, "not": ref("a")}, a={"dependentSchemas": {"b": ref("a")}}),
        IN_PLACE,
    ),
    "to itself by items": (lambda: defined(ref("a"), a={"items": ref("a")}), SERVED),
    "to itself by items that must be": (
        lambda: defined(ref("a"), a={"items": ref("a"), "minItems": 1}),
        NONE_FITS,
    ),
    "to itself by prefixItems": (
        lambda: defined(ref("a"), a={"type": "array", "prefixItems": [ref("a")] * 3}),
        SERVED,
    ),
    "to itself by additionalProperties": (
        lambda: defined(ref("a"), a={"additionalProperties": ref("a")}),
        SERVED,
    ),
    "to the whole, which needs it": (lambda: look(to("#")), NONE_FITS),
    "to the whole": (lambda: look(to("#"), optional=True), SERVED),
    "ten to each of ten": (
        lambda: defined(ref("d0"), **all_of_each(10)),
        "look(x).p0.p0.p1",
    ),
    "a chain of 40": (lambda: chain(40), SERVED),
    "a chain of 1,500": (lambda: chain(1_500), IN_PLACE),
    "2 ** 30 by allOf": (lambda: defined(ref("d0"), **ladder(30, "allOf")), IN_PLACE),
    "2 ** 20 by allOf": (
        lambda: defined(ref("d0"), **ladder(20, "allOf")),
        "look(x): a value is held against more than 2500 schemas",
    ),
    "2 ** 20 by anyOf": (
        lambda: defined(ref("d0"), **ladder(20, "anyOf")),
        "look(x): a value is held against more than 2500 schemas",
    ),
    "2 ** 20 by not": (
        lambda: defined({**NUMBER, "not": ref("d0")}, **ladder(20, "allOf")),
        "look(x): a value is held against more than 2500 schemas",
    ),
    "2 ** 30 by prefixItems": (
        lambda: defined(ref("d0"), **ladder(30, "prefixItems")),
        SERVED,
    ),
    "2 ** 30 by members": (
        lambda: defined(ref("d0"), **pairs(30)),
        "look(x).a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a",
    ),
    "2 ** 6 by members": (lambda: defined(ref("d0"), **pairs(6)), SERVED),
    "to nowhere": (lambda: look(ref("a")), "look(x): its $ref '#/$defs/a' leads nowhere"),
    "to nowhere, where no type is read": (
        lambda: look({**TEXT, "not": ref("a")}),
        "look(x): its $ref '#/$defs/a' leads nowhere",
    ),
    "to nowhere for some names": (
        lambda: look({"type": "object", "patternProperties": {"^a": ref("a")}}),
        "look(x).patternProperties.^a: its $ref '#/$defs/a' leads nowhere",
    ),
    "to another machine": (
        lambda: look(to("https://127.0.0.1:9/a.json")),
        "look(x): its $ref 'https://127.0.0.1:9/a.json' leads nowhere",
    ),
    "to another machine, where no type is read": (
        lambda: look({**TEXT, "not": to("https://127.0.0.1:9/a.json")}),
        "look(x): its $ref 'https://127.0.0.1:9/a.json' leads nowhere",
    ),
    "to an anchor": (
        lambda: defined(to("#here"), a={"$anchor": "here", **TEXT}),
        "look(x): its $ref '#here' leads nowhere",
    ),
    "from the end of a list": (
        lambda: look(to("#/allOf/-1"), allOf=[{}]),
        "look(x): its $ref '#/allOf/-1' leads nowhere",
    ),
    "to a text": (
        lambda: look({"title": "a", **to("#/properties/x/title")}),
        "look(x): its $ref '#/properties/x/title' leads to no schema: $: 'a' is not of type",
    ),
    "to a list": (
        lambda: look(to("#/required")),
        "look(x): its $ref '#/required' leads to no schema: $: ['x'] is not of type",
    ),
    "to null": (
        lambda: look(to("#/x-a"), **{"x-a": None}),
        "look(x): its $ref '#/x-a' leads to no schema: $: None is not of type",
    ),
    "to what is no schema": (
        lambda: look(to("#/x-a"), **{"x-a": {"items": {"type": 5}}}),
        "look(x): its $ref '#/x-a' leads to no schema: $.items.type: 5 is not valid",
    ),
    "with escapes": (
        lambda: look(to("#/$defs/a%20b~1c~0d"), **{"$defs": {"a b/c~d": TEXT}}),
        SERVED,
    ),
    "within an $id": (
        lambda: defined({"$id": "https://x.org/a", **ref("a")}, a=TEXT),
        "look(x): an $id within a schema is not supported",
    ),
    "dynamic": (
        lambda: look({"items": {"$dynamicRef": "#a"}}),
        "look(x)[]: $dynamicRef is not supported; use $ref",
    ),
    "dynamic, where no type is read": (
        lambda: look({**TEXT, "not": {"$dynamicRef": "#a"}}),
        "look(x): $dynamicRef is not supported; use $ref",
    ),
    "recursive": (
        lambda: look({"$recursiveRef": "#"}),
        "look(x): $recursiveRef is not supported; use $ref",
    ),
    # Combinations
    "one of 500": (lambda: look({"oneOf": [{"const": at} for at in range(500)]}), SERVED),
    "one of 5,000": (lambda: look({"oneOf": [{"const": at} for at in range(5_000)]}), TOO_LARGE),
    "any of any": (
        lambda: look({"allOf": [{"anyOf": [TEXT, NUMBER]}, {"anyOf": [{"minimum": 1}, {}]}]}),
        "look(x): has two sets of anyOf at once; write one",
    ),
    "50 times 50": (
        lambda: look(
            {
                "type": "string",
                "anyOf": [{"minLength": at} for at in range(50)],
                "oneOf": [{"maxLength": at} for at in range(50)],
            }
        ),
        "look(x): describes more than 2000 values",
    ),
    "300 times seven kinds": (
        lambda: look({"anyOf": [{"type": ["string", "integer", "null", "array", "object"]}] * 500}),
        "look(x): describes more than 2000 values",
    ),
    "all of 200 sets": (lambda: look({"allOf": [{"enum": list(range(90))}] * 200}), SERVED),
    "contradictory types": (lambda: look({"allOf": [NUMBER, TEXT]}), NONE_FITS),
    "any of none": (lambda: look({"anyOf": []}), "look: $.properties.x.anyOf: [] should be non"),
    # Choices
    "no choice": (lambda: look({"enum": []}), NONE_FITS),
    "choices of all types": (
        lambda: look({"enum": ["a", 1, 1.5, True, None, [1], {"a": 1}]}),
        SERVED,
    ),
    "a constant object": (lambda: look({"const": {"a": {"b": [1, "$1"]}}}), SERVED),
    "not a number": (lambda: look({"enum": [float("nan"), 1]}), NO_JSON + "Out of range float"),
    "an infinite number": (
        lambda: look({"const": {"a": [float("-inf")]}}),
        NO_JSON + "Out of range float",
    ),
    "1e400 as a bound": (lambda: look({"type": "number", "maximum": float("1e400")}), SERVED),
    "a number of 400 digits": (lambda: look({"enum": [10**400, 1]}), SERVED),
    "a number of 5,000 digits": (lambda: look({"enum": [10**5_000, 1]}), NO_JSON),
    "half a letter": (lambda: look({"enum": ["\ud800", "a"]}), NO_JSON),
    "a choice that is no JSON": (lambda: look({"enum": [Handle(), 1]}), NO_JSON),
    "a set": (lambda: look({"enum": {1, 2}}), "look: $.properties.x.enum: {1, 2} is not of type"),
    # Arrays
    "at least 1e9 items": (lambda: look({"type": "array", "items": TEXT, "minItems": 1e9}), SERVED),
    "at most 1e9 items": (lambda: look({"type": "array", "items": TEXT, "maxItems": 1e9}), SERVED),
    "at most 3.0 items": (lambda: look({"type": "array", "items": TEXT, "maxItems": 3.0}), SERVED),
    "at least 3 and at most 2": (
        lambda: look({"type": "array", "items": TEXT, "minItems": 3, "maxItems": 2}),
        NONE_FITS,
    ),
    "at least -1": (
        lambda: look({"type": "array", "minItems": -1}),
        "look: $.properties.x.minItems: -1 is less than the minimum",
    ),
    "100 of their own": (
        lambda: look({"type": "array", "prefixItems": [NUMBER] * 100, "items": False}),
        SERVED,
    ),
    "300 of their own": (
        lambda: look({"type": "array", "prefixItems": [NUMBER] * 300}),
        "look(x): more than 100 prefixItems",
    ),
    "10,000 of their own": (
        lambda: look({"type": "array", "prefixItems": [TEXT] * 10_000}),
        TOO_LARGE,
    ),
    # Texts
    "at least 1e9 letters": (lambda: look({"type": "string", "minLength": 10**9}), SERVED),
    "at most 1e9 letters": (lambda: look({"type": "string", "maxLength": 10**9}), SERVED),
    "a slow pattern": (lambda: look({"type": "string", "pattern": "(a+)+b"}), SERVED),
    "a large pattern": (
        lambda: look({"type": "string", "pattern": "^(.{1,1000}){1,1000}$"}),
        SERVED,
    ),
    "a pattern that is none": (
        lambda: look({"type": "string", "pattern": "(a"}),
        "look: $.properties.x.pattern: '(a' is not a 'regex'",
    ),
    "a pattern of 1 MB": (lambda: look({"type": "string", "pattern": "a" * MEGABYTE}), TOO_LONG),
    "a pattern 2,000 deep": (
        lambda: look({"type": "string", "pattern": "(" * 2_000 + ")" * 2_000}),
        "look: its schema is nested too deep to be read",
    ),
    "30 large patterns": (
        lambda: needing_all(patterns(30, "^(a|b)*a(a|b){12}")),
        SERVED,
    ),
    "300 patterns": (lambda: needing_all(patterns(300, "^[a-z]")), SERVED),
    "names by pattern": (
        lambda: look({"type": "object", "patternProperties": {"^a": NUMBER}}),
        SERVED,
    ),
    "names by a pattern that is none": (
        lambda: look({"type": "object", "patternProperties": {"(": NUMBER}}),
        "look: $.properties.x.patternProperties: '(' is not a 'regex'",
    ),
    "an unknown format": (lambda: look({"type": "string", "format": "\n$1"}), SERVED),
    # Names
    "odd parameters": (
        lambda: with_parameters(dict.fromkeys(ODD, TEXT)),
        SERVED,
    ),
    "odd members": (lambda: look(an_object(dict.fromkeys(ODD, TEXT))), SERVED),
    "a parameter called 1": (
        lambda: with_parameters({1: TEXT}),
        "look(1): a name must be a text, and 1 is none",
    ),
    "a member called 1": (
        lambda: look(an_object({1: TEXT})),
        "look(x).1: a name must be a text, and 1 is none",
    ),
    "half a letter in a parameter": (
        lambda: with_parameters({"\ud800": TEXT}),
        "look(\\ud800): holds what no JSON text can say",
    ),
    "half a letter in a member": (
        lambda: look(an_object({"\ud800": TEXT})),
        "look(x).\\ud800: holds what no JSON text can say",
    ),
    "join": (lambda: called("join"), "a tool can't be called join"),
    "a blank": (lambda: called("a b"), "a tool can't be called 'a b'"),
    "a line break": (lambda: called("a\n"), "a tool can't be called 'a\\n'"),
    "a parenthesis": (lambda: called("a("), "a tool can't be called 'a('"),
    "nothing": (lambda: called(""), "a tool can't be called ''"),
    "None": (lambda: called(None), "a tool can't be called None"),
    "an umlaut": (lambda: called("höhe"), SERVED),
    "two of one name": (
        lambda: [called("look"), called("look")],
        "two tools are called look; rename one",
    ),
    "no tools": (list, SERVED),
    # What is no schema, or none of parameters
    "an unknown type": (lambda: look({"type": "dict"}), "look: $.properties.x.type: 'dict' is not"),
    "5 as a type": (lambda: look({"type": 5}), "look: $.properties.x.type: 5 is not valid"),
    "no types": (lambda: look({"type": []}), "look: $.properties.x.type: [] is not valid"),
    "5": (lambda: look(5), "look: $.properties.x: 5 is not of type"),
    "a list": (lambda: look([TEXT]), "look: $.properties.x: [{'type': 'string'}] is not of type"),
    "required, as it once was": (
        lambda: look({"type": "string", "required": True}),
        "look: $.properties.x.required: True is not of type 'array'",
    ),
    "true": (lambda: look(True), SERVED),
    "false": (lambda: look(False), NONE_FITS),
    "false, optional": (lambda: look(False, optional=True), SERVED),
    "nullable": (lambda: look({"type": "string", "nullable": True}), SERVED),
    "nullable by reference": (lambda: defined({**ref("a"), "nullable": True}, a=TEXT), SERVED),
    "nullable in words": (lambda: look({"type": "string", "nullable": "true"}), SERVED),
    "a default of another type": (
        lambda: look({"type": "integer", "default": "a"}, optional=True),
        SERVED,
    ),
    "required and unknown": (
        lambda: look(TEXT, required=["x", "y"]),
        "look(y): is required, but has no schema",
    ),
    "parameters: a list": (
        lambda: made({"type": "array"}),
        'look: its parameters must be a schema of type "object"',
    ),
    "parameters: true": (
        lambda: made(True),
        'look: its parameters must be a schema of type "object"',
    ),
    "parameters: none": (lambda: made(None), "look: $: None is not of type"),
    "parameters: a reference": (
        lambda: made({"type": "object", **ref("a"), "$defs": {"a": an_object({"x": TEXT})}}),
        "look: its parameters are a $ref; write their properties",
    ),
    "parameters: all of": (
        lambda: made({"type": "object", "allOf": [an_object({"x": TEXT})]}),
        "look(x): is only told of in allOf; write it into the parameters' properties",
    ),
    "parameters: any of": (
        lambda: with_parameters({"x": TEXT, "y": TEXT}, anyOf=[{"required": [n]} for n in "xy"]),
        SERVED,
    ),
    # Signatures
    "a model in itself": (lambda: tool(a_chain), SERVED),
    "a model that must be in itself": (lambda: tool(endless), "endless(x): no value fits"),
    "a dictionary in itself": (lambda: tool(folder), SERVED),
    "a model of 500 fields": (lambda: tool(wide), SERVED),
    "a model of 500 optional fields": (
        lambda: tool(loose),
        SERVED,
    ),
    "no type": (lambda: tool(untyped), "untyped(x): has no type"),
    "*x": (lambda: tool(starred), "starred(x): a plan names each argument"),
    "**x": (lambda: tool(two_starred), "two_starred(x): a plan names each argument"),
    "positional": (lambda: tool(positional), "positional(x): a plan names arguments"),
    "a class deep inside": (lambda: tool(handles), "handles(x): no JSON value can stand for"),
    "a function": (lambda: tool(callback), "callback(x): no JSON value can stand for"),
    "a default that is none": (
        lambda: tool(wrong_default),
        "wrong_default(x): its default 'a' is no int",
    ),
    "half a letter in a type": (
        lambda: tool(half_a_letter),
        "half_a_letter(x): no JSON value can stand for",
    ),
}
ODD = ["a\nb", 'q"', "$1", "${1}", "é ü", "", "a=b", ")", "\\", "\x00", "\u2028", "😀"]


@pytest.mark.parametrize(("build", "fault"), CASES.values(), ids=CASES)
def test_a_hostile_schema_is_served_or_refused_with_what_is_wrong(
    build: Build, fault: str | None
) -> None:
    def serve() -> str:
        tools = build()
        toolbox = ToolBox(tools if isinstance(tools, list) else [tools])
        return plan_regex(toolbox, backend="guidance")

    if fault is None:
        assert r"join\(\)" in serve()
    else:
        with pytest.raises(UsageError) as refusal:
            serve()
        assert str(refusal.value).startswith(fault)
        str(refusal.value).encode()  # it can be shown


SERVED_BY_SEAL: dict[str, tuple[Tool, str, str]] = {
    "not": (look({**TEXT, "not": {"const": "a"}}), '"b"', '"a"'),
    "if": (
        look(
            {
                **an_object({"a": NUMBER, "b": NUMBER}),
                "if": {"required": ["a"]},
                "then": {"required": ["b"]},
            }
        ),
        '{"a": 1, "b": 2}',
        '{"a": 1}',
    ),
    "minimum": (look({"type": "integer", "minimum": 5}), "5", "4"),
    "multipleOf": (look({"type": "integer", "multipleOf": 5}), "5", "4"),
    "maxLength": (look({"type": "string", "maxLength": 3}), '"abc"', '"abcd"'),
    "minItems": (
        look({"type": "array", "items": NUMBER, "minItems": 6}),
        "[1, 2, 3, 4, 5, 6]",
        "[1, 2, 3, 4]",
    ),
    "uniqueItems": (look({"type": "array", "items": NUMBER, "uniqueItems": True}), "[1]", "[1, 1]"),
    "contains": (look({"type": "array", "contains": {"const": 1}}), "[1]", "[2]"),
    "patternProperties": (
        look({"type": "object", "patternProperties": {"^a": NUMBER}}),
        '{"a": 1}',
        '{"a": "b"}',
    ),
    "dependentRequired": (
        look({**an_object({"a": NUMBER, "b": NUMBER}), "dependentRequired": {"a": ["b"]}}),
        '{"a": 1, "b": 2}',
        '{"a": 1}',
    ),
    "oneOf": (look({"oneOf": [NUMBER, {"const": 1}]}), "2", "1"),
    "one more than are tried of patterns": (
        needing_all(patterns(16, "^[a-z]") | {"x": {"type": "string", "pattern": "^[0-9]$"}}),
        ", ".join([*(f'p{at}="a{at}"' for at in range(16)), 'x="1"']),
        ", ".join([*(f'p{at}="a{at}"' for at in range(16)), 'x="a"']),
    ),
}


@pytest.mark.parametrize(
    ("made", "right", "wrong"), SERVED_BY_SEAL.values(), ids=SERVED_BY_SEAL.keys()
)
def test_what_the_grammar_cannot_hold_the_seal_does(made: Tool, right: str, wrong: str) -> None:
    toolbox = ToolBox([made])
    for argument in (right, wrong):
        plan = f"1. look({argument})\n2. join()"
        assert matches(plan_regex(toolbox, max_tasks=1, backend="guidance"), plan)
        (task,) = tasks_of(plan, toolbox)
        if argument == right:
            check(task, toolbox, {})
        else:
            with pytest.raises(ArgumentError, match=r"^x\b"):
                check(task, toolbox, {})


def test_no_more_is_counted_than_the_regex_has() -> None:
    """Or a toolbox would be refused that can be served."""
    for name in ("choices of all types", "odd members", "100 optional", "arrays, 6 deep", "true"):
        build, _ = CASES[name]
        toolbox = ToolBox([build()])
        written = len(to_regex(calls(toolbox, ANY_ID)))
        assert 0.5 * written < size_of_calls(toolbox) <= written, name


def test_tools_that_take_the_same_arguments_are_counted_once() -> None:
    toolbox = ToolBox(made(an_object(many(50)), f"t{at}") for at in range(100))
    of_one = size_of_calls(ToolBox([next(iter(toolbox))]))
    assert size_of_calls(toolbox) < of_one + 1_000
    assert "t99" in plan_regex(toolbox, backend="guidance")


def test_without_tools_the_only_plan_is_to_join() -> None:
    regex = plan_regex(ToolBox([]), backend="guidance")
    assert re.fullmatch(regex, "1. join()")
    assert not re.fullmatch(regex, "1. look()\n2. join()")
