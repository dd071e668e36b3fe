"""Samples for the bundled tools: shapes of questions x phrasings x things and values."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import replace

from executor.errors import ToolError
from train.bundled.adjusted import ADJUSTED
from train.bundled.combined import COMBINED
from train.bundled.lost import LOST
from train.bundled.others import OTHERS
from train.bundled.scene import NoFit, Scene
from train.bundled.shapes import FACTS, Shape
from train.bundled.texts import TEXTS
from train.bundled.things import content
from train.samples import Sample
from train.wording import capitalized, with_typo

SHAPES: dict[str, Shape] = {**FACTS, **COMBINED, **ADJUSTED, **TEXTS, **OTHERS, **LOST}

# Never trained on, to see what carries over.
NEW_SHAPES = ("extremes_difference", "combined_ratio", "step_compare")

# How often a shape comes, against 2; those with many forms come more often.
_WEIGHTS = {
    "lookup": 6,
    "two_questions": 4,
    "list": 3,
    "superlative": 3,
    "compare": 3,
    "compare_by": 4,
    "share": 3,
    "change": 4,
    "adjusted_max": 5,
    "adjusted_min": 4,
    "adjusted_sum": 3,
    "adjusted_average": 3,
    "adjusted_difference": 3,
    "adjusted_ratio": 3,
    "changed_and_not": 3,
    "combined_convert": 3,
    "pair_difference": 3,
    "pair_ratio": 3,
    "unanswerable": 3,
    "nothing_found": 4,
    "gap": 5,
    "text": 6,
    "text_list": 3,
    "sum": 3,
    "extremes_average": 3,
    "step": 3,
}
SHARE_LED = 0.3  # with a greeting or the like before the question
SHARE_BARE = 0.08  # without its last mark
SHARE_LOWER = 0.08
SHARE_TYPED_WRONG = 0.06
_SEARCHED = re.compile(r'search\("(.*)"\)')
TRIES = 2000


def samples(seed: int, count: int) -> list[Sample]:
    """To train on: no held-out thing, phrasing or shape."""
    rng = random.Random(seed)  # noqa: S311
    shapes = [name for name in SHAPES if name not in NEW_SHAPES]
    weights = [_WEIGHTS.get(name, 2) for name in shapes]
    chosen = rng.choices(shapes, weights, k=count)
    return list(_made(chosen, Scene(rng, held_out=False)))


def held_out(seed: int, count: int) -> list[Sample]:
    """To measure on: things and phrasings that no training sample has, in equal parts by shape.

    An attribute's own words, such as `taller`, are in both.
    """
    shapes = [name for name in SHAPES if name not in NEW_SHAPES]
    return _unseen(shapes, seed, count)


def new_shapes(seed: int, count: int) -> list[Sample]:
    """The same for shapes that no training sample has."""
    return _unseen(list(NEW_SHAPES), seed, count)


def _unseen(shapes: list[str], seed: int, count: int) -> list[Sample]:
    rng = random.Random(seed)  # noqa: S311
    chosen = [shapes[at % len(shapes)] for at in range(count)]
    return list(_made(chosen, Scene(rng, held_out=True)))


def _made(shapes: list[str], scene: Scene) -> Iterator[Sample]:
    seen: set[str] = set()
    for shape in shapes:
        sample = _one(shape, scene, seen)
        seen.add(sample.question)
        yield sample


def _one(shape: str, scene: Scene, seen: set[str]) -> Sample:
    """Tries until what was drawn fits the shape."""
    for _ in range(TRIES):
        lower = scene.rng.random() < SHARE_LOWER * scene.slips
        try:
            sample = SHAPES[shape](replace(scene, lower=lower))
        except (NoFit, ToolError):
            continue
        question = _put(sample.question, _names(sample), scene, lower)
        sample = sample.model_copy(update={"question": question})
        if sample.question not in seen or shape == "unanswerable":
            return sample
    raise AssertionError(f"nothing can be made of the shape {shape}")


def _names(sample: Sample) -> list[str]:
    """What a look-up is of, and more: `length of Gulf of X` may be of `Gulf of X` or of `X`."""
    queries = _SEARCHED.findall("\n".join(each.plan for each in sample.rounds))
    parts = [query.split(" of ") for query in queries]
    return [" of ".join(each[at:]) for each in parts for at in range(1, len(each))]


def _put(question: str, names: list[str], scene: Scene, lower: bool) -> str:
    """The question as somebody types it."""
    leads = scene.part_of(content("phrasings")["lead"])
    before = scene.rng.choice(leads) if scene.rng.random() < SHARE_LED else ""
    question = before + capitalized(question)
    if scene.rng.random() < SHARE_BARE:
        question = question.removesuffix("?").removesuffix(".")
    if scene.rng.random() < SHARE_TYPED_WRONG * scene.slips:
        question = with_typo(question, names, scene.rng)
    return question.lower() if lower else question
