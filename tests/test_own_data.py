"""Training data for a user's tools: made of examples, of signatures, and of earlier runs."""

import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor import events
from executor.builtin import TOOLBOX as BUNDLED
from executor.errors import UsageError
from executor.parser import PlanParser
from executor.plan import Join, Task, render
from executor.stats import Stats
from executor.tools import ToolBox, tool
from executor.values import resolve, text_of
from planner_prompts.examples import Example, load_examples
from planner_prompts.grammar import plan_regex
from serving.toolfile import load_tools
from train.own import from_history, sample_of, samples
from train.own.lore import Lore
from train.own.noise import noisy
from train.own.phrasing import fronted, rephrased
from train.own.results import is_code
from train.own.signatures import first_sentence, is_teachable, request
from train.own.slots import Case, contains, slots_of, take_apart
from train.own.values import alike, choices_of, number_like
from train.own.variants import mirrored, variant
from train.own.wide import joined, wide
from train.samples import Sample

TOY = Path(__file__).parent / "toy"
OWN = load_tools(str(TOY / "tools.py"))
TOOLS = ToolBox([*BUNDLED, *OWN])
EXAMPLES = load_examples(TOY / "examples.yaml", TOOLS)
HELD_OUT = load_examples(TOY / "held_out.yaml", TOOLS)
SEEDS = range(2)


def example(question: str, *calls: str, results: Sequence[str], answer: str) -> Example:
    lines = [f"{id}. {call}" for id, call in enumerate((*calls, "join()"), 1)]
    return Example(
        question=question,
        plan="\n".join(lines),
        results=dict(enumerate(results, 1)),
        answer=answer,
    )


def case(question: str, *calls: str, results: Sequence[str], answer: str) -> Case:
    return take_apart(example(question, *calls, results=results, answer=answer), TOOLS)


def lore(*cases: Case) -> Lore:
    return Lore.of(cases, TOOLS)


def tasks_of(sample: Sample, toolbox: ToolBox) -> list[Task]:
    parser = PlanParser(toolbox)
    items = parser.feed(sample.plan)
    parser.close()
    return [item for item in items if isinstance(item, Task)]


# What holds for every sample.


@cache
def made_of_examples(seed: int) -> list[Sample]:
    return samples(TOOLS, EXAMPLES, seed, 200)


@pytest.fixture(scope="module")
def regex() -> str:
    return plan_regex(TOOLS)


@pytest.mark.parametrize("has_examples", [True, False], ids=["examples", "no examples"])
@pytest.mark.parametrize("seed", SEEDS)
def test_every_sample_can_happen(seed: int, has_examples: bool, regex: str) -> None:
    made = made_of_examples(seed) if has_examples else samples(TOOLS, [], seed, 150)
    assert len(made) >= 150
    for sample in made:
        sample.check()
        assert re.fullmatch(regex, sample.plan)
        tasks = tasks_of(sample, TOOLS)
        assert sample.plan.splitlines() == [
            render(item, TOOLS) for item in (*tasks, Join(len(tasks) + 1))
        ]
        assert sample.width == sum(not task.needs for task in tasks)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_plan_says_stands_in_its_question(seed: int) -> None:
    for sample in made_of_examples(seed):
        for task in tasks_of(sample, TOOLS):
            for name, value in task.args.items():
                if choices_of(TOOLS[task.tool_name].properties[name]):
                    continue  # may be said in other words
                if isinstance(value, str):
                    assert contains(sample.question, value), sample
                elif isinstance(value, int | float):
                    assert contains(sample.question.replace(",", ""), f"{value:g}"), sample


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_right_stands_in_the_answer(seed: int) -> None:
    for sample in made_of_examples(seed):
        answer = sample.rounds[-1].ending
        assert all(name in answer for name in sample.right.names)
        assert sample.right.admits == (sample.shape == "own-none")
        if sample.right.admits:
            assert sample.plan == "1. join()"


def test_what_no_value_is_made_for_is_learned_from_examples_alone() -> None:
    @tool
    def store(item: dict[str, int]) -> None:
        """Stores an item."""

    @tool
    def find(name: str, limits: dict[str, int] | None = None) -> None:
        """Finds what has that name."""

    assert not is_teachable(store)
    assert is_teachable(find)
    lore = Lore.of([], ToolBox([find]))
    cases = [request(find, lore, Random(seed)) for seed in range(20)]
    assert {tuple(task.args) for case in cases for task in case.tasks} == {("name",)}


def test_the_seed_says_what_comes_out() -> None:
    assert samples(TOOLS, EXAMPLES, 7, 80) == samples(TOOLS, EXAMPLES, 7, 80)
    assert samples(TOOLS, EXAMPLES, 7, 80) != samples(TOOLS, EXAMPLES, 8, 80)


def test_the_examples_come_first_and_no_question_twice() -> None:
    made = samples(TOOLS, EXAMPLES, 1, 600)
    questions = [sample.question for sample in made]
    assert questions[: len(EXAMPLES)] == [example.question for example in EXAMPLES]
    assert len(set(questions)) == len(made) == 600
    assert {sample.shape for sample in made} == {
        "own-variant",
        "own-wide",
        "own-signature",
        "own-none",
    }
    assert {1, 2, 3, 4} <= {sample.width for sample in made}


@settings(max_examples=20, deadline=None)
@given(
    part=st.text(min_size=1, max_size=12).filter(lambda text: text.strip() == text),
    amount=st.integers(0, 10**6) | st.decimals(0, 1000, places=2).map(float),
    result=st.text(max_size=12),
    other=st.text(min_size=1, max_size=20),
    seed=st.integers(0, 10**6),
)
def test_any_text_makes_sound_samples(
    part: str, amount: float, result: str, other: str, seed: int
) -> None:
    tasks = [
        Task(1, "stock", {"part": part}),
        Task(2, "convert_currency", {"amount": amount, "source": "EUR", "target": "USD"}),
    ]
    plans = [render(task, TOOLS).partition(". ")[2] for task in tasks]
    shown = [
        example(f"How many {part} are there?", plans[0], results=[result], answer=f"{result}!"),
        example(f"What are {amount} EUR?", plans[1], results=["7.5"], answer="7.5 USD"),
        example(other, plans[0], results=[result], answer=other),
    ]
    for sample in samples(TOOLS, shown, seed, 12):
        sample.check()


# Other values.


@pytest.mark.parametrize(
    ("text", "parameter", "pattern"),
    [
        ("A-100", "part", r"[A-Z]-[1-9]\d{1,3}"),
        ("4711", "order", r"[1-9]\d{2,4}"),
        ("press 2", "machine", r"[a-z]+ [1-9]\d?"),
        ("007", "agent", r"\d{3}"),
        ("2026-03-01", "day", r"202\d-[01]\d-[0-3]\d"),
        ("14:30", "at", r"[0-2]\d:[0-5]\d"),
        ("Ana", "x", r"[A-Z][a-z]+"),
        ("Ana Smith", "x", r"[A-Z][a-z]+ [A-Z][a-z]+"),
        ("Paris", "x", r"[A-Z][a-z]+"),
        ("Gasherbrum", "x", r"[A-Z][a-z]+"),
        ("bolt", "part", r"[a-z]+"),
        ("ABC", "x", r"[A-Z]{3}"),
    ],
)
def test_another_value_looks_alike(text: str, parameter: str, pattern: str) -> None:
    made = {alike(text, parameter, (), Random(seed)) for seed in range(40)}
    assert len(made) > 5
    assert all(re.fullmatch(pattern, new) for new in made)


@pytest.mark.parametrize(
    ("text", "schema", "pattern"),
    [
        ("250", {}, r"[1-9]\d{1,3}"),
        ("12.50", {}, r"[1-9]\d{0,2}\.[1-9]\d"),
        ("1,250", {}, r"(\d{1,2},)?\d{3}"),
        ("1987", {}, r"(1[7-9]|20)\d\d"),
        ("7", {"minimum": 3, "maximum": 9}, r"[3-9]"),
    ],
)
def test_another_number_has_the_same_form(text: str, schema: dict[str, Any], pattern: str) -> None:
    made = {number_like(text, Random(seed), schema) for seed in range(40)}
    assert len(made) > 2
    assert all(re.fullmatch(pattern, new) for new in made)


@pytest.mark.parametrize(
    ("question", "call", "slots"),
    [
        ("How many B-220 are there?", 'stock("B-220")', ["B-220"]),
        ("How many bolts are there?", 'stock("bolt")', ["bolt"]),
        ("How tall is Mount Everest?", 'search("height of Mount Everest")', ["Mount Everest"]),
        ("What is 12 times 30?", 'calculate("12 * 30")', ["12", "30"]),
        ("What is 30 % of it?", 'calculate("5 * 30/100")', ["30"]),
        ("Where is Ana on Monday?", 'shift(person="Ana", day="monday")', ["Ana", "monday"]),
        (
            "What are 1,200 dollars in euros?",
            'convert_currency(amount=1200, source="USD", target="EUR")',
            ["1,200", "USD", "EUR"],
        ),
        ("How full is it?", 'machine_load("press 2")', []),
    ],
)
def test_what_the_question_says_word_for_word_is_a_slot(
    question: str, call: str, slots: list[str]
) -> None:
    found = slots_of(case(question, call, results=["1"], answer="1"), TOOLS)
    assert [slot.text for slot in found] == slots


@pytest.mark.parametrize("seed", range(20))
def test_a_value_changes_everywhere_at_once(seed: int) -> None:
    shown = case(
        "How busy is press 2?",
        'machine_load("press 2")',
        results=["82.5"],
        answer="Press 2 is at 82.5 percent.",
    )
    new = variant(shown, lore(shown), Random(seed))
    assert new is not None
    machine, result = new.tasks[0].args["machine"], new.results[1]
    assert machine != "press 2"
    assert result != "82.5"
    assert new.question == f"How busy is {machine}?"
    assert new.answer == f"{machine[0].upper()}{machine[1:]} is at {result} percent."


@pytest.mark.parametrize("seed", range(20))
def test_numbers_keep_their_order_and_sums_their_truth(seed: int) -> None:
    shown = case(
        "How many more A-1 than B-2 are there?",
        'stock("A-1")',
        'stock("B-2")',
        'calculate("$1 - $2")',
        results=["61", "14", "47"],
        answer="There are 47 more, 61 against 14.",
    )
    new = variant(shown, lore(shown), Random(seed))
    assert new is not None
    more, less, gap = (int(new.results[id]) for id in (1, 2, 3))
    assert more - less == gap > 0
    assert new.answer == f"There are {gap} more, {more} against {less}."


@pytest.mark.parametrize(
    ("result", "is_one"),
    [
        ("press 2", True),
        ("2026-03-01", True),
        ("A-100", True),
        ("12", False),
        ("8849 m", False),
        ("5.68e26 kg", False),
        ("-3.5", False),
        ("20%", False),
        ("in production", False),
        ("", False),
    ],
)
def test_a_result_is_a_code_or_a_number_or_words(result: str, is_one: bool) -> None:
    assert is_code(result) == is_one


@pytest.mark.parametrize("seed", range(20))
def test_what_an_answer_works_out_or_says_in_words_stays(seed: int) -> None:
    derived = case("Half of A-1?", 'stock("A-1")', results=["60"], answer="Half of it is 30.")
    judged = case("Is press 2 full?", 'machine_load("press 2")', results=["100.0"], answer="Yes.")
    for shown in (derived, judged):
        new = variant(shown, lore(shown), Random(seed))
        assert new is not None
        assert new.results == shown.results


@pytest.mark.parametrize("seed", range(20))
def test_the_digits_of_a_name_are_no_number(seed: int) -> None:
    shown = case(
        "How busy is Ana's machine on Friday?",
        'shift(person="Ana", day="friday")',
        "machine_load($1)",
        results=["mill 1", "91.0"],
        answer="Ana works at mill 1, which is at 91.0 percent.",
    )
    new = variant(shown, lore(shown), Random(seed))
    assert new is not None
    assert new.results[1] != "mill 1"
    assert new.results[2] != "91.0"
    assert new.answer == (
        f"{new.tasks[0].args['person']} works at {new.results[1]}, "
        f"which is at {new.results[2]} percent."
    )


@pytest.mark.parametrize("seed", range(20))
def test_a_choice_changes_to_one_of_the_same_kind_of_result(seed: int) -> None:
    shown = [take_apart(example, TOOLS) for example in EXAMPLES]
    due = next(case for case in shown if case.question == "When is order 5003 due?")
    new = variant(due, lore(*shown), Random(seed))
    assert new is not None
    assert new.tasks[0].args["about"] == "due"


def test_a_comparison_is_asked_both_ways_round() -> None:
    shown = case(
        "Is A-1 or B-2 more?",
        'stock("A-1")',
        'stock("B-2")',
        results=["9", "5"],
        answer="A-1, 9 against 5.",
    )
    assert mirrored(shown) == case(
        "Is B-2 or A-1 more?",
        'stock("B-2")',
        'stock("A-1")',
        results=["5", "9"],
        answer="A-1, 9 against 5.",
    )


# Wider questions.


@pytest.mark.parametrize("seed", range(20))
def test_one_question_is_asked_about_several_values(seed: int) -> None:
    shown = case(
        "How many A-1 are there?", 'stock("A-1")', results=["61"], answer="There are 61 A-1."
    )
    new = wide(shown, lore(shown), Random(seed))
    assert new is not None
    parts = [task.args["part"] for task in new.tasks]
    assert 2 <= len(set(parts)) == len(parts) <= 4
    assert [task.id for task in new.tasks] == list(new.results) == list(range(1, len(parts) + 1))
    assert new.question == f"How many {', '.join(parts[:-1])} and {parts[-1]} are there?"
    told = [f"{part}: {new.results[id]}" for id, part in enumerate(parts, 1)]
    assert new.answer == f"{', '.join(told)}."


def test_two_questions_become_one() -> None:
    first = case("How many A-1 are there?", 'stock("A-1")', results=["61"], answer="61.")
    second = case(
        "How busy is Ana's machine on Friday?",
        'shift(person="Ana", day="friday")',
        "machine_load($1)",
        results=["mill 1", "91.0"],
        answer="91.0 percent.",
    )
    new = joined(first, second, Random(1))
    assert new is not None
    assert [render(task, TOOLS) for task in new.tasks] == [
        '1. stock("A-1")',
        '2. shift(person="Ana", day="friday")',
        "3. machine_load($2)",
    ]
    assert new.results == {1: "61", 2: "mill 1", 3: "91.0"}
    assert new.question.startswith("How many A-1 are there")
    assert new.question.endswith("how busy is Ana's machine on Friday?")


# Other words.


@pytest.mark.parametrize(
    ("question", "values", "said"),
    [
        ("Where does Ana work?", ["Ana"], "where Ana works"),
        ("When is order 7 due?", ["7"], "when order 7 is due"),
        ("How much power does saw 3 draw?", ["saw 3"], "how much power saw 3 draws"),
        ("What is the total of 7?", ["7"], "the total of 7"),
    ],
)
def test_a_question_is_put_indirectly(question: str, values: list[str], said: str) -> None:
    made = {rephrased(question, values, Random(seed)) for seed in range(20)}
    assert len(made) > 2
    assert all(said in new or said.capitalize() in new for new in made)


@pytest.mark.parametrize(
    "question", ["Where are 5 and 6?", "Is it 5?", "Convert 5.", "What is 5 EUR?", "Is 5? Is 6?"]
)
def test_a_question_whose_subject_is_not_sure_stays(question: str) -> None:
    assert rephrased(question, ["5", "6", "EUR"], Random(1)) == question


def test_a_value_at_the_end_comes_to_the_front() -> None:
    assert fronted("Where is Ben on Monday?", ["Ben", "Monday"]) == "On Monday, where is Ben?"
    assert fronted("Are there any in stock?", ["any"]) == "Are there any in stock?"


@given(seed=st.integers(0, 10**6))
def test_noise_leaves_values_alone(seed: int) -> None:
    values = ["Mount Everest", "B-220", "kW"]
    question = "How much does Mount Everest weigh against the stock of B-220 in kW?"
    made = noisy(question, values, Random(seed))
    assert all(contains(made, value) for value in values)


# Signatures.


@pytest.mark.parametrize(
    ("description", "first"),
    [
        ("How many pieces are in stock.\n\nMore.", "How many pieces are in stock"),
        ("Look up an order's status, its date, or its total.", "Look up an order's status"),
        ("In a city, find a hotel. Or more.", "In a city, find a hotel"),
        ("A number, e.g. 2.5 m", "A number, e.g. 2.5 m"),
        ("", ""),
    ],
)
def test_a_docstring_is_asked_by_what_it_says_first(description: str, first: str) -> None:
    assert first_sentence(description) == first


def test_a_signature_is_enough_to_learn_from() -> None:
    @tool
    def room(
        city: str,
        nights: int,
        extras: list[str],
        kind: Literal["single", "double"] = "single",
        quiet: bool = False,
        above: float | None = None,
        beds: list[list[int]] = [],  # noqa: B006
    ) -> str:
        """Returns a free room in a city."""
        return ""

    toolbox = ToolBox([room])
    made = samples(toolbox, [], 3, 100)
    for sample in made:
        sample.check()
    given = [task.args for sample in made for task in tasks_of(sample, toolbox)]
    assert {"single"}.isdisjoint(args.get("kind") for args in given)
    assert {True} == {args["quiet"] for args in given if "quiet" in args}
    assert any("a free room in " in sample.question for sample in made)


def test_a_question_that_the_tools_may_answer_is_not_called_unanswerable() -> None:
    @tool
    def weather(place: str) -> str:
        """What the weather is like, and the news."""
        return ""

    made = samples(ToolBox([weather]), [], 1, 600)
    in_vain = [sample.question.lower() for sample in made if sample.shape == "own-none"]
    assert in_vain
    assert not [q for q in in_vain if re.search(r"\b(weather|news)\b", q)]


@tool
def bare() -> int:
    return 1


@pytest.mark.parametrize("toolbox", [ToolBox([]), BUNDLED, ToolBox([*BUNDLED, bare])])
def test_nothing_to_learn_from_is_said_in_a_line(toolbox: ToolBox) -> None:
    with pytest.raises(UsageError, match=r"nothing to learn from: .*; .*docstrings.*examples$"):
        samples(toolbox, [], 1, 10)


def test_an_example_of_other_tools_is_named() -> None:
    shown = example("What is $x?", 'nowhere("x")', results=["1"], answer="1")
    with pytest.raises(UsageError, match="example 1: its plan: line 1"):
        samples(TOOLS, [shown], 1, 10)


def test_an_example_becomes_a_sample_in_the_grammars_own_spelling() -> None:
    shown = example(
        "Where is Ana on Monday, and how many A-1?",
        'shift(day="monday",person="Ana")',
        'stock(part="A-1")',
        results=["press 2", "61"],
        answer="At press 2, and 61.",
    )
    sample = sample_of(shown, TOOLS, "own-variant")
    sample.check()
    assert sample.plan.splitlines()[:2] == [
        '1. shift(person="Ana", day="monday")',
        '2. stock("A-1")',
    ]
    assert sample.width == 2
    assert sample.right.names == ("press 2",)
    assert sample.right.numbers == (61.0,)


# Earlier runs.


def run(question: str = "How many A-1?", **changed: list[events.Event]) -> str:
    """A run as it is printed, with the events of some kinds in the place of others."""
    stats = Stats(**{**dict.fromkeys(Stats.__dataclass_fields__, 0.0), "critical_path": []})
    story: dict[str, list[events.Event]] = {
        "start": [events.RunStarted(run_id="x", question=question, model="m", tools=["stock"])],
        "plan": [events.PlanStarted(plan=1), events.PlanText(plan=1, text="1. stock(")],
        "tasks": [
            events.TaskSealed(task_id=1, tool="stock", args={}, needs=[], line='1. stock("A-1")'),
            events.TaskSealed(task_id=2, tool="stock", args={}, needs=[], line='2. stock("B-2")'),
            events.TaskFinished(task_id=2, result="5", seconds=0.1, tries=1),
        ],
        "last": [events.TaskFinished(task_id=1, result="61", seconds=0.3, tries=1)],
        "planned": [events.PlanFinished(plan=1, tasks=2, ended_by="join", message="")],
        "end": [events.RunFinished(answer="61 and 5.", stats=stats)],
    }
    told = [event for kind in (story | changed).values() for event in kind]
    return "".join(f"{json.dumps(events.to_wire(event))}\n" for event in told)


WORSE = {
    "an id that is no number": {
        "tasks": [
            events.TaskSealed(task_id="x", tool="stock", args={}, needs=[], line='1. stock("A-1")'),
        ],
        "last": [events.TaskFinished(task_id="x", result="61", seconds=0.3, tries=1)],
    },
    "a task failed": {
        "last": [events.TaskFailed(task_id=1, reason="error", message="no", tries=1)]
    },
    "two plans": {
        "plan": [events.PlanFinished(plan=1, tasks=0, ended_by="join", message="")],
    },
    "cut off": {"planned": [events.PlanFinished(plan=1, tasks=2, ended_by="length", message="")]},
    "not ended": {"end": []},
    "of another tool": {
        "tasks": [
            events.TaskSealed(task_id=1, tool="x", args={}, needs=[], line='1. gone("A-1")'),
        ]
    },
}


@pytest.mark.parametrize("changed", WORSE.values(), ids=WORSE)
def test_a_run_that_went_wrong_is_left(tmp_path: Path, changed: dict[str, Any]) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_text(run() + run("Worse?", **changed) + run("And again?"))
    history = from_history(path, TOOLS)
    assert [example.question for example in history.examples] == ["How many A-1?", "And again?"]
    assert history.left == 1
    assert history.examples[0].plan == '1. stock("A-1")\n2. stock("B-2")\n3. join()'
    assert history.examples[0].results == {1: "61", 2: "5"}
    assert history.examples[0].answer == "61 and 5."


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "holds no runs"),
        (run() + "oops\n", "line 10: no event"),
        ("[1]\n", "line 1: no event"),
        ("\x00\udcff", "not UTF-8"),
    ],
)
def test_a_file_that_is_no_history_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError, match=fault):
        from_history(path, TOOLS)


def test_a_history_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"can't read .*none\.jsonl"):
        from_history(tmp_path / "none.jsonl", TOOLS)


# The toy toolbox.


@pytest.mark.parametrize("shown", [EXAMPLES, HELD_OUT], ids=["examples", "held out"])
def test_the_toy_examples_are_canonical_and_true(shown: list[Example]) -> None:
    for given_example in shown:
        sample = sample_of(given_example, TOOLS, "x")
        assert sample.plan == given_example.plan
        results: dict[int, Any] = {}
        for task in tasks_of(sample, TOOLS):
            called = TOOLS[task.tool_name]
            results[task.id] = called(**called.validate(resolve(dict(task.args), results)))
        assert given_example.results == {id: text_of(value) for id, value in results.items()}


def test_few_held_out_questions_are_examples_with_other_values() -> None:
    known = {skeleton(example) for example in EXAMPLES}
    repeated = [example for example in HELD_OUT if skeleton(example) in known]
    assert 0 < len(repeated) <= len(HELD_OUT) / 3
    assert not {example.question for example in HELD_OUT} & {e.question for e in EXAMPLES}


def skeleton(shown: Example) -> str:
    """The question with gaps in the places of its slots."""
    text = shown.question
    for slot in slots_of(take_apart(shown, TOOLS), TOOLS):
        for form in slot.forms():
            text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", "_", text)
    return text
