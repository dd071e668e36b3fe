"""Where the questions come from: look-ups, and the three formats of rows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from executor.builtin import TOOLBOX
from executor.errors import ToolError, UsageError
from planner_prompts import render
from planner_prompts.grammar import ANSWER
from quality import parallelqa, sets
from quality.cases import Case
from quality.lookups import Lookup, find, words_of
from quality.runs import results_of
from quality.verdicts import answer_right
from train import bundled, varied
from train.samples import Right, Round, Sample, ToolSpec

LOOKUPS = [
    Lookup(
        entity="Mount Everest",
        aliases=("Everest",),
        attribute="height",
        words=("tall", "elevation"),
        value="8849 m",
    ),
    Lookup(entity="Amazon Rainforest", aliases=("Amazon",), attribute="area", value="5500000 km^2"),
    Lookup(entity="Amazon River", attribute="area", value="7000000 km^2"),
    Lookup(entity="Amazon River", attribute="length", words=("long",), value="6400 km"),
    Lookup(entity="Cheetah", attribute="maximum speed", words=("fast",), value="120 km/h"),
    Lookup(entity="Cheetah", attribute="maximum age", value="14 year"),
    Lookup(entity="São Paulo", attribute="population", value="11500000 person"),
    Lookup(entity="Congo", attribute="area", value="1"),
    Lookup(entity="Congo", aliases=("Zaire",), attribute="area", value="2"),
]

FOUND = [
    ("height of Mount Everest", "8849 m"),
    ("Everest's HEIGHT", "8849 m"),
    ("how tall is everest?", "8849 m"),
    ("heights of the Everest", "8849 m"),
    ("area of Amazon", "5500000 km^2"),
    ("area of the Amazon Rainforest", "5500000 km^2"),
    ("area of the Amazon River", "7000000 km^2"),
    ("length of Amazon River", "6400 km"),
    ("maximum speed of cheetahs", "120 km/h"),
    ("maximum age of a cheetah", "14 year"),
    ("population of Sao Paulo", "11500000 person"),
    ("area of Zaire and the Congo", None),
    ("area of Congo", None),
    ("maximum of the cheetah", None),
    ("mass of Everest", None),
    ("Everest", None),
    ("height of Everett", None),
    ("length of Amazon", None),
    ("", None),
]


@pytest.mark.parametrize(("query", "value"), FOUND)
def test_a_look_up_answers_what_is_asked_or_nothing(query: str, value: str | None) -> None:
    if value is not None:
        assert find(LOOKUPS, query) == value
    else:
        with pytest.raises(ToolError):
            find(LOOKUPS, query)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The Peaks of Mount Everest’s", {"peak", "mount", "everest"}),
        ("bus, grass & K2s", {"bus", "grass", "k2s"}),
        ("", set()),
    ],
)
def test_words_lose_accents_case_and_plurals(text: str, words: set[str]) -> None:
    assert words_of(text) == words


# In the form of ParallelQA's rows.
PARALLEL = {
    "id": "1",
    "question": "If Mount Everest were halved, would it stand above the Congo?",
    "answer": "Mount Everest",
    "branch": 2,
}
PLANS = {
    1: '1. search("height of Mount Everest")\n2. calculate("$1 / 2")\n3. join()',
    3: '1. search("height of Mount Everest")\n2. join()',
}
KEY = parallelqa.Key.model_validate({"lookups": LOOKUPS, "plans": PLANS})


def parallel(**changes: Any) -> Case:
    return parallelqa.case(parallelqa.Row.model_validate({**PARALLEL, **changes}), KEY)


def test_a_row_of_parallelqa_with_a_gold_plan() -> None:
    case = parallel()
    assert case.gold_text == PLANS[1]
    assert (case.replans, case.number) == (False, None)
    assert case.right == Right(names=("Mount Everest",), rivals=("Congo",))
    assert case.gold is not None
    assert asyncio.run(results_of(case.gold, case.toolbox)) == {1: "8849 m", 2: "4424.5 m"}


def test_its_prompt_is_that_of_the_bundled_tools() -> None:
    assert list(map(render.describe, parallel().toolbox)) == list(map(render.describe, TOOLBOX))


def test_without_a_gold_plan_its_own_answer_counts() -> None:
    name, number = parallel(id="2"), parallel(id="2", answer="1,200.5")
    assert (name.gold, name.number, name.right.names) == (None, None, ("Mount Everest",))
    assert (number.gold, number.number, number.right) == (None, 1200.5, Right())
    assert number.replans is None


def test_a_number_is_that_of_the_gold_plan_on_our_values() -> None:
    assert parallel(id="3", answer="9000").right == Right(numbers=(8849,))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("lookups: [", "is not YAML"),
        ("lookups: []", "plans: Field required"),
        ("lookups: [{entity: K2}]\nplans: {}", "lookups.0.attribute: Field required"),
        ("lookups: []\nplans: {7: 1. fly()}", "gold plan 7 of ParallelQA: line 1"),
    ],
)
def test_a_faulty_key_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "key.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=fault):
        parallelqa.key(path)


def test_the_key_that_comes_with_us_can_be_used() -> None:
    """Each gold plan's calls all have results, with the values beside it."""
    known = parallelqa.key()
    toolbox = known.toolbox()
    for id in known.plans:
        row = parallelqa.Row(id=id, question="?", answer="?", branch=1)
        gold = parallelqa.case(row, known).gold
        assert gold is not None
        assert len(asyncio.run(results_of(gold, toolbox))) == len(gold), id


def spec(name: str = "tax", **properties: Any) -> dict[str, Any]:
    properties = properties or {"city": {"type": "string"}, "amount": {"type": "number"}}
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"name": name, "description": "", "parameters": parameters}


# In the form of the rows made of BFCL's.
CALLS = {
    "id": "parallel_6",
    "question": "How much is the tax on $30 in Rome, and on $5.5 in Oslo?",
    "tools": [spec(), spec("unused")],
    "calls": [
        {"tool": "tax", "args": {"city": "Rome", "amount": 30}},
        {"tool": "tax", "args": {"city": "$Oslo", "amount": 5.5}},
    ],
}


def written(tmp_path: Path, *rows: Any) -> str:
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
    )
    return str(path)


def test_a_row_of_calls(tmp_path: Path) -> None:
    (case,) = sets.load(written(tmp_path, CALLS), None).cases
    assert (case.shape, case.width, case.plan_only) == ("parallel", 2, True)
    assert case.gold_text == (
        '1. tax(city="Rome", amount=30)\n2. tax(city="$$Oslo", amount=5.5)\n3. join()'
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tools": [spec(place={"$ref": "#/a"})], "calls": []}, "no plan can be written"),
        ({"tools": [spec("two words")], "calls": []}, "no plan can be written"),
        ({"calls": [{"tool": "tax", "args": {"city": 5, "amount": 1}}]}, "breaks its own schema"),
        ({"calls": [{"tool": "tax", "args": {"city": "Rome"}}]}, "breaks its own schema"),
        ({"calls": [{"tool": "fly", "args": {}}]}, "breaks its own schema"),
    ],
)
def test_a_row_that_measures_nothing_is_counted(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    found = sets.load(written(tmp_path, CALLS, {**CALLS, **changes}), None)
    assert len(found.cases) == 1
    ((text, count),) = found.left_out.items()
    assert reason in text
    assert count == 1


SAMPLE = Sample(
    question="How tall is K2?",
    tools=tuple(ToolSpec.of(tool) for tool in TOOLBOX),
    rounds=(
        Round(
            plan='1. search("height of K2")\n2. join()',
            results={1: "8611 m"},
            ending="Answer: 8611 m",
        ),
    ),
    shape="lookup",
    width=1,
).model_dump()


def test_a_sample_with_the_bundled_tools_calls_them(tmp_path: Path) -> None:
    (case,) = sets.load(written(tmp_path, SAMPLE), None).cases
    assert case.has_results
    assert list(case.toolbox) == list(TOOLBOX)


FAULTS = [
    ("{", "not JSON"),
    ("[]", "no JSON object"),
    ({**PARALLEL, "answer": ""}, "answer: String should have at least 1"),
    ({**PARALLEL, "more": 1}, "more: Extra inputs"),
    ({**CALLS, "calls": [{"tool": "tax"}]}, "calls.0.args: Field required"),
    ({**SAMPLE, "shape": ""}, "shape: String should have at least 1"),
    ({**SAMPLE, "tools": []}, "its plan: line 1"),
    ({}, "question: Field required"),
]


@pytest.mark.parametrize(("row", "fault"), FAULTS)
def test_a_bad_row_is_named_by_its_line(tmp_path: Path, row: Any, fault: str) -> None:
    with pytest.raises(UsageError, match=rf"rows\.jsonl, line 2: {fault}"):
        sets.load(written(tmp_path, SAMPLE, row), None)


@pytest.mark.parametrize(
    ("name", "fault"),
    [("new", "no set 'new'"), ("nowhere/rows.jsonl", "can't read"), ("{empty}", "holds no rows")],
)
def test_a_set_that_is_none(tmp_path: Path, name: str, fault: str) -> None:
    name = name.replace("{empty}", written(tmp_path))
    with pytest.raises(UsageError, match=fault):
        sets.load(name, None)


def test_a_text_may_hold_what_parts_lines_elsewhere_and_lines_may_be_blank(tmp_path: Path) -> None:
    question = "How tall\u2028is K2?"
    row = json.dumps({**SAMPLE, "question": question}, ensure_ascii=False)
    (case,) = sets.load(written(tmp_path, row, ""), None).cases
    assert case.question == question


@pytest.mark.parametrize("made", [bundled.held_out, bundled.new_shapes, varied.held_out])
def test_a_gold_answer_is_right(made: Callable[[int, int], list[Sample]]) -> None:
    """What is learned and what is measured agree on what a right answer looks like."""
    for sample in made(1, 200):
        answer = sample.rounds[-1].ending.removeprefix(ANSWER)
        assert answer_right(sample.right, answer) is not False, answer


TOY = Path(__file__).parent / "toy"


def test_worked_examples_are_replayed_and_the_users_tools_never_called() -> None:
    found = sets.load(str(TOY / "held_out.yaml"), None, str(TOY / "tools.py")).cases
    assert len(found) >= 60
    first = found[0]
    assert first.gold is not None
    assert first.toolbox["stock"](part="F-62") == "18"
    with pytest.raises(ToolError, match="nothing found"):
        first.toolbox["stock"](part="B-220")  # which the real one knows
    assert not first.has_results


def test_tools_without_worked_examples_are_a_mistake() -> None:
    with pytest.raises(UsageError, match=r"--tools goes with a \.yaml set, not with held-out"):
        sets.load(sets.HELD_OUT, None, str(TOY / "tools.py"))


@pytest.mark.parametrize("name", [sets.HELD_OUT, sets.NEW_SHAPES, sets.NEW_TOOLS])
def test_a_set_that_is_made_here_is_the_same_each_time(name: str) -> None:
    found = sets.load(name, 12).cases
    assert len(found) == 12
    assert all(case.gold is not None for case in found)
    # Made-up tools only know the gold plan's own calls.
    assert all(case.has_results is (name != sets.NEW_TOOLS) for case in found)
    assert [case.question for case in sets.load(name, 12).cases] == [
        case.question for case in found
    ]


@pytest.mark.parametrize(
    ("count", "chosen"), [(None, [0, 1, 2, 3, 4]), (9, [0, 1, 2, 3, 4]), (2, [0, 2]), (1, [0])]
)
def test_a_limit_is_spread_over_the_set(count: int | None, chosen: list[int]) -> None:
    assert sets.evenly(list(range(5)), count) == chosen
