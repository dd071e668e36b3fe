"""When two plans are the same plan."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.builtin import TOOLBOX
from executor.errors import PlanError
from executor.parser import tasks_of
from executor.plan import Join, Ref, Task, Template, render
from executor.tools import Tool, ToolBox
from quality.canonical import argument_values, canonical, same_plan, sinks, tool_names

SCHEMA = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "number": {"type": "number"},
        "flag": {"type": "boolean"},
        "items": {"type": "array", "items": {"type": "string"}},
    },
}
TOOLS = ToolBox(
    [*TOOLBOX, Tool.from_json_schema("use", "", SCHEMA, lambda **_: None)],
)


def plan(text: str) -> list[Task]:
    """A plan from its calls, which ` | ` parts."""
    calls = [*text.split(" | "), "join()"] if text else ["join()"]
    return tasks_of("\n".join(f"{id}. {call}" for id, call in enumerate(calls, 1)), TOOLS)


SAME = [
    ('search("a") | search("b")', 'search("b") | search("a")'),
    (
        'search("a") | search("b") | calculate("$1 - $2")',
        'search("b") | search("a") | calculate("$2 - $1")',
    ),
    ('search("height of  K2")', 'search(" Height of k2 ")'),
    ("use(number=3)", "use(number=3.0)"),
    ("use(number=1200)", "use(number=1.2e3)"),
    ('use(text="3 apples")', 'use(text="3.0 apples")'),
    ('search("a") | calculate("$1 * 1.50")', 'search("a") | calculate("$1 * 1.5")'),
    ('search("a") | calculate("${1} + 1")', 'search("a") | calculate("$1 + 1")'),
    ('use(text="a", number=1)', 'use(number=1, text="a")'),
    ('search("a") | use(text=$1)', 'search("a") | use(text=$1)'),
    ("", ""),
]
OTHER = [
    ('search("a")', ""),
    ('search("a")', 'search("b")'),
    ('search("a")', 'search("a") | search("a")'),
    ('search("a")', 'calculate("a")'),
    ('search("a") | search("b")', 'search("a") | search("$1")'),
    (
        'search("a") | search("b") | calculate("$1 - $2")',
        'search("a") | search("b") | calculate("$2 - $1")',
    ),
    ('search("a") | calculate("$1 * 1.5")', 'search("a") | calculate("$1 * 15")'),
    ('search("a") | use(text=$1)', 'search("a") | use(text=$1.b)'),
    ('search("a") | use(text=$1.b)', 'search("a") | use(text=$1[0])'),
    ("use(number=1)", "use(flag=true)"),
    ("use(number=3)", 'use(text="3")'),
    ('use(items=["a", "b"])', 'use(items=["b", "a"])'),
    ('use(items=["a", "b"])', 'use(items=["a b"])'),
    ('use(text="12")', 'use(text="1 2")'),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_plan(one: str, other: str) -> None:
    assert same_plan(plan(one), plan(other))


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_another_plan(one: str, other: str) -> None:
    assert not same_plan(plan(one), plan(other))


@pytest.mark.parametrize("text", ["", "Hello", '1. search("a")', '1. search("a")\n2. calc("b")'])
def test_a_text_that_is_no_whole_plan_has_no_tasks(text: str) -> None:
    with pytest.raises(PlanError):
        tasks_of(text, TOOLS)


WORDS = st.text(st.sampled_from("ab K2.5"), max_size=6)


@st.composite
def plans(draw: st.DrawFn) -> list[Task]:
    tasks: list[Task] = []
    for id in range(1, draw(st.integers(0, 8)) + 1):
        earlier = st.lists(st.integers(1, id - 1), max_size=3) if id > 1 else st.just([])
        refs = [Ref(each) for each in draw(earlier)]
        parts: list[str | Ref] = [draw(WORDS)]
        for ref in refs:
            parts += [ref, f" {draw(WORDS)}"]
        text = Template(tuple(part for part in parts if part)) if refs else parts[0]
        if draw(st.booleans()):
            tasks.append(Task(id, "calculate", {"expression": text}))
        else:
            number = draw(st.integers(-5, 5))
            is_whole = draw(st.booleans())
            value = refs[0] if refs and is_whole else text
            tasks.append(Task(id, "use", {"text": value, "number": number}))
    return tasks


def renumbered(tasks: list[Task], seed: int) -> list[Task]:
    """In a random order in which inputs still come first, with new ids."""
    rng = random.Random(seed)
    left, ids, found = list(tasks), dict[int, int](), list[Task]()
    while left:
        task = rng.choice([each for each in left if all(need in ids for need in each.needs)])
        left.remove(task)
        ids[task.id] = len(ids) + 1
        args = {name: _moved(value, ids) for name, value in task.args.items()}
        found.append(Task(ids[task.id], task.tool_name, args))
    return found


def _moved(value: object, ids: dict[int, int]) -> object:
    if isinstance(value, Ref):
        return Ref(ids[value.task_id], value.path)
    if isinstance(value, Template):
        parts = (Ref(ids[p.task_id], p.path) if isinstance(p, Ref) else p for p in value.parts)
        return Template(tuple(parts))
    return value


@given(plans(), st.integers())
def test_renumbering_makes_no_other_plan(tasks: list[Task], seed: int) -> None:
    moved = renumbered(tasks, seed)
    items: list[Task | Join] = [*moved, Join(len(moved) + 1)]
    text = "\n".join(render(item, TOOLS) for item in items)
    assert same_plan(tasks, tasks_of(text, TOOLS))


@given(plans(), st.data())
def test_one_changed_call_makes_another_plan(tasks: list[Task], data: st.DataObject) -> None:
    tasks.append(Task(len(tasks) + 1, "search", {"query": "a"}))
    at = data.draw(st.integers(0, len(tasks) - 1))
    changed = [*tasks]
    changed[at] = Task(tasks[at].id, "search", {"query": "quite another"})
    assert not same_plan(tasks, changed)


def test_lines_that_refer_to_one_line_many_times_cost_little() -> None:
    calls = ['search("a")', *(f'calculate("{" + ".join([f"${id}"] * 40)}")' for id in range(1, 16))]
    began = time.perf_counter()
    assert canonical(plan(" | ".join(calls))).total() == 16
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", []),
        ('search("a") | search("b")', [1, 2]),
        ('search("a") | search("b") | calculate("$1 - $2")', [3]),
        ('search("a") | calculate("$1") | search("b")', [2, 3]),
    ],
)
def test_sinks_are_what_no_other_task_uses(text: str, ids: list[int]) -> None:
    assert sinks(plan(text)) == ids


def test_names_and_values_are_counted_for_themselves() -> None:
    gold = plan('use(text="a", number=1) | use(text="b", number=1)')
    written = plan('use(text="A", number=2) | use(number=1.0) | search("b")')
    assert tool_names(written) == {"use": 2, "search": 1}
    assert (argument_values(gold) & argument_values(written)).total() == 2
