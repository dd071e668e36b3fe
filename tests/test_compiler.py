"""A whole run with a scripted model: what is told in which order, and how it ends.

On the virtual clock, so times are exact. What a model writes is the script's; what a grammar does
to it is for the tests with the real engine.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st
from virtual_clock import run_virtual, virtual

from executor.errors import EngineError, UsageError
from executor.events import (
    AnswerText,
    Event,
    EventLog,
    LineRefused,
    PlanFinished,
    PlanText,
    Replan,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunStarted,
    TaskCancelled,
    TaskFailed,
    TaskFinished,
    TaskSealed,
    TaskSkipped,
    TaskStarted,
    Usage,
    to_wire,
)
from executor.stats import Stats
from executor.tools import ToolBox, tool
from planner_prompts.grammar import matches
from planner_prompts.profile import PROFILES, Profile
from planner_prompts.render import opening
from serving.compiler import answer
from serving.model import Delta, Sampling
from serving.scripted import Chunk, ScriptedModel, at_rate
from serving.settings import Settings

Reply = str | Sequence[Chunk | Exception]
LAST_WORDS = (RunFinished, RunFailed, RunCancelled)


@tool
async def search(query: str) -> str:
    await asyncio.sleep(1.5)
    return f"about {query}"


@tool
async def compare(left: str, right: str) -> str:
    await asyncio.sleep(1)
    return f"{left} > {right}"


@tool
async def crash() -> NoReturn:
    raise ValueError("broken")


@tool(eager=False)
async def send(text: str) -> str:
    return "sent"


@tool
async def long() -> str:
    return "x" * 3000


@tool
async def length(text: str) -> int:
    return len(text)


TOOLBOX = ToolBox([search, compare, crash, send, long, length])

PLAN = [
    Chunk('1. search("Everest")\n', 1),
    Chunk('2. search("K2")\n', 1),
    Chunk("3. compare(left=$1, right=$2)\n", 1),
    Chunk("4. join()", 1),
]
ANSWER = [Chunk("Answer: ", 0.5), Chunk("Everest", 0.25), Chunk(" is.", 0.25)]


# A run that goes well


@virtual
async def test_a_run_from_question_to_answer() -> None:
    model = ScriptedModel([PLAN, ANSWER])
    events = await ask(model)
    assert [(brief(event), event.at) for event in events] == [
        ("run_started", 0),
        ("plan_started 1", 0),
        ("plan_text", 1),
        ("task_sealed 1", 1),
        ("task_started 1", 1),
        ("plan_text", 2),
        ("task_sealed 2", 2),
        ("task_started 2", 2),
        ("task_finished 1", 2.5),
        ("plan_text", 3),
        ("task_sealed 3", 3),
        ("task_finished 2", 3.5),
        ("task_started 3", 3.5),
        ("plan_text", 4),
        ("plan_finished 1", 4),
        ("task_finished 3", 4.5),
        ("answer_text", 5.25),
        ("answer_text", 5.5),
        ("run_finished", 5.5),
    ]
    started, finished = events[0], events[-1]
    assert isinstance(started, RunStarted)
    assert started.question == "Which is higher?"
    assert started.model == "scripted"
    assert started.tools == ["search", "compare", "crash", "send", "long", "length"]
    assert isinstance(finished, RunFinished)
    assert finished.answer == "Everest is."
    assert finished.stats == Stats(
        seconds=5.5,
        time_to_first_task=1,
        plan_seconds=4,
        tools_seconds=4,
        overlap_seconds=3.5,
        ideal_seconds=5.5,
        efficiency=1,
        critical_path=[2, 3],
    )
    assert "".join(event.text for event in events if isinstance(event, PlanText)) == "".join(
        chunk.text for chunk in PLAN
    )


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
@virtual
async def test_what_the_model_is_asked(profile: Profile) -> None:
    model = ScriptedModel([PLAN, ANSWER])
    model.profile = profile
    await ask(model, plan_tokens=100, answer_tokens=50, temperature=0.5)
    (plan_messages, plan_sampling), (join_messages, join_sampling) = model.requests
    assert plan_messages == opening(TOOLBOX, (), "Which is higher?", profile)
    *before, plan, results = join_messages
    assert before == plan_messages
    assert [plan["role"], results["role"]] == ["assistant", "user"]
    assert plan["content"] == "".join(chunk.text for chunk in PLAN)
    assert results["content"].endswith(
        "$1 = about Everest\n$2 = about K2\n$3 = about Everest > about K2"
    )
    assert (plan_sampling.max_tokens, plan_sampling.temperature) == (100, 0.5)
    assert (join_sampling.max_tokens, join_sampling.temperature) == (50, 0.5)
    assert allows(plan_sampling, "".join(chunk.text for chunk in PLAN))
    assert allows(join_sampling, "Answer: Everest")
    assert allows(join_sampling, "Replan: more")


@virtual
async def test_a_plan_that_needs_no_tool() -> None:
    events = await ask(ScriptedModel(["1. join()", "Answer: 4"]))
    assert [brief(event) for event in events] == [
        "run_started",
        "plan_started 1",
        "plan_text",
        "plan_finished 1",
        "answer_text",
        "run_finished",
    ]


@virtual
async def test_tools_start_while_the_plan_is_written() -> None:
    text = "".join(chunk.text for chunk in PLAN)
    events = await ask(ScriptedModel([at_rate(text, 10), "Answer: Everest"]))
    planned = next(event for event in events if isinstance(event, PlanFinished))
    started = [event for event in events if isinstance(event, TaskStarted)]
    assert [event.at < planned.at for event in started] == [True, True, True]
    sealed_at = {event.task_id: event.at for event in events if isinstance(event, TaskSealed)}
    assert [event.at for event in started[:2]] == [sealed_at[1], sealed_at[2]]


# Planning again


@virtual
async def test_a_second_plan_goes_on_where_the_first_ended() -> None:
    model = ScriptedModel(
        [
            '1. search("Everest")\n2. join()',
            "Replan: the other one",
            '2. search("$1 and K2")\n3. compare(left=$1, right=$2)\n4. join()',
            "Answer: Everest",
        ]
    )
    events = await ask(model, max_plans=2)
    assert [event.task_id for event in events if isinstance(event, TaskSealed)] == [1, 2, 3]
    [replan] = [event for event in events if isinstance(event, Replan)]
    assert (replan.plan, replan.reason) == (2, "the other one")
    args = {event.task_id: event.args for event in events if isinstance(event, TaskStarted)}
    assert args[2] == {"query": "about Everest and K2"}
    assert args[3] == {"left": "about Everest", "right": "about about Everest and K2"}
    planned = [event for event in events if isinstance(event, PlanFinished)]
    assert [(event.plan, event.tasks, event.ended_by) for event in planned] == [
        (1, 1, "join"),
        (2, 2, "join"),
    ]

    first, ending, second, last = (sampling for _, sampling in model.requests)
    assert allows(first, '1. search("a")\n2. join()')
    assert not allows(second, '1. search("a")\n2. join()')
    assert allows(second, '2. search("$1")\n3. join()')
    assert allows(ending, "Replan: more")
    assert not allows(last, "Replan: more")
    assert allows(last, "Answer: that is all")


@pytest.mark.parametrize("plans", [1, 2, 3])
@virtual
async def test_the_transcript_only_grows(plans: int) -> None:
    replies: list[Reply] = []
    for number in range(1, plans + 1):
        replies += [f'{number}. search("{number}")\n{number + 1}. join()', "Replan: more"]
    replies[-1] = "Answer: all"
    model = ScriptedModel(replies)
    events = await ask(model, max_plans=plans)
    assert isinstance(events[-1], RunFinished)
    assert len(model.requests) == 2 * plans
    for (before, _), (after, _) in pairwise(model.requests):
        assert len(after) > len(before)
        assert after[: len(before)] == before
    whole, _ = model.requests[-1]
    assert all(one["role"] != other["role"] for one, other in pairwise(whole))


# What can go wrong


@virtual
async def test_a_broken_tool_is_an_observation() -> None:
    plan = '1. crash()\n2. search("$1")\n3. search("K2")\n4. join()'
    model = ScriptedModel([plan, "Answer: at least K2"])
    events = await ask(model)
    assert ends(events) == {1: "error", 2: "input_failed", 3: "finished"}
    assert isinstance(events[-1], RunFinished)
    observations = model.requests[1][0][-1]["content"]
    assert "$1 = failed: ValueError: broken" in observations
    assert "$2 = skipped: it needs $1, which gave no result" in observations
    assert "$3 = about K2" in observations


SEARCH = '1. search("a")\n'
JOINED = SEARCH + "2. join()"
DIED = EngineError("the engine died")

# What the model writes; how the first plan ended; how its tasks ended; the last word.
SCRIPTS: dict[str, tuple[list[Reply], str, dict[int, str], str]] = {
    "a plan that is cut off": (
        [[Chunk(SEARCH), Chunk("2. sear"), *[Chunk("c")] * 99], "Answer: a"],
        "length",
        {1: "finished"},
        "answer a",
    ),
    "a plan that is cut off between two lines": (
        [[Chunk(SEARCH), *[Chunk("\n")] * 99], "Answer: a"],
        "length",
        {1: "finished"},
        "answer a",
    ),
    "a plan without a join": ([SEARCH, "Answer: a"], "error", {1: "finished"}, "answer a"),
    "a plan that goes astray": (
        [[Chunk(SEARCH), Chunk("2. fly()\n"), Chunk("3. join()", 9)], "Answer: a"],
        "error",
        {1: "finished"},
        "answer a",
    ),
    "a plan that goes astray in one piece": (
        [SEARCH + "2. fly()\n3. join()", "Answer: a"],
        "error",
        {1: "finished"},
        "answer a",
    ),
    "a plan that goes on behind its join": (
        [JOINED + '\n3. search("b")', "Answer: a"],
        "error",
        {1: "finished"},
        "answer a",
    ),
    "a plan that breaks off before its side effects": (
        ['1. send("a")\n' + '2. search("b")\n' + "and so on", "Answer: a"],
        "error",
        {1: "plan_incomplete", 2: "finished"},
        "answer a",
    ),
    "prose for a plan": (["Sure! Here it is.", "Answer: a"], "error", {}, "answer a"),
    "nothing for a plan": (["", "Answer: a"], "error", {}, "answer a"),
    "an engine that dies at once": ([[DIED]], "error", {}, "engine"),
    "an engine that dies in the plan": (
        [[Chunk(SEARCH), Chunk("2. s", 1), DIED]],
        "error",
        {1: "run_ended"},
        "engine",
    ),
    "an engine that dies in the answer": (
        [JOINED, [Chunk("Answer: "), Chunk("a", 1), DIED]],
        "join",
        {1: "finished"},
        "engine",
    ),
    "an empty ending": ([JOINED, ""], "join", {1: "finished"}, "no_ending"),
    "an empty answer": ([JOINED, "Answer: "], "join", {1: "finished"}, "no_ending"),
    "neither answer nor replan": (
        [JOINED, "I think that"],
        "join",
        {1: "finished"},
        "no_ending",
    ),
    "half a word": ([JOINED, "Ans"], "join", {1: "finished"}, "no_ending"),
    "a replan without a reason": ([JOINED, "Replan: "], "join", {1: "finished"}, "no_ending"),
    "an answer that is cut off": (
        [JOINED, [Chunk("Answer: "), *[Chunk("a ")] * 99]],
        "join",
        {1: "finished"},
        "answer " + "a " * 19 + " [cut off after 20 tokens]",
    ),
}


@pytest.mark.parametrize(
    ("replies", "ended_by", "tasks", "last"), SCRIPTS.values(), ids=SCRIPTS.keys()
)
@virtual
async def test_whatever_the_model_writes(
    replies: list[Reply], ended_by: str, tasks: dict[int, str], last: str
) -> None:
    events = await ask(ScriptedModel(replies), plan_tokens=20, answer_tokens=20, max_rewrites=0)
    planned = [event.ended_by for event in events if isinstance(event, PlanFinished)]
    assert planned == ([ended_by] if ended_by else [])
    assert ends(events) == tasks
    match events[-1]:
        case RunFinished(answer=text):
            assert f"answer {text}" == last
        case RunFailed(reason=reason):
            assert reason == last


@virtual
async def test_a_broken_plan_goes_into_the_transcript_as_far_as_it_was_run() -> None:
    model = ScriptedModel([SEARCH + "2. fly()\n3. join()", "Answer: a"])
    events = await ask(model, max_rewrites=0)
    assert model.requests[1][0][-2]["content"] == JOINED
    [planned] = [event for event in events if isinstance(event, PlanFinished)]
    assert planned.message == "line 2, column 4: no tool is called fly"
    assert planned.tasks == 1


# Answers by a schema

PEAK = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "height": {"type": "integer", "maximum": 9000}},
    "required": ["name", "height"],
    "additionalProperties": False,
}
FITS = '{"name": "K2 $1", "height": 8611}'
TOO_HIGH = '{"name": "K2 $1", "height": 861100}'
CUT_OFF = [Chunk('Answer: {"name": "'), *[Chunk("K2 ")] * 99]
HIGH_FAULT = "height: 861100 is greater than the maximum of 9000"
CUT_FAULT = "it is cut off after 20 tokens; be brief"

# What the joiner writes; what it is told between; the last word.
IN_FORM: dict[str, tuple[list[Reply], list[str], str]] = {
    "at once": ([f"Answer: {FITS}"], [], f"answer {FITS}"),
    "piece by piece": (
        [[Chunk("Answer: "), *map(Chunk, FITS.split(" ", 1)[0]), Chunk(FITS[FITS.index(" ") :])]],
        [],
        f"answer {FITS}",
    ),
    "mended": ([f"Answer: {TOO_HIGH}", f"Answer: {FITS}"], [HIGH_FAULT], f"answer {FITS}"),
    "mended the second time": (
        [f"Answer: {TOO_HIGH}", CUT_OFF, f"Answer: {FITS}"],
        [HIGH_FAULT, CUT_FAULT],
        f"answer {FITS}",
    ),
    "wrong for ever": (
        [f"Answer: {TOO_HIGH}"] * 3,
        [HIGH_FAULT] * 2,
        f"no_ending the answer does not fit: {HIGH_FAULT}",
    ),
    "cut off for ever": (
        [CUT_OFF] * 3,
        [CUT_FAULT] * 2,
        f"no_ending the answer does not fit: {CUT_FAULT}",
    ),
    "prose": (
        ["Answer: K2 is", f"Answer: {FITS}"],
        ["it is no JSON: Expecting value: line 1 column 1 (char 0)"],
        f"answer {FITS}",
    ),
    "neither answer nor replan": (
        ["I think that"],
        [],
        "no_ending the model gave no usable answer: 'I think that'",
    ),
    "planned again": (
        ["Replan: more", "2. join()", f"Answer: {FITS}"],
        [],
        f"answer {FITS}",
    ),
    "planned again instead of mended": (
        [f"Answer: {TOO_HIGH}", "Replan: more", "2. join()", f"Answer: {FITS}"],
        [HIGH_FAULT],
        f"answer {FITS}",
    ),
}


@pytest.mark.parametrize(("replies", "faults", "last"), IN_FORM.values(), ids=IN_FORM)
@virtual
async def test_an_answer_fits_its_schema_or_is_none(
    replies: list[Reply], faults: list[str], last: str
) -> None:
    model = ScriptedModel([JOINED, *replies])
    events = await ask(model, answer_schema=PEAK, answer_tokens=20)
    told = [event.text for event in events if isinstance(event, AnswerText)]
    match events[-1]:
        case RunFinished(answer=text):
            assert f"answer {text}" == last
            assert json.loads(text) == {"name": "K2 $1", "height": 8611}
            assert told == [text]
        case RunFailed(reason=reason, message=message):
            assert f"{reason} {message}" == last
            assert told == []
    requests = [messages[-1]["content"] for messages, _ in model.requests]
    assert [text for text in requests if text.startswith("That answer does not fit")] == [
        f"That answer does not fit: {fault}\nAnswer again, without that fault." for fault in faults
    ]


@virtual
async def test_an_answer_that_does_not_fit_leaves_no_trace_in_the_transcript() -> None:
    model = ScriptedModel(
        [JOINED, f"Answer: {TOO_HIGH}", "Replan: more", "2. join()", f"Answer: {FITS}"]
    )
    await ask(model, answer_schema=PEAK)
    (_, first), (joining, grammar), (again, same), (planning, _), (last, _) = model.requests
    schema = json.dumps(PEAK)
    assert joining[-1]["content"] == (
        f"Results:\n$1 = about a\nAnswer in JSON, by this schema: {schema}"
    )
    assert again[: len(joining)] == joining
    assert again[len(joining)] == {"role": "assistant", "content": f"Answer: {TOO_HIGH}"}
    assert len(again) == len(joining) + 2
    assert same == grammar
    assert planning[: len(joining)] == joining
    assert planning[len(joining)] == {"role": "assistant", "content": "Replan: more"}
    assert last[-1]["content"].endswith(f"by this schema: {schema}")
    assert not any(TOO_HIGH in message["content"] for message in last)

    assert allows(first, JOINED)
    assert allows(grammar, f"Answer: {FITS}")
    assert allows(grammar, "Replan: more")
    assert not allows(grammar, "Answer: K2")
    assert not allows(model.requests[-1][1], "Replan: more")


@pytest.mark.parametrize("rewrites", [0, 1, 4])
@virtual
async def test_an_answer_is_asked_for_as_often_as_is_set(rewrites: int) -> None:
    model = ScriptedModel([JOINED, *[f"Answer: {TOO_HIGH}"] * 9])
    events = await ask(model, answer_schema=PEAK, max_rewrites=rewrites)
    assert isinstance(events[-1], RunFailed)
    assert len(model.requests) == 1 + 1 + rewrites


@virtual
async def test_an_answer_is_not_asked_for_again_where_there_is_no_room() -> None:
    roomy = ScriptedModel([JOINED, f"Answer: {FITS}"])
    await ask(roomy, answer_schema=PEAK)
    joining, _ = roomy.requests[1]
    model = ScriptedModel([JOINED, f"Answer: {TOO_HIGH}", f"Answer: {FITS}"])
    model.context_tokens = await model.count_tokens(joining) + 50
    events = await ask(model, answer_schema=PEAK, plan_tokens=50, answer_tokens=50)
    assert isinstance(events[-1], RunFailed)
    assert events[-1].message == f"the answer does not fit: {HIGH_FAULT}"


@pytest.mark.parametrize("schema", [{"type": "text"}, {"$ref": "#/a"}, [PEAK]])
def test_what_is_no_schema_is_refused(schema: Any) -> None:
    with pytest.raises(UsageError, match="the answer's schema"):
        answering(ScriptedModel([]), answer_schema=schema)


# Lines that are written again


@virtual
async def test_a_line_that_cannot_be_run_is_written_again_while_the_others_run() -> None:
    model = ScriptedModel(
        [
            [Chunk(SEARCH), Chunk("2. search($1.name)\n", 1), Chunk('3. search("never")')],
            [Chunk("2. search($1)\n3. join()", 0.25)],
            "Answer: a",
        ]
    )
    events = await ask(model)
    assert [(brief(event), event.at) for event in events[4:-2]] == [
        ("task_started 1", 0),
        ("plan_text", 1),
        ("line_refused 2", 1),
        ("plan_text", 1.25),
        ("task_sealed 2", 1.25),
        ("plan_finished 1", 1.25),
        ("task_finished 1", 1.5),
        ("task_started 2", 1.5),
        ("task_finished 2", 3),
    ]
    [refused] = [event for event in events if isinstance(event, LineRefused)]
    assert refused.line == "2. search($1.name)"
    assert refused.message.startswith("query: $1.name leads nowhere: $1 is string of search")

    (first, _), (again, sampling), (joining, _) = model.requests
    assert again[: len(first)] == first
    written, asked = again[len(first) :]
    assert written["content"] == SEARCH + "2. search($1.name)"
    assert asked["content"].startswith("Line 2 can't be run: query: $1.name leads nowhere")
    assert sampling.regex is not None
    assert matches(sampling.regex, "2. search($1)\n3. join()")
    assert not matches(sampling.regex, "3. search($1)\n4. join()")
    # What the joiner reads is the plan as it was run.
    assert joining[: len(first)] == first
    assert joining[len(first)]["content"] == SEARCH + "2. search($1)\n3. join()"
    assert len(joining) == len(first) + 2


@pytest.mark.parametrize(
    "line",
    [
        "3. search($1)",  # a wrong id
        "2. search($3)",  # a task that is not there
        "2. search(1)",
        "2. fly()",
        "2. join()\nmore",
        "so",
    ],
)
@pytest.mark.parametrize("mended", [True, False])
@virtual
async def test_a_line_is_written_again_as_often_as_is_set(line: str, mended: bool) -> None:
    last = "2. join()" if mended else line
    replies = [SEARCH + line, *[line] * 2, last, "Answer: a"]
    events = await ask(ScriptedModel(replies), max_rewrites=3)
    refused = [event.task_id for event in events if isinstance(event, LineRefused)]
    assert refused == [2] * (3 if mended else 4)
    assert [event.ended_by for event in events if isinstance(event, PlanFinished)] == [
        "join" if mended else "error"
    ]
    assert ends(events) == {1: "finished"}
    assert isinstance(events[-1], RunFinished)


@virtual
async def test_rewrites_are_counted_by_the_plan_and_may_refer_to_the_plans_before() -> None:
    model = ScriptedModel(
        [
            JOINED,
            "Replan: more",
            "3. join()",
            "2. length($1.x)\n3. join()",
            "2. length($1)\n3. search($2)\n4. join()",
            "3. join()",
            "Answer: a",
        ]
    )
    events = await ask(model, max_rewrites=3)
    assert [event.message for event in events if isinstance(event, LineRefused)] == [
        "expected the id 2, found 3",
        "text: $1.x leads nowhere: $1 is string of search, and has no 'x'",
        "query: $2 is integer; inside a string, a reference becomes text",
    ]


def calls(*lines: str) -> str:
    return "".join(f"{id}. {line}\n" for id, line in enumerate(lines, 1))


ENDLESS = {
    "a line without end": (
        [SEARCH, '2. search("', *["abc "] * 20],
        "limit",
        1,
        "line 2, column 52: the line is longer than 50 characters",
    ),
    "too many tasks": (
        [calls(*[f'search("{at}")' for at in range(9)])],
        "limit",
        8,
        "line 9, column 1: more than 8 tasks",
    ),
    "one call over and over": (
        [calls('search("a")', *['search("b")'] * 20)],
        "limit",
        6,
        "line 7, column 1: the same calls over and over",
    ),
    "two calls over and over": (
        [calls(*['search("a")', 'search("b")'] * 10)],
        "limit",
        8,
        "line 9, column 1: more than 8 tasks",
    ),
    "out of tokens": (
        [calls('search("a")'), *'2. search("' + "b" * 50],
        "length",
        1,
        "line 2, column 30: the plan ran out of tokens",
    ),
    "out of tokens in the middle of nonsense": (
        ["so ", *["on and "] * 40],
        "limit",
        0,
        "line 1, column 53: the line is longer than 50 characters",
    ),
}


@pytest.mark.parametrize(
    ("chunks", "ended_by", "tasks", "message"), ENDLESS.values(), ids=ENDLESS.keys()
)
@virtual
async def test_a_plan_always_ends_and_keeps_what_is_sealed(
    chunks: list[str], ended_by: str, tasks: int, message: str
) -> None:
    model = ScriptedModel([[Chunk(text) for text in chunks], "Answer: a"])
    events = await ask(model, plan_tokens=30, max_tasks=8, line_chars=50)
    [planned] = [event for event in events if isinstance(event, PlanFinished)]
    assert (planned.ended_by, planned.tasks, planned.message) == (ended_by, tasks, message)
    assert ends(events) == dict.fromkeys(range(1, tasks + 1), "finished")
    assert isinstance(events[-1], RunFinished)
    assert model.requests[1][0][-2]["content"].endswith(f"{tasks + 1}. join()")


@virtual
async def test_a_model_that_wants_ever_more_plans_gets_no_more() -> None:
    model = ScriptedModel(["1. join()", "Replan: more", "1. join()", "Replan: more"])
    events = await ask(model, max_plans=2)
    assert [event.plan for event in events if isinstance(event, Replan)] == [2]
    assert isinstance(events[-1], RunFailed)
    assert events[-1].reason == "no_ending"


@virtual
async def test_a_bug_is_told_and_raised() -> None:
    class Buggy(ScriptedModel):
        async def count_tokens(self, messages: Any) -> int:
            raise LookupError("a bug")

    model = Buggy([JOINED])
    model.context_tokens = 1
    events: list[Event] = []
    with pytest.raises(LookupError, match="a bug"):
        async with answering(model) as log:
            events = [event async for event in log]
    check(events, model)
    assert isinstance(events[-1], RunFailed)
    assert (events[-1].reason, events[-1].message) == ("internal", "LookupError('a bug')")


LATE = {
    "in the planner": ([[Chunk(SEARCH, 9), Chunk("2. join()", 9)]], {1: "run_ended"}),
    "in a tool": ([[Chunk(JOINED, 9)]], {1: "run_ended"}),
    "in the joiner": (
        [JOINED, [Chunk("Answer: ", 1), Chunk("a", 1), Chunk("b", 9)]],
        {1: "finished"},
    ),
    "in the second plan": (
        [JOINED, "Replan: more", [Chunk('2. search("b")\n', 8), Chunk("3. join()", 9)]],
        {1: "finished", 2: "run_ended"},
    ),
}


@pytest.mark.parametrize(("replies", "tasks"), LATE.values(), ids=LATE.keys())
@virtual
async def test_one_deadline_bounds_the_run(replies: list[Reply], tasks: dict[int, str]) -> None:
    events = await ask(ScriptedModel(replies), deadline=10)
    assert ends(events) == tasks
    assert isinstance(events[-1], RunFailed)
    assert events[-1].reason == "deadline"
    assert events[-1].message == "no answer within the deadline of 10 s"
    assert events[-1].at == pytest.approx(10)
    assert events[-1].stats.seconds == pytest.approx(10)


NO_QUESTIONS = [
    ("", "empty"),
    (" ", "empty"),
    ("\n\t", "empty"),
    ("caf\udce9?", "half a character"),
]


@pytest.mark.parametrize(("question", "reason"), NO_QUESTIONS)
def test_what_is_no_question_is_refused(question: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        answering(ScriptedModel([]), question)


@virtual
async def test_a_question_that_does_not_fit_is_not_asked() -> None:
    model = ScriptedModel([])
    events = await ask(model, question="why " * 9000)
    assert [brief(event) for event in events] == ["run_started", "run_failed"]
    assert isinstance(events[-1], RunFailed)
    assert events[-1].reason == "question_too_long"
    assert not model.requests


@virtual
async def test_a_long_result_is_shortened_for_the_joiner_only() -> None:
    model = ScriptedModel(["1. long()\n2. length($1)\n3. join()", "Answer: 3000"])
    await ask(model, result_chars=1000)
    first, second = model.requests[1][0][-1]["content"].splitlines()[-2:]
    assert first.startswith("$1 = xxx")
    assert "[... 2001 characters left out ...]" in first
    assert second == "$2 = 3000"


# How much room the results have -> how much of each is shown, or that the run failed.
ROOM = [(8192, 2000), (2500, 500), (1400, 120), (1050, 0)]


@pytest.mark.parametrize(("context_tokens", "shown"), ROOM)
@virtual
async def test_results_are_shortened_until_they_fit(context_tokens: int, shown: int) -> None:
    lines = [f"{id}. long()" for id in range(1, 6)]
    model = ScriptedModel(["\n".join([*lines, "6. join()"]), "Answer: x"])
    model.context_tokens = context_tokens
    events = await ask(model, plan_tokens=100, answer_tokens=500)
    if shown:
        assert isinstance(events[-1], RunFinished)
        [*_, line] = model.requests[1][0][-1]["content"].splitlines()
        assert line.count("x") == pytest.approx(shown, abs=2)
    else:
        assert isinstance(events[-1], RunFailed)
        assert events[-1].reason == "results_too_long"


# The end of a run before its time

TWO_PLANS: list[Reply] = [
    [Chunk("1. crash()\n", 1), *PLAN[1:2], Chunk('3. search("$1 $2")\n'), Chunk("4. join()", 1)],
    [Chunk("Replan: ", 0.5), Chunk("more", 0.5)],
    [Chunk('4. search("$2")\n', 1), Chunk('5. send("$4")\n'), Chunk("6. join()", 1)],
    ANSWER,
]


def test_a_run_can_be_left_behind_any_event() -> None:
    async def leave(read: int) -> list[Event]:
        model = ScriptedModel(TWO_PLANS)
        async with answering(model) as log:
            events = [await anext(log) for _ in range(read)]
        events += [event async for event in log]
        check(events, model)
        return events

    whole = run_virtual(ask(ScriptedModel(TWO_PLANS)))
    assert isinstance(whole[-1], RunFinished)
    assert Counter(ends(whole).values()) == {"error": 1, "input_failed": 1, "finished": 3}
    for read in range(len(whole)):
        events = run_virtual(leave(read))
        assert [brief(event) for event in events[:read]] == [brief(each) for each in whole[:read]]
        assert isinstance(events[-1], RunCancelled | RunFinished)
    assert run_virtual(leave(len(whole))) is not None


@pytest.mark.parametrize("quarters", range(40))
@virtual
async def test_a_run_can_be_left_at_any_time(quarters: int) -> None:
    model = ScriptedModel(TWO_PLANS)
    async with answering(model) as log:
        await asyncio.sleep(quarters / 4)
    assert log.now() == pytest.approx(quarters / 4)
    check([event async for event in log], model)


def test_a_run_can_be_stopped_behind_any_event_and_says_so() -> None:
    async def stop(read: int) -> list[Event]:
        model = ScriptedModel(TWO_PLANS)
        async with answering(model) as log:
            events = [await anext(log) for _ in range(read)]
            log.stop()
            events += [event async for event in log]
        check(events, model)
        return events

    whole = run_virtual(ask(ScriptedModel(TWO_PLANS)))
    for read in range(len(whole) - 2):
        [*_, last] = run_virtual(stop(read))
        assert isinstance(last, RunCancelled)
        assert (last.reason, last.message) == ("closed", "the run was closed before its answer")
    assert isinstance(run_virtual(stop(len(whole)))[-1], RunFinished)


@virtual
async def test_leaving_a_run_leaves_the_others_alone() -> None:
    left = ScriptedModel(TWO_PLANS)
    other = asyncio.create_task(read_all(ScriptedModel([PLAN, ANSWER])))
    async with answering(left) as log:
        await asyncio.sleep(2.25)
    check([event async for event in log], left)
    assert [brief(event) for event in await other][-1] == "run_finished"
    assert log.now() == pytest.approx(5.5)


# The script itself


@given(st.text())
def test_a_text_at_a_rate_is_the_text(text: str) -> None:
    chunks = at_rate(text, 20)
    assert "".join(chunk.text for chunk in chunks) == text
    assert {chunk.wait for chunk in chunks} <= {0.05}


@pytest.mark.parametrize(
    ("max_tokens", "text", "reason", "seconds"),
    [(5, "abc", "stop", 1.5), (3, "abc", "stop", 1.5), (2, "ab", "length", 1.0)],
)
@virtual
async def test_a_script_is_replayed_in_time_and_cut_off(
    max_tokens: int, text: str, reason: str, seconds: float
) -> None:
    model = ScriptedModel([[Chunk(letter, 0.5) for letter in "abc"]])
    async with model.stream([], Sampling(max_tokens)) as stream:
        deltas = [delta async for delta in stream]
    assert "".join(delta.text for delta in deltas) == text
    assert deltas[-1] == Delta("", reason, Usage(0, len(text)))
    assert {delta.finish_reason for delta in deltas[:-1]} == {None}
    assert asyncio.get_running_loop().time() == pytest.approx(seconds)


# Helpers


def answering(
    model: ScriptedModel,
    question: str = "Which is higher?",
    answer_schema: Any = None,
    **options: Any,
) -> Any:
    settings = Settings(**{"max_tasks": 5, **options})
    return answer(
        question, toolbox=TOOLBOX, model=model, settings=settings, answer_schema=answer_schema
    )


async def read_all(model: ScriptedModel, **options: Any) -> list[Event]:
    log: EventLog
    async with answering(model, **options) as log:
        return [event async for event in log]


async def ask(model: ScriptedModel, **options: Any) -> list[Event]:
    """All events of a run, which has left nothing behind."""
    events = await read_all(model, **options)
    check(events, model)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return events


ENDS = (TaskFinished, TaskFailed, TaskSkipped, TaskCancelled)


def check(events: list[Event], model: ScriptedModel) -> None:
    """What holds for every run, however it ended."""
    assert model.open_streams == 0
    assert [event.seq for event in events] == list(range(len(events)))
    assert [event for event in events if isinstance(event, LAST_WORDS)] == [events[-1]]
    sealed = Counter(event.task_id for event in events if isinstance(event, TaskSealed))
    assert set(sealed.values()) <= {1}
    assert Counter(event.task_id for event in events if isinstance(event, ENDS)) == sealed
    if isinstance(events[-1], RunFinished):
        told = "".join(event.text for event in events if isinstance(event, AnswerText))
        assert told.strip() == events[-1].answer
    for event in events:
        json.dumps(to_wire(event), allow_nan=False)


def brief(event: Event) -> str:
    number = getattr(event, "task_id", getattr(event, "plan", ""))
    return event.type if event.type == "plan_text" else f"{event.type} {number}".strip()


def ends(events: list[Event]) -> dict[int, str]:
    """How each task ended: finished, or for what reason not."""
    return {
        event.task_id: "finished" if isinstance(event, TaskFinished) else event.reason
        for event in events
        if isinstance(event, ENDS)
    }


def allows(sampling: Sampling, text: str) -> bool:
    return sampling.regex is not None and matches(sampling.regex, text)
