"""Plan text -> tasks: what is a plan, what is none, whatever pieces it comes in."""

import itertools
from collections.abc import Iterable
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.errors import PlanError
from executor.parser import PlanParser
from executor.plan import Join, Ref, Task, Template
from executor.tools import Tool, ToolBox, tool


@tool
def now() -> str: ...


@tool
def search(query: str, limit: int = 5, exact: bool = False) -> str: ...


@tool
def convert(value: float, to_unit: Literal["m", "ft"]) -> float: ...


@tool
def total(numbers: list[float]) -> float: ...


# A plan may write objects for a tool whose schema takes them, so the reader knows them too;
# and names of tools that come from elsewhere hold dots and dashes.
DOTTED = Tool.from_json_schema(
    "web.look-up",
    "",
    {"type": "object", "properties": {"max-age": {"type": "integer"}}},
    lambda **_: None,
)
TOOLBOX = ToolBox([now, search, convert, total, DOTTED])


# The argument of task 3, as it is written and as it is read.
VALUES: list[tuple[str, object]] = [
    ('"height of K2"', "height of K2"),
    ('""', ""),
    ("12", 12),
    ("-0.5", -0.5),
    ("1e3", 1000.0),
    ("2E-2", 0.02),
    ("9" * 300, int("9" * 300)),
    ("true", True),
    ("false", False),
    ("null", None),
    ("[]", []),
    ("[1, [2, 3], $1]", [1, [2, 3], Ref(1)]),
    ("{}", {}),
    ('{"a": 1, "b": {"c": $2}}', {"a": 1, "b": {"c": Ref(2)}}),
    ('{ "$a" : [ 1 ,2 ] }', {"$a": [1, 2]}),
    ("$1", Ref(1)),
    ("$2.name", Ref(2, ("name",))),
    ("$2.rows[0].name[12]", Ref(2, ("rows", 0, "name", 12))),
    ('"$1"', Template((Ref(1),))),
    ('"$1 and $2"', Template((Ref(1), " and ", Ref(2)))),
    ('"$1$2"', Template((Ref(1), Ref(2)))),
    ('"a $1"', Template(("a ", Ref(1)))),
    ('"$1.name"', Template((Ref(1), ".name"))),
    ('"${1.name}"', Template((Ref(1, ("name",)),))),
    ('"${1.a[0]}!"', Template((Ref(1, ("a", 0)), "!"))),
    ('"${1}2"', Template((Ref(1), "2"))),
    (r'"$1\u0032"', Template((Ref(1), "2"))),
    ('"5 $$"', "5 $"),
    ('"$$1"', "$1"),
    ('"$$$1"', Template(("$", Ref(1)))),
    ('"$$${1}"', Template(("$", Ref(1)))),
    ('"${1}$$2"', Template((Ref(1), "$2"))),
    (r'"\" \\ \/ \b\f\n\r\t"', '" \\ / \b\f\n\r\t'),
    (r'"\u00e9 \ud83d\ude00"', "é 😀"),
    ('"é 😀 \u2028 \x7f"', "é 😀 \u2028 \x7f"),
    ('") 4. join()"', ") 4. join()"),
    (r'"\\"', "\\"),
    (r'"\\$1"', Template(("\\", Ref(1)))),
]


@pytest.mark.parametrize(("text", "value"), VALUES, ids=[text[:30] for text, _ in VALUES])
def test_a_value_is_read_as_what_it_says(text: str, value: object) -> None:
    parser = PlanParser(TOOLBOX, first_id=3)
    assert parser.feed(f"3. search({text})") == [Task(3, "search", {"query": value})]


def test_booleans_are_not_numbers() -> None:
    (task,) = PlanParser(TOOLBOX).feed("1. search([true, 1, 1.0])")
    assert isinstance(task, Task)
    assert [type(item) for item in task.args["query"]] == [bool, int, float]


PLANS: dict[str, tuple[str, list[Task | Join]]] = {
    "nothing to call": ("1. join()", [Join(1)]),
    "a line break at the end": ("1. join()\n", [Join(1)]),
    "no arguments": ("1. now()\n2. join()", [Task(1, "now"), Join(2)]),
    "only required, without a name": (
        '1. search("K2")\n2. join()',
        [Task(1, "search", {"query": "K2"}), Join(2)],
    ),
    "only required, with its name": (
        '1. search(query="K2")\n2. join()',
        [Task(1, "search", {"query": "K2"}), Join(2)],
    ),
    "optional ones": (
        '1. search("K2", limit=3, exact=true)\n2. join()',
        [Task(1, "search", {"query": "K2", "limit": 3, "exact": True}), Join(2)],
    ),
    "optional ones in another order": (
        '1. search("K2", exact=true, limit=3)\n2. join()',
        [Task(1, "search", {"query": "K2", "limit": 3, "exact": True}), Join(2)],
    ),
    "several required": (
        '1. convert(value=1, to_unit="ft")\n2. join()',
        [Task(1, "convert", {"value": 1, "to_unit": "ft"}), Join(2)],
    ),
    "names with dots and dashes": (
        "1. web.look-up(max-age=3)\n2. join()",
        [Task(1, "web.look-up", {"max-age": 3}), Join(2)],
    ),
    "earlier tasks": (
        '1. now()\n2. search("$1", limit=$1)\n3. total([$1, $2.n])\n4. join()',
        [
            Task(1, "now"),
            Task(2, "search", {"query": Template((Ref(1),)), "limit": Ref(1)}),
            Task(3, "total", {"numbers": [Ref(1), Ref(2, ("n",))]}),
            Join(4),
        ],
    ),
    "blank lines": ("\n \n1. now()\n\t\n\n2. join()\n\n", [Task(1, "now"), Join(2)]),
    "lines of Windows": ("\r\n1. now()\r\n2. join()\r\n", [Task(1, "now"), Join(2)]),
    "spaces": (
        '  1.now() \t\n2. search("a"  ,  limit = 3 )\n3. join()  ',
        [Task(1, "now"), Task(2, "search", {"query": "a", "limit": 3}), Join(3)],
    ),
}


@pytest.mark.parametrize(("text", "items"), PLANS.values(), ids=PLANS)
def test_a_plan_gives_its_tasks(text: str, items: list[Task | Join]) -> None:
    assert parse([text]) == (items, None)


def test_a_later_plan_goes_on_counting_and_refers_to_earlier_plans() -> None:
    text = '7. search("$2 ${6.name}")\n8. join()'
    query = Template((Ref(2), " ", Ref(6, ("name",))))
    assert parse([text], first_id=7) == ([Task(7, "search", {"query": query}), Join(8)], None)


# What is wrong, the text, and the error: line, column, and a part of the message.
FAULTS: dict[str, tuple[str, int, int, str]] = {
    "empty": ("", 1, 1, "the plan ends without 1. join()"),
    "blank": (" \n ", 2, 2, "the plan ends without 1. join()"),
    "no join": ("1. now()\n", 2, 1, "the plan ends without 2. join()"),
    "ends in an id": ("1. now()\n2", 2, 2, "in the middle of a task"),
    "ends in a call": ("1. now()\n2. search(", 2, 11, "in the middle of a task"),
    "ends in a string": ('1. search("K2', 1, 14, "in the middle of a task"),
    "ends in an escape": ('1. search("K2\\', 1, 15, "in the middle of a task"),
    "prose in front": ("Here is the plan:\n1. join()", 1, 18, "the line ends before"),
    "prose behind": ("1. join()\nDone.", 2, 6, "in the middle of a task"),
    "a line of prose with a call": ("The plan (short)", 1, 1, "expected `<id>. <tool>(`"),
    "a fence": ("```\n1. join()", 1, 4, "the line ends before"),
    "a lone parenthesis": (")", 1, 1, "expected `<id>. <tool>(`"),
    "no id": ("now()", 1, 1, "expected `<id>. <tool>(`"),
    "wrong first id": ("2. now()", 1, 1, "expected the id 1, found 2"),
    "an id twice": ("1. now()\n1. now()", 2, 1, "expected the id 2, found 1"),
    "an id left out": ("1. now()\n 3. now()", 2, 2, "expected the id 2, found 3"),
    "wrong id at join": ("1. now()\n3. join()", 2, 1, "expected the id 2, found 3"),
    "unknown tool": ("1. now()\n2. fly()", 2, 4, "no tool is called fly"),
    "a task behind join": ("1. join()\n2. now()", 2, 1, "a task behind join()"),
    "join twice": ("1. join()\n2. join()", 2, 1, "a task behind join()"),
    "join of something": ("1. join($1)", 1, 9, "expected ')'"),
    "text behind a task": ("1. now() # today", 1, 10, "more text behind"),
    "two tasks a line": ("1. now() 2. join()", 1, 10, "more text behind"),
    "two parentheses": ("1. now())", 1, 9, "more text behind"),
    "nested call": ("1. search(now())", 1, 11, "expected a value"),
    "broken line": ("1. search(\n2. join()", 1, 11, "the line ends before"),
    "line break in a string": ('1. search("a\nb")', 1, 13, "a line break inside a string"),
    "line break in an escape": ('1. search("a\\\nb")', 1, 14, "a line break inside a string"),
    "tab in a string": ('1. search("a\tb")', 1, 16, "not a JSON string"),
    "bad escape": (r'1. search("\x41")', 1, 17, "not a JSON string: Invalid \\escape"),
    "half a surrogate pair": (r'1. search("\ud83d")', 1, 19, "half a surrogate pair"),
    "no quotes": ("1. search(K2)", 1, 11, "expected a value"),
    "single quotes": ("1. search('K2')", 1, 11, "expected a value"),
    "True": ("1. search(True)", 1, 11, "expected a value"),
    "NaN": ("1. search(NaN)", 1, 11, "expected a value"),
    "leading zero": ("1. search(01)", 1, 12, "expected ','"),
    "too large a float": ("1. search(1e999)", 1, 11, "a number too large to hold"),
    "too large a negative one": ("1. search([-1e999])", 1, 12, "a number too large to hold"),
    "integer of 9000 digits": (f"1. search({'9' * 9000})", 1, 11, "a number too large to hold"),
    "33 levels": (f"1. search({'[' * 33}{']' * 33})", 1, 43, "nested deeper than 32 levels"),
    "100000 levels": (f"1. search({'[' * 100_000})", 1, 43, "nested deeper than 32 levels"),
    "deep objects": ("1. search(" + '{"a":' * 50_000 + ")", 1, 171, "nested deeper than 32"),
    "array not closed": ("1. search([1)", 1, 13, "expected ','"),
    "comma at the end": ("1. search([1,])", 1, 14, "expected a value"),
    "object without keys": ("1. search({1})", 1, 12, "expected a key in quotes"),
    "no required": ("1. search()", 1, 12, "search needs query"),
    "one required missing": ("1. convert(value=1)", 1, 20, "convert needs to_unit"),
    "required only unnamed if alone": ("1. convert(1)", 1, 12, "expected `name=value`"),
    "second one unnamed": ('1. search("a", 3)', 1, 16, "expected `name=value`"),
    "optional unnamed": ("1. web.look-up(3)", 1, 16, "expected `name=value`"),
    "unknown parameter": ('1. search("a", page=3)', 1, 16, "search has no parameter page"),
    "no parameters": ("1. now(x=1)", 1, 8, "now has no parameter x"),
    "a parameter twice": ('1. search("a", query="b")', 1, 16, "search gets query twice"),
    "comma behind the arguments": ('1. search("a", )', 1, 16, "expected `name=value`"),
    "refers to itself": ("1. search($1)", 1, 11, "$1 does not point to an earlier task"),
    "refers ahead": ("1. now()\n2. search($3)", 2, 11, "$3 does not point to an earlier task"),
    "refers ahead in a string": ('1. search("a $2")', 1, 14, "$2 does not point to an earlier"),
    "refers to 12, not to 1": (
        '1. now()\n2. search("$12")',
        2,
        12,
        "$12 does not point to an earlier task",
    ),
    "no such id": ("1. search($0)", 1, 11, "expected a reference such as $1"),
    "a number as a key": ("1. now()\n2. search($1[x])", 2, 13, "expected ','"),
    "a lone dollar": ('1. search("5 $")', 1, 14, "a $ in a string is $1, ${1.name}, or $$"),
    "brace not closed": ('1. now()\n2. search("${1")', 2, 12, "a $ in a string is $1"),
}


@pytest.mark.parametrize(("text", "line", "column", "message"), FAULTS.values(), ids=FAULTS)
def test_a_text_that_is_no_plan_is_refused_at_the_fault(
    text: str, line: int, column: int, message: str
) -> None:
    _, error = parse([text])
    assert error is not None
    assert message in error
    assert error.startswith(f"line {line}, column {column}: ")


EXAMPLES = [
    *(text for text, _ in PLANS.values()),
    *(text for text, *_ in FAULTS.values() if len(text) < 1000),
    *(f"1. now()\n2. now()\n3. search({text})\n4. join()" for text, _ in VALUES),
]


@pytest.mark.parametrize("text", EXAMPLES, ids=range(len(EXAMPLES)))
def test_one_character_at_a_time_gives_the_same(text: str) -> None:
    assert parse(text) == parse([text])


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(EXAMPLES), st.data())
def test_any_split_gives_the_same(text: str, data: st.DataObject) -> None:
    assert parse(split(text, data)) == parse([text])


PIECES = [
    "1. now()\n",
    "1. search(",
    "2. search(",
    "2. join()",
    "limit=",
    "$1",
    "true",
    *'12.()"$[]{},: é\\\n\r\t',
]


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.sampled_from(PIECES)).map("".join),
    st.data(),
)
def test_any_text_is_a_plan_or_a_plan_error_however_it_is_split(
    text: str, data: st.DataObject
) -> None:
    assert parse(split(text, data)) == parse([text])


def test_a_task_is_given_at_its_closing_parenthesis() -> None:
    parser = PlanParser(TOOLBOX)
    assert parser.feed('1. search("(K2)"') == []
    assert parser.feed(")") == [Task(1, "search", {"query": "(K2)"})]
    assert parser.feed("\n2. join(") == []
    assert parser.feed(")") == [Join(2)]
    assert parser.close() == []


def test_what_was_sealed_before_a_fault_is_given_first() -> None:
    parser = PlanParser(TOOLBOX)
    assert parser.feed("1. now()\n2. now()\n3. fly()\n4. now()\n") == [
        Task(1, "now"),
        Task(2, "now"),
    ]
    with pytest.raises(PlanError, match="no tool is called fly"):
        parser.feed("5. join()")


def test_closing_raises_a_fault_that_no_feed_has_raised() -> None:
    parser = PlanParser(TOOLBOX)
    assert parser.feed("1. now()\n2. fly()") == [Task(1, "now")]
    with pytest.raises(PlanError, match="line 2, column 4: no tool is called fly"):
        parser.close()


def test_a_fault_has_its_place() -> None:
    with pytest.raises(PlanError) as fault:
        PlanParser(TOOLBOX).feed("\n1. fly()")
    assert (fault.value.line, fault.value.column) == (2, 4)


def test_after_a_fault_every_call_raises_it() -> None:
    parser = PlanParser(TOOLBOX)
    for call in (lambda: parser.feed("1. fly()"), lambda: parser.feed("1. now()"), parser.close):
        with pytest.raises(PlanError, match="line 1, column 4: no tool is called fly"):
            call()


def test_a_megabyte_comes_through_one_character_at_a_time() -> None:
    # Quadratic work would take hours here.
    text = "(x) " * 250_000
    assert parse(f'1. search("{text}")\n2. join()') == (
        [Task(1, "search", {"query": text}), Join(2)],
        None,
    )


def parse(pieces: Iterable[str], first_id: int = 1) -> tuple[list[Task | Join], str | None]:
    """What a plan in these pieces gives: the items, and the error that ends it, if one does."""
    parser = PlanParser(TOOLBOX, first_id)
    items: list[Task | Join] = []
    try:
        for piece in pieces:
            items += parser.feed(piece)
        items += parser.close()
    except PlanError as error:
        return items, str(error)
    return items, None


def split(text: str, data: st.DataObject) -> list[str]:
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=8).map(sorted))
    return [text[a:b] for a, b in itertools.pairwise([0, *cuts, len(text)])]
