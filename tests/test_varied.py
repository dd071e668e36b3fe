"""Samples with many toolboxes: each could happen, says what was asked, and holds its shape."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.parser import PlanParser
from executor.plan import Task
from planner_prompts.grammar import matches, plan_regex
from train import varied
from train.bundled.split import is_held_out_entity
from train.samples import Sample
from train.varied import mix
from train.varied.bank import Chain, ToolContent, fact_rows, held_out, training
from train.varied.phrasing import fill, optional_slots, slots_of

PARTS = {"training": varied.samples, "held out": varied.held_out}
COUNT = 300
TRAINING = [(name, key, t) for name, d in training().items() for key, t in d.tools.items()]
HELD_OUT = [(name, key, t) for name, d in held_out().items() for key, t in d.tools.items()]
FACT_SLOTS = {"entity", "attribute", "fact"}


@cache
def _made(part: str) -> list[Sample]:
    return PARTS[part](11, COUNT)


@pytest.fixture(params=PARTS)
def made(request: pytest.FixtureRequest) -> list[Sample]:
    return _made(request.param)


def _tasks(sample: Sample) -> list[Task]:
    return [item for item in PlanParser(sample.toolbox).feed(sample.plan) if isinstance(item, Task)]


def _given(sample: Sample) -> Iterator[Any]:
    """The single values that the plan passes on as they stand, without choices and switches."""
    for task in _tasks(sample):
        for name, value in task.args.items():
            schema = sample.toolbox[task.tool_name].properties[name]
            for item in value if isinstance(value, list) else [value]:
                if type(item) in (str, int, float) and "enum" not in schema:
                    yield item


class TestSample:
    def test_could_happen(self, made: list[Sample]) -> None:
        for sample in made:
            sample.check()

    def test_has_a_plan_that_the_grammar_lets_through(self, made: list[Sample]) -> None:
        regexes: dict[str, str] = {}
        for sample in made:
            key = str(sample.tools)
            regexes.setdefault(key, plan_regex(sample.toolbox, max_tasks=10))
            assert matches(regexes[key], sample.plan), sample.plan

    def test_gives_arguments_that_the_tools_take(self, made: list[Sample]) -> None:
        for sample in made:
            for task in _tasks(sample):
                if not task.needs:
                    sample.toolbox[task.tool_name].validate(task.args)

    def test_copies_its_values_from_the_question(self, made: list[Sample]) -> None:
        for sample in made:
            for value in _given(sample):
                words = value.split(" of ") if isinstance(value, str) else [str(value)]
                assert all(word in sample.question for word in words), (sample.question, value)

    def test_calls_nothing_twice(self, made: list[Sample]) -> None:
        for sample in made:
            calls = [line.split(". ", 1)[1] for line in sample.plan.splitlines()]
            assert len(set(calls)) == len(calls), sample.plan

    def test_is_right_with_its_own_answer(self, made: list[Sample]) -> None:
        for sample in made:
            answer = sample.rounds[0].ending
            assert sample.right.names or sample.right.numbers or sample.right.admits
            assert all(name in answer for name in sample.right.names)
            numbers = {float(text) for text in re.findall(r"-?\d+(?:\.\d+)?", answer)}
            assert numbers.issuperset(sample.right.numbers), answer

    def test_says_what_failed_and_why(self, made: list[Sample]) -> None:
        for sample in made:
            faults = [text for text in sample.rounds[0].results.values() if "failed: " in text[:8]]
            assert bool(faults) == (sample.shape == "tools-failed")
            for fault in faults:
                assert fault.removeprefix("failed: ") in sample.rounds[0].ending
                assert sample.right.admits

    def test_reads_as_text(self, made: list[Sample]) -> None:
        for sample in made:
            for text in (sample.question, sample.rounds[0].ending):
                assert not re.search(r"[{}#]|  | [,.?]|\.\.|\[|\]|\(\|", text), text

    def test_is_wide_as_its_shape_says(self, made: list[Sample]) -> None:
        for sample in made:
            tasks = _tasks(sample)
            assert sample.width == sum(not task.needs for task in tasks)
            used = {task.tool_name for task in tasks}
            match sample.shape:
                case "tools-none":
                    assert sample.plan == "1. join()"
                case "tools-one":
                    assert len(tasks) == 1
                case "tools-same":
                    assert 2 <= len(tasks) <= 5
                    assert len(used) == 1
                case "tools-different":
                    assert len(used) >= 2
                case "tools-chain":
                    assert any(task.needs for task in tasks)
                case "tools-optional":
                    assert all(
                        set(sample.toolbox[task.tool_name].optional) & task.args.keys()
                        for task in tasks
                    )

    def test_keeps_its_toolbox_short(self, made: list[Sample]) -> None:
        for sample in made:
            assert 1 <= len(sample.tools) <= mix.MOST_TOOLS
            assert len(sample.transcript()[0]["content"]) < 1000


class TestPart:
    def test_has_a_toolbox_for_25_samples(self, made: list[Sample]) -> None:
        boxes = Counter(str(sample.tools) for sample in made)
        assert len(boxes) == COUNT / mix.PER_TOOLBOX
        assert set(boxes.values()) == {mix.PER_TOOLBOX}

    def test_holds_every_shape(self, made: list[Sample]) -> None:
        shares = {shape: n / COUNT for shape, n in Counter(sample.shape for sample in made).items()}
        assert shares.keys() == {
            f"tools-{kind}"
            for kind in ("one", "same", "different", "chain", "optional", "none", "failed")
        }
        assert all(0.02 < share < 0.4 for share in shares.values()), shares

    def test_refers_to_wholes_parts_and_inside_of_strings(self) -> None:
        plans = "\n".join(sample.plan for part in PARTS for sample in _made(part))
        for pattern in (r"\(\$1\)", r"\(\$1\.\w+\)", r'"\$1 [-+*/]'):
            assert re.search(pattern, plans), pattern

    @given(seed=st.integers(0, 10**6), count=st.integers(1, 30))
    @settings(max_examples=15, deadline=None)
    def test_is_the_same_for_the_same_seed(self, seed: int, count: int) -> None:
        made = varied.samples(seed, count)
        assert len(made) == count
        assert made == varied.samples(seed, count)
        for sample in made:
            sample.check()

    def test_differs_with_the_seed(self) -> None:
        assert varied.samples(1, 25) != varied.samples(2, 25)

    def test_keeps_what_is_held_out_to_itself(self) -> None:
        def shown(part: str, of: Callable[[ToolContent], tuple[str, ...]]) -> set[str]:
            tools = TRAINING if part == "training" else HELD_OUT
            return {text.casefold() for _, _, tool in tools for text in of(tool)}

        assert not shown("training", lambda t: t.names) & shown("held out", lambda t: t.names)
        assert not shown("training", lambda t: t.does) & shown("held out", lambda t: t.does)
        assert not training().keys() & held_out().keys() - {mix.ARITHMETIC}
        trained, unseen = (
            {tool.name for sample in _made(part) for tool in sample.tools} for part in PARTS
        )
        assert not trained & unseen

    def test_asks_for_no_fact_that_is_held_out(self) -> None:
        assert fact_rows()
        assert not any(is_held_out_entity(row["entity"].value) for row in fact_rows())


class TestBank:
    def test_is_large(self) -> None:
        assert len(training()) >= 20
        assert len(held_out()) >= 6

    def test_gives_each_name_to_one_tool(self) -> None:
        for tools in (TRAINING, HELD_OUT):
            names = Counter(name for _, _, tool in tools for name in tool.names)
            assert [name for name, n in names.items() if n > 1] == []

    @pytest.mark.parametrize(("domain", "key", "tool"), TRAINING + HELD_OUT)
    def test_asks_for_all_that_a_tool_needs(self, domain: str, key: str, tool: ToolContent) -> None:
        assert len(tool.asks) >= 5
        known = {*tool.params, *tool.slots, *_row_slots(tool)}
        required = {
            slot for slot, each in tool.params.items() if not each.optional and not each.text
        }
        for ask in tool.asks:
            text = ask.replace("{each}", tool.each)
            assert required <= slots_of(text) <= known, ask
            optional = {slot for slot, each in tool.params.items() if each.optional}
            assert optional & slots_of(text) == optional & optional_slots(text), ask
            assert re.match(r"\(?[A-Z].*[.?]$", ask), ask

    @pytest.mark.parametrize(("domain", "key", "tool"), TRAINING + HELD_OUT)
    def test_names_all_that_is_put_together(self, domain: str, key: str, tool: ToolContent) -> None:
        assert not tool.sums or "each" in slots_of(tool.measure or tool.noun)

    @pytest.mark.parametrize(("domain", "key", "tool"), TRAINING + HELD_OUT)
    def test_names_parameters_apart(self, domain: str, key: str, tool: ToolContent) -> None:
        alternatives = [p.names or (slot,) for slot, p in tool.params.items()]
        for column in range(6):
            chosen = [names[column % len(names)] for names in alternatives]
            assert len(set(chosen)) == len(chosen), chosen

    @pytest.mark.parametrize(
        ("name", "chain"),
        [(n, c) for bank in (training(), held_out()) for n, d in bank.items() for c in d.chains],
    )
    def test_asks_for_all_that_a_chain_needs(self, name: str, chain: Chain) -> None:
        tools = (training() | held_out())[name].tools
        first, then = (
            {slot for slot, each in tools[key].params.items() if not each.optional}
            for key in (chain.first, chain.then)
        )
        for ask in chain.asks:
            asked = slots_of(ask.replace("{each}", chain.each))
            assert asked == first | (then - chain.feeds.keys()), ask


def _row_slots(tool: ToolContent) -> set[str]:
    return FACT_SLOTS if tool.rows == "facts" else {slot for row in tool.rows for slot in row}


@pytest.mark.parametrize(
    ("many", "unit", "text"),
    [
        (False, None, "What is it in Oslo?"),
        (True, None, "What are it in Oslo?"),
        (False, "feet", "What is it in Oslo, in feet?"),
    ],
)
def test_fills_templates(many: bool, unit: str | None, text: str) -> None:
    texts = {"city": "Oslo"} | ({"unit": unit} if unit else {})
    assert fill("What (is|are) it in {city}[, in {unit}]?", texts, many=many) == text
