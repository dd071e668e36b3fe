"""Walks through the compiled grammars, token by token, with the vocabularies of three models."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llguidance import LLMatcher, LLTokenizer
from outlines_core import Index
from toolboxes import TOOLBOXES

import vocabularies
from executor import seal
from executor.errors import ArgumentError
from executor.parser import tasks_of
from executor.plan import Join, Task, render
from executor.tools import ToolBox
from planner_prompts.grammar import matches, plan_regex
from serving.engine import Engine
from serving.vocabulary import marked, with_marks

FIRST_ID = 3
WALKS = 340  # for each toolbox and vocabulary: 10,200 in all
STEPS = 300
HURRY = 0.3  # how often a walk takes a token that may lead out of a string or a list


class Walker:
    """Goes from state to state of an index, as a model without any sense would."""

    def __init__(self, regex: str, tokens: vocabularies.Tokens, seed: int) -> None:
        end = 1 + max(id for (id,) in tokens.values())
        self._index = Index(marked(regex), with_marks(tokens, end, [end + 1]))
        self._start = self._index.get_next_state(self._index.get_initial_state(), end)
        self._text = {id: token for token, (id,) in tokens.items()} | {end: b""}
        self._ends = np.zeros(end + 1, bool)
        for id, token in self._text.items():
            self._ends[id] = any(char in token for char in (b'"', b")", b"]", b"}"))
        self._rng = random.Random(seed)
        self._allowed = cache(self._look_up)

    def _look_up(self, state: int) -> tuple[Any, Any]:
        ids = np.array(self._index.get_allowed_tokens(state), np.uint32)
        return ids, ids[self._ends[ids]]

    def walk(self) -> str | None:
        """A text that the grammar takes; None if it does not end in time."""
        state = self._start
        written = b""
        for _ in range(STEPS):
            if self._index.is_final_state(state):
                return written.decode()
            every, ending = self._allowed(state)
            hurries = len(ending) and self._rng.random() < HURRY
            token = int(self._rng.choice(ending if hurries else every))
            written += self._text[token]
            state = self._index.get_next_state(state, token)
        return None


def check(name: str, tokens: vocabularies.Tokens) -> None:
    """Each walk that ends is a plan, is read back, and has nothing that can't be run."""
    toolbox = TOOLBOXES[name]
    regex = plan_regex(toolbox, FIRST_ID, max_tasks=2, backend="guidance")
    walker = Walker(regex, tokens, seed=len(name))
    walks = [walker.walk() for _ in range(WALKS)]
    plans = [plan for plan in walks if plan is not None]
    assert len(plans) > WALKS / 2
    assert len(set(plans)) > WALKS / 5
    for plan in plans:
        assert matches(regex, plan)  # Python means by the regex what the engine does
        tasks = tasks_of(plan, toolbox, FIRST_ID)
        again = [*tasks, Join(FIRST_ID + len(tasks))]
        assert tasks_of(written(again, toolbox), toolbox, FIRST_ID) == tasks
        known = {id: Task(id, next(iter(toolbox)).name) for id in range(1, FIRST_ID)}
        for task in tasks:
            with suppress_what_hangs_on_results():
                seal.check(task, toolbox, known)
            known[task.id] = task


@contextmanager
def suppress_what_hangs_on_results() -> Iterator[None]:
    """The grammar does not know what a tool gives; that is looked at when the line is sealed."""
    try:
        yield
    except ArgumentError as error:
        if "leads nowhere" not in str(error) and "becomes text" not in str(error):
            raise


def written(items: list[Task | Join], toolbox: ToolBox) -> str:
    return "\n".join(render(item, toolbox) for item in items)


@pytest.mark.parametrize("name", TOOLBOXES)
@pytest.mark.parametrize("vocabulary", vocabularies.FILES)
def test_every_walk_is_a_plan(vocabulary: str, name: str) -> None:
    check(name, tokens_of(vocabulary))


@cache
def tokens_of(vocabulary: str) -> vocabularies.Tokens:
    return vocabularies.fetched(vocabulary)


@pytest.mark.parametrize("name", TOOLBOXES)
def test_guidance_takes_what_outlines_writes(name: str) -> None:
    """Both backends mean the same by a regex, and nothing behind it."""
    regex = plan_regex(TOOLBOXES[name], FIRST_ID, max_tasks=2, backend="guidance")
    walker = Walker(regex, tokens_of("Llama 3 (128k)"), seed=1)
    tokenizer = LLTokenizer.from_tiktoken(  # type: ignore[attr-defined]  # which its stub lacks
        encoder={bytes([byte]): byte for byte in range(256)},
        special_tokens={"<end>": 256},
        pattern=r"(?s).",
        eos_token=256,
        n_vocab=257,
    )
    for plan in filter(None, [walker.walk() for _ in range(20)]):
        matcher = LLMatcher(tokenizer, LLMatcher.grammar_from_regex(regex))
        for byte in plan.encode():
            assert not matcher.is_accepting(), plan
            assert matcher.consume_token(byte), plan
        assert matcher.is_accepting(), plan


@pytest.mark.engine
@pytest.mark.parametrize("name", TOOLBOXES)
def test_every_walk_with_the_embedded_models_vocabulary_is_a_plan(
    engine: Engine, name: str
) -> None:
    check(name, vocabularies.of_weights(Path(engine.weights)))
