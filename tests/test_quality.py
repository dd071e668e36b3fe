"""The benchmark of quality, from questions to figures, with a scripted model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

import bench_quality
from executor.builtin import TOOLBOX
from executor.errors import EngineError
from planner_prompts import render
from planner_prompts.messages import Message
from quality import plot, report
from quality.cases import Case, of_sample
from quality.figures import share
from quality.runs import Outcome, run
from quality.series import TIMED, Series, measure
from quality.sets import CaseSet
from quality.wrappers import ABLATIONS
from serving.scripted import Chunk, ScriptedModel
from serving.settings import Settings
from train.samples import Right, Round, Sample, ToolSpec, write

BUNDLED = tuple(ToolSpec.of(tool) for tool in TOOLBOX)
PLAN = """\
1. search("height of Mount Everest")
2. search("height of K2")
3. calculate("$1 - $2")
4. join()"""
OTHER_ORDER = """\
1. search("height of K2")
2. search("height of Mount Everest")
3. calculate("$2 - $1")
4. join()"""
SAME_YIELD = """\
1. search("height of Mount Everest")
2. search("height of K2")
3. calculate("($1 - $2) to km")
4. join()"""
ELSEWHERE = '1. search("height of K2")\n2. join()'
LOOK_UPS = '1. search("height of Mount Everest")\n2. search("height of K2")\n3. join()'
GREATEST = PLAN.replace("$1 - $2", "max($1, $2)")
ANSWER = "Answer: Everest, by 238 m."

SAMPLE = Sample(
    question="By how much is Everest taller than K2?",
    tools=BUNDLED,
    rounds=(Round(plan=PLAN, results={1: "8849 m", 2: "8611 m", 3: "238 m"}, ending=ANSWER),),
    shape="compare_by",
    width=2,
    right=Right(names=("Everest",), rivals=("K2",), numbers=(238,)),
)
CASE = of_sample(SAMPLE, "1")
NOTHING = of_sample(
    SAMPLE.model_copy(
        update={
            "rounds": (Round(plan="1. join()", ending="Answer: I can't tell."),),
            "right": Right(admits=True),
        }
    ),
    "2",
)

TALLEST = of_sample(
    SAMPLE.model_copy(
        update={
            "rounds": (
                Round(
                    plan=GREATEST, results={1: "8849 m", 2: "8611 m", 3: "8849 m"}, ending=ANSWER
                ),
            ),
        }
    ),
    "3",
)


async def outcome(case: Case, *replies: str | Sequence[Chunk | Exception]) -> Outcome:
    return await run(case, ScriptedModel(replies), Settings())


MARKS: list[tuple[str, Case, tuple[str, ...], tuple[bool | None, ...]]] = [
    # what is written, then: exact, useful, right, replan
    ("as the gold", CASE, (PLAN, ANSWER), (True, True, True, True)),
    ("in another order", CASE, (OTHER_ORDER, ANSWER), (True, True, True, True)),
    ("other calls, same yield", CASE, (SAME_YIELD, ANSWER), (False, True, True, True)),
    ("something else", CASE, (ELSEWHERE, ANSWER), (False, False, True, True)),
    (
        "the wrong one first",
        CASE,
        (PLAN, "Answer: K2, Everest: 238 m"),
        (True, True, False, True),
    ),
    ("no plan", CASE, (*["Let me think."] * 3, ANSWER), (False, False, True, True)),
    (
        "no join",
        CASE,
        (PLAN.removesuffix("\n4. join()"), "", "", ANSWER),
        (False, False, True, True),
    ),
    (
        "a needless replan",
        CASE,
        (PLAN, "Replan: again", "4. join()", ANSWER),
        (True, True, True, False),
    ),
    ("no answer", CASE, (PLAN, "What?"), (True, True, False, False)),
    (
        "the least for the greatest",
        TALLEST,
        (GREATEST.replace("max", "min"), ANSWER),
        (False, False, True, True),
    ),
    ("no need to calculate", TALLEST, (LOOK_UPS, ANSWER), (False, True, True, True)),
    ("nothing to do, and it says so", NOTHING, ("1. join()", "Answer: I can't."), (True,) * 4),
    ("nothing to do, but done", NOTHING, (ELSEWHERE, "Answer: 1 m"), (False, False, False, True)),
]


@pytest.mark.parametrize(
    ("case", "replies", "marks"), [row[1:] for row in MARKS], ids=[row[0] for row in MARKS]
)
async def test_a_run_is_marked(
    case: Case, replies: tuple[str, ...], marks: tuple[bool | None, ...]
) -> None:
    found = await outcome(case, *replies)
    assert (found.exact, found.useful, found.right, found.replan) == marks


async def test_a_gold_plan_that_must_be_followed_by_another_yields_nothing() -> None:
    lost = '1. search("height of Nowhere Peak")\n2. join()'
    found_plan = '2. search("height of K2")\n3. join()'
    sample = SAMPLE.model_copy(
        update={
            "rounds": (
                Round(plan=lost, results={1: "failed: nothing"}, ending="Replan: look for K2"),
                Round(
                    plan='2. search("height of K2")\n3. join()',
                    results={2: "8611 m"},
                    ending=ANSWER,
                ),
            ),
        }
    )
    replies = (lost, "Replan: look for K2", found_plan, ANSWER)
    found = await outcome(of_sample(sample, "1"), *replies)
    assert (found.exact, found.useful, found.replan) == (True, None, True)
    found = await outcome(of_sample(sample, "1"), lost, ANSWER)
    assert found.replan is False


async def test_a_tool_that_is_only_described_replays_the_sample() -> None:
    spec = ToolSpec(
        name="stock",
        parameters={"type": "object", "properties": {"of": {"type": "string"}}, "required": ["of"]},
    )
    plan = '1. stock("nut")\n2. stock("$1")\n3. join()'
    rounds = (Round(plan=plan, results={1: "bolt", 2: "12"}, ending="Answer: 12"),)
    case = of_sample(
        Sample(question="?", tools=(spec,), rounds=rounds, shape="s", right=Right(numbers=(12,))),
        "1",
    )
    found = await outcome(case, plan, "Answer: 12")
    assert found.results == {1: "bolt", 2: "12"}
    assert (found.exact, found.useful, found.right) == (True, None, True)
    found = await outcome(case, '1. stock("screw")\n2. join()', "Answer: nothing")
    assert (found.results, found.exact, found.right) == ({}, False, False)


async def test_a_call_that_needs_a_part_of_a_failed_one_is_not_replayed() -> None:
    spec = ToolSpec(
        name="listing",
        parameters={"type": "object", "properties": {"of": {"type": "string"}}, "required": ["of"]},
    )
    plan = '1. listing("L1")\n2. listing($1.eur)\n3. join()'
    results = {1: "failed: no such listing", 2: "skipped: it needs the result of task 1"}
    rounds = (Round(plan=plan, results=results, ending="Answer: There is none."),)
    case = of_sample(Sample(question="?", tools=(spec,), rounds=rounds, shape="s"), "1")
    found = await outcome(case, plan, "Answer: There is none.")
    assert found.exact is True


async def test_what_is_exact_is_replayed_whatever_its_types() -> None:
    def spec(name: str, kind: str) -> ToolSpec:
        properties = {"of": {"type": kind}}
        parameters = {"type": "object", "properties": properties, "required": ["of"]}
        return ToolSpec(name=name, parameters=parameters)

    plan = '1. price("Nut")\n2. tax($1)\n3. join()'
    results = {1: "480.5", 2: "96.1"}
    sample = Sample(
        question="?",
        tools=(spec("price", "string"), spec("tax", "number")),
        rounds=(Round(plan=plan, results=results, ending="Answer: 96.1"),),
        shape="s",
    )
    found = await outcome(of_sample(sample, "1"), plan.replace("Nut", "nut"), "Answer: 96.1")
    assert (found.exact, found.results) == (True, results)


async def test_where_only_the_plan_counts_the_run_ends_with_it() -> None:
    case = replace(CASE, plan_only=True, has_results=False, replans=None)
    model = ScriptedModel([OTHER_ORDER])
    found = await run(case, model, Settings())
    assert len(model.requests) == 1
    assert model.open_streams == 0
    assert (found.ended, found.exact, found.useful, found.right) == ("plan", True, None, None)
    assert (found.tools, found.values) == (True, (3, 3))
    found = await run(case, ScriptedModel([ELSEWHERE]), Settings())
    assert (found.tools, found.values) == (False, (1, 3))


@pytest.mark.parametrize(
    ("plan", "useful"), [(PLAN, True), (ELSEWHERE, False), ("1. join()", False)]
)
async def test_without_a_gold_plan_the_last_calculation_counts(plan: str, useful: bool) -> None:
    case = replace(CASE, gold=None, replans=None, number=240.0, right=Right())
    found = await outcome(case, plan, ANSWER)
    assert (found.exact, found.useful, found.right, found.replan) == (None, useful, None, None)


async def test_tokens_are_those_of_the_texts_and_of_the_first_prompt() -> None:
    model = ScriptedModel([PLAN, "Replan: again", "4. join()", ANSWER])
    found = await run(CASE, model, Settings())

    async def count(*texts: str) -> int:
        return await model.count_tokens([Message(role="user", content=text) for text in texts])

    assert found.prompt_tokens == await model.count_tokens(model.requests[0][0])
    assert found.plan_tokens == await count(PLAN, "4. join()")
    assert found.ending_tokens == await count("Replan: again", ANSWER)


async def test_times_are_kept_of_a_run_that_is_alone() -> None:
    found = await run(CASE, ScriptedModel([PLAN, ANSWER]), Settings(), timed=True)
    assert found.times is not None
    assert found.times.first_token is not None
    assert found.times.first_task is not None
    assert 0 <= found.times.first_token <= found.times.first_task <= found.times.all
    assert (await outcome(CASE, PLAN, ANSWER)).times is None


class Steady(ScriptedModel):
    """Answers every question alike, whatever the order, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__([])

    def stream(self, messages, sampling):  # type: ignore[no-untyped-def]
        is_join = messages[-1]["content"].startswith("Results:")
        self._replies = iter([ANSWER if is_join else PLAN])
        return super().stream(messages, sampling)


CASES = [replace(CASE, id=str(at), shape=f"shape {at % 2}") for at in range(TIMED + 9)]


async def test_a_series_has_every_case_in_its_order_and_times_of_some() -> None:
    told: list[str] = []
    found = await measure("it", Steady(), CASES, Settings(), told.append)
    assert [each.id for each in found.outcomes] == [case.id for case in CASES]
    assert sum(each.times is not None for each in found.outcomes) == TIMED
    assert all(each.exact and each.useful and each.right for each in found.outcomes)
    assert told[-1] == f"it: {len(CASES)} of {len(CASES)}"


async def test_an_ablation_is_not_timed_since_its_prompts_are_cached() -> None:
    found = await measure("it", Steady(), CASES, Settings(), lambda _: None, "grammar")
    assert found.name == "it without grammar"
    assert all(each.times is None for each in found.outcomes)
    text = "\n".join(report.lines(CaseSet("some", CASES), [found]))
    assert "one at a time" not in text


@pytest.mark.parametrize("without", ABLATIONS)
async def test_an_ablation_leaves_out_what_it_names_and_nothing_else(without: str) -> None:
    plain, ablated = Steady(), Steady()
    await run(CASE, plain, Settings())
    found = await run(CASE, ablated, Settings(), without=without)
    (plan, join), (plan_without, join_without) = plain.requests, ablated.requests
    assert found.prompt_tokens == await ablated.count_tokens(plan_without[0])
    assert (plan[1].regex == plan_without[1].regex) is (without != "grammar")
    assert join[1] == join_without[1]
    assert plan[0][1:] == plan_without[0][1:]
    listing = "\n".join(map(render.describe, CASE.toolbox))
    assert listing in plan[0][0]["content"]
    has_listing = listing in plan_without[0][0]["content"]
    assert has_listing is (without != "tools")


@pytest.mark.parametrize("runs", [0, TIMED + 3])
async def test_an_engine_that_is_gone_ends_the_series(runs: int) -> None:
    class Mortal(Steady):
        async def count_tokens(self, messages: Sequence[Message]) -> int:
            if len(self.requests) > 2 * runs:
                raise EngineError("gone")
            return await super().count_tokens(messages)

    with pytest.raises(EngineError, match="gone"):
        await measure("it", Mortal(), CASES, Settings(), lambda _: None)


@pytest.fixture(scope="module")
def series() -> list[Series]:
    async def both() -> list[Series]:
        return [
            await measure(name, Steady(), CASES, Settings(), lambda _: None)
            for name in ("tuned", "raw")
        ]

    return asyncio.run(both())


def test_the_table_has_a_line_for_all_for_each_shape_and_width(series: list[Series]) -> None:
    cases = CaseSet("some", CASES)
    cases.left_out["no plan"] += 3
    text = "\n".join(report.lines(cases, series))
    assert "some: 21 questions" in text
    assert "left out: 3 rows with no plan" in text
    for line in ("in all", "shape 0", "shape 1", "width  2"):
        assert text.count(f"\n  {line} ") == 2
    assert "100% (85–100)   21" in text
    assert "tools right" not in text


def test_the_json_has_every_run(series: list[Series]) -> None:
    found = json.loads(json.dumps(report.as_json(CaseSet("some", CASES), series)))
    assert [len(each["runs"]) for each in found["series"]] == [21, 21]
    assert found["series"][0]["shares"]["plan exact"]["n"] == 21
    assert found["series"][0]["shares"]["tools right"] is None
    assert found["series"][0]["runs"][0]["gold"] == PLAN


@pytest.mark.parametrize(("suffix", "start"), [(".svg", b"<?xml"), (".png", b"\x89PNG")])
def test_the_plot_is_a_picture(
    series: list[Series], tmp_path: Path, suffix: str, start: bytes
) -> None:
    path = tmp_path / f"plot{suffix}"
    plot.draw(series, "some", path)
    assert path.read_bytes().startswith(start)


def test_a_measure_that_is_defined_nowhere_has_no_share(series: list[Series]) -> None:
    assert share(series[0].outcomes, "values right") is None


@pytest.fixture
def bench(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """The whole command on scripted engines: flags -> exit code, output, errors."""

    @asynccontextmanager
    async def engine(settings: Settings, _: object) -> AsyncIterator[Steady]:
        if settings.model == "broken":
            raise EngineError("it does not start")
        yield Steady()

    def run_it(*flags: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["bench_quality.py", *map(str, flags)])
        monkeypatch.setattr("signal.signal", lambda *_: None)
        monkeypatch.setattr("bench_quality.engine", engine)
        try:
            bench_quality.main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return run_it


def test_the_command_measures_each_model_and_each_ablation(
    bench: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    rows, figures, picture = (tmp_path / name for name in ("rows.jsonl", "it.json", "it.svg"))
    write([SAMPLE] * 5, rows)
    flags = ["--model", "one", "--model", "two", "--ablate", "tools", "--limit", "3"]
    code, out, _ = bench("--set", rows, *flags, "--json", figures, "--plot", picture)
    assert code == 0
    assert "rows: 3 questions" in out
    found = json.loads(figures.read_text())["series"]
    assert [each["name"] for each in found] == [
        "one",
        "one without tools",
        "two",
        "two without tools",
    ]
    assert [len(each["runs"]) for each in found] == [3] * 4
    assert picture.exists()


@pytest.mark.parametrize(
    ("flags", "code", "fault"),
    [
        (["--set", "nope"], 2, "there is no set 'nope'"),
        (["--set", "nope.jsonl"], 2, "can't read nope.jsonl"),
        (["--plot", "it.pdf"], 2, "must end in .svg or .png"),
        (["--json", "nowhere/it.json"], 2, "there is no directory nowhere"),
        (["--plot", "nowhere/it.png"], 2, "there is no directory nowhere"),
        (["--limit", "0"], 2, "'0' is no whole number above 0"),
        (["--ablate", "all"], 2, "invalid choice"),
        (["--model", "broken", "--limit", "1"], 1, "bench.sh: it does not start"),
    ],
)
def test_what_can_t_be_done_is_said_in_a_line(
    bench: Callable[..., tuple[int, str, str]], flags: list[str], code: int, fault: str
) -> None:
    found, out, errors = bench(*flags)
    assert (found, out) == (code, "")
    assert fault in errors
    assert "Traceback" not in errors


def test_what_was_measured_is_told_also_when_a_later_model_fails(
    bench: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    figures = tmp_path / "it.json"
    code, out, errors = bench(
        "--model", "one", "--model", "broken", "--limit", "2", "--json", figures
    )
    assert code == 1
    assert "held-out: 2 questions" in out
    assert "bench.sh: it does not start" in errors
    assert [each["name"] for each in json.loads(figures.read_text())["series"]] == ["one"]
