"""The nouns of a plan, and that their text is read back as the same nouns."""

import re
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.parser import PlanParser
from executor.plan import Join, Ref, Task, Template, as_json, render, render_value
from executor.tools import ToolBox, tool
from planner_prompts.grammar import plan_regex


@tool
def now() -> str: ...


@tool
def search(query: str, limit: int = 5, exact: bool = False) -> str: ...


@tool
def convert(note: str | None = None, *, value: float, to_unit: Literal["m", "$"]) -> float: ...


@tool
def total(rows: list[list[float]]) -> float: ...


TOOLBOX = ToolBox([now, search, convert, total])

LINES = [
    (Join(3), "3. join()"),
    (Task(1, "now"), "1. now()"),
    (Task(2, "search", {"query": "K2"}), '2. search("K2")'),
    (
        Task(2, "search", {"exact": True, "limit": Ref(1), "query": "K2"}),
        '2. search("K2", limit=$1, exact=true)',
    ),
    (
        Task(4, "convert", {"note": None, "to_unit": "$", "value": Ref(3, ("a", 0))}),
        '4. convert(value=$3.a[0], to_unit="$$", note=null)',
    ),
    (Task(4, "total", {"rows": [[1, 2.5], Ref(3)]}), "4. total([[1, 2.5], $3])"),
]

VALUES = [
    ('a\n"b" \\ \t é 😀', r'"a\n\"b\" \\ \t é 😀"'),
    ("$1 costs 5 $", '"$$1 costs 5 $$"'),
    ({"$a": ["$"], "b": Ref(1)}, '{"$a": ["$$"], "b": $1}'),
    (Template((Ref(1),)), '"$1"'),
    (Template(("a ", Ref(1), " b")), '"a $1 b"'),
    (Template((Ref(1), "2")), '"${1}2"'),
    (Template((Ref(1), Ref(2), "3")), '"$1${2}3"'),
    (Template((Ref(1), "$2")), '"$1$$2"'),
    (Template((Ref(1), ".name")), '"$1.name"'),
    (Template((Ref(1, ("name", 0)), "!")), '"${1.name[0]}!"'),
    (Template(('"', Ref(1), "\n")), r'"\"$1\n"'),
]


@pytest.mark.parametrize(("item", "line"), LINES, ids=[line for _, line in LINES])
def test_an_item_is_written_in_the_order_of_the_grammar(item: Task | Join, line: str) -> None:
    assert render(item, TOOLBOX) == line


@pytest.mark.parametrize(("value", "text"), VALUES, ids=[text for _, text in VALUES])
def test_a_value_is_written_so_that_it_is_read_back(value: Any, text: str) -> None:
    assert render_value(value) == text
    assert PlanParser(TOOLBOX, 4).feed(f"4. search({text})") == [
        Task(4, "search", {"query": value})
    ]


def test_a_task_needs_each_task_that_it_refers_to_once_and_in_order() -> None:
    args = {
        "a": Ref(7, ("name",)),
        "b": Template(("x", Ref(2), Ref(7))),
        "c": [1, [Ref(4)], {"d": Ref(3)}],
        "e": "$9",
    }
    assert Task(8, "any", args).needs == (2, 3, 4, 7)
    assert Task(8, "any").needs == ()


def test_for_show_references_become_text_and_the_rest_stays() -> None:
    value = {
        "a": Ref(3, ("x", 0)),
        "b": [Template(("as of ", Ref(1), "0")), None, 1.5, True, "5 $"],
    }
    assert as_json(value) == {"a": "$3.x[0]", "b": ["as of ${1}0", None, 1.5, True, "5 $$"]}


TEXTS = st.text(st.characters(codec="utf-8"), max_size=12) | st.text('1$"\\{}.n\n ', max_size=6)
INTEGERS = st.integers(-(10**9), 10**9)
# The grammar holds exponents of two digits, which is all that a plan needs.
NUMBERS = INTEGERS | st.floats(-1e50, 1e50).filter(lambda x: x == 0 or abs(x) > 1e-50)
STEPS = st.sampled_from(["a", "_b", "name2"]) | st.integers(0, 99)


def refs(id: int) -> st.SearchStrategy[Ref]:
    return st.builds(Ref, st.integers(1, id - 1), st.lists(STEPS, max_size=3).map(tuple))


@st.composite
def templates(draw: st.DrawFn, id: int) -> Template:
    """A text before each reference and one behind the last, as far as they are not empty."""
    pairs = draw(st.lists(st.tuples(TEXTS, refs(id)), min_size=1, max_size=3))
    parts = [part for pair in pairs for part in pair]
    return Template(tuple(part for part in [*parts, draw(TEXTS)] if part != ""))


@st.composite
def tasks(draw: st.DrawFn, id: int) -> Task:
    def value(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return strategy if id == 1 else strategy | refs(id)

    texts = TEXTS if id == 1 else TEXTS | templates(id)
    required: dict[str, dict[str, Any]] = {
        "now": {},
        "search": {"query": value(texts)},
        "convert": {"value": value(NUMBERS), "to_unit": value(st.sampled_from(["m", "$"]))},
        "total": {"rows": value(st.lists(value(st.lists(value(NUMBERS), max_size=3)), max_size=3))},
    }
    optional: dict[str, dict[str, Any]] = {
        "search": {"limit": value(INTEGERS), "exact": value(st.booleans())},
        "convert": {"note": value(texts | st.none())},
    }
    name = draw(st.sampled_from(sorted(required)))
    args = st.fixed_dictionaries(required[name], optional=optional.get(name, {}))
    return Task(id, name, draw(args))


@st.composite
def plans(draw: st.DrawFn, first_id: int) -> list[Task | Join]:
    end = first_id + draw(st.integers(0, 3))
    return [*(draw(tasks(id)) for id in range(first_id, end)), Join(end)]


@pytest.mark.parametrize("first_id", [1, 12])
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_a_written_plan_is_in_the_grammar_and_is_read_back(
    first_id: int, data: st.DataObject
) -> None:
    items = data.draw(plans(first_id))
    text = "\n".join(render(item, TOOLBOX) for item in items)
    parser = PlanParser(TOOLBOX, first_id)
    assert parser.feed(text) == items
    assert parser.close() == []
    assert re.fullmatch(GRAMMAR[first_id], text)


GRAMMAR = {id: re.compile(plan_regex(TOOLBOX, id, max_tasks=3)) for id in (1, 12)}
