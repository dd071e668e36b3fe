"""One training, from data to a directory that can be served. Imports torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError

from executor.errors import UsageError
from planner_prompts.profile import TUNED
from serving.models import Weights
from train.data import Data
from train.tuning import result
from train.tuning.card import card, public_name
from train.tuning.checkpoint import Checkpoint
from train.tuning.learner import Learner
from train.tuning.recipe import Recipe
from train.tuning.tokens import Chat, Encoded
from train.tuning.training import Material, Training, stop_signals


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """`deadline`, if there is one, is a time of the monotonic clock."""

    data: Data
    base: Weights
    recipe: Recipe
    out: Path
    checkpoint: Checkpoint
    say: Callable[[str], None]
    deadline: float | None

    def run(self, saved: dict[str, Any] | None) -> None:
        """Raises UsageError for what can't be tuned, Interrupted once a checkpoint is written."""
        tokenizer, learner = self._load()
        samples = self._encode(Chat(tokenizer, self.base.name))
        result.check_space(self.out, learner)
        self.say(f"tuning {self.base.name} on the {learner.arithmetic}")
        training = Training(
            learner=learner,
            material=Material.of(samples, self.recipe),
            recipe=self.recipe,
            checkpoint=self.checkpoint,
            say=self.say,
            deadline=self.deadline,
        )
        try:
            with stop_signals() as stopping:
                progress = training.run(saved, stopping)
        except torch.OutOfMemoryError:
            raise UsageError(
                f"the GPU's memory doesn't suffice to tune {self.base.name}; give a smaller "
                "--model, or free what others hold of it"
            ) from None
        text = card(self.data, self.base, self.recipe, progress, learner.arithmetic)
        mark = {
            "profile": TUNED.name,
            "base": self.base.name,
            "tools": self.data.tools,
            "data": self.data.digest,
        }
        result.write(self.out, learner, tokenizer, public_name(self.base), text, mark)
        self.checkpoint.remove()

    def _load(self) -> tuple[Any, Learner]:
        transformers.utils.logging.disable_progress_bar()
        path = self.base.path
        try:
            return transformers.AutoTokenizer.from_pretrained(path), Learner(path, self.recipe)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UsageError(f"{self.base.name} can't be tuned: {reason}") from error

    def _encode(self, chat: Chat) -> list[Encoded]:
        longest = self.recipe.longest
        encoded = [chat.encode(sample.transcript()) for sample in self.data.samples]
        fitting = [sample for sample in encoded if len(sample.ids) <= longest]
        if len(fitting) < 2:
            raise UsageError(
                f"{len(fitting)} of {len(encoded)} samples have {longest} tokens or fewer, and a "
                "training needs 2; shorten the descriptions of the tools, or give more samples"
            )
        # Else a planner would be written that has not learned its own tools.
        planned_for = [
            len(one.ids) <= longest
            for sample, one in zip(self.data.samples, encoded, strict=True)
            if [spec.name for spec in sample.tools] == self.data.tools
        ]
        if planned_for and not any(planned_for):
            raise UsageError(
                f"no sample for {', '.join(self.data.tools)} has {longest} tokens or fewer; "
                "shorten the descriptions of the tools, or give fewer of them"
            )
        if left_out := len(encoded) - len(fitting):
            self.say(f"{left_out} of {len(encoded)} samples have over {longest} tokens: left out")
        tokens = sum(len(sample.ids) for sample in fitting)
        learned = sum(sample.learned for sample in fitting)
        self.say(f"{len(fitting)} samples with {tokens} tokens, of which {learned} are learned")
        return fitting
