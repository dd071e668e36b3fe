"""The grammar: which texts the model can write, and that each of them is a plan."""

import json
import re
from functools import cache
from itertools import permutations
from typing import Annotated, Literal

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from outlines.types.dsl import to_regex
from outlines_core import Index, Vocabulary

from executor.errors import UsageError
from executor.parser import PlanParser
from executor.plan import render
from executor.tools import Tool, ToolBox, tool
from planner_prompts import terms
from planner_prompts.automaton import states
from planner_prompts.grammar import (
    BUDGETS,
    Backend,
    join_regex,
    matches,
    plan_grammar,
    plan_regex,
)


@tool
def now() -> str: ...


@tool
def look(query: str, limit: int = 5, exact: bool = False) -> str: ...


@tool
def convert(value: float, to_unit: Literal["m", "ft", "$"] = "m") -> float: ...


@tool
def move(x: Annotated[int, pydantic.Field(ge=0)], y: int, by: str | None = None) -> str: ...


@tool
def total(rows: list[list[float]]) -> float: ...


@tool
def choose(a: Literal["x"] = "x", b: int | bool = 0, c: Literal[1, "one", None] = 1) -> str: ...


DOTTED = Tool.from_json_schema(
    "web.look-up",
    "",
    {"type": "object", "properties": {"max-age": {"type": "integer"}}},
    lambda **_: None,
)
BYTES_ONLY = Vocabulary(256, {bytes([byte]): [byte] for byte in range(256)})  # and an end
TOOLBOX = ToolBox([now, look, convert, move, total, choose, DOTTED])


@cache
def grammar(first_id: int = 1, max_tasks: int = 3) -> str:
    return plan_regex(TOOLBOX, first_id, max_tasks, "guidance")  # which has all lines written out


def test_the_regex_of_two_tools_reads_so() -> None:
    escape = r'\\(?:["\\/bfnrt]|u(?:[0-9A-CEFa-cef][0-9A-Fa-f]|[Dd][0-7])[0-9A-Fa-f]{2})'
    path = r"(?:\.[A-Za-z_][A-Za-z0-9_]*|\[(?:0|[1-9][0-9]?)\])*"
    string = rf'"(?:[^"\\$\x00-\x1f]|{escape}|\$\$)*"'
    integer = "(?:-?(?:0|[1-9][0-9]*))"
    first = (
        r"1\.\ (join\(\)|((now)\(|"
        rf"(look)\(({string})(,\ limit=({integer}))?(,\ exact=((?:true|false)))?)\)" + "\\\n"
        r"2\.\ join\(\))"
    )
    assert plan_regex(ToolBox([now, look]), max_tasks=1) == first

    # From the second task of a run on, references may stand for a value and in a string.
    ref = rf"(\$(?:[1-1]){path})"
    symbol = rf'(?:[^"\\$\x00-\x1f0-9]|{escape}|\$\$|\$\{{(?:[1-1]){path}\}})'
    bare = r"(?:\$(?:[1-1]))*"
    string = rf'("(?:[0-9]|{bare}{symbol})*{bare}")'
    second = (
        r"2\.\ (join\(\)|((now)\(|"
        rf"(look)\(({string}|{ref})(,\ limit=(({integer})|{ref}))?"
        rf"(,\ exact=(((?:true|false))|{ref}))?)\)" + "\\\n"
        r"3\.\ join\(\))"
    )
    assert plan_regex(ToolBox([now, look]), first_id=2, max_tasks=1) == second


# Arguments of task 4, which may refer to 1, 2 and 3.
CALLS_IN = [
    "now()",
    'look("K2")',
    'look("")',
    "look($1)",
    "look($3.rows[0].name[12])",
    'look("a $1, $2$3 ${1} ${1}2 ${2.name[0]} $$ $$1")',
    r'look("\" \\ \/ \b \f \n \r \t \u00e9 \u2028 \uD7ff")',
    'look("é 😀 \x7f )")',
    'look("K2", limit=-3)',
    'look("K2", exact=true)',
    'look("K2", limit=$1, exact=false)',
    "convert(0)",
    "convert(-0.25)",
    "convert(1e9)",
    "convert(6.02E+23)",
    'convert(1, to_unit="$$")',
    "convert(1, to_unit=$1)",
    "move(x=1, y=$2)",
    "move(x=1, y=2, by=null)",
    'move(x=1, y=2, by="$1")',
    "total([])",
    "total([[]])",
    "total([[1, 2.5], [$1], $2])",
    "total($1)",
    "choose()",
    'choose(a="x")',
    "choose(b=true)",
    'choose(a="x", b=1, c=null)',
    'choose(b=$1, c="one")',
    "web.look-up()",
    "web.look-up(max-age=60)",
]

CALLS_OUT = {
    "unknown tool": "fly()",
    "a dot is only a dot": "web_look-up()",
    "missing required": "look()",
    "missing one of two required": "move(x=1)",
    "several required unnamed": "move(1, 2)",
    "required in the wrong order": "move(y=1, x=2)",
    "the only required one named": 'look(query="K2")',
    "optional before required": 'look(limit=1, "K2")',
    "optional in the wrong order": 'look("K2", exact=true, limit=1)',
    "optional twice": 'look("K2", limit=1, limit=1)',
    "optional unnamed": 'look("K2", 3)',
    "comma first": "choose(, b=1)",
    "comma last": "choose(b=1, )",
    "no blank behind the comma": 'look("K2",limit=1)',
    "unknown parameter": 'look("K2", page=1)',
    "an argument too many": "now(1)",
    "text for a number": 'convert("1")',
    "a number for text": "look(1)",
    "a fraction for an integer": 'look("K2", limit=1.5)',
    "leading zero": "convert(01)",
    "leading plus": "convert(+1)",
    "no digit before the dot": "convert(.5)",
    "no digit behind the dot": "convert(1.)",
    "exponent of three digits": "convert(1e999)",
    "not a number": "convert(NaN)",
    "True": 'look("K2", exact=True)',
    "null where none is allowed": "look(null)",
    "no such choice": 'convert(1, to_unit="km")',
    "no quotes around a choice": "convert(1, to_unit=m)",
    "a choice's bare dollar": 'convert(1, to_unit="$")',
    "a list's wrong item": "total([1])",
    "a list's comma": "total([[1,2]])",
    "a list not closed": "total([[1])",
    "itself": "look($4)",
    "a later task": "look($5)",
    "task 0": "look($0)",
    "itself in a string": 'look("$4")',
    "itself in braces": 'look("${4}")',
    "task 12": "look($12)",
    "task 12 in a string": 'look("$12")',
    "task 12 behind a reference": 'look("$1$12")',
    "a leading zero in a reference": "look($01)",
    "an index of three digits": "look($1[100])",
    "a key that is no name": "look($1.2)",
    "an empty index": "look($1[])",
    "a lone dollar": 'look("5 $")',
    "a dollar and a letter": 'look("$a")',
    "a brace not closed": 'look("${1")',
    "line break in a string": 'look("a\nb")',
    "tab in a string": 'look("a\tb")',
    "quote in a string": 'look("a"b")',
    "unknown escape": r'look("\x41")',
    "lone surrogate": r'look("\ud83d")',
    "low surrogate": r'look("\uDE00")',
    "short escape": r'look("\u00e")',
    "blanks": "now( )",
}


@pytest.mark.parametrize("call", CALLS_IN)
def test_the_model_can_write(call: str) -> None:
    assert matches(grammar(first_id=4), f"4. {call}\n5. join()")


@pytest.mark.parametrize("call", CALLS_OUT.values(), ids=CALLS_OUT)
def test_the_model_cannot_write(call: str) -> None:
    assert not matches(grammar(first_id=4), f"4. {call}\n5. join()")


def test_the_engines_automaton_takes_the_same_texts() -> None:
    automaton = Index(grammar(first_id=4, max_tasks=1), BYTES_ONLY)

    def takes(text: str) -> bool:
        state = automaton.get_initial_state()
        for byte in text.encode():
            state = automaton.get_next_state(state, byte)
            if state is None:
                return False
        return automaton.is_final_state(state)

    calls = [*CALLS_IN, *CALLS_OUT.values()]
    assert [call for call in calls if takes(f"4. {call}\n5. join()")] == CALLS_IN


@pytest.mark.parametrize(
    ("text", "is_in"),
    [
        ("1. join()", True),
        ("1. now()\n2. join()", True),
        ("1. now()\n2. now()\n3. now()\n4. join()", True),
        ("1. now()\n2. now()\n3. now()\n4. now()\n5. join()", False),
        ("", False),
        ("1. now()", False),
        ("1. now()\n", False),
        ("1. join()\n", False),
        ("1. join()\n2. join()", False),
        ("2. join()", False),
        ("1. now()\n1. join()", False),
        ("1. now()\n3. join()", False),
        ("1. now()\n\n2. join()", False),
        ("1. now() 2. join()", False),
        ("1.join()", False),
        (" 1. join()", False),
        ("1. join($1)", False),
        ('1. look("$1")\n2. join()', False),
        ("1. look($1)\n2. join()", False),
        ('1. look("$$1")\n2. join()', True),
        ("1. now()\n2. look($1)\n3. look($2)\n4. join()", True),
        ("1. now()\n2. look($2)\n3. join()", False),
    ],
)
def test_a_plan_counts_its_lines_and_ends_with_join(text: str, is_in: bool) -> None:
    assert matches(grammar(), text) is is_in


@pytest.mark.parametrize("first_id", [1, 2, 9, 10, 11, 21, 100, 101, 111])
@pytest.mark.parametrize("argument", ["${}", '"${}"', '"a ${{{}}}1"'])
def test_references_are_exactly_the_tasks_before(first_id: int, argument: str) -> None:
    regex = re.compile(plan_regex(ToolBox([look]), first_id, max_tasks=1))
    line = f"{first_id}. look({argument})\n{first_id + 1}. join()"
    allowed = [id for id in range(first_id + 130) if regex.fullmatch(line.format(id))]
    assert allowed == list(range(1, first_id))


@pytest.mark.parametrize("first_id", [1, 5])
def test_without_tools_or_tasks_the_plan_is_just_join(first_id: int) -> None:
    for regex in (plan_regex(ToolBox([]), first_id), plan_regex(TOOLBOX, first_id, max_tasks=0)):
        assert regex == rf"{first_id}\.\ join\(\)"


@pytest.mark.parametrize("first_id", [1, 5])
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_whatever_the_model_can_write_is_a_plan_and_is_read_back(
    first_id: int, data: st.DataObject
) -> None:
    text = data.draw(plans(first_id))
    parser = PlanParser(TOOLBOX, first_id)
    items = parser.feed(text)
    parser.close()
    again = "\n".join(render(item, TOOLBOX) for item in items)
    assert PlanParser(TOOLBOX, first_id).feed(again) == items


@cache
def plans(first_id: int) -> st.SearchStrategy[str]:
    # Without the plan of no tasks, which from_regex would write every other time.
    empty = rf"{first_id}\.\ (join\(\)|"
    regex = grammar(first_id, max_tasks=2)
    assert regex.startswith(empty)
    some_task = regex.replace(empty, rf"{first_id}\.\ (", 1)
    return st.from_regex(some_task, fullmatch=True)


def test_in_a_subset_no_other_tool_can_be_written() -> None:
    regex = plan_regex(TOOLBOX.subset(["look", "total"]), 4, 1)
    able = [call for call in CALLS_IN if matches(regex, f"4. {call}\n5. join()")]
    assert able == [call for call in CALLS_IN if call.startswith(("look(", "total("))]


def many(count: int) -> ToolBox:
    """Tools of which no two take the same arguments."""

    def made(at: int) -> Tool:
        properties = {f"a_{at}": {"type": "string"}, "b": {"type": "integer"}}
        schema = {"type": "object", "properties": properties}
        return Tool.from_json_schema(f"tool_{at}", "", schema, lambda **_: None)

    return ToolBox(map(made, range(count)))


@pytest.mark.parametrize(
    ("toolbox", "backend", "form", "counted"),
    [
        (ToolBox([]), "outlines", "unrolled", 16),
        (ToolBox([now]), "outlines", "unrolled", 16),
        (ToolBox([now, look, convert]), "outlines", "loop", 5),
        (TOOLBOX, "outlines", "loop", 1),
        (TOOLBOX, "guidance", "unrolled", 16),
        (many(12), "outlines", "loop", 0),
        (many(200), "guidance", "loop", 2),
    ],
)
def test_as_many_lines_are_written_out_as_the_backend_can_bear(
    toolbox: ToolBox, backend: Backend, form: str, counted: int
) -> None:
    found = plan_grammar(toolbox, backend=backend)
    assert (found.form, found.counted) == (form, counted), str(found)
    cost = states(found.regex) if backend == "outlines" else len(found.regex)
    assert cost <= max(BUDGETS[backend].wanted, found.line_cost)


def test_too_many_tools_are_told_what_can_be_done() -> None:
    with pytest.raises(UsageError, match=r"120 tools .* or set HEADSTART_BACKEND=guidance"):
        plan_regex(many(120))
    with pytest.raises(UsageError, match=r"4000 tools .* offer fewer \(toolbox.subset\(names\)\)$"):
        plan_regex(many(4000), backend="guidance")


def test_of_optional_arguments_any_are_given_in_their_order() -> None:
    names = "abcde"
    schema = {"type": "object", "properties": {name: {"const": name} for name in names}}
    toolbox = ToolBox([Tool.from_json_schema("f", "", schema, lambda **_: None)])
    regex = re.compile(plan_regex(toolbox, max_tasks=1))
    for count in range(len(names) + 1):
        for chosen in permutations(names, count):
            call = f"f({', '.join(f'{name}={json.dumps(name)}' for name in chosen)})"
            is_in = regex.fullmatch(f"1. {call}\n2. join()") is not None
            assert is_in == (list(chosen) == sorted(chosen)), call


@pytest.mark.parametrize(
    ("call", "is_in"),
    [
        ("tool_0()", True),
        ('tool_1(a_1="x")', True),
        ("tool_1(b=1)", True),
        ('tool_2(a_2="x", b=1)', True),
        ('tool_1(a_2="x")', False),
        ('tool_1(a_2="x", b=1)', False),
        ("tool_1(, b=1)", False),
        ('tool_1(a_1="x", )', False),
        ('tool_1(b=1, a_1="x")', False),
        ("tool_1(1)", False),
    ],
)
def test_tools_that_share_the_last_value_share_nothing_else(call: str, is_in: bool) -> None:
    assert matches(plan_regex(many(3), max_tasks=1), f"1. {call}\n2. join()") is is_in


@pytest.mark.parametrize(
    ("text", "is_in"),
    [
        ("4. now()\n5. look($4)\n6. join()", True),
        ("4. now()\n5. now()\n6. look($5)\n7. join()", True),
        ("5. now()\n6. join()", False),
        ("4. look($4)\n5. join()", False),
        ("4. now()\n6. now()\n7. join()", False),
        ("4. now()\n5. now()\n9. now()\n1. look($77)\n12. join()", True),
        ("4. now()\n5. now()\n06. join()", False),
        ("4. now()\n5. now()\n6. look($0)\n7. join()", False),
        ("4. now()\n5. now()\n6. fly()\n7. join()", False),
        ("4. now()\n5. now()\n6. now()", False),
        ("4. now()\n5. now()\n6. join()\n", False),
    ],
)
def test_behind_the_counted_lines_only_ids_are_open(text: str, is_in: bool) -> None:
    term = terms.plan(ToolBox([now, look]), range(4, 12), counted=2)
    assert matches(to_regex(term), text) is is_in


@pytest.mark.parametrize(
    ("text", "without", "within"),
    [
        ("Answer: 42", True, True),
        ("Answer: Yes:\n- one\n- two\n", True, True),
        ("Replan: the height of K2 is missing", False, True),
        ("Replan: two\nlines", False, False),
        ("Answer: ", False, False),
        ("Answer:  42", False, False),
        ("Answer: \n42", False, False),
        ("Answer:42", False, False),
        ("Replan: ", False, False),
        ("42", False, False),
        ("", False, False),
        ("I think. Answer: 42", False, False),
    ],
)
def test_the_joiner_answers_or_if_it_may_plans_again(
    text: str, without: bool, within: bool
) -> None:
    assert matches(join_regex(replan=False), text) is without
    assert matches(join_regex(replan=True), text) is within
