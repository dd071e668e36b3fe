"""What the model reads: the prompt as a whole, the tools in it, and the worked examples."""

import os
from pathlib import Path
from typing import Any, Literal

import pytest

from executor.builtin import TOOLBOX
from executor.errors import UsageError
from executor.parser import PlanParser, tasks_of
from executor.plan import Task
from executor.tools import Tool, ToolBox, tool
from executor.values import resolve, text_of
from planner_prompts.examples import Example, bundled_examples, load_examples
from planner_prompts.messages import Message
from planner_prompts.profile import FEW_SHOT, PROFILES, TUNED, Profile
from planner_prompts.render import (
    another_answer_messages,
    describe,
    opening,
    plan_message,
    replan_messages,
    results_message,
)
from planner_prompts.results import result_lines

SNAPSHOTS = Path(__file__).parent / "snapshots"


@pytest.mark.parametrize(
    ("profile", "file"), [(FEW_SHOT, "prompt_bundled.txt"), (TUNED, "prompt_tuned.txt")]
)
def test_the_prompt_for_the_bundled_tools_reads_so(profile: Profile, file: str) -> None:
    """To renew the snapshots after a change that is meant: UPDATE_SNAPSHOTS=1 pytest tests."""
    plan = '1. search("height of K3")\n2. join()'
    messages = [
        *opening(TOOLBOX, (), "How tall is K2?", profile),
        plan_message(plan),
        results_message(tasks_of(plan, TOOLBOX), {1: "failed: nothing found"}, TOOLBOX),
        *replan_messages("Replan: K3 is not known", first_id=2),
    ]
    if os.environ.get("UPDATE_SNAPSHOTS"):
        (SNAPSHOTS / file).write_text(as_text(messages), encoding="utf-8")
    assert as_text(messages) == (SNAPSHOTS / file).read_text(encoding="utf-8")


def as_text(messages: list[Message]) -> str:
    return "\n".join(f"=== {turn['role']}\n{turn['content']}\n" for turn in messages)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_without_tools_and_results_the_prompt_says_so(profile: Profile) -> None:
    system, *_, question = opening(ToolBox([]), [], "Who are you?", profile)
    assert "\nTools:\n(none)\n" in system["content"] + "\n"
    assert question == {"role": "user", "content": "Who are you?"}
    assert results_message([], {}, ToolBox([]))["content"] == "Results:\n(none)"


def test_a_schema_for_the_answer_stands_behind_the_results() -> None:
    plan = '1. search("K2")\n2. join()'
    schema = {"type": "string", "description": "in $, or ${é}"}
    told = results_message(tasks_of(plan, TOOLBOX), {1: "5 $"}, TOOLBOX, schema)
    assert told["content"] == (
        "Results:\n$1 = 5 $\n"
        'Answer in JSON, by this schema: {"type": "string", "description": "in $, or ${é}"}'
    )
    written, asked = another_answer_messages("Answer: 5", "5 is too much, $1")
    assert written == {"role": "assistant", "content": "Answer: 5"}
    assert asked["role"] == "user"
    assert asked["content"].startswith("That answer does not fit: 5 is too much, $1\n")


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_dollar_signs_pass_into_the_prompt_as_they_are(profile: Profile) -> None:
    @tool
    def price(of: str) -> str:
        """In $, or ${currency}."""

    system, *_ = opening(ToolBox([price]), [], "?", profile)
    assert "- price(of: string): In $, or ${currency}." in system["content"]
    tasks = tasks_of('1. price("tea")\n2. join()', ToolBox([price]))
    message = results_message(tasks, {1: "5 $"}, ToolBox([price]))
    assert message["content"] == "Results:\n$1 = 5 $"


# Calls and their results -> the last line that the joiner reads.
CHOSEN = [
    (
        ('search("height of Everest")', "8849 m"),
        ('search("height of K2")', "8611 m"),
        ('calculate("max($1, $2)")', '8849 m, from search("height of Everest")'),
    ),
    (  # a quantity is its number and unit, however the number is spelled
        ('search("mass of the Sun")', "1.9884e30 kg"),
        ('search("mass of Mars")', "6.42e23 kg"),
        ('calculate("max($1, $2)")', '1.9884e+30 kg, from search("mass of the Sun")'),
    ),
    (  # what the same tool has worked on is traced back
        ('search("height of A")', "10 m"),
        ('search("height of B")', "20 m"),
        ('calculate("$1 * 3")', "30 m"),
        ('calculate("$3 * 2")', "60 m"),
        ('calculate("max($4, $2)")', '60 m, from search("height of A")'),
    ),
    (
        ('search("capital of A")', "Paris"),
        ('search("population of $1")', "2 person"),
        ('search("population of B")', "1 person"),
        ('calculate("max($2, $3)")', '2 person, from search("population of $1")'),
    ),
    (
        ('search("A")', "5 m"),
        ('search("B")', "3 m"),
        ('calculate("abs($1 - $2)")', "2 m"),
        ('calculate("abs($2 * 3 - $1)")', "4 m"),
        ('calculate("min($3, $4)")', '2 m, from calculate("abs($1 - $2)")'),
    ),
    (
        ('search("born A")', "1879-03-14"),
        ('search("born B")', "1879-03-15"),
        ('calculate("min($1, $2)")', '1879-03-14, from search("born A")'),
    ),
    (  # of two that are the same, none was chosen
        ('search("A")', "5 m"),
        ('search("B")', "5.0 m"),
        ('calculate("max($1, $2)")', "5 m"),
    ),
    (  # another unit is another quantity
        ('search("A")', "5 m"),
        ('search("B")', "3 m"),
        ('calculate("($1 + $2) * $1 / 8 m")', "5 km"),
    ),
    (('search("A")', "5 m"), ('calculate("abs($1)")', "5 m")),
    (
        ('search("A")', "failed: nothing found"),
        ('calculate("2 * $1")', "skipped: it needs $1, which gave no result"),
        ('calculate("$2 - $1")', "skipped: it needs $1, which gave no result"),
    ),
]


@pytest.mark.parametrize("calls", CHOSEN)
def test_a_result_that_is_one_of_several_says_whose_it_is(
    calls: tuple[tuple[str, str], ...],
) -> None:
    plan = "\n".join(f"{id}. {call}" for id, (call, _) in enumerate(calls, 1))
    tasks = tasks_of(f"{plan}\n{len(calls) + 1}. join()", TOOLBOX)
    results = {id: line.partition(", from ")[0] for id, (_, line) in enumerate(calls, 1)}
    lines = list(result_lines(tasks, results, TOOLBOX))
    assert lines == [f"${id} = {line}" for id, (_, line) in enumerate(calls, 1)]


def test_a_result_of_an_earlier_plan_is_known_but_not_its_call() -> None:
    plan = '3. calculate("max($1, $2)")\n4. join()'
    results = {1: "5 m", 2: "3 m", 3: "5 m"}
    assert list(result_lines(tasks_of(plan, TOOLBOX, 3), results, TOOLBOX)) == ["$3 = 5 m"]


@tool
def plain(query: str) -> str: ...


@tool
def much(
    size: Literal["é", 2, None] = "é",
    *,
    tags: list[list[str]],
    day: str | None = None,
    exact: bool = False,
) -> str:
    """Does much,
    in two lines.

    Not for the planner.
    """


FROM_SCHEMA = Tool.from_json_schema(
    "web.get",
    "Gets a page: ",
    {
        "type": "object",
        "properties": {"age": {"type": "integer"}, "id": {"const": "a"}},
        "required": ["id"],
    },
    lambda **_: None,
)

WHATEVER = Tool.from_json_schema(
    "f",
    "F.",
    {
        "type": "object",
        "properties": {
            "x": True,
            "a b": {"type": "array", "items": {"type": "integer"}, "minItems": 2},
            "pair": {"prefixItems": [{"type": "integer"}, {"type": "null"}], "items": False},
            "o": {"properties": {"k": {"format": "date", "type": "string"}, "l": {}}},
            "d": {"type": "object", "additionalProperties": {"type": ["number", "null"]}},
        },
        "required": ["o"],
    },
    lambda **_: None,
)
WHATEVER_DESCRIBED = (
    '- f(o: {"k"?: date, "l"?: any}, x?: any, "a b"?: [integer], pair?: [integer, null], '
    "d?: {...: number | null}): F."
)


@pytest.mark.parametrize(
    ("tool", "description"),
    [
        (plain, "- plain(query: string)"),
        (
            much,
            '- much(tags: [[string]], size: "é" | 2 | null = "é", day: string | null = null, '
            "exact: boolean = false): Does much, in two lines.",
        ),
        (FROM_SCHEMA, '- web.get(id: "a", age?: integer): Gets a page'),
        (WHATEVER, WHATEVER_DESCRIBED),
    ],
    ids=["plain", "much", "from_schema", "whatever"],
)
def test_a_tool_is_described_by_its_signature_and_first_paragraph(
    tool: Tool, description: str
) -> None:
    assert describe(tool) == description


def test_a_tuned_model_reads_the_tools_and_no_bundled_examples() -> None:
    system, question = opening(TOOLBOX, (), "How tall is K2?", TUNED)
    assert all(describe(tool) in system["content"] for tool in TOOLBOX)
    assert question["content"] == "How tall is K2?"


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_the_callers_own_examples_come_last_and_to_every_model(profile: Profile) -> None:
    own = Example(question="How tall is K3?", plan="1. join()", results={}, answer="Unknown.")
    *_, asked, plan, results, answer, _ = opening(TOOLBOX, [own], "How tall is K2?", profile)
    assert asked["content"] == own.question
    assert plan["content"] == own.plan
    assert results["content"] == "Results:\n(none)"
    assert answer["content"] == "Answer: Unknown."


BUNDLED = bundled_examples(TOOLBOX)


def test_the_bundled_tools_have_examples() -> None:
    # One without a tool, and some with each.
    assert any(not example.results for example in BUNDLED)
    for item in TOOLBOX:
        assert sum(f"{item.name}(" in example.plan for example in BUNDLED) >= 2


@pytest.mark.parametrize("example", BUNDLED, ids=[example.question for example in BUNDLED])
def test_a_bundled_example_shows_what_its_tools_give(example: Example) -> None:
    results: dict[int, Any] = {}
    for item in PlanParser(TOOLBOX).feed(example.plan):
        if isinstance(item, Task):
            called = TOOLBOX[item.tool_name]
            results[item.id] = called(**called.validate(dict(resolve(item.args, results))))
    assert example.results == {id: text_of(result) for id, result in results.items()}


@pytest.mark.parametrize("example", BUNDLED, ids=[example.question for example in BUNDLED])
def test_a_bundled_answer_is_taken_from_the_last_result(example: Example) -> None:
    if example.results:
        number = example.results[max(example.results)].split()[0]
        assert number in example.answer


@pytest.mark.parametrize("names", [[], ["calculate"], ["search"]])
def test_bundled_examples_with_other_tools_are_left_out(names: list[str]) -> None:
    toolbox = TOOLBOX.subset(names)
    kept = bundled_examples(toolbox)
    assert 0 < len(kept) < len(BUNDLED)
    assert all(
        item.tool_name in toolbox
        for example in kept
        for item in PlanParser(TOOLBOX).feed(example.plan)
        if isinstance(item, Task)
    )


GOOD_FILE = """
- question: How tall is K2?
  plan: |
    1. plain("K2")
    2. plain("$1")
    3. join()
  results: {1: 8611, 2: 28251 ft}
  answer: It is 28251 ft tall.
- {question: 'Who are you?', plan: 1. join(), results: {}, answer: A planner.}
"""


def test_a_users_examples_are_read(tmp_path: Path) -> None:
    file = tmp_path / "examples.yaml"
    file.write_text(GOOD_FILE)
    assert load_examples(file, ToolBox([plain])) == [
        Example(
            question="How tall is K2?",
            plan='1. plain("K2")\n2. plain("$1")\n3. join()',
            results={1: "8611", 2: "28251 ft"},
            answer="It is 28251 ft tall.",
        ),
        Example(question="Who are you?", plan="1. join()", results={}, answer="A planner."),
    ]


def test_an_empty_file_holds_no_examples(tmp_path: Path) -> None:
    file = tmp_path / "examples.yaml"
    file.write_text("# none yet\n")
    assert load_examples(file, ToolBox([plain])) == []


def second(plan: str = "1. join()", results: str = "{}", more: str = "") -> bytes:
    """A file whose second example is the doubtful one."""
    first = "- {question: a, plan: 1. join(), results: {}, answer: b}\n"
    start = f"- question: a\n  plan: '{plan}'\n  results: {results}\n  answer: b\n"
    return (first + start + more).encode()


BAD_FILES: dict[str, tuple[bytes, str]] = {
    "not UTF-8": (b"- question: \xff", "can't read the examples {}: not UTF-8 text"),
    "not YAML": (b"- [", "{} is not YAML: while parsing"),
    "no such day": (second(more="  when: 2026-13-01"), "{} is not YAML: month must be in 1..12"),
    "no list": (b"question: a", "{}: Input should be a valid list"),
    "no example": (b"- 5", "{}, example 1: Input should be"),
    "missing key": (b"- {question: a}", "{}, example 1: plan: Field required"),
    "extra key": (second(more="  note: c"), "{}, example 2: note: Extra inputs are not permitted"),
    "empty question": (
        b"- {question: '', plan: 1. join(), results: {}, answer: b}",
        "{}, example 1: question: String should have at least 1 character",
    ),
    "result without a text": (
        second('1. plain("a")\n\n    2. join()', "{1: [2]}"),
        "{}, example 2: results: 1: Input should be a valid string",
    ),
    "no plan": (second("look it up"), "{}, example 2: its plan: line 1, column 11: the plan ends"),
    "no join": (
        second('1. plain("a")', "{1: b}"),
        "{}, example 2: its plan: line 1, column 14: the plan ends without 2. join()",
    ),
    "unknown tool": (
        second("1. fly()\n\n    2. join()"),
        "{}, example 2: its plan: line 1, column 4: no tool is called fly",
    ),
    "missing result": (
        second('1. plain("a")\n\n    2. plain("b")\n\n    3. join()', "{1: c}"),
        "{}, example 2: it needs one result for each of the tasks [1, 2]",
    ),
    "a result too many": (
        second(results="{1: c}"),
        "{}, example 2: it needs one result for each of the tasks []",
    ),
}


@pytest.mark.parametrize(("content", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_faulty_example_is_refused_in_one_line_with_its_place(
    tmp_path: Path, content: bytes, message: str
) -> None:
    file = tmp_path / "examples.yaml"
    file.write_bytes(content)
    with pytest.raises(UsageError) as refusal:
        load_examples(file, ToolBox([plain]))
    assert str(refusal.value).startswith(message.format(file))
    assert "\n" not in str(refusal.value)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"can't read the examples .*none\.yaml: No such file"):
        load_examples(tmp_path / "none.yaml", TOOLBOX)
