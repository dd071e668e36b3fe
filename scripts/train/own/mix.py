"""Training data for a user's own tools: from worked examples, signatures and earlier runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from executor.builtin import TOOLBOX as BUNDLED
from executor.errors import PlanError, UsageError
from executor.tools import ToolBox
from planner_prompts.examples import Example
from planner_prompts.grammar import ANSWER
from train.own import signatures
from train.own.lore import Lore
from train.own.noise import noisy, unanswerable
from train.own.phrasing import fronted, rephrased
from train.own.slots import (
    Case,
    contains,
    numbers_in,
    put_together,
    slots_of,
    take_apart,
    value_of,
)
from train.own.values import NUMBER
from train.own.variants import variant
from train.own.wide import joined, wide
from train.own.words import ADMISSIONS
from train.samples import Right, Round, Sample, ToolSpec

VARIANT, WIDE, SIGNATURE, NONE = "own-variant", "own-wide", "own-signature", "own-none"
TRIES = 30  # per sample, before there are taken to be no more


def samples(toolbox: ToolBox, examples: Sequence[Example], seed: int, count: int) -> list[Sample]:
    """At most `count` samples, no two with the same question; the same ones for the same seed.

    The examples themselves come first. Raises UsageError if there is nothing to learn from, or
    if an example is no plan for the toolbox.
    """
    cases = [_case(example, toolbox, at) for at, example in enumerate(examples, 1)]
    source = _Source(toolbox, cases, Random(seed))  # noqa: S311
    made = {
        case.question: sample_of(put_together(case, toolbox), toolbox, VARIANT) for case in cases
    }
    for _ in range(count * TRIES):
        if len(made) >= count:
            break
        shape, case = source.draw()
        if case is not None and case.question not in made:
            made[case.question] = sample_of(put_together(case, toolbox), toolbox, shape)
    return list(made.values())[:count]


def sample_of(example: Example, toolbox: ToolBox, shape: str) -> Sample:
    """The example as a sample; its plan in the grammar's own spelling."""
    case = take_apart(example, toolbox)
    return Sample(
        question=case.question,
        tools=tuple(map(ToolSpec.of, toolbox)),
        rounds=(
            Round(
                plan=put_together(case, toolbox).plan,
                results=dict(case.results),
                ending=ANSWER + case.answer,
            ),
        ),
        shape=shape,
        width=sum(not task.needs for task in case.tasks),
        right=_right(case),
    )


def _right(case: Case) -> Right:
    """What the answer has from the results: their numbers, and their texts if they stand in it."""
    texts = dict.fromkeys(case.results.values())
    names = [t for t in texts if not NUMBER.fullmatch(t) and contains(case.answer, t)]
    found = {value_of(n) for t in texts if t not in names for n in numbers_in(t)}
    numbers = dict.fromkeys(n for n in map(value_of, numbers_in(case.answer)) if n in found)
    admits = not case.tasks and case.answer in ADMISSIONS
    return Right(names=tuple(names), numbers=tuple(numbers), admits=admits)


def _case(example: Example, toolbox: ToolBox, number: int) -> Case:
    try:
        return take_apart(example, toolbox)
    except PlanError as error:
        raise UsageError(f"example {number}: its plan: {error}") from None


class _Source:
    """Draws one made-up case after another, of the shapes that tools and examples allow."""

    def __init__(self, toolbox: ToolBox, cases: Sequence[Case], rng: Random) -> None:
        self._rng = rng
        self._lore = Lore.of(cases, toolbox)
        self._cases = cases
        self._tools = [tool for tool in toolbox if tool not in set(BUNDLED)]
        self._teachable = [tool for tool in self._tools if signatures.is_teachable(tool)]
        self._called = [case for case in cases if case.tasks]
        self._uncalled = [case for case in cases if not case.tasks]
        self._known = [text for texts in self._lore.values.values() for text in texts]
        if not self._called and not self._teachable:
            names = ", ".join(tool.name for tool in self._tools) or "no tools of your own"
            raise UsageError(
                f"nothing to learn from: {names}; give tools docstrings and typed parameters, "
                "or add worked examples"
            )
        few = [tool for tool in self._teachable if self._lore.calls_of(tool) < 3]
        shown = min(len(self._called), 10)  # a few examples are soon said in all ways there are
        makers: list[tuple[str, Callable[[], Case | None], float]] = [
            (VARIANT, self._variant, 4.5 * shown),
            (WIDE, self._wide, 2.5 * shown),
            (SIGNATURE, self._signature, (35 if few else 12) if self._teachable else 0),
            (NONE, self._none, 7),
        ]
        self._makers = [maker for maker in makers if maker[2]]

    def draw(self) -> tuple[str, Case | None]:
        """A shape and a case of it; None if this try led nowhere."""
        weights = [weight for _, _, weight in self._makers]
        shape, make, _ = self._rng.choices(self._makers, weights)[0]
        case = make()
        return shape, None if case is None else self._with_noise(case)

    def _with_noise(self, case: Case) -> Case:
        slots = slots_of(case, self._lore.toolbox)
        kept = [form for slot in slots for form in slot.forms()]
        kept = [form for form in kept if contains(case.question, form)]
        question = case.question
        if len(case.tasks) == 1 and self._rng.random() < 0.15:
            question = fronted(question, kept)
        if self._rng.random() < 0.3:
            question = rephrased(question, kept, self._rng)
        question = noisy(question, kept, self._rng)
        return Case(question, case.tasks, case.results, case.answer)

    def _variant(self) -> Case | None:
        return variant(self._rng.choice(self._called), self._lore, self._rng)

    def _wide(self) -> Case | None:
        first = self._variant()
        if first is None or self._rng.random() < 0.45:
            return first and wide(first, self._lore, self._rng)
        second = self._variant()
        return second and joined(first, second, self._rng)

    def _signature(self) -> Case | None:
        first = self._request()
        way = self._rng.random()
        if way < 0.2:
            return wide(first, self._lore, self._rng)
        return joined(first, self._request(), self._rng) if way < 0.4 else first

    def _request(self) -> Case:
        seldom = [1 / (1 + self._lore.calls_of(tool)) for tool in self._teachable]
        tool = self._rng.choices(self._teachable, seldom)[0]
        return signatures.request(tool, self._lore, self._rng)

    def _none(self) -> Case | None:
        if self._uncalled and self._rng.random() < 0.2:
            return self._rng.choice(self._uncalled)
        return unanswerable(self._tools, self._cases, self._known, self._rng)
