"""The questions made for the bundled tools: they can be run as they say, and nothing leaks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import cache

import pytest

from executor.builtin import TOOLBOX, search
from executor.errors import ToolError
from executor.parser import tasks_of
from executor.values import resolve, text_of
from planner_prompts.grammar import plan_regex
from train.bundled import NEW_SHAPES, SHAPES, held_out, mix, new_shapes, samples, scene
from train.bundled.questions import fields
from train.bundled.scene import shown
from train.bundled.split import is_held_out_entity, part_of
from train.bundled.things import content, known
from train.samples import Sample


@cache
def training() -> list[Sample]:
    return samples(1, 600)


@cache
def unseen() -> list[Sample]:
    return held_out(1, 3 * len(SHAPES)) + new_shapes(1, 9)


def test_a_seed_gives_the_same_samples_each_time() -> None:
    assert samples(3, 40) == samples(3, 40) != samples(4, 40)


@pytest.mark.parametrize("made", [training, unseen], ids=["training", "unseen"])
def test_every_plan_can_be_written_and_every_round_can_happen(
    made: Callable[[], list[Sample]],
) -> None:
    grammar = re.compile(plan_regex(TOOLBOX))
    for sample in made():
        sample.check()
        assert grammar.fullmatch(sample.plan), sample.plan


def run(sample: Sample) -> list[dict[int, str]]:
    """What the bundled tools really give for the rounds' plans."""
    values: dict[int, object] = {}
    told: list[dict[int, str]] = []
    first_id = 1
    for round_ in sample.rounds:
        tasks = tasks_of(round_.plan, TOOLBOX, first_id)
        told.append({})
        for task in tasks:
            if lost := [need for need in task.needs if need not in values]:
                told[-1][task.id] = f"skipped: it needs ${lost[0]}, which gave no result"
                continue
            args = {name: resolve(value, values) for name, value in task.args.items()}
            try:
                values[task.id] = TOOLBOX[task.tool_name](**args)
                told[-1][task.id] = text_of(values[task.id])
            except ToolError as error:
                told[-1][task.id] = f"failed: {error}"
        first_id += len(tasks)
    return told


def test_what_is_measured_gives_what_the_real_tools_give() -> None:
    for sample in unseen():
        assert run(sample) == [dict(round_.results) for round_ in sample.rounds], sample.question


def test_no_training_plan_looks_a_held_out_thing_up() -> None:
    names = {thing.name for thing in known(held_out=True)} - {
        thing.name for thing in known(held_out=False)
    }
    queries = " \n".join(sample.plan.casefold() for sample in training())
    of = {name for name in names if f' of {name.casefold()}")' in queries}
    assert not of
    assert not {name for name in names if f'search("{name.casefold()}")' in queries}


def test_few_names_are_of_a_held_out_thing_and_of_another() -> None:
    shared = {thing.name for thing in known(held_out=True)} & {
        thing.name for thing in known(held_out=False)
    }
    # Names that two things have, as a country and an island.
    assert len(shared) <= 6, shared
    assert is_held_out_entity("Nile") == is_held_out_entity("nile")


def lists_of(node: object) -> list[list[str]]:
    """All lists of phrasings, wherever they stand in a file."""
    if isinstance(node, dict):
        return [each for value in node.values() for each in lists_of(value)]
    return [node] if isinstance(node, list) and all(isinstance(each, str) for each in node) else []


def phrasings() -> list[list[str]]:
    return lists_of(content("phrasings"))


def test_one_phrasing_in_five_is_held_out_of_each_list() -> None:
    for each in phrasings():
        held, trained = part_of(each, held_out=True), part_of(each, held_out=False)
        assert sorted([*held, *trained]) == sorted(set(each)) == sorted(each), each
        assert len(held) == len(each) // 5
        assert held, each


def test_what_is_held_out_stays_so_when_others_are_added() -> None:
    for each in phrasings():
        held = part_of(each, held_out=True)
        more = part_of([*each, *(f"another {at}" for at in range(5))], held_out=True)
        assert more[: len(held)] == held
        assert len(more) == len(held) + 1


def test_no_two_phrasings_of_a_list_differ_in_case_and_marks_only() -> None:
    for each in phrasings():
        bare = [re.sub(r"[^\w{}]+", " ", phrasing.casefold()).strip() for phrasing in each]
        assert not [text for text, count in Counter(bare).items() if count > 1]


def as_pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{\w+\}", template.casefold().rstrip("?."))
    return re.compile(".+".join(map(re.escape, parts)) + r"[?.]?")


def test_a_training_question_has_a_phrasing_that_is_not_held_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of the shapes whose questions have no other words than those of one phrasing."""
    monkeypatch.setattr(mix, "SHARE_TYPED_WRONG", 0)
    shapes = {"list", "compare_down", "superlative", "average", "convert", "extreme_value"}
    leads = sorted(content("phrasings")["lead"], key=len, reverse=True)
    for sample in samples(1, 600):
        if sample.shape in shapes:
            own = content("phrasings")[sample.shape]
            question = sample.question.casefold()
            lead = next((each for each in leads if question.startswith(each.casefold())), "")
            assert any(
                as_pattern(phrasing).fullmatch(question.removeprefix(lead.casefold()))
                for phrasing in part_of(own, held_out=False)
            ), question


def test_a_misspelt_thing_is_found_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene, "SHARE_MISSPELT", 1)
    monkeypatch.setattr(scene, "SHARE_INVENTED", 0)
    names = {thing.name for thing in known(held_out=False)}
    of_known = re.compile(r'search\("\w+ of (.*)"\)')
    made = [sample for sample in samples(1, 60) if sample.shape in ("list", "average", "sum")]
    looked_up = {name for sample in made for name in of_known.findall(sample.plan)}
    assert len(looked_up - names) > len(looked_up) / 2
    for sample in made:
        assert run(sample) == [dict(round_.results) for round_ in sample.rounds], sample.question


def test_no_held_out_shape_is_trained() -> None:
    shapes = Counter(sample.shape for sample in training())
    assert not shapes.keys() & set(NEW_SHAPES)
    assert shapes.keys() >= SHAPES.keys() - set(NEW_SHAPES)


def test_the_width_is_the_number_of_calls_that_need_nothing() -> None:
    for sample in [*training(), *unseen()]:
        tasks = tasks_of(sample.plan, TOOLBOX)
        assert sample.width == sum(not task.needs for task in tasks), sample


def test_every_phrasing_can_be_filled() -> None:
    known_slots = {
        *("a", "b", "c", "d", "and_list", "or_list", "noun", "noun2", "nouns", "adj", "comp"),
        *("more", "most", "less", "least", "units", "target", "kind", "of", "of_a", "of_b"),
        *("of_list", "ask", "Ask", "clause", "clauses", "Clauses", "participle", "participles"),
        *("imperative", "imperatives", "Imperative", "Imperatives", "finite", "was"),
        *("extreme", "extreme_of_two", "between_pairs", "to_pairs", "expression_words"),
        *("n", "x", "past", "present", "fraction", "first", "second"),
    }
    for phrasing in (phrasing for each in phrasings() for phrasing in each):
        assert fields(phrasing) <= known_slots, phrasing


def test_every_shape_is_measured() -> None:
    assert {sample.shape for sample in unseen()} == SHAPES.keys()


@pytest.mark.parametrize("shape", ["nothing_found", "gap"])
def test_admissions_are_made_of_what_the_fact_base_really_says(shape: str) -> None:
    """Each failed look-up is named in the answer, and what is known instead if it is the only one;
    of what was found, the value."""
    made = [sample for sample in training() if sample.shape == shape]
    assert {sample.width for sample in made} >= {1, 2}
    for sample in made:
        results = sample.rounds[0].results
        answer = sample.rounds[-1].ending
        direct = [task for task in tasks_of(sample.plan, TOOLBOX) if not task.needs]
        failed = [task for task in direct if results[task.id].startswith("failed: ")]
        assert failed
        for task in direct:
            query = task.args["query"]
            if task not in failed:
                assert shown(results[task.id]) in answer
                continue
            with pytest.raises(ToolError) as refused:
                search(query)
            assert results[task.id] == f"failed: {refused.value}"
            assert any(f"of {the}{name}" in answer for the in ("", "the ") for name in names(query))
        if shape == "gap" and len(direct) == 1:
            assert results[failed[0].id].endswith(answer.partition("known are ")[2].rstrip("."))
        assert len(sample.rounds) == (1 if shape == "gap" else 2)


def names(query: str) -> list[str]:
    """What a look-up may be of: a name or an attribute can have an `of` in it."""
    parts = query.split(" of ")
    return [" of ".join(parts[at:]) for at in range(1, len(parts))]
