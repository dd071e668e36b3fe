"""Answers that are JSON by a schema: what the grammar takes, what the last check says, refusals."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from outlines_core import Index, Vocabulary

from executor.errors import RunError, UsageError
from executor.schemas import type_of
from executor.types import Anything, Array, Choice, Object, Scalar, Type, Union, arranged, kinds
from planner_prompts.grammar import join_regex, matches
from serving.answers import AnswerForm, load_schema

BYTES_ONLY = Vocabulary(256, {bytes([byte]): [byte] for byte in range(256)})

TEXT = {"type": "string"}
PEAK = {
    "type": "object",
    "properties": {
        "name": TEXT,
        "height": {"type": "number", "maximum": 9000},
        "unit": {"enum": ["m", "ft"]},
        "climbed": {"type": ["boolean", "null"]},
    },
    "required": ["name", "height"],
    "additionalProperties": False,
}
TREE = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "at": {"type": "integer"},
                "next": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
            "required": ["at"],
            "additionalProperties": False,
        }
    },
}

# A schema; texts that its answers may be; texts that they may not.
ANSWERS: dict[str, tuple[Any, list[str], list[str]]] = {
    "text": (
        TEXT,
        ['""', '"K2"', '"5 $"', '"$1"', '"$$"', '"${1.name}"', '"é 😀"', r'"a\n\"b\" \u00e9"'],
        ["K2", "$1", '"', '"a', '"a"b"', '"a\nb"', r'"\x41"', r'"\ud83d"', "1", ""],
    ),
    "an integer": ({"type": "integer"}, ["0", "-12"], ["1.5", "01", "+1", '"1"', "$1", " 1"]),
    "a number": ({"type": "number"}, ["0.5", "1e+16", "-3"], [".5", "1.", "NaN", "Infinity"]),
    "a date": ({"type": "string", "format": "date"}, ['"2024-02-29"'], ['"2023-02-29"', '"$1"']),
    "choices": (
        {"enum": ["5 $", "é", 1, None, {"a": ["$"]}]},
        ['"5 $"', '"é"', "1", "null", '{"a": ["$"]}'],
        ['"5 $$"', "$1", "true", "2", '{"a": ["$$"]}'],
    ),
    "a pattern with dollar signs": (
        {"type": "string", "pattern": r"^\$\d+$"},
        ['"$5"'],
        ['"$$5"', '"5"', '"$"'],
    ),
    "a pattern that takes them": (
        {"type": "string", "pattern": "^[^a]{2}$"},
        ['"$$"', '"$b"', r'"\"\\"'],
        ['"$"', '"$$$"', '"a$"'],
    ),
    "an object": (
        PEAK,
        [
            '{"name": "K2", "height": 8611}',
            '{"name": "K2", "height": 9e9, "unit": "m", "climbed": null}',
            '{"name": "$1", "height": -0.5, "climbed": true}',
        ],
        [
            "{}",
            '{"name": "K2"}',
            '{"height": 1, "name": "K2"}',
            '{"name": "K2", "height": 1, "unit": "km"}',
            '{"name": "K2", "height": 1, "more": 1}',
            '{"name":"K2","height":1}',
            '{"name": "K2", "height": $1}',
            '{"name": "K2", "height": 1} ',
            '{"name": "K2", "height": 1',
        ],
    ),
    "any names": (
        {"type": "object", "additionalProperties": {"type": "integer"}},
        ["{}", '{"$1": 1, "é \\"": 2}'],
        ['{"a": "b"}', "{1: 1}", '{"a": 1,}'],
    ),
    "objects within themselves": (
        TREE,
        ['{"at": 1}', '{"at": 1, "next": [{"at": 2, "next": []}, {"at": 3}]}'],
        ['{"at": 1, "next": {"at": 2}}', '{"at": 1, "next": [{}]}', '{"at": 1, "next": [$1]}'],
    ),
    "a list of so many": (
        {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2},
        ["[1]", "[1, 2]"],
        ["[]", "[1, 2, 3]", "[1,2]", "[1 , 2]", "[$1]"],
    ),
    "this or that": ({"anyOf": [TEXT, {"type": "null"}]}, ['"a"', "null"], ["true", "1"]),
    "anything": (
        {},
        ['"$"', "1.5", "null", '{"a$": "$1", "b": 1}', "[1]"],
        ["$1", "{a: 1}", "[1, ]", "[[1]]"],
    ),
}


@pytest.mark.parametrize(("schema", "taken", "refused"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_is_json_of_its_schemas_type(
    schema: Any, taken: list[str], refused: list[str]
) -> None:
    texts = [written(text, schema) for text in [*taken, *refused]]
    allowed = texts[: len(taken)]
    alone, either = (regex_of(json.dumps(schema), replan=replan) for replan in (False, True))
    assert [text for text in texts if matches(alone, text)] == allowed
    assert [text for text in texts if matches(either, text)] == allowed
    assert [text for text in texts if takes(alone, text)] == allowed
    assert matches(either, "Replan: more")
    assert not matches(alone, "Replan: more")


def written(text: str, schema: Any) -> str:
    """An answer as the model writes it: behind a number that stands alone, the line ends."""
    ends_bare = "number" in kinds(type_of(schema, "schema"))
    return f"Answer: {text}" + ("\n" if ends_bare else "")


@cache
def regex_of(schema: str, *, replan: bool = False) -> str:
    return join_regex(replan=replan, answer=type_of(json.loads(schema), "schema"))


def takes(regex: str, text: str) -> bool:
    """Whether the engine's automaton does."""
    automaton = index_of(regex)
    state = automaton.get_initial_state()
    for byte in text.encode():
        state = automaton.get_next_state(state, byte)
        if state is None:
            return False
    return bool(automaton.is_final_state(state))


@cache
def index_of(regex: str) -> Any:
    return Index(regex, BYTES_ONLY)


# Patterns aside: to write by them what json.dumps escapes is the grammar's business.
DRAWN = [json.dumps(schema) for name, (schema, _, _) in ANSWERS.items() if "pattern" not in name]


@settings(deadline=None)
@given(st.sampled_from(DRAWN), st.data())
def test_the_grammar_takes_every_value_as_json_dumps_spells_it(
    schema: str, data: st.DataObject
) -> None:
    type = type_of(json.loads(schema), "schema")
    value = arranged(data.draw(values(type)), type)
    text = json.dumps(value, ensure_ascii=False)
    assert matches(regex_of(schema), written(text, json.loads(schema)))


TEXTS = st.text(st.characters(codec="utf-8"), max_size=5) | st.sampled_from(["$", "$1", '"\\'])
INTEGERS = st.integers(-(10**15), 10**15)
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXTS,
    "integer": INTEGERS,
    "number": INTEGERS | st.floats(-1e15, 1e15).map(lambda number: round(number, 3)),
    "boolean": st.booleans(),
    "null": st.none(),
}


def values(type: Type) -> st.SearchStrategy[Any]:
    """Values of a type, as Python has them."""
    match type:
        case Scalar(kind="string", format="date"):
            return st.dates().map(str)
        case Scalar(kind=kind):
            return SCALARS[kind]
        case Choice(values=choices):
            return st.sampled_from(choices)
        case Union(choices=choices):
            return st.one_of(*map(values, choices))
        case Array(first=first, rest=rest, least=least):
            some = st.tuples(*map(values, first)).map(list)
            cut = st.builds(
                lambda items, count: items[:count], some, st.integers(least, len(first))
            )
            if rest is None:
                return cut
            return cut | st.builds(list.__add__, some, st.lists(values(rest), max_size=2))
        case Object(required=required, optional=optional, rest=rest):
            named = st.fixed_dictionaries(
                {name: values(each) for name, each in required.items()},
                optional={name: values(each) for name, each in optional.items()},
            )
            others = st.dictionaries(TEXTS, values(rest), max_size=2) if rest else st.just({})
            return st.builds(dict.__or__, others, named)
        case Anything():
            return st.one_of(*SCALARS.values(), st.lists(TEXTS), st.dictionaries(TEXTS, TEXTS))


@settings(deadline=None, max_examples=200)
@given(st.sampled_from([schema for schema, _, _ in ANSWERS.values()]), st.data())
def test_whatever_the_grammar_takes_fits_but_for_bounds_and_names_that_stand_twice(
    schema: Any, data: st.DataObject
) -> None:
    text = data.draw(st.from_regex(regex_of(json.dumps(schema)), fullmatch=True))
    fault = form_of(schema).fault_in(text.removeprefix("Answer: "))
    assert not fault or "greater than the maximum" in fault or "stands twice" in fault


def form_of(schema: Any) -> AnswerForm:
    return AnswerForm.of(schema, "outlines")


# The last check

UNIQUE = {"type": "array", "items": {"properties": {"a b": {"minLength": 2}}}, "uniqueItems": True}
FAULTS: list[tuple[Any, str, str]] = [
    (PEAK, '{"name": "K2", "height": 8611}', ""),
    (
        PEAK,
        '{"name": "K2", "height": 8611000}',
        "height: 8611000 is greater than the maximum of 9000",
    ),
    (PEAK, '{"name": "K2"}', "'height' is a required property"),
    (PEAK, '{"name": "K2", "hei', "it is no JSON: Unterminated string"),
    (PEAK, "", "it is no JSON: Expecting value"),
    ({}, '{"a": 1, "a": 2}', "it is no JSON: a name stands twice in one object"),
    ({}, "[" * 100_000, "it is no JSON: maximum recursion depth exceeded"),
    ({}, "1" * 10_000, "it is no JSON: Exceeds the limit"),
    (TREE, '{"at": 1, "next": [{"at": "x"}]}', "next[0].at: 'x' is not of type 'integer'"),
    (UNIQUE, "[1, 1]", "[1, 1] has non-unique elements"),
    (UNIQUE, '[{"a b": "x"}]', "[0]['a b']: 'x' is too short"),
    ({"type": "integer", "nullable": True}, "null", ""),
]


@pytest.mark.parametrize(("schema", "text", "fault"), FAULTS)
def test_a_fault_is_named_with_its_place(schema: Any, text: str, fault: str) -> None:
    found = form_of(schema).fault_in(text)
    assert found.startswith(fault)
    assert bool(found) is bool(fault)


def test_a_fault_is_shortened() -> None:
    assert len(form_of({"maxLength": 3}).fault_in(f'"{"x" * 3000}"')) < 400


@pytest.mark.parametrize("schema", [{"$ref": "#"}, {"not": {"$ref": "http://127.0.0.1:9/no"}}])
def test_a_schema_that_cannot_be_checked_ends_the_run_and_fetches_nothing(schema: Any) -> None:
    with pytest.raises(RunError, match="the answer's schema can't be checked") as raised:
        AnswerForm(schema, Anything()).fault_in("1")
    assert raised.value.reason == "no_ending"


# Schemas that are none, or can't be held


def wide(count: int) -> dict[str, Any]:
    names = [f"member_{at}" for at in range(count)]
    return {"type": "object", "properties": dict.fromkeys(names, TEXT), "required": names}


def deep(count: int) -> dict[str, Any]:
    schema: dict[str, Any] = TEXT
    for _ in range(count):
        schema = {"type": "array", "items": schema}
    return schema


REFUSED: dict[str, tuple[Any, str]] = {
    "no object": ([TEXT], 'must be an object, such as {"type": "integer"}'),
    "no schema": ({"type": "text"}, "$.type: 'text' is not valid"),
    "no schema within": ({"properties": {"a": 1}}, "$.properties.a: 1 is not of type"),
    "no regex": ({"pattern": "("}, "$.pattern: '(' is not a 'regex'"),
    "a pattern that is too deep": ({"pattern": "(" * 1900 + ")" * 1900}, "too deep to be read"),
    "no JSON": ({"enum": [{1}]}, "is no JSON: Object of type set"),
    "no number": ({"const": float("nan")}, "is no JSON: Out of range float values"),
    "half a character": ({"const": "\ud800"}, "is no JSON: 'utf-8' codec can't encode"),
    "a reference to nowhere": ({"$ref": "#/$defs/a"}, "$ref '#/$defs/a' leads nowhere"),
    "a reference to elsewhere": ({"$ref": "http://example.org/a"}, "leads nowhere"),
    "a dynamic reference": ({"$dynamicRef": "#a"}, "$dynamicRef is not supported"),
    "too deep": (deep(40), "is nested deeper than 32 levels"),
    "far too deep": (deep(5000), "is nested deeper than"),
    "too wide": (
        wide(300),
        "too large for the backend outlines: its grammar would have 9,229 states",
    ),
    "far too wide": (wide(1500), "is too large"),
}


@pytest.mark.parametrize(("schema", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_schema_or_cannot_be_held_is_refused(schema: Any, reason: str) -> None:
    with pytest.raises(UsageError) as raised:
        form_of(schema)
    assert str(raised.value).startswith("the answer's schema")
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)


def test_another_backend_is_named_if_it_can_hold_the_schema() -> None:
    with pytest.raises(UsageError, match=r"or set HEADSTART_BACKEND=guidance$"):
        form_of(wide(300))
    assert AnswerForm.of(wide(300), "guidance").schema == wide(300)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "can't read the answer's schema {}: No such file or directory"),
        (b"\xff", "can't read the answer's schema {}: not UTF-8 text"),
        (b"", "the answer's schema {} is no JSON: Expecting value"),
        (b"{'a': 1}", "the answer's schema {} is no JSON: Expecting property name"),
        (b"[" * 100_000, "the answer's schema {} is no JSON: maximum recursion depth"),
    ],
)
def test_a_file_without_json_is_refused(tmp_path: Path, content: bytes | None, reason: str) -> None:
    file = tmp_path / "schema.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError) as raised:
        load_schema(file)
    assert str(raised.value).startswith(reason.format(file))
