"""The loop: steps, progress, validation, checkpoints, a bound on the time."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

from executor.errors import UsageError
from train.tuning.batches import Step, epoch
from train.tuning.checkpoint import Checkpoint
from train.tuning.learner import Learner
from train.tuning.progress import VALIDATIONS, Progress
from train.tuning.recipe import Recipe
from train.tuning.tokens import Encoded

SAY_EVERY = 20.0  # seconds
SAVE_EVERY = 180.0  # seconds
MEASURED = 4  # steps until a bound on the time can be judged
FORWARD = 0.4  # what a validation costs of a training step on as many tokens
ONE_ROUND = 2  # turns of the assistant, a plan and its ending
FINISHING = 30.0  # seconds kept free for merging and writing


class Interrupted(Exception):  # noqa: N818  (nothing went wrong)
    """Somebody asked for the end; a checkpoint is written."""


@dataclass(frozen=True, slots=True)
class Material:
    steps: list[Step]
    held_back: list[Step]

    @classmethod
    def of(cls, samples: list[Encoded], recipe: Recipe) -> Material:
        """Two samples or more, shuffled by the seed; at least one is held back.

        Plans are harder to learn than endings, so some samples have no more than their plan.
        """
        random = Random(recipe.seed)  # noqa: S311
        samples = random.sample(samples, len(samples))
        held = min(max(round(recipe.held_back * len(samples)), 1), recipe.most_held_back)

        def learned(sample: Encoded) -> Encoded:
            ends_early = len(sample.spans) == ONE_ROUND and random.random() >= recipe.endings
            return sample.first if ends_early else sample

        epochs = [
            epoch(map(learned, samples[held:]), recipe.batch, random) for _ in range(recipe.epochs)
        ]
        steps = [step for steps in epochs for step in steps]
        return cls(steps, epoch(samples[:held], recipe.batch, random))


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """`deadline`, if there is one, is a time of the monotonic clock."""

    learner: Learner
    material: Material
    recipe: Recipe
    checkpoint: Checkpoint
    say: Callable[[str], None]
    deadline: float | None = None

    def run(self, saved: dict[str, Any] | None, stopping: Callable[[], bool]) -> Progress:
        """Trains to the end, from `saved` on.

        Raises Interrupted once `stopping` says so, UsageError if the loss is no number any more.
        """
        progress = self._begin(saved)
        said = kept = time.monotonic()
        while not progress.is_over:
            self._step(progress)
            if self.deadline is not None and progress.step >= MEASURED:
                self._fit(progress, self.deadline - time.monotonic())
            if time.monotonic() - said >= SAY_EVERY or progress.is_over:
                self.say(progress.line)
                said = time.monotonic()
            if progress.validates:
                self._validate(progress)
            stops = stopping()
            if stops or progress.is_over or time.monotonic() - kept >= SAVE_EVERY:
                state = {"progress": asdict(progress), "learner": self.learner.state()}
                self.checkpoint.save(state)
                kept = time.monotonic()
            if stops:
                raise Interrupted(f"stopped after step {progress.step} of {progress.total}")
        return progress

    def _begin(self, saved: dict[str, Any] | None) -> Progress:
        if saved is None:
            progress = Progress(total=len(self.material.steps))
            self._validate(progress)
        else:
            progress = Progress(**saved["progress"])
            self.learner.restore(saved["learner"])
            self.say(f"going on after step {progress.step} of {progress.total}")
        return progress

    def _step(self, progress: Progress) -> None:
        began = time.monotonic()
        step = self.material.steps[progress.step]
        loss = self.learner.step(step, self.recipe.rate(progress.step, progress.total))
        if not math.isfinite(loss):
            raise UsageError(
                f"the training diverged at step {progress.step + 1}: its loss is {loss}; try other "
                "data, or --restart with another --seed"
            )
        progress.add(loss, _tokens([step]), time.monotonic() - began)

    def _validate(self, progress: Progress) -> None:
        loss = self.learner.mean_loss(self.material.held_back)
        progress.validations.append((progress.step, loss))
        self.say(f"step {progress.step} of {progress.total}, loss {loss:.4f} on what is held back")

    def _fit(self, progress: Progress, seconds: float) -> None:
        """Plans the steps for which the seconds left suffice, going by those done.

        Judged again behind each step, since a machine has slow minutes, and others.
        """
        room = (seconds - FINISHING) * progress.tokens / progress.seconds
        validations = VALIDATIONS - len(progress.validations) + 1
        room -= validations * FORWARD * _tokens(self.material.held_back)
        progress.total = progress.step
        for step in self.material.steps[progress.step :]:
            room -= _tokens([step])
            if room < 0:
                break
            progress.total += 1
        if progress.step == MEASURED:
            planned = len(self.material.steps)
            self.say(f"the time allows {progress.total} of {planned} steps")


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Yields whether Ctrl-C or SIGTERM came. A second one ends the process in the usual way."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    usual = {number: signal.getsignal(number) for number in numbers}
    came = False

    def restore() -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)

    def stop(*_: Any) -> None:
        nonlocal came
        came = True
        restore()

    for number in numbers:
        signal.signal(number, stop)
    try:
        yield lambda: came
    finally:
        restore()


def _tokens(steps: list[Step]) -> int:
    return sum(batch.tokens for step in steps for batch in step)
